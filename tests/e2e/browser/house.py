"""What the browser tests stand on: the built console, a server process, and people who look at it in Chromium."""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2 as httpx

from penstock.journal.notes import SigningKey
from penstock.runs.rollouts.signing import make_key

ROOT = Path(__file__).resolve().parents[3]
CONSOLE = ROOT / "console"
BUILT = ROOT / "src" / "penstock" / "server" / "console"
AXE = CONSOLE / "node_modules" / "axe-core" / "axe.min.js"
SOURCES = ("src", "public", "index.html", "package.json", "package-lock.json", "vite.config.ts", "tsconfig.json")
PROGRAM = (sys.executable, "-P", "-c", "import sys; from penstock.cli import main; sys.exit(main())")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL_SECONDS = 300
T = TypeVar("T")


class Unavailable(Exception):
    """This machine cannot show a page; says why."""


def find_chromium() -> str:
    """The system's browser, installed by the system's package manager where that is possible.

    Raises:
        Unavailable: there is none, and it could not be installed.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and os.geteuid() == 0 and (apt := shutil.which("apt-get")) is not None:
        command = [apt, "install", "-y", "--no-install-recommends", "chromium"]
        subprocess.run(command, check=False, capture_output=True, timeout=INSTALL_SECONDS, stdin=subprocess.DEVNULL)
        found = shutil.which("chromium")
    if found is None:
        raise Unavailable("there is no Chromium on this machine, and it cannot be installed")
    return found


def build_console() -> None:
    """Build the console where what lies there is older than its sources, as make would.

    Raises:
        Unavailable: there is no Node to build it with.
    """
    lock = Path(tempfile.gettempdir()) / f"penstock-console-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:16]}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if is_built():
            return
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable("the console is not built, and there is no npm to build it with")
        steps = [] if (CONSOLE / "node_modules" / "vite").is_dir() else [["ci", "--no-audit", "--no-fund"]]
        for step in [*steps, ["run", "build"]]:
            done = subprocess.run([npm, *step], cwd=CONSOLE, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"npm {' '.join(step)} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"


def is_built() -> bool:
    """Whether no source is newer than anything that was built; a folder is when a file in it came or went."""
    built = [path.stat().st_mtime_ns for path in BUILT.rglob("*") if path.is_file()]
    sources = [path for name in SOURCES for path in (CONSOLE / name, *(CONSOLE / name).rglob("*"))]
    return (BUILT / "index.html").is_file() and max(
        path.stat().st_mtime_ns for path in sources if ".test." not in path.name
    ) < min(built)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class House:
    """A server process on a database, which may be killed and started again at the same address."""

    dsn: str
    folder: Path
    port: int = field(default_factory=free_port)
    admin: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    _process: "subprocess.Popen[str] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def effects(self) -> list[dict[str, Any]]:
        """What the refund tool has done, each time that it ran."""
        path = self.folder / "effects.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def refunds(self, order: str) -> int:
        """How often an order was paid back."""
        return sum(effect["order"] == order for effect in self.effects)

    def start(self) -> None:
        """Start the server; when this returns it listens."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        environment = {
            **kept,
            "PYTHONPATH": str(ROOT / "src"),
            "PENSTOCK_DATABASE_URL": self.dsn,
            "PENSTOCK_DATA_DIR": str(self.folder),
            "PENSTOCK_POLL_SECONDS": "0.1",
            "PENSTOCK_START_ALLOWANCE_SECONDS": "1",
            "PENSTOCK_DOUBT_MARGIN_SECONDS": "1",
            "PENSTOCK_RELEASE_KEY_FILE": str(self._signs()),
            "PENSTOCK_AUDIT_KEY_FILE": str(self._seals()),
            "PENSTOCK_AUDIT_SEAL_SECONDS": "0.2",
            "PENSTOCK_POLICY": str(Path(__file__).with_name("policy.yaml")),
            "SHOP_EFFECTS": str(self.folder / "effects.jsonl"),
        }
        command = [*PROGRAM, "serve", "shop", "--port", str(self.port), "--no-console", "--json"]
        with (self.folder / "serve.log").open("a") as log:
            self._process = subprocess.Popen(
                command,
                cwd=Path(__file__).parent,
                env=environment,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the server did not start:\n{(self.folder / 'serve.log').read_text()[-4000:]}"
        self.admin = json.loads(line)["admin_key"] or self.admin

    def _signs(self) -> Path:
        """The key that signs its releases, made at the first start."""
        path = self.folder / "release.pem"
        if not path.is_file():
            make_key(path)
        return path

    def _seals(self) -> Path:
        """The key that signs its audit logs, made at the first start."""
        path = self.folder / "audit.pem"
        if not path.is_file():
            path.write_bytes(SigningKey.make().pem())
            path.chmod(0o600)
        return path

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the server's process."""
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def client(self, key: str = "") -> httpx.AsyncClient:
        """A program that uses the API."""
        headers = {"Authorization": f"Bearer {key or self.admin}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    async def key(self, name: str, *roles: str) -> str:
        """The key of a person with these roles, made once."""
        if name not in self.keys:
            async with self.client() as client:
                answer = await client.post("/v1/keys", json={"name": name, "roles": roles})
                assert answer.status_code == 201, answer.text
                self.keys[name] = answer.json()["key"]
        return self.keys[name]

    async def draft(self, agent: str, key: str, instructions: str) -> str:
        """The id of a release that somebody drafted."""
        async with self.client(key) as client:
            body = {"agent": agent, "prompts": {"instructions": instructions}}
            answer = await client.post("/v1/releases", json=body)
            assert answer.is_success, answer.text
            release: str = answer.json()["id"]
            return release

    async def submit(self, agent: str, value: object, **fields: Any) -> str:
        """The id of a new run."""
        async with self.client() as client:
            answer = await client.post("/v1/runs", json={"agent": agent, "input": value, **fields})
            assert answer.status_code == 202, answer.text
            run: str = answer.json()["id"]
            return run

    async def send(self, run: str, name: str, value: object = None) -> None:
        """Send a run an event."""
        async with self.client() as client:
            answer = await client.post(f"/v1/runs/{run}/events", json={"name": name, "value": value})
            assert answer.is_success, answer.text

    async def run(self, run: str) -> dict[str, Any]:
        """A run as the API shows it."""
        async with self.client() as client:
            shown: dict[str, Any] = (await client.get(f"/v1/runs/{run}")).json()
            return shown

    async def question(self, run: str) -> dict[str, Any]:
        """What a run asks people, once it does."""

        async def asked() -> dict[str, Any] | None:
            async with self.client() as client:
                found = (await client.get("/v1/approvals", params={"limit": 500})).json()["items"]
            return next((item for item in found if item["run"] == run), None)

        return await until(asked, f"run {run} asks")

    async def ended(self, run: str) -> dict[str, Any]:
        """A run that has ended, as the API shows it."""

        seen: dict[str, Any] = {}

        async def over() -> dict[str, Any] | None:
            seen.update(await self.run(run))
            return seen if seen["status"] == "ended" else None

        try:
            return await until(over, f"run {run} ends")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{seen}\n{(self.folder / 'serve.log').read_text()[-4000:]}") from None


async def until(look: Callable[[], Awaitable[T | None]], what: str, seconds: float = 40) -> T:
    """The first thing that ``look`` finds."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = await look()
                if found is not None:
                    return found
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise AssertionError(f"not within {seconds} s: {what}") from error
