"""Steering runs that a worker works on: approvals, pause, cancel, kill; doctor; on a real database."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.conftest import CommandLine
from tests.api.watching import WITHIN_SECONDS, row_when, submit, wait_for_line

from penstock.cli.exits import ExitCode


@pytest.fixture(scope="module")
def worker(command_line: CommandLine) -> Iterator["subprocess.Popen[str]"]:
    process = command_line.start("worker", "desk_app", "--name", "w-1")
    assert "works on 9 agents: broken, cut-off, desk, " in wait_for_line(process, "worker w-1")
    yield process
    process.kill()
    process.communicate()


def test_a_person_approves_what_is_shown_and_it_happens_once(
    command_line: CommandLine, worker: "subprocess.Popen[str]"
) -> None:
    run = submit(command_line, "desk", "I was charged twice")
    row = row_when(command_line, run, status="parked")
    assert [item["kind"] for item in row["waiting"]] == ["approval"]
    [question] = command_line.quick("approvals", "ls", "--json").document
    approval = question["id"]
    assert question["args"] == {"cents": 500, "order": "o-1"}
    assert "refund" in command_line.quick("approvals", "ls").out
    shown = command_line.quick("approvals", "show", approval).out
    assert "because    permission@1 hold: " in shown
    assert f"digest     {question['digest']}" in shown
    assert "  changes    order o-1: refunded: 0.00\\x1b[2J -> 5.00\n" in shown
    told = command_line.quick("approvals", "show", approval, "--json").document
    change = {"what": "order o-1: refunded", "before": "0.00\x1b[2J", "after": "5.00"}
    assert (told["digest"], told["preview"]) == (question["digest"], {"changes": [change], "unknown": ""})
    done = command_line.quick("approvals", "happened", approval, "--json")
    assert (done.code, done.error["code"]) == (ExitCode.USAGE, "answer_invalid")
    done = command_line.quick("approvals", "approve", approval, "--digest", "0" * 64, "--json")
    assert (done.code, done.error["code"]) == (ExitCode.USAGE, "approval_mismatch")
    done = command_line("approvals", "approve", approval, "--reason", "fair\x1b[2J", "--actor", "ann")
    assert (done.code, done.out) == (0, f'approved: refund {{"cents": 500, "order": "o-1"}} of run {run}\n')
    row_when(command_line, run, outcome="succeeded")
    effects = Path(command_line.environment["DESK_EFFECTS"]).read_text(encoding="utf-8")
    assert [line.split()[1:] for line in effects.splitlines()] == [["o-1", "500"]]
    done = command_line.quick("approvals", "deny", approval, "--json")
    assert (done.code, done.error["code"]) == (ExitCode.USAGE, "approval_unknown")
    tree = command_line.quick("runs", "show", run).out
    assert "approval may it run? approved by ann after " in tree
    assert ": fair\\x1b[2J" in tree
    assert "workers  w-1" in tree


def test_pause_resume_and_cancel(command_line: CommandLine, worker: "subprocess.Popen[str]") -> None:
    run = submit(command_line, "sleepy")
    row_when(command_line, run, status="parked")
    assert command_line.quick("runs", "pause", run, "--json").document["sealed"] is True
    assert command_line.quick("runs", "resume", run).out == f"resumed run {run}\n"
    done = command_line.quick("runs", "resume", run)
    assert (done.code, done.err.splitlines()[0]) == (ExitCode.USAGE, f"error[usage]: run {run} is not paused")
    done = command_line.quick("runs", "cancel", run, "--reason", "not needed")
    assert done.out.startswith(f"cancel of run {run}: sealed at ")
    row_when(command_line, run, outcome="cancelled")
    done = command_line.quick("runs", "cancel", run, "--json")
    assert done.error["what"] == f"run {run} has ended already, as cancelled"
    replayed = command_line.quick("runs", "replay", run, "--app", "desk_app").out
    assert "the run was ended from outside (cancelled); its code would go on at call 0" in replayed
    assert command_line.quick("runs", "release", run).code == ExitCode.USAGE


def test_a_kill_is_sealed_names_what_was_open_and_then_what_is_in_doubt(
    command_line: CommandLine, worker: "subprocess.Popen[str]"
) -> None:
    run = submit(command_line, "hanging")
    row_when(command_line, run, open_intents=1)
    done = command_line("kill", run, "--reason", "wrong customer", "--wait", "--json", "--actor", "ann")
    assert done.code == 0, done.err
    document = done.document
    assert document["sealed"] is True
    assert [(call["path"], call["name"]) for call in document["open"]] == [("0", "hang")]
    assert document["quiesced"] is True
    assert [call["name"] for call in document["in_doubt"]] == ["hang"]
    row_when(command_line, run, outcome="killed")
    assert command_line.quick("runs", "show", run, "--json").document["missing"]


def test_a_kill_of_everything_holds_until_it_is_lifted(
    command_line: CommandLine, worker: "subprocess.Popen[str]"
) -> None:
    done = command_line("kill", "--all", "--tenant", "calm", "--reason", "drill")
    lines = done.out.splitlines()
    assert lines[0].startswith("kill of everything of tenant calm: sealed at ")
    assert lines[1] == "no call was under way"
    assert "lift it with: penstock resume --all --tenant calm" in done.err
    held = command_line.quick("run", "desk_app:simple", "x", "--no-wait", "--tenant", "calm", "--json").document["run"]
    free = submit(command_line, "simple", "x")
    row_when(command_line, free, outcome="succeeded")
    [row] = command_line.quick("runs", "ls", "--tenant", "calm", "--json").document
    assert (row["id"], row["status"], row["last_seq"]) == (held, "queued", 1)
    assert command_line.quick("resume", "--all", "--tenant", "calm", "--json").document["lifted"] == 1
    assert command_line.quick("runs", "tail", held, "--tenant", "calm").out.splitlines()[-1].endswith("succeeded")


def test_a_paused_customer_waits_while_others_go_on(command_line: CommandLine, worker: "subprocess.Popen[str]") -> None:
    done = command_line("pause", "--customer", "o'neill", "--reason", "their data is moved")
    assert done.out.splitlines()[0].startswith("pause of customer o'neill: sealed at ")
    lifting = """penstock resume --customer 'o'"'"'neill'"""
    assert f"lift it with: {lifting}" in done.err
    options = ("--no-wait", "--json")
    held = command_line.quick("run", "desk_app:simple", "x", "--tag", "customer=o'neill", *options).document["run"]
    free = submit(command_line, "simple", "x")
    row_when(command_line, free, outcome="succeeded")
    assert command_line.quick("runs", "show", held, "--json").document["status"] == "queued"
    [line] = [line for line in command_line.quick("runs", "ls").out.splitlines() if held in line]
    assert "queued (pause of customer o'neill)" in line
    assert "held by a pause of customer o'neill\n" in command_line.quick("runs", "show", held).err
    assert "held back until it is resumed: pause of customer o'neill\n" in command_line.quick("queue", "ls").err
    assert command_line.quick("resume", "--customer", "o'neil").out.splitlines() == [
        "no stop of that scope was in force",
        "still in force: pause of customer o'neill",
    ]
    assert command_line.quick("resume", "--customer", "o'neill").out.strip() == "lifted 1 stop"
    row_when(command_line, held, outcome="succeeded")
    [line] = [line for line in command_line.quick("runs", "ls").out.splitlines() if held in line]
    assert "(pause" not in line


@pytest.mark.parametrize("kind", ["agent", "release", "session", "customer"])
def test_a_stop_of_a_name_that_no_run_has_asks_whether_it_is_right(command_line: CommandLine, kind: str) -> None:
    done = command_line.quick("kill", f"--{kind}", "desk\x1b[2J", "--reason", "drill", "--tenant", "typo")
    assert done.out.startswith(f"kill of {kind} desk")
    assert f"no run of {kind} desk\\x1b[2J was ever submitted: is the name right?\n" in done.err
    if kind != "session":
        known = ("--tenant", "typo", "--tag", "customer=ada", "--no-wait", "--json")
        command_line.quick("run", "desk_app:simple", "x", *known)
        [row, *_] = command_line.quick("runs", "ls", "--tenant", "typo", "--json").document
        name = row["tags"]["customer"] if kind == "customer" else row[kind]
        done = command_line.quick("kill", f"--{kind}", name, "--reason", "drill", "--tenant", "typo")
        assert done.code == 0
        assert "is the name right?" not in done.err


def test_a_second_worker_of_that_name_is_refused_and_the_first_drains_when_told(
    command_line: CommandLine, worker: "subprocess.Popen[str]"
) -> None:
    done = command_line("worker", "desk_app:simple", "--name", "w-1", "--json")
    assert (done.code, done.error["code"]) == (ExitCode.USAGE, "worker_name_taken")
    worker.send_signal(signal.SIGTERM)
    out, err = worker.communicate(timeout=WITHIN_SECONDS)
    assert (worker.returncode, out) == (0, "")
    assert err.splitlines()[-1] == "drained"


def test_doctor_says_what_is_well(command_line: CommandLine) -> None:
    done = command_line(
        "doctor", PENSTOCK_LEASE_SECONDS="0.9", PENSTOCK_POLL_SECONDS="0.8", PENSTOCK_LOOP_BLOCK_MAX_SECONDS="0.5"
    )
    assert done.code == 0
    states = {line.split()[1]: line.split()[0] for line in done.out.splitlines() if not line.startswith(" ")}
    expected = ["python", "settings", "leases", "database", "fsync", "full_page_writes", "synchronous_commit", "schema"]
    assert list(states) == [*expected, "clock", "audit", "disk", "keys"]
    assert states.pop("leases") == "warn"
    assert set(states.values()) == {"ok"}
    assert command_line.environment["PENSTOCK_DATA_DIR"] in done.out
