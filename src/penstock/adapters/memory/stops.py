"""Kill, cancel and pause in memory: nothing is under way in between, so each is sealed at once."""

from collections.abc import Iterable
from uuid import UUID

from penstock.adapters.memory.controls import MemoryControls
from penstock.adapters.memory.records import Control, Run, Store
from penstock.kernel.errors import RunUnknown
from penstock.ports import controls
from penstock.ports.records import OpenIntent, Sealed, Status, Stop

_STRENGTH = {None: 0, Stop.PAUSE: 1, Stop.CANCEL: 2, Stop.KILL: 3}


class MemoryStops:
    """What `MemoryJournal` does when it is told to stop, and to resume."""

    def __init__(self, store: Store, known: MemoryControls) -> None:
        self._store = store
        self._known = known

    def stop_run(self, stop: Stop, control: controls.Control) -> Sealed:
        """Put a stop upon a run, and unless it is a pause upon its descendants.

        Raises:
            RunUnknown: no such run for the tenant.
        """
        scope = self._store.within(control.scope)
        if not scope or scope[0].new.id != control.scope.run:
            raise RunUnknown(f"there is no run {control.scope.name} for tenant {control.scope.tenant!r}")
        if stop is Stop.PAUSE:
            del scope[1:]
        for item in scope:
            if item.status is Status.ENDED:
                continue
            if _STRENGTH[stop] > _STRENGTH[item.stop]:
                item.stop = stop
            if stop is not Stop.PAUSE:
                item.wake(control.at, only=Status.PARKED)
                item.wake(control.at, only=Status.QUARANTINED)
        self._known.note(control)
        return Sealed(control.id, sealed=True, at=control.at, open_intents=open_intents(scope))

    def resume_run(self, tenant: str, run: UUID, actor: str, now: int) -> bool:
        """Take a pause off; False when there was none."""
        known = self._store.runs.get((tenant, run))
        if known is None or known.stop is not Stop.PAUSE:
            return False
        known.stop = None
        self._known.lift(controls.of_run(tenant, run), actor, now)
        return True

    def stop_scope(self, control: controls.Control) -> None:
        """Put a stop of a scope wider than a run in force, unless it is known."""
        if self._known.note(control):
            self._store.controls.append(Control(control.id, control.scope, Stop(control.action)))

    def resume_scope(self, scope: controls.Scope, actor: str, now: int) -> int:
        """Lift what is in force for that scope; how many there were."""
        before = len(self._store.controls)
        self._store.controls = [control for control in self._store.controls if control.scope != scope]
        self._known.lift(scope, actor, now)
        if scope.kind == "tool":
            for run in self._store.runs.values():
                if run.new.tenant == scope.tenant and run.waits_for_tool(scope.name):
                    run.wake(now, only=Status.PARKED)
        return before - len(self._store.controls)


def open_intents(runs: Iterable[Run]) -> list[OpenIntent]:
    """Intents without an outcome in those of the runs that have not ended."""
    return [intent for run in runs for intent in run.open_intents()]


def open_in(store: Store, scope: controls.Scope) -> list[OpenIntent]:
    """Those of a scope: of a tool its own alone, and not what else its runs are doing."""
    found = open_intents(store.within(scope))
    return [intent for intent in found if scope.kind != "tool" or intent.name == scope.name]
