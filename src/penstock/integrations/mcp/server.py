"""`MCPServer`: where a server is, and what its tools are declared to do."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import msgspec

from penstock.agents.tool import Tool
from penstock.integrations.mcp.definitions import Lock, ToolDefinition
from penstock.integrations.mcp.effects import McpEffect
from penstock.integrations.mcp.installed import require
from penstock.integrations.mcp.schema import checker
from penstock.integrations.tool_effects import ToolEffect, declared
from penstock.kernel.canonical import digest
from penstock.kernel.errors import (
    McpConfigInvalid,
    McpLockInvalid,
    McpToolChanged,
    McpToolInvalid,
    ToolInvalid,
)
from penstock.ports.model import ToolSpec
from penstock.ports.tools import ToolArgsInvalid, ToolDef

if TYPE_CHECKING:
    from penstock.integrations.mcp.calling import Shape
    from penstock.integrations.mcp.connection import Connection, Session

Unknown = Literal["hold", "deny"]
INTEGRATION_VERSION = "1"
"""A change of the integration that changes what it asks of the gates makes new releases."""
RESULT_MAX_BYTES = 1024 * 1024
KEY = "penstock_key"


@dataclass(frozen=True, eq=False)
class MCPServer:
    """An MCP server: a ``command`` that is started here and spoken to over its pipes, or a ``url``.

    Attributes:
        name: short; part of its tools' names where ``prefix`` says so.
        command: program and arguments. It gets ``env`` and the few variables that every program needs, not ours.
        url: of streamable HTTP, with ``headers``, such as the key that the server wants.
        tools: what its tools do to the world, by name: `read`, `write`.
        unknown: tools that ``tools`` does not name are "hold": writes that a person approves first, each time, and
            that are never repeated when in doubt; or "deny": not there.
        trust_hints: believe ``readOnlyHint`` and ``idempotentHint`` of tools that are not named. Whoever runs the
            server sets them.
        prefix: put before its tools' names, so that those of several servers differ.
        lock: the file of definitions that somebody has agreed to (`pin`). Without one a definition is agreed to when
            it is first seen, by this process.
        connect_seconds: how long it may take to start, to answer, and to list its tools.
        result_max_bytes: of one answer.
        relist_seconds: how old the listing may be that a call relies on.

    Raises:
        McpConfigInvalid: contradictions.
    """

    name: str
    command: Sequence[str] = ()
    url: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    tools: Mapping[str, McpEffect] = field(default_factory=dict)
    unknown: Unknown = "hold"
    trust_hints: bool = False
    prefix: str = ""
    lock: Path | None = None
    connect_seconds: float = 10.0
    result_max_bytes: int = RESULT_MAX_BYTES
    relist_seconds: float = 30.0
    _connections: "WeakKeyDictionary[asyncio.AbstractEventLoop, Connection]" = field(
        default_factory=WeakKeyDictionary, repr=False
    )

    def __post_init__(self) -> None:
        if isinstance(self.command, str) or bool(self.command) == bool(self.url):
            raise McpConfigInvalid(f"the server {self.name} needs a command, as a list, or a url, and not both")
        if self.url and urlsplit(self.url).scheme not in ("http", "https"):
            raise McpConfigInvalid(f"the url of the server {self.name} is not of http or https")
        if self.unknown not in ("hold", "deny"):
            raise McpConfigInvalid(f"unknown={self.unknown!r} of the server {self.name}; there are 'hold' and 'deny'")
        for name, effect in self.tools.items():
            declared(name, **effect.said)
            _check_key(self.name, name, effect)

    def connection(self) -> "Connection":
        """The connection of the running event loop."""
        loop = asyncio.get_running_loop()
        known = self._connections.get(loop)
        if known is None:
            known = self._connections[loop] = self._connect()
        return known

    def _connect(self) -> "Connection":
        require()
        from penstock.integrations.mcp.connection import Connection
        from penstock.integrations.mcp.http import http_transport
        from penstock.integrations.mcp.stdio import stdio_transport

        if self.url:
            transport = partial(http_transport, self.url, self.headers, self.result_max_bytes, self.connect_seconds)
        else:
            transport = partial(stdio_transport, self.command, self.env, self.cwd, self.result_max_bytes)
        return Connection(
            self.name, transport, connect_seconds=self.connect_seconds, relist_seconds=self.relist_seconds
        )

    async def close(self) -> None:
        """End this process's session with it, and the process that was started for it."""
        connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.close()

    async def definitions(self) -> dict[str, ToolDefinition]:
        """The tools that it lists now.

        Raises:
            McpUnreachable: it cannot be asked.
            McpToolInvalid: what it says of a tool that is declared cannot be accepted.
        """
        session = await self.connection().session()
        self._check_declared(session)
        return dict(session.tools)

    def _check_declared(self, session: "Session") -> None:
        for name in self.tools:
            if why := session.refused.get(name):
                raise McpToolInvalid(why)

    def pinned(self) -> dict[str, ToolDefinition] | None:
        """The definitions of the lock file; None = there is no file.

        Raises:
            McpLockInvalid: the file cannot be read, or does not name this server.
        """
        if self.lock is None or not self.lock.exists():
            return None
        require()
        pinned = Lock.read(self.lock).servers.get(self.name)
        if pinned is None:
            raise McpLockInvalid(f"{self.lock} does not name the server {self.name}")
        return pinned

    def locked_tools(self, *, shape: "Shape" = "value") -> list[Tool[..., Any]]:
        """The tools that the lock file holds, without asking the server: for modules of agents, which workers import.

        Raises:
            McpConfigInvalid: nothing is pinned of this server.
        """
        pinned = self.pinned()
        if pinned is None:
            raise McpConfigInvalid(
                f"nothing is pinned of the server {self.name}", hint="write the file first: `await pin(server)`"
            )
        return self.tools_of(pinned, shape)

    async def listed_tools(self, *, shape: "Shape" = "value") -> list[Tool[..., Any]]:
        """Its tools: those that are pinned, if it still describes them so; else those that it lists now.

        Raises:
            McpUnreachable, McpToolInvalid: see `definitions`.
            McpToolChanged: it describes a pinned tool in other words by now, or does not list it any more.
        """
        pinned = self.pinned()
        listed = await self.definitions()
        if pinned is None:
            return self.tools_of(listed, shape)
        for name, tool in pinned.items():
            now = listed.get(name)
            if now is None or now.digest != tool.digest:
                what = "is not listed any more" if now is None else "is described in other words than those pinned"
                raise McpToolChanged(f"{name} of {self.name} {what} in {self.lock}")
        return self.tools_of(pinned, shape)

    def tools_of(self, definitions: Mapping[str, ToolDefinition], shape: "Shape") -> list[Tool[..., Any]]:
        """Those definitions as tools.

        Raises:
            McpConfigInvalid: a tool is declared that the server has not.
        """
        if missing := sorted(set(self.tools) - set(definitions)):
            known = ", ".join(sorted(definitions)) or "none"
            raise McpConfigInvalid(f"the server {self.name} has no tool {', '.join(missing)}; it has {known}")
        names = [name for name in definitions if name in self.tools or self.unknown == "hold"]
        return [self._tool(definitions[name], shape) for name in sorted(names)]

    def effect_of(self, definition: ToolDefinition) -> McpEffect:
        """What a tool is taken to do."""
        known = self.tools.get(definition.name)
        if known is not None:
            return known
        said: ToolEffect = {}
        if self.trust_hints and definition.hints.get("readOnlyHint") is True:
            said["effect"] = "read"
        elif self.trust_hints and definition.hints.get("idempotentHint") is True:
            said["in_doubt"] = "idempotent"
        return McpEffect(said)

    def _tool(self, definition: ToolDefinition, shape: "Shape") -> Tool[..., Any]:
        from penstock.integrations.mcp.calling import caller, remote

        effect = self.effect_of(definition)
        name = f"{self.prefix}{definition.name}"
        if len(name) > 64:
            raise McpConfigInvalid(f"{name} is longer than 64 characters", hint="choose a shorter prefix")
        base = declared(name, **effect.said)
        schema = _without(definition.schema, effect.key_argument)
        call = caller(self.connection, definition.name, definition.digest, effect.key_argument, shape)
        call.__doc__ = definition.description
        parts = [INTEGRATION_VERSION, base.digest, self.name, definition.digest, effect.key_argument, shape]
        tool: ToolDef = replace(
            base,
            spec=ToolSpec(name, definition.description, schema),
            call=call,
            digest=digest(parts),
            read_args=_reader(schema),
            bind=_bind,
            key_param=KEY if effect.key_argument else None,
            returns=effect.said.get("returns", "untrusted"),
            remote=remote(self.connection, self.name, definition.name, definition.digest),
        )
        return Tool(call, tool)


