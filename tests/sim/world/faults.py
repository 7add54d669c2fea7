"""What goes wrong, and when. Each seed has faults of some kinds and none of others, so that rare meetings are met."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.sim.world.actors import SETTINGS, Node, WorkerNode
from tests.sim.world.stops import KINDS as KINDS_OF_SCOPES
from tests.sim.world.stops import scope_like

from penstock.kernel.randomness import seeded
from penstock.ports.controls import of_all
from penstock.ports.records import RunKey, Stop

if TYPE_CHECKING:
    from tests.sim.world.seeds import World

KINDS = (
    "crash",
    "crash_at_step",
    "stall",
    "stall_at_step",
    "stall_after_intent",
    "clocks",
    "line",
    "late_commits",
    "slow_store",
    "stuck_sessions",
    "store_crash",
    "outage",
    "disk_full",
    "outside",
    "stops",
    "pauses",
    "kill_all",
    "double_decisions",
    "drain",
    "deaf",
)
SCOPES_SHARE = 0.2
"""Of the seeds, in which runs have customers, and all runs of a customer, an agent, ... are killed or paused."""


@dataclass(slots=True)
class Chaos:
    """What this seed has in store. Chances, or zero."""

    kinds: frozenset[str] = frozenset()
    seconds: float = 0.0
    stall_after_intent: float = 0.0
    double_decisions: float = 0.0

    def has(self, kind: str) -> bool:
        return kind in self.kinds


def draw_chaos(seed: int) -> Chaos:
    """Of a seed."""
    rng = seeded(seed, "chaos")
    share = rng.choice((0.1, 0.25, 0.4, 0.6))
    kinds = frozenset(kind for kind in KINDS if rng.random() < (max(share, 0.5) if kind == "outside" else share))
    chaos = Chaos(kinds, seconds=rng.choice((2.0, 4.0, 6.0, 10.0)))
    chaos.stall_after_intent = rng.choice((0.05, 0.2)) if chaos.has("stall_after_intent") else 0.0
    if seeded(seed, "scopes").random() < SCOPES_SHARE:
        chaos.kinds |= {"scopes"}
    chaos.double_decisions = 0.5 if chaos.has("double_decisions") else 0.0
    return chaos


class Faults:
    """Makes things go wrong while there is chaos, and puts them right afterwards."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self._running: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Unleash them."""
        chaos, rng, weather = self.world.chaos, self.rng, self.world.database.weather
        weather.snapshot, weather.flush, weather.spread = 0.0005, 0.002, 3.0
        if chaos.has("slow_store"):
            weather.flush, weather.snapshot, weather.spread = rng.choice((0.02, 0.1)), rng.choice((0.005, 0.05)), 5.0
        if chaos.has("kill_all"):
            weather.snapshot = rng.choice((0.0005, 0.05, 0.3))
        if chaos.has("stuck_sessions"):
            weather.stuck_chance, weather.stuck = 0.03, rng.choice((0.5, 3.0, 8.0))
        self.world.outside.trouble = rng.choice((0.2, 0.5, 0.8)) if chaos.has("outside") else 0.0
        repeated = {
            "crash": (self._crash, 2.0),
            "crash_at_step": (self._crash_at_step, 1.5),
            "stall": (self._stall, 2.0),
            "stall_at_step": (self._stall_at_step, 1.5),
            "clocks": (self._jump, 1.0),
            "store_crash": (self._crash_store, 3.0),
            "outage": (self._outage, 4.0),
            "disk_full": (self._fill_disk, 4.0),
            "stops": (self._stop_one, 1.5),
            "pauses": (self._pause_one, 2.0),
            "kill_all": (self._stop_all, 2.0),
            "scopes": (self._stop_scope, 1.0),
            "drain": (self._drain, 3.0),
        }
        for kind, (act, mean) in repeated.items():
            if chaos.has(kind):
                self._running.append(self.world.loop.create_task(self._again_and_again(act, mean)))

    def line_of(self, node: Node) -> None:
        """The line of a node that has just started."""
        line, chaos, rng = node.line, self.world.chaos, self.rng
        line.latency, line.spread = 0.001, 4.0
        if self.world.calm:
            return
        if chaos.has("slow_store"):
            line.latency = rng.choice((0.005, 0.03))
        if chaos.has("line"):
            line.refused, line.unanswered = rng.choice(((0.1, 0.02), (0.02, 0.1), (0.2, 0.2)))
        if (
            chaos.has("late_commits") and node is not self.world.stopper
        ):  # whose lifting must not come after its next stop
            line.late, line.late_by = 0.06, rng.choice((0.3, 2.0, 5.0))
        line.deaf = 0.5 if chaos.has("deaf") else 0.0
        if chaos.has("clocks"):
            node.clock.skew_us = rng.randrange(-3_600_000_000, 3_600_000_000)

    def end(self) -> None:
        """All is well again."""
        for task in self._running:
            task.cancel()
        world = self.world
        weather = world.database.weather
        weather.snapshot, weather.flush, weather.spread, weather.stuck_chance = 0.0005, 0.002, 3.0, 0.0
        weather.full = False
        world.outside.trouble = 0.0
        for node in world.nodes():
            line = node.line
            line.latency, line.spread, line.refused, line.unanswered, line.late = 0.001, 4.0, 0.0, 0.0, 0.0
            line.deaf, line.down = 0.0, False
            node.process.fuse = 0
            if node.process.stopped:
                node.process.resume()

    async def _again_and_again(self, act: Callable[[], None], mean: float) -> None:
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / mean))
            act()

    def _victim(self) -> WorkerNode | None:
        alive = [node for node in self.world.workers.values() if not node.process.dead and not node.process.stopped]
        return self.rng.choice(alive) if alive else None

    def _crash(self) -> None:
        if node := self._victim():
            self.world.count("crash")
            self.world.crash(node)

    def _crash_at_step(self) -> None:
        node = self._victim()
        if node is None or node.process.fuse:
            return

        def burn() -> None:
            self.world.count("crash at a step")
            self.world.crash(node)

        node.process.on_fuse = burn
        node.process.fuse = self.rng.randrange(1, 300)

    def _stall(self) -> None:
        if node := self._victim():
            self.world.count("stall")
            self.world.stall(node, self.rng.uniform(0.1, 3) * SETTINGS.lease_seconds)

    def _stall_at_step(self) -> None:
        node = self._victim()
        if node is None or node.process.fuse:
            return

        def burn() -> None:
            self.world.count("stall at a step")
            self.world.stall(node, self.rng.uniform(0.1, 2) * SETTINGS.lease_seconds)

        node.process.on_fuse = burn
        node.process.fuse = self.rng.randrange(1, 300)

    def _jump(self) -> None:
        if node := self._victim():
            self.world.count("wall clock jump")
            node.clock.skew_us += self.rng.randrange(-7_200_000_000, 7_200_000_000)

    def _crash_store(self) -> None:
        self.world.count("database crash")
        self.world.note("database", "CRASH")
        self.world.database.crash()
        self._down_for(self.rng.uniform(0.05, 0.5))

    def _outage(self) -> None:
        self.world.count("outage")
        self._down_for(self.rng.uniform(0.2, 2.5) * SETTINGS.lease_seconds)

    def _down_for(self, seconds: float) -> None:
        """One process, or all, have no line to the database."""
        nodes = self.world.nodes()
        chosen = nodes if self.rng.random() < 0.5 else [self.rng.choice(nodes)]
        for node in chosen:
            node.line.down = True
            self.world.loop.call_later(seconds, setattr, node.line, "down", False)

    def _fill_disk(self) -> None:
        self.world.count("disk full")
        weather = self.world.database.weather
        weather.full = True
        self.world.loop.call_later(self.rng.uniform(0.1, 4), setattr, weather, "full", False)

    def _drain(self) -> None:
        if node := self._victim():
            self.world.count("drain")
            self.world.note(node.name, "DRAIN")
            node.process.context.run(node.worker.drain)

    def _some_run(self) -> RunKey | None:
        runs = list(self.world.database.stored.runs)
        return self.rng.choice(runs) if runs else None

    def _stop_one(self) -> None:
        if key := self._some_run():
            stopper = self.world.stopper
            what = self.rng.choice(("cancel", "kill"))
            stopper.process.spawn(stopper.stop(what, *key), what)

    def _pause_one(self) -> None:
        if key := self._some_run():
            stopper = self.world.stopper
            stopper.process.spawn(stopper.pause(*key, self.rng.uniform(0.1, 4)), "pause")

    def _stop_all(self) -> None:
        stopper = self.world.stopper
        tenant = self.rng.choice((None, "default", "other"))
        stopper.process.spawn(
            stopper.stop_scope(of_all(tenant), Stop.KILL, self.rng.uniform(0.2, 3)), "kill of everything"
        )

    def _stop_scope(self) -> None:
        if key := self._some_run():
            scope = scope_like(self.world.database.stored.runs[key], self.rng.choice(KINDS_OF_SCOPES))
            stop = self.rng.choice((Stop.KILL, Stop.PAUSE, Stop.PAUSE))
            if scope is not None:
                stopper = self.world.stopper
                stopper.process.spawn(stopper.stop_scope(scope, stop, self.rng.uniform(0.1, 2)), f"{stop} of {scope}")
