"""The MCP proxy, spoken to by the official client: sessions are runs, calls pass the tool gate, keys say who asks."""

import asyncio
import contextlib
import copy
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import Server
from mcp.shared.memory import create_client_server_memory_streams

from penstock import Budget, Settings
from penstock.events import RunClaimed, RunParked, ToolIntent, ToolOutcome, decode
from penstock.integrations.mcp import McpEffect, MCPServer, mcp_tools, read, write
from penstock.integrations.mcp.connection import Connection
from penstock.integrations.mcp.proxy.config import AgentConfig, ProxyConfig, read_config
from penstock.integrations.mcp.proxy.serving import Proxy, offered_tools
from penstock.integrations.mcp.proxy.session import Principal
from penstock.integrations.mcp.proxy.sessions import Sessions
from penstock.kernel.errors import McpConfigInvalid, PenstockError
from penstock.ports.controls import Scope
from penstock.ports.records import RunFilter, Stop
from penstock.runs.client import Penstock
from penstock.server.access.doorkeeper import Doorkeeper
from penstock.server.access.keys import make_key
from penstock.server.gateway.keys import make_gateway_key
from penstock.server.mcp import McpApp, principal_of, serve_http
from penstock.server.serving import bind
from penstock.testing import in_memory

QUICK = Settings(
    poll_seconds=0.02,
    start_allowance_seconds=0.2,
    doubt_margin_seconds=0.1,
    mcp_approval_wait_seconds=0.2,
    mcp_wait_seconds=5.0,
)
EFFECTS = {
    "look": read(repeatable=True),
    "write": write(permission="auto"),
    "ask": write(),
    "slow": read(repeatable=True),
    "never": write(risk="prohibited"),
}


