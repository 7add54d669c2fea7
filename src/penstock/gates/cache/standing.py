"""How one call stands to the cache: served; or the one whose call others wait for; or on its own."""

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from penstock.events import CacheSource
from penstock.gates.cache.keys import keyed, sealed
from penstock.gates.cache.shelf import AnswerCache, Flight, Landed
from penstock.journal.payloads import make_payload, unpack
from penstock.kernel.errors import EventUnreadable, JournalError
from penstock.ports.cache import Entry, Gate, Scope, Seat
from penstock.ports.records import Payload

if TYPE_CHECKING:
    from penstock.gates.run.call import Call
    from penstock.gates.run.context import RunContext

POLL_FIRST_SECONDS = 0.02
POLL_MOST_SECONDS = 0.25
"""From one look at a call that another process makes to the next."""
LEASE_MARGIN_SECONDS = 30.0
"""Beyond the call's own time-out: for its wait for rate limits and its further attempts. The lease of a worker that is
lost ends sooner."""
ALONE_SECONDS = 1.0
"""For how long nobody waits after an answer that could not be kept."""
VAIN_FLIGHTS = 2
"""How many calls of others a call waits for that fail; then it is made as if there were no cache."""


class Wanted(msgspec.Struct, frozen=True):
    """What is asked of the cache. ``request``: its canonical form; ``seconds``: the life of the answer to it."""

    gate: Gate
    name: str
    scope: Scope
    scope_name: str
    request: bytes
    seconds: float
    tags: tuple[str, ...] = ()


