"""Workers that come, are interrupted and follow one another: no other one may take what is theirs."""

import signal

from tests.api.conftest import CommandLine
from tests.api.watching import WITHIN_SECONDS, row_when, submit, wait_for_line

from penstock.cli.exits import ExitCode


def test_a_second_signal_ends_a_worker_at_once(command_line: CommandLine) -> None:
    process = command_line.start("worker", "desk_app:hanging", "--name", "w-2")
    wait_for_line(process, "worker w-2")
    run = submit(command_line, "hanging")
    row_when(command_line, run, status="running", open_intents=1)
    process.send_signal(signal.SIGINT)
    assert "1 run in hand" in wait_for_line(process, "draining")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    assert command_line.quick("runs", "ls", "--json").code == 0, "the server has others who use it"


def test_an_interrupted_run_goes_on_elsewhere(command_line: CommandLine) -> None:
    process = command_line.start("run", "desk_app:sleepy", "o-9")
    run = wait_for_line(process, "run ").split()[1]
    row_when(command_line, run, status="parked")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WITHIN_SECONDS)
    assert process.returncode == ExitCode.INTERRUPTED
    assert f"penstock runs tail {run}" in err
    assert row_when(command_line, run, status="parked")["outcome"] is None
    command_line("kill", run, "--reason", "the test is over")


def test_a_run_that_diverges_is_set_aside_shown_side_by_side_and_released(command_line: CommandLine) -> None:
    process = command_line.start("run", "desk_app:wavering", "o-1")
    run = wait_for_line(process, "run ").split()[1]
    row_when(command_line, run, status="parked")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=WITHIN_SECONDS)
    assert command_line.quick("runs", "send", run, "go").code == 0
    changed = command_line.start("worker", "desk_app:wavering", "--name", "w-3", DESK_ORDER="o-2")
    row = row_when(command_line, run, status="quarantined")
    assert row["code"] == "divergence"
    changed.send_signal(signal.SIGTERM)
    changed.communicate(timeout=WITHIN_SECONDS)
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
    again.communicate(timeout=WITHIN_SECONDS)
