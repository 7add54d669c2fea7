"""Stops of tools in some seeds: an operator kills, pauses and resumes them, and what that promises."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.sim.world.actors import insist
from tests.sim.world.programs import TOOLS
from tests.sim.world.told import Told

from penstock.events import ToolIntent
from penstock.ports.controls import Scope
from penstock.ports.records import RunKey, Stop

if TYPE_CHECKING:
    from tests.sim.world.seeds import World

CHANCE = 0.2
SECONDS_MOST = 3.0


@dataclass(slots=True)
class Held:
    """A stop that was sealed. ``order``: commits of runs before its acknowledgement; ``lifted``: when that began."""

    scope: Scope
    order: int
    at: float
    lifted: float = float("inf")


class ToolStopping:
    """Who stops the tools of one seed."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self._held: list[Held] = []

    def begin(self) -> None:
        """Stop one now and then, some at once, until it is calm."""
        for _ in range(self._rng.choice((1, 2))):
            self._world.stopper.process.spawn(self._operate(), "stops of tools")

    async def _operate(self) -> None:
        rng, world, names = self._rng, self._world, sorted(tool.name for tool in TOOLS.values())
        while not world.calm:
            await asyncio.sleep(rng.uniform(0.05, 1.5))
            if world.calm:
                return
            scope = Scope("tool", rng.choice(("default", "default", "other")), rng.choice(names))
            if any(held.scope == scope and held.lifted == float("inf") for held in self._held):
                continue
            await self._hold(scope, rng.choice((Stop.KILL, Stop.PAUSE, Stop.PAUSE)), rng.uniform(0.1, SECONDS_MOST))

    async def _hold(self, scope: Scope, stop: Stop, seconds: float) -> None:
        world, rng = self._world, self._rng
        platform = world.stopper.platform
        sealed = await insist(lambda: platform.stop(scope, stop, actor="operator"), rng)
        held = Held(scope, len(world.database.commits), world.loop.time())
        if sealed.sealed:
            self._held.append(held)
            world.count(f"{stop} of: tool")
        world.note("operator", f"{stop} of {scope} of {scope.tenant} acknowledged, sealed={sealed.sealed}")
        await asyncio.sleep(seconds)
        held.lifted = world.loop.time()
        await insist(lambda: platform.resume(scope, actor="operator"), rng)

    def check(self, tapes: dict[RunKey, Told], committed: Mapping[tuple[RunKey, int], tuple[float, int]]) -> None:
        """Between the acknowledgement of a stop and its lifting no intent of the tool was committed, also no read's."""
        world = self._world
        for told in tapes.values():
            for event in told.events:
                if not isinstance(event, ToolIntent):
                    continue
                at, order = committed[told.key, event.seq]
                for held in self._held:
                    if held.scope != Scope("tool", told.key[0], event.tool):
                        continue
                    if order >= held.order and at < held.lifted:
                        what = f"{event.tool} at {event.path} of {told.short} was committed at {at:.4f}"
                        world.fail("no_intent_of_a_stopped_tool", f"{what}, stopped at {held.at:.4f}")
