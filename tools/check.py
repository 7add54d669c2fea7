"""Everything that `make test` checks after the style: types and tests, in two phases that fill the cores.

1. The tests that may run side by side, in as many processes as there are cores; mypy, and the console's own checks,
   beside them.
2. The tests that kill processes, one after another: they measure time, and wait for more than half of it. Beside them,
   one after another too, the browser and the pages of the documentation; and at the lowest priority those tests that
   only need a processor.

What runs beside is printed when it has ended. Every part runs even when another fails; the exit code is 1 then.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
TIMED, PATIENT = "(crash or alone) and not patient", "patient"
SIDE_BY_SIDE = "not crash and not alone and not patient"
TIMED_IN = ("tests/crash", "tests/contract/test_isolation.py")
SHOWN_IN = ("tests/e2e", "tests/docs")
PATIENT_IN = ("tests/sim",)
"""Where those tests are: the others need not be imported, and dealt with one by one, to be left out."""
PROCESSES_MAX = 8
"""Of tests side by side: each of them starts a database server of its own."""


@dataclass(frozen=True, slots=True)
class Part:
    """One command. ``nice``: by how much its priority is lowered."""

    name: str
    command: Sequence[str]
    nice: int = 0

    @property
    def line(self) -> list[str]:
        """The command with its priority, as far as this machine can set it."""
        nice = shutil.which("nice")
        return [nice, "-n", str(self.nice), *self.command] if self.nice and nice else list(self.command)


@dataclass(frozen=True, slots=True)
class Phase:
    """A part whose output is seen at once, and what runs beside it."""

    main: Part
    beside: Sequence[Part] = ()


@dataclass(slots=True)
class Running:
    """A part that has been started."""

    part: Part
    process: subprocess.Popen[bytes]
    output: IO[bytes] | None = None
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a part; ``seconds`` of wall time."""

    name: str
    code: int
    seconds: float


def run(phases: Sequence[Phase]) -> list[Ended]:
    """Run the phases one after another; every part of them, in the order of their ends."""
    return [ended for phase in phases for ended in _run_phase(phase)]


def _run_phase(phase: Phase) -> Iterator[Ended]:
    with _killed_if_left() as started:
        for part in phase.beside:
            output = tempfile.TemporaryFile()  # noqa: SIM115 - a pipe that nobody reads would stop the part
            process = subprocess.Popen(
                part.line, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            started.append(Running(part, process, output))
        main = Running(phase.main, subprocess.Popen(phase.main.line, cwd=ROOT))
        started.append(main)
        yield _wait(main)
        for running in started[:-1]:
            ended = _wait(running)
            _show(running)
            yield ended


@contextmanager
def _killed_if_left() -> Iterator[list[Running]]:
    started: list[Running] = []
    try:
        yield started
    finally:
        for running in started:
            if running.process.poll() is None:
                running.process.terminate()
                running.process.wait()
            if running.output is not None:
                running.output.close()


def _wait(running: Running) -> Ended:
    code = running.process.wait()
    return Ended(running.part.name, code, time.monotonic() - running.began)


def _show(running: Running) -> None:
    assert running.output is not None
    running.output.seek(0)
    print(f"\n{running.part.name}:")
    sys.stdout.flush()
    shutil.copyfileobj(running.output, sys.stdout.buffer)
    sys.stdout.flush()


def summary(parts: Sequence[Ended]) -> str:
    """One line for each part."""
    width = max(len(part.name) for part in parts)
    lines = [
        f"{part.name:{width}}  {'ok' if part.code == 0 else f'FAILED ({part.code})':12}{part.seconds:7.1f} s"
        for part in parts
    ]
    return "\n".join(lines)


def phases() -> list[Phase]:
    """What `make test` runs."""
    pytest = [sys.executable, "-m", "pytest"]
    many = ["-n", "logical", "--maxprocesses", str(PROCESSES_MAX), "--dist", "loadfile", "--no-loadscope-reorder"]
    # Two at once would write over each other's list of what failed.
    quiet = ["-q", "-p", "no:cacheprovider"]
    return [
        Phase(
            Part("tests side by side", [*pytest, *many, "-q", "-m", SIDE_BY_SIDE]),
            [Part("types", [sys.executable, "-m", "mypy"]), Part("console", ["make", "--silent", "console-check"])],
        ),
        Phase(
            Part("tests alone", [*pytest, *TIMED_IN, "-q", "-m", TIMED]),
            [
                Part("browser, pages of the docs", [*pytest, *SHOWN_IN, *quiet, "-m", TIMED]),
                Part("tests with patience", [*pytest, *PATIENT_IN, *quiet, "-m", PATIENT], nice=19),
            ],
        ),
    ]


def main() -> int:
    """Run it all; 0 when all is well."""
    try:
        parts = run(phases())
    except KeyboardInterrupt:
        return 130
    print(f"\n{summary(parts)}")
    return int(any(part.code for part in parts))


if __name__ == "__main__":
    raise SystemExit(main())
