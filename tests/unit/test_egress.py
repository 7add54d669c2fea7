"""What a process may connect to: by name, by address, by redirect, by other ways to write the same, in its tools."""

import asyncio
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.environment_tools import fetch, fetch_in_thread, send

from penstock import Run, agent, tool
from penstock.adapters.egress import hook
from penstock.adapters.egress.guard import REMEMBERED_MAX, REMEMBERED_NS, Egress
from penstock.adapters.egress.hook import denial_in, enforced
from penstock.adapters.egress.targets import parse_target
from penstock.events import ToolOutcome, decode
from penstock.kernel.errors import EgressDenied, EnvironmentInvalid, ToolFailed
from penstock.settings import Settings
from penstock.testing import in_memory


class Site(http.server.BaseHTTPRequestHandler):
    """Says who it is, or sends elsewhere."""

    def do_GET(self) -> None:
        if "?" in self.path:
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2])
            self.end_headers()
            return
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *args: Any) -> None:
        """Nothing."""


class Served:
    def __init__(self, family: socket.AddressFamily, host: str) -> None:
        kind = type("Server", (http.server.ThreadingHTTPServer,), {"address_family": family})
        self.server = kind((host, 0), Site)
        self.asked: list[str] = []
        self.server.asked = self.asked
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[Served, Served]]:
    """Two servers of this machine."""
    found = Served(socket.AF_INET, "127.0.0.1"), Served(socket.AF_INET, "127.0.0.1")
    yield found
    for site in found:
        site.close()


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ns = 10**15

    def now_us(self) -> int:
        return self.ns // 1000

    def boot_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


Targets = list[tuple[str, int]]


def reaches(egress: Egress, host: str, port: int) -> bool:
    try:
        egress.check_address(host, port)
    except EgressDenied:
        return False
    return True


@pytest.mark.parametrize(
    ("entry", "allowed", "denied"),
    [
        ("api.bank.example:443", [("api.bank.example", 443)], [("api.bank.example", 80), ("bank.example", 443)]),
        (
            "api.bank.example",
            [("API.Bank.Example.", 80)],
            [("api.bank.example.evil.com", 80)],
        ),
        (
            "*.bank.example",
            [("a.bank.example", 1), ("a.b.bank.example", 1)],
            [("bank.example", 1), ("abank.example", 1)],
        ),
        ("bücher.example", [("xn--bcher-kva.example", 1), ("BÜCHER.example", 1)], [("bucher.example", 1)]),
        ("10.0.0.0/8:5432", [("10.1.2.3", 5432), ("::ffff:10.1.2.3", 5432)], [("10.1.2.3", 80), ("11.0.0.1", 5432)]),
        ("192.0.2.7:80", [("192.0.2.7", 80)], [("192.0.2.8", 80), ("0xc0000207", 80), ("3221225991", 80)]),
        ("[2001:db8::/32]:443", [("2001:db8::1", 443), ("2001:db8::1%eth0", 443)], [("2001:db9::1", 443)]),
        ("[::1]:8080", [("::1", 8080)], [("::1", 80), ("127.0.0.1", 8080)]),
        ("2001:db8::5", [("2001:db8::5", 9)], [("2001:db8::6", 9)]),
    ],
)
def test_an_entry_allows_what_it_says(
    entry: str, allowed: list[tuple[str, int]], denied: list[tuple[str, int]]
) -> None:
    egress = Egress([entry])
    assert [target for target in allowed if not reaches(egress, *target)] == []
    assert [target for target in denied if reaches(egress, *target)] == []


@pytest.mark.parametrize(
    "entry",
    [
        *("", " ", "*", "*.*.example", "a b.example", "http://x.example", "x.example:", "x.example:0"),
        *("x.example:65536", "x.example:http", "10.0.0.1/8", "10.0.0.0/33", "127.1", "[::1", "[::1]443"),
        *("-x.example", "x..example", "*.10.0.0.1"),
    ],
)
def test_what_is_no_entry_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is (no|neither)|has (no|the) port"):
        parse_target(entry)


