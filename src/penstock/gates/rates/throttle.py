"""Shared rate limits, as the gates see them: a call waits for its turn before its intent is written.

The wait comes before the intent, so that the intent's start allowance does not run meanwhile. It leaves no event: what
the agent sees does not depend on it. A call that would wait for long parks its run instead of holding the worker; the
run's tape says that it parked, and its next holder comes to the same call and asks again.
"""

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from penstock.events import Failure, ModelOutcome, ToolOutcome, Waiting
from penstock.gates.rates.lane import Lane, Later, Start, Waiter
from penstock.kernel.clock import Clock
from penstock.kernel.errors import JournalError
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import jitter
from penstock.ports.rates import Limit, LimitKey, Rates, Returned
from penstock.settings import Settings

if TYPE_CHECKING:
    from penstock.gates.run.call import Call
    from penstock.gates.run.context import RunContext

REFRESH_SECONDS = 2.0
"""How old the limits may be that a call is checked against: a change reaches all workers within this time."""
FRESH_NS = int(REFRESH_SECONDS / 2 * 1e9)
"""At this age they are read again; calls go on with those that are known."""
SETTLE_SECONDS = 0.02  # what is given back in this time goes to the store together
COOLDOWN_SECONDS = 1.0  # of a provider that says that calls come too fast, but not when to come again
COOLDOWN_MAX_SECONDS = 600.0
MATCHES_KEPT = 10_000
Kind = Literal["model", "tool"]


