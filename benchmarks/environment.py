"""Virtualenvs of their own for peers whose dependencies would move ours: made from their lock files when missing."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench, Unavailable
from benchmarks.served import ROOT

INSTALL_SECONDS = 900


@dataclass(slots=True, frozen=True)
class Environment:
    """The virtualenv ``.venv-<name>``, which holds what ``requirements/<name>.lock`` says; ``package`` is the peer."""

    name: str
    package: str

    @property
    def folder(self) -> Path:
        return ROOT / f".venv-{self.name}"

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    @property
    def lock(self) -> Path:
        return ROOT / "requirements" / f"{self.name}.lock"

    def version(self) -> str:
        """Of the peer, as it is locked."""
        lines = self.lock.read_text(encoding="utf-8").splitlines()
        return next(line.split("==")[1].split()[0] for line in lines if line.startswith(f"{self.package}=="))

    def install(self, bench: Bench) -> Path:
        """The programs' folder of the virtualenv, which is made from the lock file when it is not there.

        Raises:
            Unavailable: it cannot be installed here.
        """
        digest = hashlib.sha256(self.lock.read_bytes() + sys.version.encode()).hexdigest()
        stamp = self.folder / "installed"
        if stamp.is_file() and stamp.read_text(encoding="ascii") == digest:
            return self.folder / "bin"
        uv = shutil.which("uv", path=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
        if uv is None:
            raise Unavailable(f"there is no uv to install {self.package} with: make bench makes one")
        bench.say(f"installing {self.package} {self.version()} into {self.folder.name}, once")
        for command in (
            [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(self.folder)],
            [
                uv,
                "pip",
                "sync",
                "--quiet",
                "--compile-bytecode",
                "--python",
                self.python,
                "--require-hashes",
                str(self.lock),
            ],
        ):
            try:
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=INSTALL_SECONDS,
                    stdin=subprocess.DEVNULL,
                )
            except subprocess.TimeoutExpired:
                raise Unavailable(f"{self.package} was not installed within {INSTALL_SECONDS} s") from None
            if done.returncode != 0:
                raise Unavailable(f"{self.package} cannot be installed: {done.stderr.strip()[-500:]}")
        stamp.write_text(digest, encoding="ascii")
        return self.folder / "bin"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
        return ports
