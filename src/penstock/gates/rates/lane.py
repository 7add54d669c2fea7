"""Calls of one process that wait for the same shared limits: in order, and in turn between customers."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from penstock.gates.order.branches import outside_runs
from penstock.kernel.clock import Clock
from penstock.kernel.errors import JournalError
from penstock.kernel.randomness import jitter
from penstock.ports.rates import STALE_US, Limit, LimitKey, Rates

BATCH = 100  # calls that permits are asked for in one statement
LINGER_SECONDS = 0.01
"""Between two statements of a lane: under load the calls that come meanwhile share the next one."""
ASK_AGAIN_SECONDS = 1.0
"""A waiting lane asks at least so often: others give back what they did not use, and limits are changed."""
AWAY_SECONDS = 2.0  # who is sent away stays away for so long at least
STORE_AWAY_SECONDS = 0.5


@dataclass(slots=True, frozen=True)
class Later:
    """No permit here: the call is expected to have its turn at ``at`` (the store's time, microseconds)."""

    at: int


@dataclass(slots=True, frozen=True)
class Start:
    """A permit, for a start from ``at`` on."""

    at: int


@dataclass(slots=True, eq=False)
class Waiter:
    """One call in line. ``ready`` gets a `Start` or a `Later`; whoever gives up cancels it."""

    customer: tuple[str, str]
    tokens: int
    since: int  # of the clock since boot, microseconds
    release: str  # of the run's agent
    ready: "asyncio.Future[Start | Later]" = field(init=False)

    def __post_init__(self) -> None:
        self.ready = asyncio.get_running_loop().create_future()


class Lane:
    """The line before one set of limits.

    Args:
        returned: called with a start that was given but is not used, and the tokens it was given for.
        patience_us: who is expected to wait for longer is told when to come back.
    """

    def __init__(
        self,
        limits: Sequence[Limit],
        rates: Rates,
        clock: Clock,
        holder: UUID,
        lease_seconds: float,
        patience_us: int,
        returned: Callable[["Lane", int, int], None],
    ) -> None:
        self.limits = tuple(limits)
        self.keys: list[LimitKey] = [limit.key for limit in limits]
        self.store_offset_us = clock.now_us() - clock.boot_ns() // 1000  # this machine's guess, until the store answers
        self._store_offset_most_us = self.store_offset_us
        self.opens_at = 0  # when the first in line is expected to have its turn; store's time
        self._rates = rates
        self._clock = clock
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._patience_us = patience_us
        self._returned = returned
        self._lines: dict[tuple[str, str], deque[Waiter]] = {}
        self._asked_ns: int | None = None
        self._pump: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def now(self) -> int:
        """The store's time as far as this process knows it, microseconds: it is not earlier than that."""
        return self._clock.boot_ns() // 1000 + self.store_offset_us

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def put_off(self, tokens: int) -> Later | None:
        """Where a call that came now would have to wait for too long."""
        at = self._expected(self.opens_at, len(self), self._tokens_in_line() + tokens)
        return Later(at) if at - self.now() > self._patience_us else None

    def enter(self, waiter: Waiter) -> None:
        """Get in line."""
        self._lines.setdefault(waiter.customer, deque()).append(waiter)
        if self._pump is None:
            # In a context of its own: it serves many runs and belongs to none.
            self._pump = asyncio.get_running_loop().create_task(self._serve(), context=outside_runs())

    def nudge(self) -> None:
        """Something was given back: ask again."""
        self._news.set()

    async def _serve(self) -> None:
        """Ask for permits while anybody waits."""
        try:
            while self._lines:
                await self._keep_pace()
                order = self._in_turn()
                if not order:
                    break
                try:
                    retry_at = await self._ask(order[:BATCH])
                except JournalError:
                    await self._clock.sleep(jitter(STORE_AWAY_SECONDS / 2, STORE_AWAY_SECONDS))
                    continue
                if not self._lines:
                    break
                await self._rest((retry_at - self.now()) / 1e6)
        except Exception as error:
            for waiter in self._in_turn():
                waiter.ready.set_exception(error)
        finally:
            self._pump = None

    async def _keep_pace(self) -> None:
        now = self._clock.boot_ns()
        early_ns = 0 if self._asked_ns is None else self._asked_ns + int(LINGER_SECONDS * 1e9) - now
        if early_ns > 0:
            await self._clock.sleep(early_ns / 1e9)
        self._asked_ns = self._clock.boot_ns()

    async def _ask(self, batch: Sequence[Waiter]) -> int:
        """Permits for the first in line; when to ask for the others."""
        asks = [waiter.tokens for waiter in batch]
        since = min(waiter.since for waiter in batch) + self.store_offset_us
        sent = self._clock.boot_ns() // 1000
        grant = await self._rates.take(self._holder, self.keys, asks, since, self._lease_seconds)
        # The store read its clock at some moment between the two: this process may have stood still before it heard.
        self.store_offset_us = grant.now - self._clock.boot_ns() // 1000
        self._store_offset_most_us = grant.now - sent
        for waiter, start in zip(batch, grant.starts, strict=False):
            if waiter.ready.done():
                self._returned(self, start, waiter.tokens)
            else:
                waiter.ready.set_result(Start(start))
        self._leave(batch[: len(grant.starts)])
        self.opens_at = grant.retry_at if grant.in_the_way is not None else 0
        self._send_away(grant.now)
        return grant.retry_at

    def _send_away(self, now: int) -> None:
        """Tell those whose turn is far off when to come back."""
        tokens, away = 0, []
        patient_from = self._clock.boot_ns() // 1000 - self._patience_us
        for ahead, waiter in enumerate(self._in_turn()):
            tokens += waiter.tokens
            at = self._expected(self.opens_at, ahead, tokens)
            if at - now > self._patience_us:
                away.append(waiter)
                waiter.ready.set_result(Later(at))
            elif waiter.since < patient_from:
                away.append(waiter)
                waiter.ready.set_result(Later(max(at, now + int(jitter(1.0, 2.0) * AWAY_SECONDS * 1e6))))
        self._leave(away)

    def _expected(self, opens_at: int, ahead: int, tokens: int) -> int:
        """When somebody with so many calls, and so many tokens with its own, before it has its turn."""
        if not opens_at:
            return 0
        waits = [0.0]
        for limit in self.limits:
            if limit.requests:
                waits.append(ahead * 60e6 / limit.requests)
            if limit.tokens:
                waits.append(max(0, tokens - limit.tokens) * 60e6 / limit.tokens)
        return opens_at + int(max(waits))

    def _tokens_in_line(self) -> int:
        return sum(waiter.tokens for line in self._lines.values() for waiter in line)

    def _in_turn(self) -> list[Waiter]:
        """Everybody in line: the first of each customer, then the second of each; who gave up is taken out."""
        for customer in list(self._lines):
            alive = deque(waiter for waiter in self._lines[customer] if not waiter.ready.done())
            if alive:
                self._lines[customer] = alive
            else:
                del self._lines[customer]
        lines = [list(line) for line in self._lines.values()]
        depth = max(map(len, lines), default=0)
        return [line[place] for place in range(depth) for line in lines if place < len(line)]

    def _leave(self, served: Sequence[Waiter]) -> None:
        """Take them out; their customers go to the end of the round."""
        for waiter in served:
            line = self._lines.pop(waiter.customer, None)
            if line is None:
                continue
            if waiter in line:
                line.remove(waiter)
            if line:
                self._lines[waiter.customer] = line

    async def _rest(self, seconds: float) -> None:
        """Until it is worth while to ask again."""
        self._news.clear()
        left = min(seconds, jitter(ASK_AGAIN_SECONDS * 0.75, ASK_AGAIN_SECONDS))
        if left <= 0:
            return
        over = asyncio.ensure_future(self._clock.sleep(left))
        heard = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait((over, heard), return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            heard.cancel()

    def is_stale(self, start: Start) -> bool:
        """Whether a permit may have waited for longer than the meters allow for. Where the store answers later than
        that, none is good: no call goes through until it answers sooner."""
        latest = self._clock.boot_ns() // 1000 + self._store_offset_most_us
        return latest > start.at + STALE_US
