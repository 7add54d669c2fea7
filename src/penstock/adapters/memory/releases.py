"""`penstock.ports.releases.Releases` in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from penstock.adapters.memory.records import Run, Store
from penstock.events import FORMAT
from penstock.kernel.clock import Clock
from penstock.ports.records import Row, RunKey, Status, Stop
from penstock.ports.releases import (
    RESTORED_EPOCHS,
    STRANDED_MAX,
    Adopted,
    Adoption,
    LiveWorker,
    Restored,
    StrandedRun,
)


@dataclass(slots=True)
class _Offer:
    releases: frozenset[str]
    format: int


class MemoryReleases:
    """See the port. Works on the journal's own store; ``tell`` wakes whoever waits for work."""

    def __init__(self, store: Store, clock: Clock, tell: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell
        self._format = FORMAT
        self._offers: dict[UUID, _Offer] = {}
        self._held: set[RunKey] = set()

    async def offer(self, worker: UUID, releases: Sequence[str], reads: int) -> None:
        if worker in self._store.workers:
            self._offers[worker] = _Offer(frozenset(releases), reads)

    async def offered(self, release: str, environment: str | None = None) -> bool:
        return any(
            environment is None or self._store.workers[worker].environment in (None, environment)
            for worker in self._live()
            if worker not in self._offers or release in self._offers[worker].releases
        )

    async def workers(self) -> list[LiveWorker]:
        found = []
        for worker in self._live():
            offer = self._offers.get(worker, _Offer(frozenset(), 1))
            found.append(LiveWorker(self._store.workers[worker].name, offer.format, sorted(offer.releases)))
        return sorted(found, key=lambda item: item.name)

    async def stranded(self, tenant: str, limit: int, after: UUID | None = None) -> list[StrandedRun]:
        live = set(self._live())
        until: dict[tuple[str, str | None], int] = {}
        for worker, offer in self._offers.items():
            known = self._store.workers[worker]
            for release in offer.releases:
                place = release, known.environment
                until[place] = max(until.get(place, 0), known.lease_until)
        now = self._clock.now_us()
        found = [
            StrandedRun(run.new.id, run.new.agent, run.release, run.status.value, max(run.created_at, at))
            for run in self._store.runs.values()
            if run.new.tenant == tenant
            and run.status not in (Status.ENDED, Status.QUARANTINED)
            and (after is None or run.new.id > after)
            and (at := max(until.get((run.release, env), 0) for env in (run.new.env, None))) <= now
            and not (run.status is Status.RUNNING and run.worker in live)
        ]
        return sorted(found, key=lambda item: item.run)[: min(limit, STRANDED_MAX)]

    async def write_format(self) -> int:
        return min(FORMAT, self._format)

    async def finalize(self, to: int, actor: str) -> list[str]:
        del actor
        old = [worker.name for worker in await self.workers() if worker.format < to]
        if not old:
            self._format = max(self._format, to)
        return old

    async def adopt(self, adoption: Adoption) -> Adopted:
        run = self._store.runs.get((adoption.tenant, adoption.run))
        if run is None:
            return Adopted.ABSENT
        if run.status is Status.ENDED:
            return Adopted.ENDED
        if run.status is Status.RUNNING and run.worker in self._live():
            return Adopted.HELD
        if (run.epoch, run.last_seq) != (adoption.epoch, adoption.last_seq):
            return Adopted.CHANGED
        now = self._clock.now_us()
        run.tape.append(Row(adoption.last_seq + 1, adoption.body, adoption.hash, now))
        run.release, run.epoch = adoption.release, adoption.epoch + 1
        run.new.format = max(run.new.format, adoption.format)
        run.claims, run.code, run.worker = 0, "", None
        if run.status is not Status.PARKED:
            run.status, run.wake_at = Status.QUEUED, now
        self._tell()
        return Adopted.ADOPTED

    async def mark_restored(self, *, hold: bool, actor: str) -> Restored:
        del actor
        now = self._clock.now_us()
        live = self._live()
        for worker in live:
            self._store.workers[worker].lease_until = now - 1
        unended = [run for run in self._store.runs.values() if run.status is not Status.ENDED]
        held = [run for run in unended if hold and run.stop is None]
        for run in held:
            run.stop = Stop.PAUSE
            self._held.add(run.key)
        for run in unended:
            _fence(run, now)
        return Restored(len(unended), len(held), len(live))

    async def resume_restored(self, actor: str) -> int:
        del actor
        runs = [self._store.runs[key] for key in self._held]
        self._held.clear()
        resumed = [run for run in runs if run.stop is Stop.PAUSE]
        for run in resumed:
            run.stop = None
        self._tell()
        return len(resumed)

    def _live(self) -> list[UUID]:
        now = self._clock.now_us()
        return [worker for worker, known in self._store.workers.items() if known.lease_until > now]


def _fence(run: Run, now: int) -> None:
    run.epoch += RESTORED_EPOCHS
    run.worker = None
    if run.status is Status.RUNNING:
        run.status, run.wake_at = Status.QUEUED, now
