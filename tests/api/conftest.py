"""The command line as its users run it: a process of its own, on an embedded server that the session shares."""

import asyncio
import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.adapters.postgres.embedded import start_embedded
from penstock.cli import main

APP_FOLDER = Path(__file__).parent
# -P: the current folder comes onto the path because the program puts it there, not because of -c.
PROGRAM = (sys.executable, "-P", "-c", "import sys; from penstock.cli import main; sys.exit(main())")


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error on standard error as --json gives it."""
        found: dict[str, Any] = json.loads(self.err)["error"]
        return found


class CommandLine:
    """Runs commands."""

    def __init__(self, environment: dict[str, str], dsn: str = "") -> None:
        self.environment = environment
        self.dsn = dsn
        self._started: list[subprocess.Popen[str]] = []

    def __call__(self, *arguments: str, given: str | bytes = "", **environment: str) -> Done:
        data = given.encode() if isinstance(given, str) else given
        done = subprocess.run(
            [*PROGRAM, *arguments],
            input=data,
            capture_output=True,
            env={**self.environment, **environment},
            cwd=APP_FOLDER,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def quick(self, *arguments: str, given: str = "", **environment: str) -> Done:
        """The same inside this process, for what is looked at often: importing the program takes most of the time."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name in set(os.environ) - set(self.environment):
                patch.delenv(name)
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            patch.chdir(APP_FOLDER)
            patch.setattr(sys, "path", list(sys.path))
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
            code = main(arguments)
        return Done(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A command that goes on."""
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.environment, **environment},
            cwd=APP_FOLDER,
            text=True,
        )
        self._started.append(process)
        return process

    def on_terminal(self, *arguments: str, columns: int, **environment: str) -> str:
        """What a command writes to a terminal of that many columns."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environment = {"TERM": "xterm-256color", **environment}
        with subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**self.environment, **environment},
            cwd=APP_FOLDER,
        ):
            os.close(slave)
            written = b""
            with suppress(OSError):  # a terminal that nobody holds any more reads as an error
                while piece := os.read(master, 65536):
                    written += piece
        os.close(master)
        return written.decode()

    def close(self) -> None:
        """End what a failed test left running."""
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def bare_environment() -> dict[str, str]:
    """The environment without what would change what the program does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "COLUMNS"))}
    source = Path(__file__).parents[2] / "src"
    return {
        **kept,
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENAI_API_KEY": "",
        "ANTHROPIC_API_KEY": "",
    }


@pytest.fixture(scope="session")
def command_line(bare_environment: dict[str, str], fast_disk: Path) -> Iterator[CommandLine]:
    """The program on an embedded server of its own, which stays up between the commands."""
    with tempfile.TemporaryDirectory(prefix="pt-", dir=fast_disk) as folder:
        data, effects = Path(folder) / "data", Path(folder) / "effects"
        server = asyncio.run(start_embedded(data))
        variables = {
            "PENSTOCK_DATA_DIR": str(data),
            "DESK_EFFECTS": str(effects),
            "PENSTOCK_POLL_SECONDS": "0.1",
            "PENSTOCK_START_ALLOWANCE_SECONDS": "0.5",
        }
        command_line = CommandLine({**bare_environment, **variables}, server.dsn)
        yield command_line
        command_line.close()
        asyncio.run(server.close())