@dataclass(slots=True)
class Standing:
    """A call that may be served. With ``entry`` it is, by ``data``; else the call is made inside ``with standing``.

    Leaving the block without `keep` lets the others go on by themselves, or, after a failure, one of them in its place.
    """

    cache: AnswerCache
    wanted: Wanted
    tenant: str
    agent: str
    subject: str
    seat: Seat
    secret: bytes
    key: bytes
    began: int = 0  # microseconds, the store's clock
    entry: Entry | None = None
    data: bytes = b""
    waited: bool = False
    leads: bool = False
    flight: Flight | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        self.count(misses=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.leads:
            self.leads = False
            self.cache.errand(self._let_go(alone=kind is None))

    def keep(self, data: bytes, *, finish: str = "", simulated: bool = False, tokens: int = 0, nano: int = 0) -> None:
        """The call's answer may be given to others."""
        if not self.leads or len(data) > self.cache.settings.cache_entry_max_bytes:
            return
        self.leads = False
        wanted = self.wanted
        packed = make_payload(self.tenant, self.subject, self.key, data)
        entry = Entry(
            tenant=self.tenant,
            key=self.key,
            gate=wanted.gate,
            scope=wanted.scope,
            scope_name=wanted.scope_name,
            agent=self.agent,
            name=wanted.name,
            subject=self.subject,
            source=CacheSource(self.seat.run, self.seat.path, self.began),
            tags=wanted.tags,
            data=packed.data,
            codec=packed.codec,
            size=packed.size,
            digest=sealed(self.secret, self.key, data),
            finish=finish,
            simulated=simulated,
            tokens=tokens,
            nano=nano,
        )
        if self.flight is not None:
            self.cache.close_door(self.where, self.flight)
        self.cache.errand(self._keep(entry))

    def served(self) -> CacheSource:
        """Count that the call was not made; where its answer comes from."""
        assert self.entry is not None
        self.count(hits=1, waited=int(self.waited), saved_nano=self.entry.nano, saved_tokens=self.entry.tokens)
        return self.entry.source

    def refuse(self) -> None:
        """What the cache gave cannot be used: the call is made, and its answer takes the place."""
        self.entry, self.data, self.leads = None, b"", True

    def count(self, **figures: int) -> None:
        """Count what became of the call."""
        self.cache.count(self.tenant, self.wanted.gate, self.agent, self.wanted.name, **figures)

    def take(self, entry: Entry) -> None:
        """Take what the store gave, if it is what was kept."""
        try:
            data = unpack(Payload("", "", b"", entry.data, entry.codec, entry.size))
        except EventUnreadable:
            data = None
        if data is None or sealed(self.secret, self.key, data) != entry.digest:
            self.refuse()
        else:
            self.entry, self.data = entry, data

    @property
    def where(self) -> tuple[str, bytes]:
        return self.tenant, self.key

    def land(self, landed: Landed) -> None:
        """Tell those in this process who wait for this call."""
        if self.flight is not None:
            self.cache.land(self.where, self.flight, landed)
            self.flight = None

    async def _keep(self, entry: Entry) -> None:
        cache = self.cache
        kept = False
        try:
            life = min(self.wanted.seconds, cache.settings.cache_seconds_max)
            kept = await cache.entries.put(entry, self.seat, self.began, life, cache.bounds)
        except JournalError:
            pass  # they ask again, and one of them makes the call
        finally:
            self.land(Landed(entry if kept else None))

    async def _let_go(self, *, alone: bool) -> None:
        try:
            await self.cache.entries.let_go(self.tenant, self.key, self.seat, ALONE_SECONDS if alone else 0.0)
        except JournalError:
            pass  # its lease ends
        finally:
            self.land(Landed(alone=alone))


async def look(ctx: "RunContext", call: "Call", wanted: Wanted, seconds: float) -> Standing | None:
    """How the call stands; waits for equal calls under way, ``seconds`` at most. None: the store cannot be reached."""
    cache = ctx.services.cache
    if cache is None:
        return None
    claim = ctx.claim
    try:
        secret = await cache.secret(claim.tenant)
    except JournalError:
        return None
    standing = Standing(
        cache,
        wanted,
        claim.tenant,
        claim.agent,
        claim.subject,
        Seat(claim.run, claim.epoch, call.path),
        secret,
        keyed(secret, wanted.request),
    )
    by = cache.clock.boot_ns() + int(seconds * 1e9)
    try:
        await ctx.interruptible(call.branch, _stand(ctx, standing, by, seconds + LEASE_MARGIN_SECONDS))
    except JournalError:
        return None
    return standing


async def _stand(ctx: "RunContext", standing: Standing, by: int, lease: float) -> None:
    cache, vain = standing.cache, 0
    while vain < VAIN_FLIGHTS:
        flight = cache.flight(standing.where)
        if flight is None:
            await _ask(ctx, standing, by, lease)
            return
        standing.waited, place = True, flight.join()
        if not await _wait(ctx, flight, by):
            return
        landed = flight.done.result()
        if landed.alone:
            return
        if landed.entry is None:
            vain += 1
        elif flight.covers(place):
            standing.take(landed.entry)
            return


async def _ask(ctx: "RunContext", standing: Standing, by: int, lease: float) -> None:
    """Ask the store, for all of this process, until it gives the answer or says who makes the call."""
    cache = standing.cache
    flight = standing.flight = cache.take_off(standing.where)
    pause, landed = POLL_FIRST_SECONDS, Landed()
    try:
        await asyncio.sleep(0)  # those who were woken together ask together
        while True:
            flight.cover()
            taken = await cache.entries.take(standing.tenant, standing.key, standing.seat, lease)
            standing.began = taken.now
            if taken.entry is not None:
                standing.take(taken.entry)
                landed = Landed(standing.entry)
                return
            if taken.state == "lead":
                standing.leads = True
                return
            landed = Landed(alone=taken.state == "alone")
            if landed.alone:
                return
            standing.waited = True
            if not await _wait(ctx, None, by, pause):
                return
            pause = min(POLL_MOST_SECONDS, pause * 1.5)
    finally:
        if not standing.leads:
            standing.land(landed)


async def _wait(ctx: "RunContext", flight: Flight | None, by: int, pause: float = 0.0) -> bool:
    """Wait for a flight, or for a pause; False when the time is over. A worker that drains waits no longer: the call is
    the next holder's."""
    clock = ctx.services.clock
    left = (by - clock.boot_ns()) / 1e9
    if left <= 0:
        return False
    waiting: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(clock.sleep(min(left, pause) if flight is None else left)),
        asyncio.ensure_future(ctx.leaving.wait()),
    ]
    ctx.services.outside += 1
    try:
        if flight is not None:
            waiting.append(asyncio.shield(flight.done))
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ctx.services.outside -= 1
        for each in waiting:
            each.cancel()
    if ctx.draining:
        await ctx.halt()
    return flight is None or flight.done.done()