def _check_key(server: str, name: str, effect: McpEffect) -> None:
    keyed = effect.said.get("in_doubt") == "keyed"
    if keyed != bool(effect.key_argument):
        raise ToolInvalid(
            f"the tool {name} of {server} is in_doubt='keyed' without a key_argument, or the other way round",
            hint="name the argument in which it takes an idempotency key",
        )


def _without(schema: dict[str, Any], argument: str) -> dict[str, Any]:
    """The schema as models see it: the idempotency key is not theirs to set."""
    if not argument:
        return schema
    properties = {name: part for name, part in schema.get("properties", {}).items() if name != argument}
    required = [name for name in schema.get("required", []) if name != argument]
    return {**schema, "properties": properties, "required": required}


def _reader(schema: dict[str, Any]) -> Any:
    check = checker(schema)

    def read(raw: str | bytes) -> dict[str, Any]:
        try:
            args = msgspec.json.decode(raw or b"{}")
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ToolArgsInvalid(f"no JSON: {error}") from error
        if not isinstance(args, dict):
            raise ToolArgsInvalid("arguments are an object")
        check(args)
        return args

    return read


def _bind(plain: dict[str, Any]) -> dict[str, Any]:
    return {"arguments": plain}


async def mcp_tools(*servers: MCPServer) -> list[Tool[..., Any]]:
    """The tools of servers, for ``Agent(tools=[*await mcp_tools(...)])``.

    Raises:
        McpMissing, McpUnreachable, McpConfigInvalid, McpToolInvalid, McpToolChanged: see `MCPServer`.
    """
    found: list[Tool[..., Any]] = []
    for server in servers:
        found += await server.listed_tools()
    names = [tool.name for tool in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise McpConfigInvalid(f"several servers have a tool {', '.join(twice)}", hint="give them a prefix each")
    return found


async def pin(*servers: MCPServer) -> dict[str, list[str]]:
    """Agree to what the servers say of their tools now: write it to their lock files. By server, the tools that are
    new, changed or gone.

    Raises:
        McpConfigInvalid: a server has no lock file.
        McpUnreachable, McpToolInvalid, McpLockInvalid: nothing was written.
    """
    locks: dict[Path, Lock] = {}
    changes: dict[str, list[str]] = {}
    for server in servers:
        if server.lock is None:
            raise McpConfigInvalid(f"the server {server.name} has no lock file", hint="pass lock=Path(…)")
        path = server.lock
        lock = locks.get(path) or (Lock.read(path) if path.exists() else Lock(path))
        locks[path] = lock
        now, before = await server.definitions(), lock.servers.get(server.name, {})
        known = {name: tool.digest for name, tool in before.items()}
        seen = {name: tool.digest for name, tool in now.items()}
        changes[server.name] = sorted(name for name in {*known, *seen} if known.get(name) != seen.get(name))
        lock.servers[server.name] = now
    for lock in locks.values():
        lock.write()
    return changes