@dataclass(slots=True, eq=False)
class Permit:
    """Leave for one call. Settled once; what it did not use goes back to all workers."""

    throttle: "Throttle"
    lane: Lane
    tokens: int
    start: Start
    open: bool = True

    @property
    def stale(self) -> bool:
        """Whether it is too old for the meters to hold what they promise."""
        return self.lane.is_stale(self.start)

    def settle(self, used_tokens: int | None) -> None:
        """The call has ended, and used so many tokens; None = as many as were asked for."""
        if self.open:
            self.open = False
            self.throttle.give_back(self.lane, self.start.at // 1_000_000, self.tokens, used_tokens)


class Throttle:
    """The shared limits in one process: which apply to a call, and the lines before them."""

    def __init__(self, rates: Rates, clock: Clock, settings: Settings, holder: UUID | None = None) -> None:
        self.waiting: Counter[str] = Counter()
        """Calls that wait here, by the release of their run's agent."""
        self._rates = rates
        self._clock = clock
        self._settings = settings
        self._holder = holder or new_id(clock)
        self._limits: tuple[Limit, ...] = ()
        self._read_ns: int | None = None
        self._reading: asyncio.Task[None] | None = None
        self._matches: dict[tuple[str, str, str], Lane | None] = {}
        self._lanes: dict[tuple[LimitKey, ...], Lane] = {}
        self._returned: Counter[tuple[LimitKey, int]] = Counter()
        self._places: Counter[LimitKey] = Counter()
        self._in_flight = 0  # permits of limits on calls at a time
        self._settling: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None

    def crowded(self, release: str) -> bool:
        """Whether so many calls of that agent's runs wait here that no more of its runs should be taken on."""
        return self.waiting[release] >= self._settings.rate_waiters_max

    def passes(self, tenant: str, kind: Kind, name: str) -> bool:
        """Whether it is known, without asking anybody, that nothing limits the call: so it is with nearly all."""
        read_ns = self._read_ns
        if read_ns is None or self._clock.boot_ns() - read_ns >= FRESH_NS:
            return False
        return self._matches.get((tenant, kind, name), self) is None

    async def prepare(self) -> None:
        """Read the limits before the first call has to wait for them."""
        await self._refresh()

    async def lane_of(self, tenant: str, kind: Kind, name: str) -> Lane | None:
        """The line that a call must stand in; None when nothing limits it."""
        await self._refresh()
        key = (tenant, kind, name)
        if key not in self._matches:
            if len(self._matches) >= MATCHES_KEPT:
                self._matches.clear()
            self._matches[key] = self._make_lane(key)
        return self._matches[key]

    async def enter(
        self,
        lane: Lane,
        customer: tuple[str, str],
        release: str,
        tokens: int,
        waits: "set[asyncio.Future[Start | Later]]",
    ) -> Permit | Later:
        """Wait in line for a permit; or learn that the turn is too far off to wait for.

        ``waits`` holds the future that is waited for, so that the run can give up: cancelling it ends the wait.

        Raises:
            asyncio.CancelledError: the wait was given up.
        """
        later = lane.put_off(tokens)
        since = self._clock.boot_ns() // 1000
        while later is None:
            waiter = Waiter(customer, tokens, since, release)
            self.waiting[release] += 1
            waits.add(waiter.ready)
            start: Start | Later | None = None
            try:
                lane.enter(waiter)
                start = await waiter.ready
                if isinstance(start, Later):
                    return start
                self._take_place(lane)
                permit = Permit(self, lane, tokens, start)
                await self._until(lane, start, permit)
            finally:
                waits.discard(waiter.ready)
                self._no_longer(release)
                if start is None and waiter.ready.done() and not waiter.ready.cancelled():
                    self._unused(lane, waiter)
                waiter.ready.cancel()
            if not lane.is_stale(start):
                return permit
            permit.settle(0)
        return later

    async def _until(self, lane: Lane, start: Start, permit: Permit) -> None:
        left = start.at - lane.now()
        if left <= 0:
            return
        try:
            await self._clock.sleep(left / 1e6)
        except BaseException:
            permit.settle(0)
            raise

    def _unused(self, lane: Lane, waiter: Waiter) -> None:
        """The permit came at the moment in which its run gave up."""
        given = waiter.ready.exception() or waiter.ready.result()
        if isinstance(given, Start):
            self._take_place(lane)
            Permit(self, lane, waiter.tokens, given).settle(0)

    def _no_longer(self, release: str) -> None:
        self.waiting[release] -= 1
        if not self.waiting[release]:
            del self.waiting[release]

    def give_back(self, lane: Lane, second: int, asked: int, used: int | None) -> None:
        """Return what a permit did not use, soon."""
        for limit in lane.limits:
            if limit.concurrent:
                self._places[limit.key] += 1
            if limit.tokens and used is not None and used != asked:
                # A call of more tokens than the limit had counted as the limit.
                self._returned[limit.key, second] += min(asked, limit.tokens) - min(used, limit.tokens)
        if any(limit.concurrent for limit in lane.limits):
            self._in_flight -= 1
        self._tend()

    async def cool_down(self, tenant: str, kind: Kind, name: str, failure: Failure) -> None:
        """The other side said that calls come too fast: pause the closest limit on every worker."""
        lane = await self.lane_of(tenant, kind, name)
        if lane is None:
            return
        closest = max(lane.limits, key=lambda limit: len(limit.pattern.rstrip("*")))
        seconds = failure.retry_after_us / 1e6 or COOLDOWN_SECONDS
        with contextlib.suppress(JournalError):  # the call's own pause is kept in any case
            await self._rates.cool_down(closest.key, min(seconds, COOLDOWN_MAX_SECONDS), failure.code)

    def _take_place(self, lane: Lane) -> None:
        if any(limit.concurrent for limit in lane.limits):
            self._in_flight += 1
            self._tend()

    def _dropped(self, lane: Lane, start: int, tokens: int) -> None:
        """A permit came for a call that is no longer there."""
        self._take_place(lane)
        self.give_back(lane, start // 1_000_000, tokens, 0)

    def _make_lane(self, key: tuple[str, str, str]) -> Lane | None:
        limits = tuple(limit for limit in self._limits if limit.covers(*key))
        if not limits:
            return None
        keys = tuple(limit.key for limit in limits)
        known = self._lanes.get(keys)
        if known is None:
            patience = int(self._settings.park_after_seconds * 1e6)
            known = self._lanes[keys] = Lane(
                limits,
                self._rates,
                self._clock,
                self._holder,
                self._settings.lease_seconds,
                patience,
                self._dropped,
            )
        known.limits = limits
        return known

    async def _refresh(self) -> None:
        """Read the limits again when they are old; a call waits for that only when they are very old."""
        while self._age_seconds() >= REFRESH_SECONDS / 2:
            reading = self._reading
            if reading is None:
                reading = self._reading = asyncio.get_running_loop().create_task(self._read())
                reading.add_done_callback(self._has_read)
            if self._age_seconds() <= REFRESH_SECONDS:
                return
            await asyncio.wait({reading})
            error = reading.exception()
            if error is not None and not isinstance(error, JournalError):
                raise error
            if self._read_ns is None:  # limits that nobody could read yet may forbid the call
                await self._clock.sleep(jitter(0.1, 0.5))

    def _age_seconds(self) -> float:
        return math.inf if self._read_ns is None else (self._clock.boot_ns() - self._read_ns) / 1e9

    async def _read(self) -> None:
        limits = tuple(await self._rates.limits())
        if limits != self._limits:
            self._limits = limits
            self._matches.clear()
            self._lanes = {keys: lane for keys, lane in self._lanes.items() if len(lane)}
        self._read_ns = self._clock.boot_ns()

    def _has_read(self, task: "asyncio.Task[None]") -> None:
        self._reading = None
        if not task.cancelled() and isinstance(task.exception(), JournalError) and self._read_ns is not None:
            self._read_ns = self._clock.boot_ns()  # the store is away: the limits as last known are good for a while

    def _tend(self) -> None:
        loop = asyncio.get_running_loop()
        if self._settling is None and (self._returned or self._places):
            self._settling = loop.create_task(self._keep_settling())
        if self._beating is None and self._in_flight > 0:
            self._beating = loop.create_task(self._keep_beating())

    async def _keep_settling(self) -> None:
        """Give back what was not used, soon, until nothing is left."""
        try:
            while self._returned or self._places:
                await self._clock.sleep(SETTLE_SECONDS)
                try:
                    await self._settle()
                except JournalError:  # tried again with what else there is by then
                    await self._clock.sleep(jitter(0.5, 1.0))
        finally:
            self._settling = None

    async def _keep_beating(self) -> None:
        """While calls are in flight, say that this process lives."""
        try:
            while self._in_flight > 0:
                await self._clock.sleep(self._settings.lease_seconds / 4)
                if self._in_flight > 0:
                    with contextlib.suppress(JournalError):
                        await self._settle()
        finally:
            self._beating = None

    async def _settle(self) -> None:
        tokens, places = self._returned, self._places
        self._returned, self._places = Counter(), Counter()
        items = [Returned(key, second, count) for (key, second), count in tokens.items()]
        items += [Returned(key, places=count) for key, count in places.items()]
        try:
            await self._rates.settle(self._holder, items, self._settings.lease_seconds)
        except JournalError:
            self._returned.update(tokens)
            self._places.update(places)
            raise
        for lane in self._lanes.values():
            if any(limit.key in places for limit in lane.limits):
                lane.nudge()

    async def close(self) -> None:
        """Give back what is left to give."""
        for task in (self._settling, self._beating):
            if task is not None:
                task.cancel()
        if self._returned or self._places:
            with contextlib.suppress(JournalError):
                await self._settle()


async def throttle(
    ctx: "RunContext", call: "Call", kind: Kind, name: str, tokens: Callable[[], int] = lambda: 0
) -> None:
    """Wait until every shared limit lets the call through; the permit is settled with the call's next outcome.

    The run parks when its turn is further off than ``park_after_seconds`` and nothing else of it is going on.
    Does not return when the run is being handed back meanwhile.

    Args:
        tokens: the most that the call may use; asked only when a limit applies.
    """
    service = ctx.services.throttle
    if service is None:
        return
    tenant, release = ctx.claim.tenant, ctx.claim.release
    if service.passes(tenant, kind, name):
        return
    while True:
        lane = await ctx.interruptible(call.branch, service.lane_of(tenant, kind, name))
        if lane is None:
            return
        customer = tenant, ctx.tape.submitted.tags.get("customer", "")
        got = await ctx.interruptible(call.branch, service.enter(lane, customer, release, tokens(), ctx.in_line))
        if isinstance(got, Permit):
            ctx.permits.setdefault(call.path, []).append((kind, name, got))
            return
        if ctx.draining:
            await ctx.halt()
        until = got.at - lane.now() + ctx.now()
        await ctx.mail.wait(Waiting("rate", call.path, name, until=until), f"rate:{call.path}")


def leave_lines(ctx: "RunContext") -> None:
    """The worker is leaving, or the run is: calls of this run that wait for their turn wait no longer."""
    for ready in ctx.in_line:
        if not ready.done():
            ready.set_result(Later(0))


def settle(ctx: "RunContext", path: str, outcome: ModelOutcome | ToolOutcome) -> None:
    """An attempt has its outcome: give back what it did not use, and pass on what the other side asked for."""
    permits = ctx.permits.get(path)
    service = ctx.services.throttle
    if not permits or service is None:
        return
    kind, name, permit = permits.pop(0)
    permit.settle(outcome.used.tokens if isinstance(outcome, ModelOutcome) else None)
    failure = outcome.failure
    if failure is not None and failure.cause == "rate_limited":
        ctx.errand(service.cool_down(ctx.claim.tenant, kind, name, failure))


def settle_all(ctx: "RunContext") -> None:
    """The run is put away: whatever its calls still hold was used, as far as anybody knows."""
    for permits in ctx.permits.values():
        for _, _, permit in permits:
            permit.settle(None)
    ctx.permits.clear()
