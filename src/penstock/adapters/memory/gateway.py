"""`penstock.ports.gateway.Gateway` in memory, and runs that are held from the moment they are made."""

from uuid import UUID

from penstock.adapters.memory.records import Run, Store
from penstock.ports.gateway import KeyBinding, NamedRun
from penstock.ports.records import Begin, Row, Status


class MemoryGateway:
    """See the port."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bindings: dict[tuple[str, UUID], KeyBinding] = {}
        self._names: dict[tuple[str, str], UUID] = {}

    async def bind(self, binding: KeyBinding) -> bool:
        return self._bindings.setdefault((binding.tenant, binding.key), binding) == binding

    async def binding(self, tenant: str, key: UUID) -> KeyBinding | None:
        return self._bindings.get((tenant, key))

    async def named(self, tenant: str, name: str) -> NamedRun | None:
        run = self._unended(tenant, name)
        return None if run is None else NamedRun(run.new.id, run.worker)

    def begin_held(self, begin: Begin, now: int) -> None:
        """As the SQL function of that name, for one run."""
        new, store = begin.run, self._store
        worker = store.workers.get(begin.worker)
        if worker is None or worker.lease_until <= now or (new.tenant, new.id) in store.runs:
            return
        if begin.name:
            if self._unended(new.tenant, begin.name) is not None:
                return
            self._names[new.tenant, begin.name] = new.id
        first = Row(1, new.event.body, new.event.hash, now)
        store.runs[new.tenant, new.id] = Run(
            new, new.release, now, new.subject_key, [first], Status.RUNNING, epoch=1, worker=begin.worker, claims=1
        )

    def _unended(self, tenant: str, name: str) -> Run | None:
        run = self._store.runs.get((tenant, self._names.get((tenant, name), UUID(int=0))))
        return None if run is None or run.status is Status.ENDED else run
