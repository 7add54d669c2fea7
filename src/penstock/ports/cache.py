"""The cache: answers of models and results of tools that are given again to whoever asks for exactly the same.

An entry is found by a key that nobody without the tenant's own secret can make, so that trying keys tells nothing. It
names the data subject whose call made it, and is erased with that subject. Who of those that ask alike is made to wait
for one call is decided here, too: a *flight* is a call under way whose answer others wait for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from penstock.events import CacheSource

Gate = Literal["model", "tool"]
Scope = Literal["run", "subject", "customer", "agent", "tenant"]
"""Who shares entries: one run; the runs about one named person; of one customer (the tag); of one agent; of the tenant.
The last two share across persons and customers: that is for answers in which there is nothing of them."""

SCOPES: tuple[Scope, ...] = ("run", "subject", "customer", "agent", "tenant")
TAGS_MAX = 16
TAG_MAX_CHARS = 64
COUNTS_KEPT_DAYS = 92
HOUR = 3_600_000_000
"""Microseconds."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Cache:
    """Answers of a model may be given again to a request that is exactly the same.

    Attributes:
        seconds: how long an answer lives.
        scope: who shares it. Where the scope has no name (a run without the tag ``customer``, or about no named
            subject), nothing is cached.
        temperature_max: calls at a higher temperature are not cached; None: any temperature may be, also the provider's
            own. A model that is asked for variety should not be answered with the same words each time.
    """

    seconds: float
    scope: Scope = "customer"
    temperature_max: float | None = 0.0


@dataclass(slots=True, frozen=True, kw_only=True)
class CacheFor:
    """Results of a tool that reads may be given again.

    Attributes:
        seconds: how long a result lives.
        scope: who shares it, as in `Cache`.
        key: the arguments that the result depends on; None: all of them.
        tags: words that a tool which writes names in ``invalidates`` to drop the results; the tool's own name is one.
    """

    seconds: float
    scope: Scope = "run"
    key: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class Seat:
    """Whose call it is: a run under one claim, and the call's place in it."""

    run: UUID
    epoch: int
    path: str


@dataclass(slots=True, frozen=True, kw_only=True)
class Entry:
    """One answer as it is stored.

    ``data``: packed as ``codec`` says; ``size``: bytes of it unpacked. ``digest``: HMAC-SHA256 of key and unpacked
    data under the tenant's secret, 32 bytes. ``tokens`` and ``nano``: what the call had used, ``finish`` how it ended.
    """

    tenant: str
    key: bytes
    gate: Gate
    scope: Scope
    scope_name: str
    agent: str
    name: str  # of the model or tool
    subject: str
    source: CacheSource
    tags: tuple[str, ...] = ()
    data: bytes
    codec: str
    size: int
    digest: bytes
    finish: str = ""
    simulated: bool = False
    tokens: int = 0
    nano: int = 0


State = Literal["hit", "lead", "busy", "alone"]
"""``lead``: the caller is to make the call, and the others wait for it. ``busy``: somebody makes it; ask again.
``alone``: the latest call's answer could not be kept, so that waiting for the next one would be in vain."""


@dataclass(slots=True, frozen=True)
class Taken:
    """What asking for an entry came to. ``now``: microseconds, the store's clock."""

    state: State
    now: int
    entry: Entry | None = None


@dataclass(slots=True, frozen=True)
class Bounds:
    """Of one tenant's cache: entries, and bytes as stored. What was not used for longest makes room."""

    entries: int
    bytes: int


@dataclass(slots=True, frozen=True)
class Held:
    """What one tenant's cache holds now."""

    entries: int
    bytes: int


@dataclass(slots=True, frozen=True)
class Which:
    """Which entries are meant; what is empty does not count. ``scope_name`` goes with ``scope``."""

    gate: Gate | None = None
    scope: Scope | None = None
    scope_name: str = ""
    agent: str = ""
    name: str = ""
    tag: str = ""


@dataclass(slots=True)
class Count:
    """What became of calls in one hour (its start, microseconds), by agent and model or tool.

    ``hits`` of which ``waited`` came from calls that were under way; ``misses``: calls that might have been served.
    ``saved_nano``, ``saved_tokens``: what the calls that were not made had cost. ``calls``: calls that were made, with
    ``tokens_in`` of which the provider read ``tokens_cached`` from its own cache of prompts and wrote
    ``tokens_written`` to it.
    """

    tenant: str
    hour: int
    gate: Gate
    agent: str
    name: str
    hits: int = 0
    waited: int = 0
    misses: int = 0
    saved_nano: int = 0
    saved_tokens: int = 0
    calls: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_written: int = 0


FIGURES = (
    "hits",
    "waited",
    "misses",
    "saved_nano",
    "saved_tokens",
    "calls",
    "tokens_in",
    "tokens_cached",
    "tokens_written",
)
"""What of a `Count` is added up."""


class CacheEntries(Protocol):
    """Cached answers of all tenants. A cache of another kind, such as one by meaning, is a store of its own."""

    async def secret(self, tenant: str) -> bytes:
        """The tenant's secret of 32 bytes that keys are made with; made when it is first asked for."""
        ...

    async def take(self, tenant: str, key: bytes, seat: Seat, lease_seconds: float) -> Taken:
        """The entry of that key; without one, who makes the call.

        ``lead`` holds until `put` or `let_go`, until the run is no longer held under that claim by a worker that is
        alive, or for ``lease_seconds``. Asking again from the same seat gives the same.
        """
        ...

    async def put(self, entry: Entry, seat: Seat, began: int, life_seconds: float, bounds: Bounds) -> bool:
        """Keep an answer, and end the flight; False when it was not kept.

        The key is made with the tenant's `secret`. It is not kept when its subject was erased, when something of its
        tags was dropped since ``began`` (microseconds, from `take`), or when it does not fit into the bounds by itself.
        """
        ...

    async def let_go(self, tenant: str, key: bytes, seat: Seat, alone_seconds: float) -> None:
        """End the flight without an answer; for ``alone_seconds`` nobody waits for the next one."""
        ...

    async def drop(self, tenant: str, tags: Sequence[str]) -> int:
        """Drop the entries with any of these tags, and those that are on their way; how many there were."""
        ...

    async def clear(self, tenant: str, which: Which) -> int:
        """Drop the entries that are meant, and all that are on their way; how many there were."""
        ...

    async def held(self, tenant: str) -> Held:
        """How much the tenant's cache holds."""
        ...

    async def count(self, counts: Sequence[Count]) -> None:
        """Add to the counts."""
        ...

    async def counts(self, tenant: str, since: int, until: int) -> list[Count]:
        """What was counted in the hours that begin in ``since <= hour < until``, added up over them (``hour`` 0)."""
        ...

    async def sweep(self, limit: int) -> int:
        """Remove entries whose life is over, of all tenants, and counts and flights that are too old; how many
        entries."""
        ...
