"""Who cancels, kills, pauses and resumes, and what must be true of it."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from tests.sim.world.actors import Node, insist
from tests.sim.world.told import Told

from penstock.adapters.memory.records import Run
from penstock.events import ChildIntent, ModelIntent, ToolIntent
from penstock.kernel.errors import RunUnknown
from penstock.ports.controls import Scope, of_all, of_run
from penstock.ports.records import RunKey, Sealed, Stop

if TYPE_CHECKING:
    from tests.sim.world.seeds import World

INTENTS = (ToolIntent, ModelIntent, ChildIntent)
KINDS = ("agent", "release", "session", "customer", "tenant", "everything")


@dataclass(slots=True)
class Stopped:
    """A stop that was acknowledged."""

    what: str  # cancel | kill | pause
    scope: Scope
    sealed: Sealed
    at: float  # when it was acknowledged
    asked: float
    order: int = 0  # commits before the acknowledgement

    @property
    def reaches_children(self) -> bool:
        """Whether descendants of the run are stopped with it."""
        return self.scope.run is not None and self.what != "pause"


@dataclass(slots=True, frozen=True)
class Lifted:
    """A stop was lifted at some moment between the two times."""

    scope: Scope
    began: float
    done: float


@dataclass(slots=True)
class Stops:
    """Every stop that was acknowledged, and those that may have been put in force."""

    acknowledged: list[Stopped] = field(default_factory=list)
    lifted: list[Lifted] = field(default_factory=list)
    asked: set[tuple[str, UUID]] = field(default_factory=set)
    killed: list[Scope] = field(default_factory=list)
    """Scopes wider than a run."""


def scope_like(run: Run, kind: str) -> Scope | None:
    """The scope of that kind that a run is in; None when it is in none."""
    new = run.new
    match kind:
        case "everything":
            return of_all(None)
        case "tenant":
            return of_all(new.tenant)
        case "agent":
            return Scope("agent", new.tenant, new.agent)
        case "release":
            return Scope("release", new.tenant, run.release)
        case "session":
            return Scope("session", new.tenant, new.session) if new.session else None
    customer = new.tags.get("customer", "")
    return Scope("customer", new.tenant, customer) if customer else None


def in_scope(scope: Scope, run: Run) -> bool:
    """Whether a run is of a scope wider than a run. One that changed its release was in both for some time."""
    if scope.kind == "release":
        return scope.tenant == run.new.tenant and scope.name in (run.release, run.new.release)
    return scope_like(run, scope.kind) == scope


class Stopper(Node):
    """Cancels, kills, pauses and resumes."""

    async def stop(self, what: str, tenant: str, run: UUID) -> None:
        """One run."""
        world = self.world
        act = {"cancel": self.platform.cancel, "kill": self.platform.kill}[what]
        asked = world.loop.time()
        world.stops.asked.add((what, run))
        try:
            sealed = await insist(lambda: act(run, actor="stopper", tenant=tenant), self.rng)
        except RunUnknown:
            return
        world.count(what)
        self._acknowledge(what, of_run(tenant, run), sealed, asked)

    async def pause(self, tenant: str, run: UUID, seconds: float) -> None:
        """One run, for some time."""
        world = self.world
        asked = world.loop.time()
        journal = self.journal
        with contextlib.suppress(RunUnknown):
            sealed = await insist(lambda: journal.stop_run(tenant, run, Stop.PAUSE, "stopper", ""), self.rng)
            world.count("pause")
            self._acknowledge("pause", of_run(tenant, run), sealed, asked)
            await asyncio.sleep(seconds)
            began = world.loop.time()
            await insist(lambda: journal.resume_run(tenant, run, "stopper"), self.rng)
            world.stops.lifted.append(Lifted(of_run(tenant, run), began, world.loop.time()))

    async def stop_scope(self, scope: Scope, stop: Stop, seconds: float) -> None:
        """All runs of a scope, for some time."""
        world = self.world
        asked = world.loop.time()
        if stop is Stop.KILL:
            world.stops.killed.append(scope)
        sealed = await insist(lambda: self.platform.stop(scope, stop, actor="stopper"), self.rng)
        world.count(f"{stop} of: {scope.kind}")
        self._acknowledge(stop.value, scope, sealed, asked)
        await asyncio.sleep(seconds)
        began = world.loop.time()
        await insist(lambda: self.platform.resume(scope, actor="stopper"), self.rng)
        world.stops.lifted.append(Lifted(scope, began, world.loop.time()))

    def _acknowledge(self, what: str, scope: Scope, sealed: Sealed, asked: float) -> None:
        world = self.world
        stopped = Stopped(what, scope, sealed, world.loop.time(), asked, order=len(world.database.commits))
        world.stops.acknowledged.append(stopped)
        where = scope.run.hex[-6:] if scope.run else str(scope)
        world.note(self.name, f"{what} of {where} acknowledged, sealed={sealed.sealed}")
        if not sealed.sealed:
            world.count("not sealed")
        self._check_list(stopped)

    def _check_list(self, stopped: Stopped) -> None:
        """The acknowledgement lists every write that is still open."""
        if not stopped.sealed.sealed:
            return
        listed = {(item.run, item.path) for item in stopped.sealed.open_intents}
        for run, path in self.world.open_writes(stopped.scope):
            if (run, path) not in listed:
                self.world.fail("open_intents_listed", f"{stopped.what}: the write at {path} of {run.hex[-6:]} is open")


def check(world: "World", tapes: dict[RunKey, Told], committed: Mapping[tuple[RunKey, int], tuple[float, int]]) -> None:
    """No intent was committed after the acknowledgement of a sealed stop."""
    for stopped in world.stops.acknowledged:
        if not stopped.sealed.sealed:
            continue
        lifted = _lifted(world, stopped)
        for told in tapes.values():
            if not _covers(stopped, told, tapes):
                continue
            for event in told.events:
                if not isinstance(event, INTENTS) or (isinstance(event, ToolIntent) and event.effect == "read"):
                    continue
                at, order = committed[told.key, event.seq]
                if order >= stopped.order and at < lifted:
                    world.fail(
                        "no_intent_after_a_kill",
                        f"{type(event).__name__} at {event.path} of {told.short} was committed at {at:.4f}, "
                        f"{stopped.what} of {stopped.scope} was acknowledged at {stopped.at:.4f}",
                    )


def _lifted(world: "World", stopped: Stopped) -> float:
    """From when on a stop may have been lifted: a kill or cancel of a run never is."""
    if stopped.reaches_children:
        return float("inf")
    times = (item.began for item in world.stops.lifted if item.scope == stopped.scope and item.done >= stopped.asked)
    return min(times, default=float("inf"))


def _covers(stopped: Stopped, told: Told, tapes: dict[RunKey, Told]) -> bool:
    scope = stopped.scope
    if scope.run is None:
        is_moved = scope.kind == "release" and told.run.release != told.run.new.release
        return in_scope(scope, told.run) and not is_moved
    if told.id == scope.run:
        return True
    parent = told.run.new.parent
    return (
        stopped.reaches_children and parent is not None and _covers(stopped, tapes[told.run.new.tenant, parent], tapes)
    )
