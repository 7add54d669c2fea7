"""What the proxy knows of a session and its calls, and what it tells a client."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from penstock.agents.budget import Budget
from penstock.gates.tool.gate import ToolReturn
from penstock.integrations.mcp.proxy.agent import SessionAgent
from penstock.integrations.mcp.proxy.config import AgentConfig
from penstock.integrations.mcp.proxy.tape import SessionTape


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. ``owner``: the key's name; '' = whoever started this process; ``holder``: the key's id, for names of
    keys are not unique. ``actor``: for the record. ``tags`` and
    ``budget``, of each session, are those that its key is bound to, besides those that the file gives its agent."""

    tenant: str
    agent: AgentConfig
    owner: str
    actor: str
    holder: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """Which session a call belongs to: one that has a ``name`` goes on over connections, and in other proxies; another
    is that of its ``connection``."""

    name: str
    connection: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the client is told. ``code``: '' = the tool's result is in ``value``; else why there is none."""

    code: str
    words: str = ""
    value: Any = None
    run: UUID | None = None
    call: str = ""
    approval: str = ""


@dataclass(slots=True)
class SentCall:
    """A call that was sent to a session. ``adrift``: its client was told to come again."""

    id: str
    done: "asyncio.Future[ToolReturn]"
    adrift: bool = False


@dataclass(slots=True)
class OpenSession:
    name: str
    agent: SessionAgent
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    run: UUID | None = None
    tape: SessionTape | None = None
    over: Reply | None = None
    used_ns: int = 0
    leaving: bool = False
    stirred: "asyncio.Future[None] | None" = None
    calls: dict[tuple[str, str], list[SentCall]] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        return sum(not call.done.done() for calls in self.calls.values() for call in calls)


def wake(waiting: "asyncio.Future[None] | None") -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def reply_of(call: SentCall, run: UUID | None) -> Reply:
    returned = call.done.result()
    if returned.status == "ok" and returned.code != "happened":
        return Reply("", value=returned.value, run=run, call=call.id)
    code = returned.code or ("call_denied" if returned.status == "denied" else "tool_failed")
    return Reply("" if code == "happened" else code, returned.words, run=run, call=call.id)
