"""`penstock.ports.circles.Circles` in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from penstock.adapters.memory.line import BEHIND
from penstock.adapters.memory.records import Run
from penstock.adapters.memory.waits import MemoryWaits
from penstock.events import Waiting
from penstock.ports.circles import Broken, HeldWait, Sleeper
from penstock.ports.records import Letter, Status
from penstock.ports.waits import Wait


@dataclass(slots=True)
class MemoryCircles:
    """See the port. Works on what `MemoryWaits` holds."""

    waits: MemoryWaits
    next_at: int = 0
    after: int = -1

    async def look(self, every_seconds: float, limit: int) -> list[tuple[str, UUID]]:
        now = self.waits.clock.now_us()
        if self.next_at > now:
            return []
        self.next_at = now + int(every_seconds * 1e6)
        late = [(n, held.wait) for n, held in enumerate(self.waits.held.values()) if _is_late(held.wait)]
        page = [(n, wait) for n, wait in late if n > self.after][:limit]
        self.after = page[-1][0] if len(page) == limit else -1
        runs = {(wait.tenant, wait.run): self.waits.store.runs.get((wait.tenant, wait.run)) for _, wait in page}
        return [key for key, run in runs.items() if run is not None and _is_parked(run)]

    async def sleepers(self, tenant: str, runs: Sequence[UUID]) -> list[Sleeper]:
        found = []
        for run in (self.waits.store.runs.get((tenant, item)) for item in runs):
            if run is None:
                continue
            if _is_parked(run):
                waiting = msgspec.json.decode(run.waiting, type=list[Waiting])
                found.append(Sleeper(run.new.id, run.epoch, waiting, self._held(run)))
            elif _waits_its_turn(run):
                behind = self.waits.session_holders(tenant, run.new.session, run.new.id)
                found.append(Sleeper(run.new.id, run.epoch, [], behind=behind))
        return found

    async def break_wait(self, broken: Broken) -> bool:
        store = self.waits.store
        for run, epoch in broken.sleeping.items():
            known = store.runs.get((broken.tenant, run))
            if known is None or known.epoch != epoch or not (_is_parked(known) or _waits_its_turn(known)):
                return False
        letter = Letter(broken.dedup, "wait", broken.body, self.waits.clock.now_us())
        if not store.runs[broken.tenant, broken.run].receive(letter):
            return False
        self.waits.held.pop((broken.tenant, broken.run, broken.wait.path), None)
        self.waits.news.set()
        return True

    def _held(self, run: Run) -> list[HeldWait]:
        return [
            HeldWait(held.wait.path, held.wait.target, n)
            for n, held in enumerate(self.waits.held.values())
            if (held.wait.tenant, held.wait.run) == run.key and _is_late(held.wait) and held.wait.target is not None
        ]


def _is_late(wait: Wait) -> bool:
    return wait.target is not None and wait.kind in ("event", "run") and not wait.until


def _is_parked(run: Run) -> bool:
    return run.status is Status.PARKED and run.wake_at is None


def _waits_its_turn(run: Run) -> bool:
    return run.status is Status.QUEUED and run.turn == BEHIND
