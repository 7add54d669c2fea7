"""A tool as the gates and rules know it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from uuid import UUID

from penstock.kernel.errors import GateMisused
from penstock.ports.cache import CacheFor
from penstock.ports.environments import Secrets
from penstock.ports.model import ToolSpec

Effect = Literal["read", "write"]
Risk = Literal["low", "medium", "high", "prohibited"]
InDoubt = Literal["idempotent", "keyed", "confirm", "escalate"]
Permission = Literal["auto", "confirm"]
Returns = Literal["trusted", "untrusted"]


class IdempotencyKey(str):
    """A tool parameter of this type is filled in by the gate: the same key for every repeat of the same call.

    Hand it to the receiver so that it can tell a repeat from a second request. A model never sees or sets it.
    """

    __slots__ = ()


@dataclass(slots=True, frozen=True)
class ToolContext:
    """A tool parameter of this type is filled in by the gate.

    ``fence`` grows with every claim of the run: a receiver that remembers the highest it has seen can refuse a
    worker that was overtaken. ``timeout_seconds`` is what the tool has left. ``deadline`` (microseconds since the
    epoch, the store's clock; 0 = none) is when nobody waits for the result any more, and ``seconds_left`` how far off
    it was when the call started (None = there is none): hand them on to what the tool calls. ``attempt`` counts from 1;
    a preview has 0 and no key.
    """

    tenant: str
    run: UUID
    path: str
    attempt: int
    fence: int
    key: str
    timeout_seconds: float
    environment: str
    tags: dict[str, str]
    deadline: int = 0
    seconds_left: float | None = None
    secrets: Secrets = field(default_factory=Secrets, repr=False, compare=False)

    def secret(self, name: str) -> str:
        """A secret that the tool has declared, as it is in this environment now.

        Raises:
            GateMisused: the tool has not declared it.
        """
        value = self.secrets.of(name)
        if value is None:
            words = f"the secret {name!r} was asked for by a tool that has not declared it"
            raise GateMisused(words, hint="declare it: @tool(secrets=[...])")
        return value


Validator = Callable[[dict[str, Any]], str | None]
"""A business rule: given the plain arguments, None, or the reason why they are not acceptable. Pure; may raise."""

Resource = Callable[[dict[str, Any]], str | Sequence[str]]
"""Given the plain arguments: the name of what a write is about, or names of several things. Pure; may raise."""

Confirm = Callable[..., Awaitable[bool]]
"""Given the tool's own arguments and the key: did the effect happen? Must only read."""


@dataclass(slots=True, frozen=True)
class DefinedNow:
    """How a server defines a tool now. ``digest`` "" = it is not there, or cannot be accepted: ``why``."""

    digest: str
    why: str = ""


@dataclass(slots=True, frozen=True)
class Remote:
    """A tool that a server defines, and may define otherwise while agents use it.

    Attributes:
        tool: the server's name and the tool's, with a slash between.
        digest: of the definition that was agreed to.
        look: the definition of now, within so many seconds; None = the server cannot be asked.
        allow: let calls for a tenant be made although the digest is now that one.
    """

    tool: str
    digest: str
    look: Callable[[float], Awaitable[DefinedNow | None]]
    allow: Callable[[str, str], None]


@dataclass(slots=True, frozen=True)
class ToolDef:
    """A tool's declaration. Build it with `penstock.tool`."""

    name: str
    spec: ToolSpec
    call: Callable[..., Any]  # the function itself; see ``is_async``
    is_async: bool
    effect: Effect
    risk: Risk
    permission: Permission
    in_doubt: InDoubt
    timeout_seconds: float
    digest: str  # of name, schema and code: part of the agent's release
    read_args: Callable[[str | bytes], dict[str, Any]]  # JSON text → validated plain arguments; raises ToolArgsInvalid
    bind: Callable[[dict[str, Any]], dict[str, Any]]  # plain arguments → keyword arguments of ``call``
    read_result: Callable[[Any], Any]  # plain result → what a direct caller gets
    validators: Sequence[Validator] = ()
    confirm: Confirm | None = None
    preview: "ToolDef | None" = None  # a read with some of the arguments: what a call would change, for who decides
    key_param: str | None = None
    context_param: str | None = None
    repeatable: bool = False  # asking again with the same arguments is meaningful (polling)
    attempts: int = 1  # tries on a transient failure that certainly had no effect, or for a read
    retry_on: tuple[type[Exception], ...] = ()  # exceptions that say: it failed, nothing happened, try again
    hedge_after: float | None = None  # seconds after which a read without an answer is asked a second time
    needs_seconds: float = 0.0  # the least it takes: not started with less time left
    key_seconds: float | None = None  # how long the receiver remembers a key; None = for ever
    approval_seconds: float | None = None  # how long a person has; None = the setting
    cache: CacheFor | None = None  # of a read: its results may be given again
    invalidates: tuple[str, ...] = ()  # of a write: tags of cached results that it makes wrong
    returns: Returns = "trusted"  # untrusted: what it returns may have been written by anybody
    reveals: tuple[str, ...] = ()  # arguments in which tokens become the values they stand for, when it is called
    grounded: tuple[str, ...] | None = None  # of a write: arguments that must be words of whoever asked; None = all
    remote: Remote | None = None  # of a tool that a server defines
    resource: Resource | None = None  # of a write: what it is about, by name; another run's write on it does not begin
    conflict: Literal["deny", "wait"] = "deny"  # what happens to a call whose resource another run has
    secrets: tuple[str, ...] = ()  # names of those that it is given
    labels: dict[str, str] = field(default_factory=dict)  # owner, reviewed (date), why this risk


class ToolArgsInvalid(ValueError):
    """The arguments do not match the tool's schema. The words go back to the model."""


class TransientToolError(Exception):
    """A tool raises this to say: it failed, nothing happened, and trying again may help."""

    def __init__(self, words: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(words)
        self.retry_after_seconds = retry_after_seconds


class OutcomeUnknown(Exception):
    """A tool that writes raises this to say: it may or may not have happened. Treated like a lost connection."""


class ToolTimedOut(TimeoutError):
    """The place where a synchronous tool runs ended it, or gave it up, at its time-out."""


class Isolation(Protocol):
    """Where synchronous tools run."""

    async def run(self, tool: ToolDef, kwargs: dict[str, Any], *, timeout_seconds: float, start_by_boot_ns: int) -> Any:
        """Call the tool outside the event loop, no later than ``start_by_boot_ns``.

        Raises:
            StartedTooLate: the start allowance was over; the tool was not called.
            ToolTimedOut: it did not end in time; a process was killed, a thread is left to itself.
        """
        ...


class StartedTooLate(Exception):
    """The start allowance was over before the call; nothing was done."""
