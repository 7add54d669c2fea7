"""Steering runs that others work on: worker, approvals, pause, cancel, kill, doctor; on a real database."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import CommandLine

from penstock.cli.exits import ExitCode


def wait_for_line(process: "subprocess.Popen[str]", words: str) -> str:
    """The first line of the process's standard error that holds these words."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"the process ended without saying {words!r}")


@pytest.fixture(scope="module")
def worker(command_line: CommandLine) -> Iterator["subprocess.Popen[str]"]:
    process = command_line.start("worker", "desk_app", "--name", "w-1")
    assert "works on 9 agents: broken, cut-off, desk, " in wait_for_line(process, "worker w-1")
    yield process
    process.kill()
    process.communicate()


def submit(command_line: CommandLine, agent: str, value: str = "o-1") -> str:
    done = command_line.quick("run", f"desk_app:{agent}", value, "--no-wait", "--json")
    assert done.code == 0, done.err
    run: str = done.document["run"]
    return run


def row_when(command_line: CommandLine, run: str, seconds: float = 20, **wanted: Any) -> dict[str, Any]:
    """The run's row once it holds these values."""
    give_up = time.monotonic() + seconds
    while True:
        rows = command_line.quick("runs", "ls", "--json").document
        row: dict[str, Any] = next(row for row in rows if row["id"] == run)
        row |= row["summary"]
        if all(row[name] == value for name, value in wanted.items()):
            return row
        assert time.monotonic() < give_up, f"{run} is still {row['status']} {row['outcome']}, not {wanted}"


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


def test_a_second_worker_of_that_name_is_refused_and_the_first_drains_when_told(
    command_line: CommandLine, worker: "subprocess.Popen[str]"
) -> None:
    done = command_line("worker", "desk_app:simple", "--name", "w-1", "--json")
    assert (done.code, done.error["code"]) == (ExitCode.USAGE, "worker_name_taken")
    worker.send_signal(signal.SIGTERM)
    out, err = worker.communicate(timeout=20)
    assert (worker.returncode, out) == (0, "")
    assert err.splitlines()[-1] == "drained"


def test_a_second_signal_ends_a_worker_at_once(command_line: CommandLine) -> None:
    process = command_line.start("worker", "desk_app:hanging", "--name", "w-2")
    wait_for_line(process, "worker w-2")
    run = submit(command_line, "hanging")
    row_when(command_line, run, status="running", open_intents=1)
    process.send_signal(signal.SIGINT)
    assert "1 run in hand" in wait_for_line(process, "draining")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == ExitCode.INTERRUPTED
    assert command_line.quick("runs", "ls", "--json").code == 0, "the server has others who use it"


def test_an_interrupted_run_goes_on_elsewhere(command_line: CommandLine) -> None:
    process = command_line.start("run", "desk_app:sleepy", "o-9")
    run = wait_for_line(process, "run ").split()[1]
    row_when(command_line, run, status="parked")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    assert f"penstock runs tail {run}" in err
    assert row_when(command_line, run, status="parked")["outcome"] is None
    command_line("kill", run, "--reason", "the test is over")


def test_a_run_that_diverges_is_set_aside_shown_side_by_side_and_released(command_line: CommandLine) -> None:
    process = command_line.start("run", "desk_app:wavering", "o-1")
    run = wait_for_line(process, "run ").split()[1]
    row_when(command_line, run, status="parked")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    changed = command_line.start("worker", "desk_app:wavering", "--name", "w-3", DESK_ORDER="o-2")
    row = row_when(command_line, run, status="quarantined")
    assert row["code"] == "divergence"
    changed.send_signal(signal.SIGTERM)
    changed.communicate(timeout=20)
    tree = [line.lstrip("│├└─ ") for line in command_line.quick("runs", "show", run).out.splitlines()]
    place = next(number for number, line in enumerate(tree) if line.startswith("— handed back: "))
    assert tree[place].endswith("at call 0 (seq 3), the same call, with other arguments")
    assert [line for line in tree if line.startswith(("then", "now"))] == [
        'then     {"order": "o-1"}',
        'now      {"order": "o-2"}',
    ]
    tail = command_line.quick("runs", "tail", run)
    assert (tail.code, tail.err) == (0, f"the run was set aside for a person: penstock runs show {run}\n")
    assert command_line.quick("runs", "release", run, "--json").document["released"] is True
    again = command_line.start("worker", "desk_app:wavering", "--name", "w-4")
    assert row_when(command_line, run, outcome="succeeded")["status"] == "ended"
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=20)


def test_doctor_says_what_is_well(command_line: CommandLine) -> None:
    done = command_line(
        "doctor", PENSTOCK_LEASE_SECONDS="0.9", PENSTOCK_POLL_SECONDS="0.8", PENSTOCK_LOOP_BLOCK_MAX_SECONDS="0.5"
    )
    assert done.code == 0
    states = {line.split()[1]: line.split()[0] for line in done.out.splitlines() if not line.startswith(" ")}
    expected = ["python", "settings", "leases", "database", "fsync", "full_page_writes", "synchronous_commit", "schema"]
    assert list(states) == [*expected, "clock", "disk", "keys"]
    assert states.pop("leases") == "warn"
    assert set(states.values()) == {"ok"}
    assert command_line.environment["PENSTOCK_DATA_DIR"] in done.out
