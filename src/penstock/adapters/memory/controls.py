"""Stops in memory: what is known of them afterwards."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from penstock.adapters.memory.records import Store
from penstock.ports.controls import PAGE_MAX, Claimed, Control, Reach, Scope, ToolStops
from penstock.ports.records import Status


class MemoryControls:
    """Implements `penstock.ports.controls.Controls`; see there."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._known: dict[UUID, Control] = {}
        self._resources: dict[tuple[str, str], tuple[UUID, Claimed]] = {}  # of which family, by tenant and resource

    def note(self, control: Control) -> bool:
        """A stop is in force, and sealed at once. One that is known stays as it is; False then."""
        if control.id in self._known:
            return False
        sealed = self._known[control.id] = replace(control, sealed_at=control.at)
        self._store.breaker_version += control.scope.kind == "tool"
        self._store.when_sealed(sealed)
        return True

    def lift(self, scope: Scope, actor: str, now: int) -> None:
        """Pauses of a run, or what is in force for a wider scope, is over."""
        for known in list(self._known.values()):
            is_meant = known.scope == scope and (scope.run is None or known.action == "pause")
            if is_meant and known.lifted_at is None:
                self._known[known.id] = replace(known, lifted_at=now, lifted_by=actor)
                self._store.breaker_version += scope.kind == "tool"

    async def get(self, tenant: str, control: UUID) -> Control | None:
        return next((known for known in self._of(tenant) if known.id == control), None)

    async def newest(self, tenant: str, before: tuple[int, UUID] | None, limit: int) -> list[Control]:
        found = [known for known in self._of(tenant) if before is None or (known.at, known.id) < before]
        return found[: min(limit, PAGE_MAX)]

    async def wide(self, tenant: str) -> list[Control]:
        return [known for known in self._of(tenant) if known.scope.run is None and known.lifted_at is None][:PAGE_MAX]

    async def of_run(self, tenant: str, run: UUID, limit: int) -> list[Control]:
        return [known for known in self._of(tenant) if known.scope.run == run][: min(limit, PAGE_MAX)]

    async def of_tools(self) -> ToolStops:
        known = (item for item in self._known.values() if item.scope.kind == "tool" and item.lifted_at is None)
        return ToolStops(self._store.breaker_version, tuple(known))

    async def reach(self, scope: Scope) -> Reach:
        unended = [item for item in self._store.within(scope) if item.status is not Status.ENDED]
        counts = Counter(item.status.value for item in unended)
        return Reach(**counts, nano=sum(item.summary.nano for item in unended))

    async def claim_resource(self, tenant: str, run: UUID, epoch: int, resource: str, tool: str) -> Claimed:
        known = self._store.runs.get((tenant, run))
        if known is None or known.epoch != epoch or known.status is not Status.RUNNING:
            return Claimed("fenced")
        root, holder = self._resources.get((tenant, resource), (known.root, None))
        if root != known.root and self._goes_on(tenant, root):
            assert holder is not None
            others = any(of == tenant and mine == known.root for (of, _), (mine, _) in self._resources.items())
            return replace(holder, has_others=others)
        if root != known.root or holder is None:
            taken = Claimed("taken", run, tool, self._now())
            self._resources[tenant, resource] = known.root, taken
        return Claimed("held")

    async def forget_resources(self, most: int) -> int:
        gone = [key for key, (root, _) in list(self._resources.items())[:most] if not self._goes_on(key[0], root)]
        for key in gone:
            del self._resources[key]
        return len(gone)

    def _goes_on(self, tenant: str, root: UUID) -> bool:
        top = self._store.runs.get((tenant, root))
        family = [*([top] if top is not None else []), *self._store.descendants(tenant, root)]
        return any(run.status is not Status.ENDED for run in family)

    async def stopped(self, scope: Scope, since: int) -> int:
        outcomes = ("killed",) if scope.run is None else ("killed", "cancelled")
        return sum(
            item.outcome in outcomes and item.ended_at is not None and item.ended_at >= since
            for item in self._store.within(scope)
        )

    def _of(self, tenant: str) -> list[Control]:
        mine = [known for known in self._known.values() if known.scope.tenant in (None, tenant)]
        return [self._with_status(known) for known in sorted(mine, key=lambda item: (item.at, item.id), reverse=True)]

    def _with_status(self, control: Control) -> Control:
        run, tenant = control.scope.run, control.scope.tenant
        known = None if run is None or tenant is None else self._store.runs.get((tenant, run))
        return replace(control, status=known.status if known else None)
