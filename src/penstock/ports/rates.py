"""Limits on calls of models and tools that all workers share, and the store that meters them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol
from uuid import UUID

LimitKey = tuple[str, str, str]
"""``(tenant, kind, pattern)``; tenant ``*`` is all tenants together."""

ALL_TENANTS: Final = "*"
MINUTE: Final = 60  # seconds: what ``requests`` and ``tokens`` of a limit are counted over
AHEAD_US: Final = 1_000_000
"""How long before it may start a call gets its permit, at most: nobody needs to ask just at the instant."""
STALE_US: Final = 500_000
"""How long after its start a permit can be used; an older one is given back."""
WINDOW_SECONDS: Final = 63
"""Whole seconds that are looked at when a permit is given. Calls of one minute at the wire had permits for starts
within 60.5 s (`STALE_US`), which touch up to 62 whole seconds; a permit ahead of its time may have opened another."""
RING: Final = 64  # seconds that a meter remembers; at least WINDOW_SECONDS + AHEAD_US
BUSY_RETRY_US: Final = 100_000  # when to ask again for a limit of calls at a time
LIMITS_MAX: Final = 1000


@dataclass(slots=True, frozen=True)
class Limit:
    """One limit. 0 = none of that kind; all zero = only the cool-downs that a provider asks for are shared.

    ``pattern`` is a name, or the beginning of names when it ends with ``*``. ``burst`` is how many requests may start
    at the same moment.
    """

    tenant: str
    kind: Literal["model", "tool"]
    pattern: str
    requests: int = 0  # a minute
    tokens: int = 0  # a minute, of prompt and answer
    concurrent: int = 0
    burst: int = 1

    @property
    def key(self) -> LimitKey:
        return self.tenant, self.kind, self.pattern

    def covers(self, tenant: str, kind: str, name: str) -> bool:
        """Whether a call counts against this limit."""
        if kind != self.kind or self.tenant not in (ALL_TENANTS, tenant):
            return False
        if self.pattern.endswith("*"):
            return name.startswith(self.pattern[:-1])
        return name == self.pattern


def default_burst(requests: int) -> int:
    """A second's worth of requests, at least one."""
    return max(1, requests // MINUTE)


@dataclass(slots=True, frozen=True)
class Grant:
    """Permits for the first of the calls asked for. All times in microseconds of the store's clock.

    ``starts`` says from when each may start; ``in_the_way`` is the limit that the next one must wait for.
    """

    now: int
    starts: list[int] = field(default_factory=list)
    retry_at: int = 0
    in_the_way: LimitKey | None = None


@dataclass(slots=True, frozen=True)
class Returned:
    """What permits under one limit did not use: tokens (negative: more were used) of a second, and places."""

    key: LimitKey
    second: int = 0
    tokens: int = 0
    places: int = 0


@dataclass(slots=True, frozen=True)
class LimitUse:
    """A limit as it stands: what the last minute's permits were for, what is in flight, who waits."""

    limit: Limit
    requests: int
    tokens: int
    in_flight: int
    waiting: int
    oldest: int  # microseconds of the store's clock since when the first one waits; 0 = nobody does
    cooldown_until: int
    cooldown_code: str
    now: int


class Rates(Protocol):
    """The shared limits and their meters.

    Whatever happens to those who ask: in any 60 seconds no more requests, and no more tokens, are let through than the
    limit says; in any shorter time ``t`` no more requests than ``burst + t * requests / 60``; at no time more calls are
    in flight than ``concurrent``, counting those of living holders. What a dead holder had taken is not used by others
    before its time, so that less may be let through, never more.
    """

    async def set_limit(self, limit: Limit, actor: str) -> None:
        """Make or change a limit. Its meters go on.

        Raises:
            InputInvalid: there are `LIMITS_MAX` limits.
        """
        ...

    async def remove_limit(self, key: LimitKey) -> bool:
        """Lift a limit; False when there was none."""
        ...

    async def limits(self) -> list[Limit]:
        """All limits of all tenants, by key; at most `LIMITS_MAX`."""
        ...

    async def take(
        self, holder: UUID, keys: Sequence[LimitKey], asks: Sequence[int], since: int, lease_seconds: float
    ) -> Grant:
        """Permits for calls that count against every limit of ``keys``, in the order of ``asks`` (tokens of each call),
        up to the first that must wait. A call of more tokens than the limit has counts as the limit.

        Args:
            holder: who asks; what it has in flight counts until ``lease_seconds`` after its last word.
            keys: in order; one that is gone limits nothing.
            since: when the first of these calls began to wait, microseconds of the store's clock. Whoever has waited
                longer for calls at a time is served first.
        """
        ...

    async def settle(self, holder: UUID, returned: Sequence[Returned], lease_seconds: float) -> None:
        """Give back what was not used; also a sign of life."""
        ...

    async def cool_down(self, key: LimitKey, seconds: float, code: str) -> None:
        """Let nothing through for so long, on any worker; a longer cool-down that is in force stays."""
        ...

    async def use(self) -> list[LimitUse]:
        """Every limit with its meters, by key."""
        ...
