"""``mcp.toml``: which servers stand behind the proxy, what their tools do, and who may call which of them."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from penstock.agents.budget import Budget
from penstock.integrations.mcp.effects import McpEffect
from penstock.integrations.mcp.server import MCPServer
from penstock.integrations.tool_effects import ToolEffect
from penstock.kernel.errors import McpConfigInvalid
from penstock.settings import Settings

CONFIG_MAX_BYTES = 1024 * 1024
SEPARATOR = "__"
"""Between a server's name and its tool's, where there are several servers: models may not see dots in names."""
DEFAULT_AGENT, NOBODY = "mcp", "mcp-nobody"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_Texts = dict[Annotated[str, Field(min_length=1, max_length=100)], Annotated[str, Field(max_length=8192)]]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Tool(_Strict):
    effect: Literal["read", "write"] = "write"
    risk: Literal["low", "medium", "high", "prohibited"] | None = None
    permission: Literal["auto", "confirm"] | None = None
    in_doubt: Literal["idempotent", "keyed", "escalate"] | None = None
    key_argument: str = Field("", max_length=100)
    timeout_seconds: float = Field(30.0, gt=0, le=86_400, strict=False)
    attempts: int = Field(1, ge=1, le=10)
    repeatable: bool = False
    key_seconds: float | None = Field(None, gt=0, strict=False)
    approval_seconds: float | None = Field(None, gt=0, strict=False)


class _Server(_Strict):
    command: list[str] = []
    url: str = ""
    cwd: str | None = None
    env: _Texts = {}
    env_from: list[str] = []
    headers: _Texts = {}
    headers_from: dict[str, str] = {}
    unknown: Literal["hold", "deny"] = "hold"
    trust_hints: bool = False
    tools: dict[str, _Tool] = {}


class _Agent(_Strict):
    keys: list[str] = []
    tools: list[str] = ["*"]
    tags: dict[str, str] = {}
    calls: int | None = Field(None, ge=1)
    seconds: float | None = Field(None, gt=0, strict=False)


class _File(_Strict):
    servers: dict[str, _Server]
    agents: dict[str, _Agent] = {}


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Who calls: which of the tools, under which tags and budget. ``keys``: names of the Penstock keys that are it."""

    name: str
    keys: tuple[str, ...] = ()
    tools: tuple[str, ...] = ("*",)
    tags: Mapping[str, str] = field(default_factory=dict)
    budget: Budget | None = None

    def may(self, tool: str) -> bool:
        """Whether it may call the tool of that name, as clients know it."""
        return any(fnmatchcase(tool, pattern) for pattern in self.tools)


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """What the file says."""

    servers: tuple[MCPServer, ...]
    agents: tuple[AgentConfig, ...]
    lock: Path

    def agent_of(self, key: str) -> AgentConfig:
        """The agent that a key's name stands for; '' = a client on our pipes."""
        for agent in self.agents:
            if key and key in agent.keys:
                return agent
        return self.default

    @property
    def default(self) -> AgentConfig:
        """The agent of everybody whom no other is for."""
        return next((agent for agent in self.agents if agent.name == DEFAULT_AGENT), self.nobody)

    @property
    def nobody(self) -> AgentConfig:
        """The agent of those for whom the file has none: it may call nothing."""
        return AgentConfig(NOBODY, tools=())

    def named(self, name: str) -> AgentConfig:
        """The agent of that name.

        Raises:
            McpConfigInvalid: there is none.
        """
        for agent in self.agents:
            if agent.name == name:
                return agent
        known = ", ".join(agent.name for agent in self.agents)
        raise McpConfigInvalid(f"there is no agent {name!r}", hint=f"the file has {known}")


def read_config(path: Path, settings: Settings, environment: Mapping[str, str]) -> ProxyConfig:
    """The file's servers and agents. Secrets are not in it: ``env_from`` and ``headers_from`` name variables of
    ``environment``.

    Raises:
        McpConfigInvalid, ToolInvalid: says what is wrong with it.
    """
    try:
        if path.stat().st_size > CONFIG_MAX_BYTES:
            raise McpConfigInvalid(f"{path} has more than {CONFIG_MAX_BYTES:,} bytes")
        said = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise McpConfigInvalid(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise McpConfigInvalid(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise McpConfigInvalid(f"{path}: {place}: {first['msg']}") from error
    if not said.servers:
        raise McpConfigInvalid(f"{path} names no server")
    lock = path.with_name(f"{path.stem}.lock.json")
    several = len(said.servers) > 1
    servers = tuple(
        _server(path, name, server, lock, settings, environment, several=several)
        for name, server in said.servers.items()
    )
    return ProxyConfig(servers, _agents(path, said), lock)


def _agents(path: Path, said: _File) -> tuple[AgentConfig, ...]:
    if not said.agents:
        return (AgentConfig(DEFAULT_AGENT),)
    agents: list[AgentConfig] = []
    owners: dict[str, str] = {}
    for name, item in said.agents.items():
        for key in item.keys:
            if owners.setdefault(key, name) != name:
                raise McpConfigInvalid(f"{path}: the key {key} is that of two agents, {owners[key]} and {name}")
        limited = item.calls is not None or item.seconds is not None
        budget = Budget(calls=item.calls, seconds=item.seconds) if limited else None
        agents.append(AgentConfig(name, tuple(item.keys), tuple(item.tools), item.tags, budget))
    return tuple(agents)


def _server(
    path: Path,
    name: str,
    said: _Server,
    lock: Path,
    settings: Settings,
    environment: Mapping[str, str],
    *,
    several: bool,
) -> MCPServer:
    if not _NAME.fullmatch(name):
        raise McpConfigInvalid(f"{path}: {name!r} is not a server's name", hint="lower-case letters, digits and dashes")
    wanted = [*said.env_from, *said.headers_from.values()]
    if missing := [variable for variable in wanted if variable not in environment]:
        raise McpConfigInvalid(f"{path}: the server {name} needs the variable {missing[0]}, which is not set")
    return MCPServer(
        name,
        command=said.command,
        url=said.url,
        env={**said.env, **{variable: environment[variable] for variable in said.env_from}},
        headers={**said.headers, **{header: environment[variable] for header, variable in said.headers_from.items()}},
        cwd=path.parent / said.cwd if said.cwd else None,
        tools={tool: _effect(effect) for tool, effect in said.tools.items()},
        unknown=said.unknown,
        trust_hints=said.trust_hints,
        prefix=f"{name}{SEPARATOR}" if several else "",
        lock=lock,
        connect_seconds=settings.mcp_connect_seconds,
        result_max_bytes=settings.mcp_result_max_bytes,
        relist_seconds=settings.mcp_relist_seconds,
    )


def _effect(said: _Tool) -> McpEffect:
    given: dict[str, Any] = said.model_dump(exclude_none=True, exclude_defaults=True)
    key = given.pop("key_argument", "")
    effect: ToolEffect = {**given, "effect": said.effect}  # type: ignore[typeddict-item] # the same names
    return McpEffect(effect, key)