class Upstream:
    """A server in this process that keeps what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.go_on = asyncio.Event()
        self.fails = False

    @contextlib.asynccontextmanager
    async def transport(self) -> AsyncIterator[tuple[Any, Any]]:
        server: Server[Any] = Server("upstream", on_list_tools=self._list, on_call_tool=self._call)
        async with create_client_server_memory_streams() as (ours, theirs):
            serving = asyncio.create_task(server.run(*theirs, server.create_initialization_options()))
            try:
                yield ours
            finally:
                serving.cancel()
                await asyncio.wait({serving})

    async def _list(self, ctx: Any, params: Any) -> types.ListToolsResult:
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        tools = [types.Tool(name=name, description=name, input_schema=schema) for name in EFFECTS]
        return types.ListToolsResult(tools=tools)

    async def _call(self, ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        self.calls.append((params.name, params.arguments or {}))
        if params.name == "slow":
            await self.go_on.wait()
        if self.fails:
            return types.CallToolResult(content=[types.TextContent(text="it did not work out")], is_error=True)
        text = types.TextContent(text=f"{params.name} {params.arguments}")
        return types.CallToolResult(content=[text], structured_content={"said": params.arguments})

    def server(self, effects: dict[str, McpEffect] = EFFECTS) -> MCPServer:
        """As the proxy knows it."""
        server = MCPServer("upstream", command=["unused"], tools=effects)
        connection = Connection("upstream", self.transport, connect_seconds=5, relist_seconds=30)
        server._connections[asyncio.get_running_loop()] = connection
        return server


@dataclasses.dataclass
class World:
    platform: Penstock
    upstream: Upstream
    proxy: Proxy
    config: ProxyConfig
    sessions: Sessions

    async def events(self, run: UUID) -> list[Any]:
        return [decode(row.body) for row in await self.platform.journal.tape("default", run)]

    async def runs(self) -> list[Any]:
        return await self.platform.journal.list_runs("default", RunFilter(), 100)


@contextlib.asynccontextmanager
async def proxied(
    *agents: AgentConfig, settings: Settings = QUICK, principal: Callable[[Any], Principal] | None = None
) -> AsyncIterator[World]:
    """A proxy on the journal in memory, before one server."""
    upstream = Upstream()
    server = upstream.server()
    config = ProxyConfig((server,), agents or (AgentConfig("mcp"),), Path("unused"))
    me = Principal("default", config.agents[0], "", "mcp")
    async with in_memory(settings) as platform, Sessions(platform) as sessions:
        tools = await offered_tools(config)
        proxy = Proxy(config, sessions, tools, principal or (lambda ctx: me), "1")
        yield World(platform, upstream, proxy, config, sessions)
        upstream.go_on.set()
    await server.close()


def text(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


def meta(result: types.CallToolResult) -> dict[str, Any]:
    return dict(result.meta or {})


def run_of(result: types.CallToolResult) -> UUID:
    return UUID(meta(result)["penstock/run"])


async def question(platform: Penstock) -> Any:
    while not (waiting := await platform.approvals()):
        await asyncio.sleep(0.01)
    return waiting[0]


async def test_a_call_passes_the_gate_and_is_on_the_record_of_its_session() -> None:
    async with proxied() as world, Client(world.proxy.server) as client:
        result = await client.call_tool("write", {"text": "a"})
        assert (text(result), result.structured_content) == ("write {'text': 'a'}", {"said": {"text": "a"}})
        again = await client.call_tool("look", {"text": "b"})
        assert run_of(result) == run_of(again), "one session is one run"
        events = await world.events(run_of(result))
        intents = [event for event in events if isinstance(event, ToolIntent)]
        assert [(event.tool, event.effect) for event in intents] == [("write", "write"), ("look", "read")]
        assert [event.call_id for event in intents] == [meta(result)["penstock/call"], meta(again)["penstock/call"]]
        assert sum(isinstance(event, ToolOutcome) for event in events) == 2


async def test_a_client_sees_what_it_may_call_with_effects_as_declared_here() -> None:
    async with proxied(AgentConfig("reader", tools=("l*", "never"))) as world, Client(world.proxy.server) as client:
        (tool,) = (await client.list_tools()).tools
        assert tool.name == "look"
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is True
        for name in ("write", "nothing", "x" * 500):
            denied = await client.call_tool(name, {"text": "a"})
            assert denied.is_error
            assert meta(denied)["penstock/code"] == "tool_unknown"
        assert meta(await client.call_tool("never", {}))["penstock/code"] == "prohibited"
        assert world.upstream.calls == []


async def test_what_the_gate_refuses_is_an_error_with_its_code() -> None:
    agent = AgentConfig("mcp", budget=Budget(calls=2))
    async with proxied(agent) as world, Client(world.proxy.server) as client:
        assert text(await client.call_tool("never", {})).startswith("prohibited: ")
        assert text(await client.call_tool("write", {"text": 1})).startswith("arguments_invalid: ")
        await client.call_tool("write", {"text": "a"})
        assert text(await client.call_tool("write", {"text": "a"})).startswith("repeated_write: ")
        await client.call_tool("write", {"text": "b"})
        over = await client.call_tool("write", {"text": "c"})
        assert meta(over)["penstock/code"] == "over_calls"
        assert meta(await client.call_tool("look", {}))["penstock/code"] == "over_calls", "the session stays over"
        assert [arguments["text"] for _, arguments in world.upstream.calls] == ["a", "b"]


async def test_a_call_that_needs_a_person_says_so_and_its_repetition_gets_the_result() -> None:
    async with proxied() as world, Client(world.proxy.server) as client:
        held = await client.call_tool("ask", {"text": "a"})
        assert held.is_error
        asked = await question(world.platform)
        assert meta(held)["penstock/code"] == "approval_required"
        assert meta(held)["penstock/approval"] == asked.id
        assert asked.id in text(held)
        assert world.upstream.calls == []
        assert meta(await client.call_tool("ask", {"text": "a"}))["penstock/approval"] == asked.id, "not a second one"
        assert (await client.call_tool("look", {})).is_error is False, "other calls go on meanwhile"
        await world.platform.decide(asked, "approve", actor="ben")
        done = await client.call_tool("ask", {"text": "a"})
        assert text(done) == "ask {'text': 'a'}"
        assert [name for name, _ in world.upstream.calls].count("ask") == 1


async def test_a_client_that_waits_gets_the_result_as_soon_as_a_person_approves() -> None:
    patient = dataclasses.replace(QUICK, mcp_approval_wait_seconds=5.0)
    async with proxied(settings=patient) as world, Client(world.proxy.server) as client:
        calling = asyncio.create_task(client.call_tool("ask", {"text": "a"}))
        await world.platform.decide(await question(world.platform), "approve", actor="ben")
        assert text(await calling) == "ask {'text': 'a'}"
        refused = asyncio.create_task(client.call_tool("ask", {"text": "b"}))
        await world.platform.decide(await question(world.platform), "deny", actor="ben")
        assert meta(await refused)["penstock/code"] == "approval_deny"
        assert len(world.upstream.calls) == 1


async def test_a_call_that_takes_longer_than_clients_wait_is_not_made_twice() -> None:
    impatient = dataclasses.replace(QUICK, mcp_wait_seconds=0.3)
    async with proxied(settings=impatient) as world, Client(world.proxy.server) as client:
        late = await client.call_tool("slow", {"text": "a"})
        assert meta(late)["penstock/code"] == "mcp_still_running"
        world.upstream.go_on.set()
        assert text(await client.call_tool("slow", {"text": "a"})) == "slow {'text': 'a'}"
        assert world.upstream.calls == [("slow", {"text": "a"})]


async def test_calls_of_a_session_go_on_side_by_side() -> None:
    async with proxied() as world, Client(world.proxy.server) as client:
        calling = [asyncio.create_task(client.call_tool("slow", {"text": str(number)})) for number in range(8)]
        while len(world.upstream.calls) < 8:
            await asyncio.sleep(0.01)
        world.upstream.go_on.set()
        results = await asyncio.gather(*calling)
        assert [text(result) for result in results] == [f"slow {{'text': '{number}'}}" for number in range(8)]


async def test_a_run_is_kept_in_memory_from_one_call_to_the_next() -> None:
    async with proxied() as world, Client(world.proxy.server) as client:
        for number in range(5):
            await client.call_tool("look", {"text": str(number)})
            await asyncio.sleep(0.05)
        (run,) = await world.runs()
        events = await world.events(run.id)
        assert sum(isinstance(event, RunClaimed) for event in events) == 1, "its tape is not read for each call"
        assert not any(isinstance(event, RunParked) for event in events)


async def test_killing_the_run_ends_the_calls_that_wait_and_refuses_those_that_come() -> None:
    async with proxied() as world, Client(world.proxy.server) as client:
        first = await client.call_tool("look", {})
        calling = asyncio.create_task(client.call_tool("ask", {"text": "a"}))
        await question(world.platform)
        await world.platform.kill(run_of(first), actor="ben", reason="enough")
        assert meta(await calling)["penstock/code"] in ("killed", "approval_required")
        killed = await client.call_tool("look", {})
        assert meta(killed)["penstock/code"] == "killed"
        assert "the run was killed" in text(killed)
        assert [name for name, _ in world.upstream.calls] == ["look"]


async def test_a_pause_holds_a_write_until_it_is_lifted() -> None:
    impatient = dataclasses.replace(QUICK, mcp_wait_seconds=0.4)
    async with proxied(settings=impatient) as world, Client(world.proxy.server) as client:
        await client.call_tool("look", {})
        scope = Scope("agent", "default", "mcp")
        await world.platform.stop(scope, Stop.PAUSE, actor="ben")
        held = await client.call_tool("write", {"text": "a"})
        assert meta(held)["penstock/code"] == "mcp_still_running"
        assert [name for name, _ in world.upstream.calls] == ["look"]
        await world.platform.resume(scope, actor="ben")
        assert text(await client.call_tool("write", {"text": "a"})) == "write {'text': 'a'}"
        assert [name for name, _ in world.upstream.calls] == ["look", "write"]


async def test_a_call_that_no_worker_took_up_in_time_is_not_made_later() -> None:
    impatient = dataclasses.replace(QUICK, mcp_wait_seconds=0.2)
    async with proxied(settings=impatient) as world, Client(world.proxy.server) as client:
        scope = Scope("agent", "default", "mcp")
        await world.platform.stop(scope, Stop.PAUSE, actor="ben")
        assert meta(await client.call_tool("write", {"text": "a"}))["penstock/code"] == "mcp_still_running"
        await asyncio.sleep(0.1)
        await world.platform.resume(scope, actor="ben")
        late = await client.call_tool("write", {"text": "a"})
        assert meta(late)["penstock/code"] == "mcp_too_late"
        assert world.upstream.calls == []


def started_again(world: World) -> "Server[Any]":
    """The server of another proxy process on the same journal."""
    sessions = Sessions(world.platform)
    sessions._agents = world.sessions._agents
    proxy = copy.copy(world.proxy)
    proxy._sessions = sessions
    return Server("penstock", on_list_tools=proxy._list_tools, on_call_tool=proxy._call_tool)


async def test_a_session_with_a_name_goes_on_in_another_proxy_and_knows_its_questions() -> None:
    named: Any = {"penstock/run": "ticket-7", "penstock/tags": {"customer": "acme"}}
    async with proxied() as world:
        async with Client(world.proxy.server) as client:
            held = await client.call_tool("ask", {"text": "a"}, meta=named)
            assert meta(held)["penstock/code"] == "approval_required"
        async with Client(started_again(world)) as client:
            await world.platform.decide(await question(world.platform), "approve", actor="ben")
            done = await client.call_tool("ask", {"text": "a"}, meta=named)
            assert text(done) == "ask {'text': 'a'}"
            assert run_of(done) == run_of(held)
        async with Client(started_again(world)) as client:
            other: Any = {"penstock/run": "ticket-7", "penstock/tags": {"customer": "other"}}
            conflict = await client.call_tool("look", {}, meta=other)
            assert meta(conflict)["penstock/code"] == "idempotency_conflict", "nobody takes over another's tags"
        assert [name for name, _ in world.upstream.calls] == ["ask"]
        (run,) = await world.runs()
        assert run.tags == {"customer": "acme", "x_mcp_session": "ticket-7"}


async def test_a_session_ends_with_its_client_and_withdraws_what_waits_for_a_person() -> None:
    async with proxied() as world:
        async with Client(world.proxy.server) as client:
            await client.call_tool("look", {})
        await world.sessions.__aexit__(None, None, None)
        (run,) = await world.runs()
        assert (run.outcome, run.code) == ("succeeded", "")
    async with proxied() as world:
        async with Client(world.proxy.server) as client:
            await client.call_tool("ask", {"text": "a"})
        await world.sessions.__aexit__(None, None, None)
        (run,) = await world.runs()
        assert run.outcome == "cancelled"
        assert await world.platform.approvals() == []
        assert world.upstream.calls == []


async def test_an_idle_session_ends_and_the_next_call_begins_another() -> None:
    lazy = dataclasses.replace(QUICK, mcp_session_idle_seconds=1.0)
    waiting: Any = {"penstock/run": "waits-for-a-person"}
    async with proxied(settings=lazy) as world, Client(world.proxy.server) as client:
        first = await client.call_tool("look", {})
        held = await client.call_tool("ask", {"text": "a"}, meta=waiting)
        await world.platform.ended(run_of(first), timeout_seconds=20)
        second = await client.call_tool("look", {})
        assert text(second) == "look {}"
        assert run_of(second) != run_of(first)
        await asyncio.sleep(1.0)
        beside = await client.call_tool("look", {}, meta=waiting)
        assert (text(beside), run_of(beside)) == ("look {}", run_of(held)), "one that waits for a person is not idle"


@contextlib.asynccontextmanager
async def over_http(*agents: AgentConfig) -> AsyncIterator[tuple[World, str, Callable[..., Any]]]:
    """The proxy on a socket; its address, and what makes a client with a key."""
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    async with proxied(*agents, principal=principal_of) as world:
        services = world.platform.services
        doorkeeper = Doorkeeper(world.platform.journal.access, services.clock, services.settings)
        up, stop = asyncio.Event(), asyncio.Event()
        app = McpApp(world.proxy.server, world.config, world.platform.journal, doorkeeper, services.settings)
        serving = asyncio.create_task(serve_http(app, listener, up.set, stop))
        await up.wait()

        @contextlib.asynccontextmanager
        async def client(key: str, **headers: str) -> AsyncIterator[Client]:
            said = {"Authorization": f"Bearer {key}", **headers}
            async with (
                httpx2.AsyncClient(headers=said) as http,
                Client(streamable_http_client(url, http_client=http), mode=headers.pop("mode", "auto")) as made,
            ):
                yield made

        try:
            yield world, url, client
        finally:
            stop.set()
            await serving


async def key_of(world: World, name: str, role: str = "operator") -> str:
    made = await make_key(
        world.platform.journal.access,
        world.platform.services.clock,
        "default",
        name,
        [role],
        most=10,
        created_by="test",
    )
    assert made is not None
    return made[1]


async def test_over_http_the_key_says_which_agent_it_is_and_whose_sessions_it_has() -> None:
    agents = AgentConfig("desk", keys=("desk-key",), tools=("look",), tags={"customer": "acme"}), AgentConfig("mcp")
    async with over_http(*agents) as (world, _, client):
        desk, other = await key_of(world, "desk-key"), await key_of(world, "other-key")
        async with client(desk, **{"Penstock-Run": "t-1", "Penstock-Tags": "feature=inbox"}) as one:
            assert [tool.name for tool in (await one.list_tools()).tools] == ["look"]
            mine = await one.call_tool("look", {})
            assert text(mine) == "look {}"
        async with client(other, **{"Penstock-Run": "t-1"}) as two:
            theirs = await two.call_tool("write", {"text": "a"})
            assert run_of(theirs) != run_of(mine)
        async with client(await key_of(world, "other-key"), **{"Penstock-Run": "t-1"}) as namesake:
            assert run_of(await namesake.call_tool("look", {})) != run_of(theirs), "a session is its key's alone"
        runs = {run.id: run for run in await world.runs()}
        assert runs[run_of(mine)].agent == "desk"
        assert runs[run_of(mine)].tags == {"customer": "acme", "feature": "inbox", "x_mcp_session": "t-1"}
        async with client(desk, **{"Penstock-Run": "t-2", "Penstock-Tags": "customer=other"}) as three:
            refused = await three.call_tool("look", {})
            assert refused.is_error, "a tag that the file sets for the agent is not the client's to change"
            assert len(await world.runs()) == 3, "and no session was begun"


async def test_a_key_of_the_gateway_is_its_agent_with_its_tags_and_budget() -> None:
    async with over_http(AgentConfig("desk", tools=("look", "write"))) as (world, _, client):
        services = world.platform.services

        async def bound(name: str, agent: str) -> str:
            *_, key = await make_gateway_key(
                services.journal,
                services.clock,
                services.settings,
                "default",
                name,
                agent=agent,
                tags={"customer": "acme"},
                budget=Budget(calls=1),
                created_by="test",
            )
            return key

        async with client(await bound("desk-key", "desk")) as desk:
            assert not (await desk.call_tool("write", {"text": "a"})).is_error
            assert meta(await desk.call_tool("write", {"text": "b"}))["penstock/code"] == "over_calls"
        async with client(await bound("other-key", "desk"), **{"Penstock-Tags": "customer=other"}) as thief:
            assert meta(await thief.call_tool("look", {}))["penstock/code"] == "tag_invalid"
        async with client(await bound("stray-key", "support")) as stray:
            assert (await stray.list_tools()).tools == []
            assert meta(await stray.call_tool("look", {}))["penstock/code"] == "tool_unknown"
        assert [run.tags for run in await world.runs() if run.agent == "desk"] == [{"customer": "acme"}]
        assert world.upstream.calls == [("write", {"text": "a"})]


async def test_over_http_nobody_comes_in_without_a_key_that_may_submit_runs() -> None:
    async with over_http() as (world, url, client):
        viewer, good, foreign = [await key_of(world, name, role) for name, role in _KEYS]
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        accept = {"Accept": "application/json, text/event-stream"}
        async with httpx2.AsyncClient(headers=accept) as http:
            assert (await http.post(url, json=body)).status_code == 401
            wrong = await http.post(url, json=body, headers={"Authorization": "Bearer pk_nothing"})
            assert (wrong.status_code, wrong.json()["code"]) == (401, "unauthenticated")
            seen = await http.post(url, json=body, headers={"Authorization": f"Bearer {viewer}"})
            assert (seen.status_code, seen.json()["code"]) == (403, "permission_missing")
            hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
            opening = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
            opened = await http.post(url, json=opening, headers={"Authorization": f"Bearer {good}"})
            session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
            taken = await http.post(url, json=body, headers={"Authorization": f"Bearer {foreign}", **session})
            assert taken.status_code == 404, "another key's session is not there"
            much = await http.post(url, content=b"x" * 1_000_000, headers={"Authorization": f"Bearer {good}"})
            assert much.status_code == 413
        async with client(good, mode="legacy") as old:
            assert text(await old.call_tool("look", {})) == "look {}"


_KEYS = [("v", "viewer"), ("good", "operator"), ("foreign", "operator")]


async def test_the_proxy_is_itself_a_server_that_agents_can_use() -> None:
    """Our client over HTTP, with the key that the server wants."""
    async with over_http() as (world, url, _):
        key = await key_of(world, "agents")
        server = MCPServer("proxy", url=url, headers={"Authorization": f"Bearer {key}"}, tools={"look": read()})
        wrong = MCPServer("proxy", url=url, headers={"Authorization": "Bearer pk_wrong"}, connect_seconds=2)
        try:
            assert {tool.name for tool in await mcp_tools(server)} == set(EFFECTS) - {"never"}
            session = await server.connection().session()
            assert text(await session.client.call_tool("look", {})) == "look {}"
            with pytest.raises(PenstockError, match="proxy"):
                await mcp_tools(wrong)
        finally:
            await asyncio.gather(server.close(), wrong.close())


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "servers: Field required"),
        ("[servers]\n", "names no server"),
        ("[servers.a]\n", "needs a command"),
        ("[servers.A]\ncommand = ['x']\n", "not a server's name"),
        ("[servers.a]\ncommand = ['x']\ncolour = 'red'\n", "servers.a.colour: Extra inputs"),
        ("[servers.a]\ncommand = ['x']\n[servers.a.tools.t]\neffect = 'maybe'\n", "servers.a.tools.t.effect"),
        ("[servers.a]\ncommand = ['x']\nenv_from = ['NOT_SET']\n", "needs the variable NOT_SET"),
        ("[servers.a]\ncommand = ['x']\n[agents.b]\nkeys = ['k']\n[agents.c]\nkeys = ['k']\n", "of two agents"),
        ("servers = 3", "servers: Input should be"),
        ("[", "is not TOML"),
        ("\xff", "is not TOML"),
    ],
)
def test_a_file_that_says_nonsense_is_refused_by_place(tmp_path: Path, said: str, words: str) -> None:
    path = tmp_path / "mcp.toml"
    path.write_bytes(said.encode("latin-1"))
    with pytest.raises(McpConfigInvalid, match=words):
        read_config(path, QUICK, {})


def test_a_file_says_servers_secrets_by_name_and_agents(tmp_path: Path) -> None:
    path = tmp_path / "mcp.toml"
    path.write_text(
        "[servers.files]\ncommand = ['files', '--root', '/srv']\nenv_from = ['TOKEN']\n"
        "[servers.files.tools.put]\nin_doubt = 'keyed'\nkey_argument = 'id'\n"
        "[servers.web]\nurl = 'https://example.com/mcp'\nheaders_from = { Authorization = 'WEB' }\nunknown = 'deny'\n"
        "[agents.desk]\nkeys = ['k']\ntools = ['web__*']\ncalls = 50\n"
    )
    config = read_config(path, QUICK, {"TOKEN": "s1", "WEB": "Bearer s2"})
    files, web = config.servers
    assert (files.env, files.prefix, files.tools["put"].key_argument) == ({"TOKEN": "s1"}, "files__", "id")
    assert (web.headers, web.unknown) == ({"Authorization": "Bearer s2"}, "deny")
    assert "s1" not in repr(config)
    assert "s2" not in repr(config)
    desk = config.agent_of("k")
    assert (desk.name, desk.may("web__get"), desk.may("files__put")) == ("desk", True, False)
    assert config.agent_of("unknown key").may("web__get") is False, "a key that no agent has may call nothing"
    assert config.lock == tmp_path / "mcp.lock.json"
    with pytest.raises(McpConfigInvalid, match="no agent 'x'"):
        config.named("x")
