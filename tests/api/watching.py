"""Looking at processes and runs that others move, until they are where a test wants them."""

import subprocess
import time
from typing import Any

from tests.api.conftest import CommandLine

WITHIN_SECONDS = 60.0
"""For what takes a second on an idle machine."""


def wait_for_line(process: "subprocess.Popen[str]", words: str) -> str:
    """The first line of the process's standard error that holds these words."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"the process ended without saying {words!r}")


def submit(command_line: CommandLine, agent: str, value: str = "o-1") -> str:
    done = command_line.quick("run", f"desk_app:{agent}", value, "--no-wait", "--json")
    assert done.code == 0, done.err
    run: str = done.document["run"]
    return run


def row_when(command_line: CommandLine, run: str, seconds: float = WITHIN_SECONDS, **wanted: Any) -> dict[str, Any]:
    """The run's row once it holds these values."""
    give_up = time.monotonic() + seconds
    while True:
        rows = command_line.quick("runs", "ls", "--json").document
        row: dict[str, Any] = next(row for row in rows if row["id"] == run)
        row |= row["summary"]
        if all(row[name] == value for name, value in wanted.items()):
            return row
        assert time.monotonic() < give_up, f"{run} is still {row['status']} {row['outcome']}, not {wanted}"