def test_a_name_leads_to_addresses_for_a_while_and_on_its_ports() -> None:
    clock = Hand()
    egress = Egress(["api.bank.example:443", "*.open.example"], clock)
    egress.check_name("api.bank.example", 443)
    assert not reaches(egress, "192.0.2.7", 443)
    egress.remember("api.bank.example", ["192.0.2.7", "2001:db8::7"])
    egress.remember("a.open.example", ["192.0.2.9"])
    egress.remember("evil.example", ["192.0.2.66"])
    assert reaches(egress, "192.0.2.7", 443)
    assert reaches(egress, "2001:db8::7", 443)
    assert reaches(egress, "192.0.2.9", 1234)
    assert not reaches(egress, "192.0.2.7", 80)
    assert not reaches(egress, "192.0.2.66", 443)
    clock.ns += REMEMBERED_NS
    assert not reaches(egress, "192.0.2.7", 443)


@pytest.mark.parametrize(
    "near", ["127.0.0.1", "127.8.8.8", "169.254.169.254", "::1", "fe80::1", "0.0.0.0", "224.0.0.1"]
)
def test_a_name_leads_to_no_address_of_this_machine_or_its_link(near: str) -> None:
    """Whoever owns the name decides what it resolves to: DNS rebinding."""
    egress = Egress(["*.partner.example"])
    egress.remember("evil.partner.example", [near])
    assert not reaches(egress, near, 80)
    assert reaches(Egress(["*.partner.example", near]), near, 80)


def test_what_names_led_to_is_bounded() -> None:
    egress = Egress(["api.bank.example"])
    egress.remember("api.bank.example", [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(REMEMBERED_MAX + 10)])
    assert not reaches(egress, "10.0.0.1", 80)
    assert reaches(egress, "10.0.16.9", 80)


def test_what_the_installation_itself_needs_is_allowed() -> None:
    egress = Egress([])
    egress.allow_also("db.internal", 5432, own=True)
    egress.remember("db.internal", ["127.0.0.1"])
    assert reaches(egress, "127.0.0.1", 5432)
    assert not reaches(egress, "127.0.0.1", 80)
    egress.allow_also("hook.example", 443, own=False)
    egress.remember("hook.example", ["127.0.0.2", "192.0.2.1"])
    assert reaches(egress, "192.0.2.1", 443)
    assert not reaches(egress, "127.0.0.2", 443)


def is_denied(way: Callable[[], Any]) -> bool:
    """Whether it fails, and a denied connection is why."""
    try:
        way()
    except Exception as error:  # noqa: BLE001 - each library raises its own
        denied = denial_in(error)
        return denied is not None and denied.code == "egress_denied"
    return False


def connect(host: str, port: int, family: socket.AddressFamily = socket.AF_INET) -> None:
    with socket.socket(family) as sock:
        sock.connect((host, port))


