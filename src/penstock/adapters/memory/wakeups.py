"""`penstock.ports.wakeups.Wakeups` in memory: the same decisions as the functions of migration 0014."""

import asyncio
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import msgspec

from penstock.adapters.memory.records import Run, Store
from penstock.events import Waiting
from penstock.kernel.clock import Clock
from penstock.ports.records import CONTINUED, Letter, RunKey, Status, Stop
from penstock.ports.wakeups import LISTED_MOST, LOOKED_AT_MOST, Rescue, Why


@dataclass(slots=True, frozen=True)
class _Found:
    """Why a run should not be asleep, the letter that ends its wait, and the run whose end that letter tells of."""

    why: Why
    dedup: str = ""
    target: UUID | None = None


@dataclass(slots=True)
class MemoryWakeups:
    """See the port. ``to_follow_up``: ended runs whose end has not been told to all yet."""

    store: Store
    clock: Clock
    news: asyncio.Event
    to_follow_up: Container[RunKey]
    next_at: int = 0
    after: RunKey | None = None
    kept: dict[tuple[RunKey, int], Rescue] = field(default_factory=dict)

    async def look(self, every_seconds: float, limit: int) -> Sequence[Rescue]:
        now = self.clock.now_us()
        if self.next_at > now:
            return []
        self.next_at = now + int(every_seconds * 1e6)
        limit = min(limit, LOOKED_AT_MOST)
        keys = sorted(key for key, run in self.store.runs.items() if run.status is not Status.ENDED)
        page = [key for key in keys if self.after is None or key > self.after][:limit]
        self.after = page[-1] if len(page) == limit else None
        rescues = []
        for run in (self.store.runs[key] for key in page):
            found = self._overslept(run)
            if found is not None:
                told = self._wake(run, found, now)
                rescue = Rescue(*run.key, run.epoch, found.why, None if told else found.target)
                self.kept.setdefault((run.key, run.epoch), replace(rescue, child=None, at=now))
                rescues.append(rescue)
        if rescues:
            self.news.set()
        return rescues

    async def rescued(self, limit: int) -> list[Rescue]:
        newest = sorted(self.kept.values(), key=lambda rescue: (-rescue.at, rescue.tenant, rescue.run))
        return newest[: min(limit, LISTED_MOST)]

    def _overslept(self, run: Run) -> _Found | None:
        if run.status is not Status.PARKED:
            return None
        if run.stop in (Stop.CANCEL, Stop.KILL):
            return _Found("stop")
        if any(letter.kind != "event" for letter in run.letters()):
            return _Found("letter")
        for item in msgspec.json.decode(run.waiting, type=list[Waiting]):
            found = self._is_over(run, item)
            if found is not None:
                return found
        return None

    def _is_over(self, run: Run, item: Waiting) -> _Found | None:
        if item.until and (run.wake_at is None or run.wake_at > item.until):
            return _Found("time")
        if item.kind == "child":
            last = self._ended_child(run, UUID(item.id))
            return _Found("child", f"child:{item.id}", last) if last is not None else None
        if item.kind == "run":
            target = run.new.tenant, UUID(item.id)
            known = self.store.runs.get(target)
            over = known is not None and known.status is Status.ENDED and target not in self.to_follow_up
            return _Found("run", f"run:{item.path}:{item.id}", target[1]) if over else None
        if item.kind in ("approval", "doubt") and item.id:
            dedup = f"approval:{item.id}"
            return _Found("decision", dedup) if dedup in run.inbox else None
        if item.kind == "event":
            sent = f"event:{item.name}:{item.id}:" if item.id else f"event:{item.name}:"
            here = (letter.dedup == f"topic:{item.path}" or letter.dedup.startswith(sent) for letter in run.letters())
            return _Found("event") if any(here) else None
        return None

    def _ended_child(self, parent: Run, child: UUID) -> UUID | None:
        """The last run in which a child went on, when that has ended."""
        at: UUID | None = child
        while at is not None:
            known = self.store.runs.get((parent.new.tenant, at))
            if known is None or known.status is not Status.ENDED:
                return None
            if known.code != CONTINUED:
                return at
            followers = (run.new for run in self.store.runs.values() if run.new.parent == at)
            at = next((new.id for new in followers if new.parent_path == CONTINUED), None)
        return None

    def _wake(self, run: Run, found: _Found, now: int) -> bool:
        """Put the letter back that ends the wait, and wake the run; False when there is no such letter."""
        if found.why == "time":
            run.wake_at = min(item.until for item in msgspec.json.decode(run.waiting, type=list[Waiting]) if item.until)
            return True
        if found.why == "run":
            run.inbox.setdefault(found.dedup, Letter(found.dedup, "wait", b"{}", now))
        if found.dedup and found.dedup not in run.inbox:
            return False
        run.consumed.discard(found.dedup)
        run.wake(now, only=Status.PARKED)
        return True
