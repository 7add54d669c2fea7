"""Reading what is known of claimed runs: short tapes together, long ones one by one, and never too much at a time.

A worker that claims sixty runs of fifty megabytes each must not read three gigabytes. Short tapes are read in groups;
a long one waits until there is room for it beside those that are held already. Of a run that has a snapshot only what
came after is read.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from penstock.events import RunAdopted, decode
from penstock.gates.order.tape import Before
from penstock.gates.run.services import Services
from penstock.gates.snapshots.state import FORMAT, State, decode_state
from penstock.journal.payloads import ref_text, unpack
from penstock.kernel.backoff import until_answered
from penstock.kernel.errors import ChainBroken, EventUnreadable, JournalError
from penstock.kernel.groups import in_groups
from penstock.ports.records import Claim, Letter, Row, RunKey
from penstock.ports.snapshots import Snapshot

T = TypeVar("T")

LONG_EVENTS = 500
"""A tape with more events than this, or than come between two snapshots, is read by itself."""
GROUP_EVENTS = 5_000
"""Events of short tapes that are read in one request."""
PAGE_EVENTS = 5_000
PAGE_BYTES = 4 * 1024 * 1024
"""Of one request for a long tape."""

_logger = logging.getLogger("penstock.runs")


@dataclass(slots=True)
class Loaded:
    """What is known of a claimed run. ``state``: what to go on from, when the tape is not whole."""

    claim: Claim
    rows: list[Row]
    letters: list[Letter]
    state: State | None = None
    before: Before | None = None
    weight: int = 0  # bytes of room that it takes up

    def begun(self) -> "Loaded":
        """Without what its execution has, and lets go of once it has read it."""
        return replace(self, rows=[], letters=[])

    @property
    def since(self) -> list[Row]:
        """The events after the snapshot; all of them when there is none."""
        return self.rows if self.before is None else self.rows[self.before.kept :]


@dataclass(slots=True)
class Room:
    """Bytes of long tapes that may be held at a time. First come, first served; one that is larger than all the room
    gets it when nobody else holds any."""

    capacity: int
    used: int = 0
    _line: "deque[tuple[int, asyncio.Future[None]]]" = field(default_factory=deque)

    async def take(self, size: int) -> None:
        """Wait for so much room."""
        if self._line or not self._fits(size):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._line.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.give_back(size)
                raise
        else:
            self.used += size

    def give_back(self, size: int) -> None:
        """Somebody is done with so much of it."""
        self.used -= size
        while self._line and (self._line[0][1].done() or self._fits(self._line[0][0])):
            asked, turn = self._line.popleft()
            if not turn.done():
                self.used += asked
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return not self.used or self.used + size <= self.capacity


class Loader:
    """Reads for one worker.

    Attributes:
        on_loaded: told of each long run when it has been read.
        on_failed: told when a run that is held cannot be read.
        reading: long runs that wait for room or are being read: held, and not yet begun.
    """

    def __init__(self, services: Services, on_loaded: Callable[[Loaded], None], on_failed: Callable[[], None]) -> None:
        self.services = services
        self.on_loaded = on_loaded
        self.on_failed = on_failed
        self.reading: dict[RunKey, asyncio.Task[None]] = {}
        self.room = Room(services.settings.tapes_max_bytes)

    async def load(self, claims: Sequence[Claim]) -> list[Loaded]:
        """What is known of the short ones; the others follow by themselves."""
        begun_ns = self.services.clock.boot_ns()
        every = self.services.settings.snapshot_every_events or LONG_EVENTS
        short = [claim for claim in claims if claim.last_seq <= min(every, LONG_EVENTS)]
        for claim in claims:
            if claim.last_seq > min(every, LONG_EVENTS):
                self._begin(claim, begun_ns)
        loaded: list[Loaded] = []
        for group in in_groups(short, lambda claim: claim.last_seq, GROUP_EVENTS):
            loaded += await self._together(group)
        return [self._in_time(item, begun_ns) for item in loaded]

    def put_away(self, loaded: Loaded) -> None:
        """The run is done with here."""
        loaded.state = None
        self.release(loaded.weight)

    def release(self, weight: int) -> None:
        """So much room is not needed any more."""
        if weight:
            self.room.give_back(weight)

    async def close(self, put_back: Callable[[], Awaitable[None]] | None) -> None:
        """Give up on what has not been read yet, and let others have it now."""
        tasks = list(self.reading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.reading.clear()
        if tasks and put_back is not None:
            with contextlib.suppress(JournalError):
                await put_back()

    async def alone(self, claim: Claim) -> Loaded:
        """One run, whatever its length, at once."""
        begun_ns = self.services.clock.boot_ns()
        letters = await self.services.journal.letters([(claim.tenant, claim.run)])
        snapshot = await self._latest((claim.tenant, claim.run))
        loaded = await self._since(claim, snapshot) if snapshot is not None else None
        if loaded is None:
            loaded = Loaded(claim, await self._pages(claim, 0), [])
        loaded.letters = letters.get((claim.tenant, claim.run), [])
        return self._in_time(loaded, begun_ns)

    async def _together(self, claims: Sequence[Claim]) -> list[Loaded]:
        journal = self.services.journal
        keys: list[RunKey] = [(claim.tenant, claim.run) for claim in claims]
        tapes = await journal.tapes(keys)
        letters = await journal.letters(keys) if any(claim.last_seq > 1 for claim in claims) else {}
        return [
            Loaded(claim, tapes.get(key, []), letters.get(key, [])) for claim, key in zip(claims, keys, strict=True)
        ]

    def _begin(self, claim: Claim, begun_ns: int) -> None:
        key = claim.tenant, claim.run
        earlier = self.reading.get(key)
        if earlier is not None:  # of a claim that was lost meanwhile
            earlier.cancel()
        task = asyncio.get_running_loop().create_task(self._one(claim, begun_ns))
        self.reading[key] = task

    async def _one(self, claim: Claim, begun_ns: int) -> None:
        key = claim.tenant, claim.run
        journal = self.services.journal
        weight = 0
        try:
            snapshot = await self._insist(lambda: self._latest(key))
            after = snapshot.seq if snapshot is not None else 0
            sizes = await self._insist(lambda: journal.snapshots.weigh([(*key, after)]))
            size = sizes.get(key, 0)
            await self.room.take(size)
            weight = size
            loaded = await self._insist(lambda: self._since(claim, snapshot)) if snapshot is not None else None
            if loaded is None:
                if snapshot is not None:  # all of it is needed after all
                    self.room.give_back(weight)
                    weight = 0
                    whole = (await self._insist(lambda: journal.snapshots.weigh([(*key, 0)]))).get(key, 0)
                    await self.room.take(whole)
                    weight = whole
                loaded = Loaded(claim, await self._insist(lambda: self._pages(claim, 0)), [])
            loaded.letters = (await self._insist(lambda: journal.letters([key]))).get(key, [])
            if not self._done(key):
                return
            loaded.weight, weight = weight, 0
            self.on_loaded(self._in_time(loaded, begun_ns))
        except JournalError as error:
            _logger.warning("run %s cannot be read: %s", claim.run, error)
            if self._done(key):
                self.on_failed()
        finally:
            self.release(weight)

    def _done(self, key: RunKey) -> bool:
        """The reading is over; False when it was given up, or a later claim of the same run is being read."""
        if self.reading.get(key) is not asyncio.current_task():
            return False
        del self.reading[key]
        return True

    async def _latest(self, key: RunKey) -> Snapshot | None:
        if not self.services.settings.snapshot_every_events:
            return None
        return (await self.services.journal.snapshots.latest([key])).get(key)

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await until_answered(ask, self.services.clock.sleep)

    def _in_time(self, loaded: Loaded, begun_ns: int) -> Loaded:
        """Reading took time: one that took the claim's time for now would park again."""
        passed_us = (self.services.clock.boot_ns() - begun_ns) // 1000
        loaded.claim = replace(loaded.claim, now=loaded.claim.now + passed_us)
        return loaded

    async def _pages(self, claim: Claim, after: int) -> list[Row]:
        rows: list[Row] = []
        while True:
            last = rows[-1].seq if rows else after
            page = await self.services.journal.snapshots.page(claim.tenant, claim.run, last, PAGE_EVENTS, PAGE_BYTES)
            rows += page
            if not page or page[-1].seq >= claim.last_seq:
                return rows

    async def _since(self, claim: Claim, snapshot: Snapshot) -> Loaded | None:
        """What came after the snapshot; None when the run cannot go on from it."""
        if snapshot.format != FORMAT or snapshot.release != claim.release or snapshot.seq > claim.last_seq:
            return None
        try:
            state = await self._state(claim, snapshot)
            if state is None:
                return None
            engine = state.engine
            known = await self.services.journal.snapshots.rows(claim.tenant, claim.run, [*engine.kept, engine.seq])
            rows = {row.seq: row for row in known}
            if engine.seq != snapshot.seq or rows[engine.seq].hash != snapshot.head:
                raise ChainBroken("it follows another history", problem="snapshot")
            kept = [rows[seq] for seq in engine.kept]
            at = rows[engine.claimed].at
            before = Before(
                len(kept), engine.size, engine.tape_format, engine.active_us, at, max(at, rows[engine.seq].at)
            )
        except (ChainBroken, EventUnreadable, KeyError) as error:
            words = error.what if not isinstance(error, KeyError) else f"event {error} is not there"
            _logger.warning("the snapshot of run %s after event %d is not used: %s", claim.run, snapshot.seq, words)
            return None
        since = await self._pages(claim, snapshot.seq)
        if any(isinstance(decode(row.body), RunAdopted) for row in since):
            return None  # what a person accepted may concern any call
        return Loaded(claim, [*kept, *since], [], state, before)

    async def _state(self, claim: Claim, snapshot: Snapshot) -> State | None:
        """The kept state; None when it is of another format.

        Raises:
            ChainBroken, EventUnreadable: it is not what was kept, or not there.
        """
        key = claim.tenant, claim.subject, snapshot.address
        payload = (await self.services.journal.snapshots.payloads([key], 1)).get(key)
        if payload is None:
            raise EventUnreadable(f"its payload {ref_text(snapshot.address)} is not in the store")
        state = decode_state(unpack(payload, claim.subject_key))
        if state is not None and (state.run, state.release) != (str(claim.run), claim.release):
            raise EventUnreadable("it is another run's")
        return state
