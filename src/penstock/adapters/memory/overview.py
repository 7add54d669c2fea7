"""`penstock.ports.overview.Overview` for one process."""

from collections import Counter
from uuid import UUID

import msgspec

from penstock.adapters.memory.records import Run, Store
from penstock.kernel.clock import Clock
from penstock.ports.overview import WORKERS_MAX, LiveWorker, Standing
from penstock.ports.records import Status


class MemoryOverview:
    """See the port. Since when a worker is there is not kept in memory."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def standing(self, tenant: str) -> Standing:
        now = self._clock.now_us()
        unended = [
            run for run in self._store.runs.values() if run.new.tenant == tenant and run.status is not Status.ENDED
        ]
        counts = Counter(run.status for run in unended)
        due = [run.wake_at for run in unended if run.status is Status.QUEUED and run.wake_at is not None]
        asked = [kinds for kinds in map(_questions, unended) if kinds]
        aside = [run.created_at for run in unended if run.status is Status.QUARANTINED]
        held: Counter[UUID | None] = Counter(run.worker for run in unended if run.status is Status.RUNNING)
        workers, dead = [], []
        for worker, known in self._store.workers.items():
            shown = LiveWorker(known.name, 0, known.lease_until, held[worker])
            if known.lease_until > now:
                workers.append(shown)
            elif shown.running:
                dead.append(shown)
        workers.sort(key=lambda item: (-item.running, item.name))
        return Standing(
            at=now,
            queued=counts[Status.QUEUED],
            running=counts[Status.RUNNING],
            parked=counts[Status.PARKED],
            quarantined=counts[Status.QUARANTINED],
            oldest_due=min([*due, now]) if due else 0,
            approvals=sum("approval" in kinds for kinds in asked),
            doubts=sum("approval" not in kinds for kinds in asked),
            quarantined_since=min(aside, default=0),
            workers=workers[:WORKERS_MAX],
            dead=dead,
        )


def _questions(run: Run) -> set[str]:
    """Of which kinds the questions to a person are that the run waits for."""
    waiting = msgspec.json.decode(run.waiting)
    return {item["kind"] for item in waiting if item.get("kind") in ("approval", "doubt") and item.get("id")}
