"""`penstock serve` as a real process, and the socket it listens on."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from tests.server.conftest import QUICK
from tests.server.desk import AGENTS, slow

from penstock import Settings
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.postgres.journal import open_journal
from penstock.cli import main
from penstock.kernel.errors import InputInvalid, ListensPublicly
from penstock.ports.controls import of_run
from penstock.ports.records import RunFilter, Status
from penstock.server import limits, protocol
from penstock.server.app import create_app
from penstock.server.serving import Serving, address_of, bind, check_host
from penstock.wiring import assemble

FOLDER = Path(__file__).parent
PROGRAM = (sys.executable, "-P", "-c", "import sys; from penstock.cli import main; sys.exit(main())")


class Process:
    """A server that was started."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        assert process.stdout is not None
        self.first: dict[str, Any] = json.loads(process.stdout.readline())

    @property
    def key(self) -> str:
        return str(self.first["admin_key"])

    def client(self, key: str = "") -> httpx.Client:
        return httpx.Client(
            base_url=self.first["url"],
            headers={"Authorization": f"Bearer {key or self.key}"},
            timeout=30,
            trust_env=False,
        )

    def end(self) -> tuple[int, str, str]:
        """Exit code, what else it wrote to standard output, and its log."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


Start = Callable[..., Process]


@pytest.fixture
def environment(journal_dsn: str, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return {
        **kept,
        "PYTHONPATH": f"{FOLDER.parents[1] / 'src'}",
        "PENSTOCK_DATABASE_URL": journal_dsn,
        "PENSTOCK_DATA_DIR": str(tmp_path),
        "PENSTOCK_POLL_SECONDS": "0.1",
    }


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **more: str) -> Process:
        command = [*PROGRAM, "serve", *arguments, "--port", "0", "--no-console", "--json"]
        process = subprocess.Popen(
            command,
            cwd=FOLDER,
            env={**environment, **more},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return Process(process)

    yield run
    for process in started:
        process.kill()
        process.communicate()


async def test_it_serves_and_stops_in_order_with_a_run_in_flight(start: Start, journal_dsn: str) -> None:
    serving = start("desk")
    assert serving.first["state"] == "serving"
    assert set(serving.first["agents"]) == {agent.name for agent in AGENTS}
    journal = await open_journal(journal_dsn)
    async with assemble(journal, Settings(), agents=AGENTS) as platform:
        run = await platform.submit(slow, 1.5)
        with serving.client() as client:
            assert client.get("/v1/me").json()["actor"] == "key:first-admin"
            async with asyncio.timeout(30):
                while not (await journal.open_intents(of_run("default", run))):
                    await asyncio.sleep(0.02)
            serving.process.send_signal(signal.SIGTERM)
            code, out, log = await asyncio.to_thread(serving.end)
        assert (code, json.loads(out)) == (0, {"state": "stopped"})
        assert serving.key not in log
        assert not [line for line in log.splitlines() if "Traceback" in line or "ERROR" in line], log
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        assert any(line["route"] == "/v1/me" and line["actor"] == "key:first-admin" for line in lines)
        row = await journal.get_run("default", run)
        assert row is not None
        assert (row.status is Status.ENDED and row.outcome == "succeeded") or row.status is Status.QUEUED
        assert await journal.open_intents(of_run("default", run)) == [], "the call in flight was waited for"

    again = start("desk")
    assert again.first["admin_key"] is None
    with again.client(serving.key) as client:
        assert client.get("/v1/me").status_code == 200
    again.process.send_signal(signal.SIGINT)
    assert (await asyncio.to_thread(again.end))[0] == 0
    journal = await open_journal(journal_dsn)
    assert await journal.list_runs("default", RunFilter(status=Status.RUNNING), 10) == []
    await journal.close()


async def test_a_second_signal_leaves_at_once(start: Start, journal_dsn: str) -> None:
    serving = start("desk", PENSTOCK_DRAIN_SECONDS="50")
    journal = await open_journal(journal_dsn)
    async with assemble(journal, Settings(), agents=AGENTS) as platform:
        run = await platform.submit(slow, 50.0)
        async with asyncio.timeout(30):
            while not (await journal.open_intents(of_run("default", run))):
                await asyncio.sleep(0.02)
        serving.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            await asyncio.to_thread(serving.process.wait, 1.0)
        serving.process.send_signal(signal.SIGTERM)
        assert (await asyncio.to_thread(serving.end))[0] == 128 + signal.SIGTERM


def test_the_demo_is_alive_at_once(start: Start, environment: dict[str, str]) -> None:
    """Tickets are worked, some wait for a person; everything says that it is simulated."""
    serving = start("--demo")
    assert (serving.first["tenant"], serving.first["agents"]) == ("demo", ["support-desk"])
    with serving.client() as client:
        deadline = time.monotonic() + 60
        runs: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            runs = client.get("/v1/runs?limit=100").json()["items"]
            if any(run["outcome"] == "succeeded" for run in runs):
                break
            time.sleep(0.2)
        assert len(runs) >= 12
        listed = subprocess.run(
            [*PROGRAM, "runs", "ls", "--json"],
            env={**environment, **serving.first["variables"]},
            capture_output=True,
            text=True,
            check=True,
        )
        assert {run["tenant"] for run in json.loads(listed.stdout)} == {"demo"}, "other commands do not see it"
        ended = next(run for run in runs if run["outcome"] == "succeeded")
        assert client.get(f"/v1/runs/{ended['id']}").json()["simulated"] is True
        assert ended["tags"]["feature"] == "demo"
    serving.process.send_signal(signal.SIGTERM)
    code, _, log = serving.end()
    assert code == 0
    assert "ERROR" not in log


def test_what_it_refuses(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, code in (
            (("--host", "0.0.0.0"), "listens_publicly"),
            (("--host", "127.0.0.1", "--port", port), "input_invalid"),
            (("--worker", "a", "--no-worker"), "usage"),
            (("--root-path", "penstock/"), "usage"),
            (("no_such_module",), "agent_unknown"),
        ):
            assert main(["serve", *arguments, "--json"]) == 2
            assert json.loads(capsys.readouterr().err)["error"]["code"] == code


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_only_loopback_unless_told(host: str) -> None:
    with pytest.raises(ListensPublicly):
        check_host(host, publicly=False)
    check_host(host, publicly=True)
    for loopback in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        check_host(loopback, publicly=False)


def test_an_address_that_is_not_here() -> None:
    for host in ("192.0.2.1", "no-such-host.invalid", "x" * 300):
        with pytest.raises(InputInvalid, match="cannot listen"):
            bind(host, 0)


@contextlib.asynccontextmanager
async def listening(**settings: Any) -> AsyncIterator[tuple[str, int]]:
    """The real server on a socket of this process."""
    chosen = Settings(**{**QUICK, **settings})
    async with assemble(MemoryJournal(), chosen, agents=AGENTS) as platform:
        listener = bind("127.0.0.1", 0)
        serving = Serving(create_app(platform, log=lambda line: None), listener, chosen)
        up = asyncio.Event()
        running = asyncio.create_task(serving.run(up.set))
        await up.wait()
        yield listener.getsockname()
        serving.stop()
        await running


async def raw(place: tuple[str, int], *parts: bytes) -> bytes:
    """What is answered to these bytes, until the server closes."""
    reader, writer = await asyncio.open_connection(*place)
    for part in parts:
        writer.write(part)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
    answer = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(20):
            answer = await reader.read(-1)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer


async def test_a_head_without_end_is_not_held() -> None:
    async with listening() as place:
        many = b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20_000))
        assert (await raw(place, many)).startswith(b"HTTP/1.1 431 ")
        one = b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000
        assert (await raw(place, one)).startswith(b"HTTP/1.1 431 ")
        target = b"GET /" + b"y" * 200_000
        assert (await raw(place, target)).startswith(b"HTTP/1.1 431 ")
        usual = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await raw(place, usual)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"server:" not in answer.lower()
        assert (await raw(place, b"\x16\x03\x01 nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_strangers_who_never_end_a_body_keep_nobody_with_a_key_out() -> None:
    half = b"POST /v1/sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    async with listening(http_concurrency=3, http_request_seconds=30.0) as place:
        held = [await asyncio.open_connection(*place) for _ in range(limits.STRANGERS_MAX)]
        for _, writer in held:
            writer.write(half)
        signing_in = half.replace(b"99", b"1").replace(b"Host", b"Connection: close\r\nHost")
        async with asyncio.timeout(10):
            while not (await raw(place, signing_in)).startswith(b"HTTP/1.1 503 "):
                pass
        answer = await raw(place, b"GET /v1/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 401 "), "those with a key have places of their own"
        for _, writer in held:
            writer.close()
        large = half.replace(b"99", b"%d" % (limits.STRANGERS_BODY_MAX_BYTES + 1))
        assert (await raw(place, large.replace(b"Host", b"Connection: close\r\nHost"))).startswith(b"HTTP/1.1 413 ")


async def test_whoever_sends_a_head_too_slowly_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    async with listening() as place:
        assert await raw(place) == b""
        assert (await raw(place, b"GET / HTTP/1.1\r\nX:")).startswith(b"HTTP/1.1 408 ")
        twice = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await raw(place, twice, b"GET /hea")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 408 " in answer


async def test_a_body_that_is_sent_too_slowly_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    async with listening() as place:
        head = b"POST /v1/sign-in HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        head += b"Content-Length: 99\r\n\r\n{"
        answer = await raw(place, head)
        assert answer.startswith(b"HTTP/1.1 ")
        assert b"request_timed_out" in answer


async def test_a_large_body_is_no_large_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies are bounded by the application, not with heads; keep-alive goes on after them."""
    monkeypatch.setattr("penstock.server.frame.STRANGERS_BODY_MAX_BYTES", 1_000_000)
    async with listening() as place:
        body = b'{"key": "' + b"x" * 200_000 + b'"}'
        head = b"POST /v1/sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        close = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await raw(place, head % len(body), body[:70_000], body[70_000:], close)
        assert answer.startswith(b"HTTP/1.1 422 ")
        assert b"HTTP/1.1 200 " in answer


async def test_trusted_proxies_say_whence_and_how(monkeypatch: pytest.MonkeyPatch) -> None:
    forwarded = b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 203.0.113.9\r\n"
    body = b'{"key": "pk_aaaaaaaa_' + b"x" * 43 + b'"}'
    head = (
        b"POST /v1/sign-in HTTP/1.1\r\nHost: x\r\n%sConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    )
    for proxies, statuses in (("", (401, 429)), ("127.0.0.1", (401, 401))):
        async with listening(auth_failures_per_minute=1, trusted_proxies=proxies) as place:
            found = []
            for extra in (forwarded, b"X-Forwarded-For: 203.0.113.10\r\n"):
                answer = await raw(place, head % (extra, len(body), body))
                found.append(int(answer.split(b" ")[1]))
            assert tuple(found) == statuses


def test_the_address_that_is_said() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert address_of(listener, "/penstock") == f"http://127.0.0.1:{listener.getsockname()[1]}/penstock/"
