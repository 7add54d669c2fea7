"""Shared limits for one process: the arithmetic of ``penstock.take_rates``, step for step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from penstock.kernel.errors import InputInvalid
from penstock.ports.rates import (
    AHEAD_US,
    BUSY_RETRY_US,
    LIMITS_MAX,
    RING,
    WINDOW_SECONDS,
    Grant,
    Limit,
    LimitKey,
    LimitUse,
    Returned,
)

SECOND_US = 1_000_000
ASKS_LATELY_US = 1_000_000


@dataclass(slots=True)
class _Holder:
    until: int
    held: int = 0
    waiting: int = 0
    since: int = 0
    asked: int = 0


@dataclass(slots=True)
class _Meter:
    limit: Limit
    arrival: int = 0  # theoretical arrival time of the next request
    requests: dict[int, int] = field(default_factory=dict)  # by second
    tokens: dict[int, int] = field(default_factory=dict)
    cooldown_until: int = 0
    cooldown_code: str = ""
    holders: dict[UUID, _Holder] = field(default_factory=dict)

    @property
    def gap(self) -> int:
        """Microseconds between requests at the limit's rate, rounded up."""
        return -(-60 * SECOND_US // self.limit.requests)

    def latest(self) -> int:
        return max(self.requests, default=0)

    def forget(self, second: int, now: int) -> None:
        for gone in [known for known, other in self.holders.items() if other.until <= now]:
            del self.holders[gone]
        for ring in (self.requests, self.tokens):
            for old in [known for known in ring if known <= second - RING]:
                del ring[old]

    def free(self, holder: UUID, since: int, now: int) -> bool:
        """Whether one more call may be in flight: those who have waited for longer, and still ask, come first."""
        if not self.limit.concurrent:
            return True
        before = sum(
            other.waiting > 0 and other.since < since and other.asked > now - ASKS_LATELY_US
            for known, other in self.holders.items()
            if known != holder
        )
        return sum(other.held for other in self.holders.values()) + before < self.limit.concurrent

    def opens_at(self, tokens: int, window: range) -> int:
        """When the window has room for one more request and so many tokens; 0 = now."""
        limit = self.limit
        over_r = sum(self.requests.get(second, 0) for second in window) + 1 - limit.requests if limit.requests else 0
        over_t = sum(self.tokens.get(second, 0) for second in window) + tokens - limit.tokens if limit.tokens else 0
        if over_r <= 0 and over_t <= 0:
            return 0
        opens = 0
        for second in window:
            over_r -= self.requests.get(second, 0)
            over_t -= self.tokens.get(second, 0)
            opens = (second + WINDOW_SECONDS) * SECOND_US
            if over_r <= 0 and over_t <= 0:
                break
        return opens


class MemoryRates:
    """Implements `penstock.ports.rates.Rates`; see there.

    Args:
        now: the store's clock, microseconds.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._meters: dict[LimitKey, _Meter] = {}

    async def set_limit(self, limit: Limit, actor: str) -> None:
        del actor  # only the database keeps who
        if limit.key in self._meters:
            self._meters[limit.key].limit = limit
            return
        if len(self._meters) >= LIMITS_MAX:
            raise InputInvalid(f"there are {LIMITS_MAX} limits already", hint="remove some, or use patterns")
        self._meters[limit.key] = _Meter(limit)

    async def remove_limit(self, key: LimitKey) -> bool:
        return self._meters.pop(key, None) is not None

    async def limits(self) -> list[Limit]:
        return [self._meters[key].limit for key in sorted(self._meters)]

    async def take(
        self, holder: UUID, keys: Sequence[LimitKey], asks: Sequence[int], since: int, lease_seconds: float
    ) -> Grant:
        now = self._now()
        meters = [self._meters[key] for key in keys if key in self._meters]
        starts: list[int] = []
        retry_at, blocking = now, None
        latest = max([now // SECOND_US, *(meter.latest() for meter in meters)])
        window = range(latest - WINDOW_SECONDS + 1, latest + 2)
        for meter in meters:
            meter.forget(latest, now)
        for tokens in asks:
            start, retry_at, blocking = _earliest(meters, holder, since, tokens, now, window)
            if blocking is not None:
                break
            starts.append(start)
            for meter in meters:
                _charge(meter, holder, start, tokens, now)
        for meter in meters:
            known = meter.holders.setdefault(holder, _Holder(now))
            known.waiting = len(asks) - len(starts) if meter is blocking else 0
            known.since, known.asked, known.until = since, now, now + int(lease_seconds * 1e6)
        return Grant(now, starts, retry_at, blocking.limit.key if blocking else None)

    async def settle(self, holder: UUID, returned: Sequence[Returned], lease_seconds: float) -> None:
        for item in returned:
            meter = self._meters.get(item.key)
            if meter is None:
                continue
            if item.second in meter.tokens:
                meter.tokens[item.second] = max(0, meter.tokens[item.second] - item.tokens)
            if holder in meter.holders:
                meter.holders[holder].held = max(0, meter.holders[holder].held - item.places)
        now = self._now()
        for meter in self._meters.values():
            known = meter.holders.get(holder)
            if known is not None and known.until > now:
                known.until = now + int(lease_seconds * 1e6)

    async def cool_down(self, key: LimitKey, seconds: float, code: str) -> None:
        meter = self._meters.get(key)
        until = self._now() + int(seconds * 1e6)
        if meter is not None and until > meter.cooldown_until:
            meter.cooldown_until, meter.cooldown_code = until, code

    async def use(self) -> list[LimitUse]:
        now = self._now()
        since = now // SECOND_US - 60
        uses = []
        for key in sorted(self._meters):
            meter = self._meters[key]
            living = [holder for holder in meter.holders.values() if holder.until > now]
            asking = [holder for holder in living if holder.waiting]
            uses.append(
                LimitUse(
                    meter.limit,
                    sum(count for second, count in meter.requests.items() if second > since),
                    sum(count for second, count in meter.tokens.items() if second > since),
                    sum(holder.held for holder in living),
                    sum(holder.waiting for holder in asking),
                    min((holder.since for holder in asking), default=0),
                    meter.cooldown_until if meter.cooldown_until > now else 0,
                    meter.cooldown_code if meter.cooldown_until > now else "",
                    now,
                )
            )
        return uses


def _earliest(
    meters: Sequence[_Meter], holder: UUID, since: int, tokens: int, now: int, window: range
) -> tuple[int, int, _Meter | None]:
    """When a call may start; or when to ask again and which limit is in the way."""
    start = now
    for meter in meters:
        limit = meter.limit
        if meter.cooldown_until > now:
            return 0, meter.cooldown_until, meter
        if not meter.free(holder, since, now):
            return 0, now + BUSY_RETRY_US, meter
        if limit.requests:
            start = max(start, meter.arrival - (limit.burst - 1) * meter.gap)
            if start > now + AHEAD_US:
                return 0, start, meter
        opens = meter.opens_at(min(tokens, limit.tokens), window)
        if opens:
            return 0, opens, meter
    return start, now, None


def _charge(meter: _Meter, holder: UUID, start: int, tokens: int, now: int) -> None:
    limit, second = meter.limit, start // SECOND_US
    if limit.requests:
        meter.arrival = max(meter.arrival, start) + meter.gap
    meter.requests[second] = meter.requests.get(second, 0) + 1
    counted = min(tokens, limit.tokens) if limit.tokens else tokens
    meter.tokens[second] = meter.tokens.get(second, 0) + counted
    if limit.concurrent:
        meter.holders.setdefault(holder, _Holder(now + 1)).held += 1