def datagram(send_one: Callable[[socket.socket], Any]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        send_one(sock)


def test_servers_that_are_configured_are_reached_whenever_that_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models and upstreams are made before a list is in force, or after."""
    monkeypatch.setattr(hook._process, "own", {})
    before, after = Egress([]), Egress([])
    with enforced(before):
        hook.allow_url("http://models.internal:8000/v1")
        assert reaches(before, "models.internal", 8000)
    with enforced(after):
        assert reaches(after, "models.internal", 8000)
        assert not reaches(after, "models.internal", 80)
        hook.allow_url("https://x.example:no/")
        assert not reaches(after, "x.example", 443)


def test_python_s_sockets_are_held_to_the_list(sites: tuple[Served, Served]) -> None:
    open_, shut = sites
    there = f"http://127.0.0.1:{shut.port}/"
    ways: list[Callable[[], Any]] = [
        lambda: socket.create_connection(("127.0.0.1", shut.port)),
        lambda: socket.create_connection(("localhost", shut.port)),
        lambda: connect("127.1", shut.port),
        lambda: connect("", shut.port),
        lambda: datagram(lambda sock: sock.connect_ex(("127.0.0.1", shut.port))),
        lambda: connect("::ffff:127.0.0.1", shut.port, socket.AF_INET6),
        lambda: connect("::1", shut.port, socket.AF_INET6),
        lambda: datagram(lambda sock: sock.sendto(b"x", ("127.0.0.1", shut.port))),
        lambda: datagram(lambda sock: sock.sendmsg([b"x"], [], 0, ("127.0.0.1", shut.port))),
        lambda: socket.getaddrinfo("exfiltrate.evil.example", 53),
        lambda: socket.gethostbyname("exfiltrate.evil.example"),
        lambda: fetch(there),
        lambda: fetch(f"http://127.0.0.1:{open_.port}/?{there}"),
        lambda: httpx.get(there),
        lambda: httpx.get(f"http://127.0.0.1:{open_.port}/?{there}", follow_redirects=True),
    ]
    shut.asked.clear()
    with enforced(Egress([f"127.0.0.1:{open_.port}"])):
        assert fetch(f"http://127.0.0.1:{open_.port}/") == "here"
        for way in ways:
            assert is_denied(way)
        ours, theirs = socket.socketpair()
        ours.sendall(b"x")
        ours.close()
        theirs.close()
    assert shut.asked == []
    assert fetch(there) == "here"  # nothing is in force any more


def test_ipv6_is_reached_where_it_is_listed() -> None:
    try:
        site = Served(socket.AF_INET6, "::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    try:
        with enforced(Egress([f"[::1]:{site.port}"])):
            assert fetch(f"http://[::1]:{site.port}/") == "here"
        with enforced(Egress([f"127.0.0.1:{site.port}"])):
            assert is_denied(lambda: fetch(f"http://[::1]:{site.port}/"))
    finally:
        site.close()


def test_a_name_that_is_listed_is_followed_to_where_it_leads(sites: tuple[Served, Served]) -> None:
    open_, shut = sites
    with enforced(Egress([f"localhost:{open_.port}"])):
        with pytest.raises(EgressDenied):
            socket.create_connection(("127.0.0.1", open_.port))
        assert is_denied(lambda: fetch(f"http://localhost:{shut.port}/"))
        assert fetch(f"http://localhost:{open_.port}/") == "here"
        socket.create_connection(("127.0.0.1", open_.port)).close()  # that is where the name led


async def test_asyncio_is_held_to_it_too(sites: tuple[Served, Served]) -> None:
    open_, shut = sites
    with enforced(Egress([f"127.0.0.1:{open_.port}"])):
        _, writer = await asyncio.open_connection("127.0.0.1", open_.port)
        writer.close()
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(EgressDenied):
                await asyncio.open_connection(host, shut.port)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{open_.port}/")).text == "here"
            with pytest.raises(httpx.ConnectError) as refused:
                await client.get(f"http://127.0.0.1:{shut.port}/")
        assert denial_in(refused.value) is not None


def test_uvloop_goes_past_python_s_sockets_and_is_refused() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        with pytest.raises(EnvironmentInvalid, match="uvloop"), enforced(Egress([])):
            pass

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@tool(effect="read")
async def fetch_here(url: str) -> str:
    """Over HTTP, in the event loop."""
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).text


@agent("browser")
async def browser(run: Run, calls: list[list[str]]) -> list[str]:
    tools: dict[str, Any] = {"here": fetch_here, "thread": fetch_in_thread, "process": send}
    heard = []
    for name, url in calls:
        try:
            heard.append(str(await run.call(tools[name], url)))
        except ToolFailed as failed:
            heard.append(str(failed.fields["failure"]))
    return heard


async def test_every_place_where_tools_run_is_held_to_it(sites: tuple[Served, Served], tmp_path: Path) -> None:
    """In the loop, in a thread, in a process of its own; and a denied write is no doubt."""
    open_, shut = sites
    file = tmp_path / "environments.toml"
    file.write_text(f'[staging]\negress = ["127.0.0.1:{open_.port}"]\n')
    settings = Settings(environment="staging", environments=file, poll_seconds=0.05)
    calls = [[name, f"http://127.0.0.1:{site.port}/"] for site in sites for name in ("here", "thread", "process")]
    calls += [["process", f"udp:{shut.port}"], ["process", f"http://127.0.0.1:{open_.port}/?{calls[-1][1]}"]]
    shut.asked.clear()
    assert send.definition.in_doubt == "escalate"
    async with in_memory(settings, agents=[browser]) as platform:
        run = await platform.submit(browser, calls)
        result = await platform.result(run, timeout_seconds=20)
        tape = [decode(row.body) for row in await platform.journal.tape("default", run)]
    assert result.output == ["here"] * 3 + ["egress_denied"] * 5
    outcomes = [event for event in tape if isinstance(event, ToolOutcome)]
    assert {outcome.status for outcome in outcomes[3:]} == {"error"}
    assert outcomes[3].failure is not None
    assert f"127.0.0.1:{shut.port}" in outcomes[3].failure.words
    assert shut.asked == []
    assert hook._process.lists == ()
