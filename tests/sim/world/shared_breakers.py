"""Breakers in some seeds: somebody trips and resets them, failures do too, and what they cover waits meanwhile."""

import asyncio
import contextlib
import functools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from tests.sim.world.store import SEAL_TRIES, LockNotAvailable, Session
from tests.sim.world.told import Told

from penstock.events import ModelIntent, ToolIntent
from penstock.kernel.errors import JournalFull, JournalUnavailable
from penstock.kernel.ids import new_id
from penstock.ports.breakers import EACH, Breaker, Condition, Key
from penstock.ports.records import RunKey

if TYPE_CHECKING:
    from tests.sim.world.seeds import World

CHANCE = 0.15
OPEN_SECONDS = 3.0
BREAKERS = tuple(
    Breaker(tenant, "agents", "agent", EACH, (Condition("failures", limit=6),), OPEN_SECONDS, 2, "queue")
    for tenant in ("default", "other")
)


@dataclass(slots=True, frozen=True)
class Moved:
    """A circuit was opened, or closed. ``order``: commits of runs before that; ``until``: the loop's time."""

    key: Key
    order: int
    is_open: bool
    until: float
    trip: UUID | None


class SharedBreakers:
    """The breakers of one seed, who trips them, and what they promise."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._moves: list[Moved] = []
        self._known: dict[Key, tuple[int, bool]] = {}

    def begin(self) -> None:
        """Set them, and trip one now and then."""
        database = self._world.database
        for breaker in BREAKERS:
            database.write(functools.partial(database.memory.breakers.put, breaker, "operator"))
        database.memory.breakers.listen(self._look)
        self._world.loop.create_task(self._operate())

    async def _operate(self) -> None:
        rng, world = self._rng, self._world
        while not world.calm:
            await asyncio.sleep(rng.uniform(0.1, 2.5))
            agents = sorted({(run.new.tenant, run.new.agent) for run in world.database.stored.runs.values()})
            if agents and not world.calm:
                tenant, agent = rng.choice(agents)
                await self._order((tenant, "agents", agent), rng.random() < 0.75)
        for breaker in BREAKERS:
            world.database.at_once(world.database.memory.breakers.reset(breaker.tenant, "agents", None, "operator"))
        world.exchange.tell()

    async def _order(self, key: Key, trips: bool) -> None:
        database = self._world.database
        if not trips:
            database.at_once(database.memory.breakers.reset(*key, "operator"))
            return
        trip = new_id(database.clock)
        seconds = self._rng.uniform(0.3, OPEN_SECONDS)

        async def order(session: Session) -> bool:
            return await database.trip_breaker(session, key, None, trip, seconds, "operator", b"{}")

        for _ in range(SEAL_TRIES):
            with contextlib.suppress(LockNotAvailable, JournalUnavailable, JournalFull):
                self._world.count("tripped" if await database.execute(order) else "not tripped")
                return

    def _look(self) -> None:
        """A circuit has changed: in the very step that changed it."""
        database, now = self._world.database, self._world.loop.time()
        for circuit in database.memory.breakers._circuits.values():
            stands = circuit.generation, circuit.is_open
            if self._known.get(circuit.key, (0, False)) == stands:
                continue
            self._known[circuit.key] = stands
            until = now + (circuit.until - database.clock.now_us()) / 1e6
            order = len(database.commits)
            self._moves.append(Moved(circuit.key, order, circuit.is_open, until, circuit.trip))

    def check(self, tapes: dict[RunKey, Told], committed: Mapping[tuple[RunKey, int], tuple[float, int]]) -> None:
        """While a circuit was open no intent of its agent was committed."""
        world, end = self._world, float("inf")
        unsealed = world.database.unsealed_trips
        for number, move in enumerate(self._moves):
            if not move.is_open or move.trip in unsealed:
                continue
            later = (then.order for then in self._moves[number + 1 :] if then.key == move.key)
            closed = next(later, end)
            for told in tapes.values():
                if (told.key[0], told.run.new.agent) != (move.key[0], move.key[2]):
                    continue
                for event in told.events:
                    if not isinstance(event, ModelIntent | ToolIntent):
                        continue
                    if isinstance(event, ToolIntent) and event.effect == "write" and event.because == "in_doubt":
                        continue
                    at, order = committed[told.key, event.seq]
                    if move.order <= order < closed and at < move.until - 1e-6:
                        what = f"{event.path} of {told.short} was committed at {at:.4f}, open until {move.until:.4f}"
                        world.fail("no_intent_while_open", what)
        world.counts["breakers opened"] += sum(move.is_open for move in self._moves)
