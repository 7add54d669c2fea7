"""`penstock.ports.schedules.Schedules` in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any

from penstock.adapters.memory.records import Store
from penstock.kernel.clock import Clock
from penstock.kernel.errors import SchedulesFull
from penstock.ports.records import Status
from penstock.ports.schedules import LOOK_AGAIN_US, MAX_LIST, Due, Fired, Schedule


@dataclass(slots=True)
class _Entry:
    schedule: Schedule
    token: int = 0
    taken_at: int = 0
    look_at: int | None = None


class MemorySchedules:
    """See the port. Works on the journal's own store; ``tell`` wakes whoever waits for work."""

    def __init__(self, store: Store, clock: Clock, tell: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell
        self._entries: dict[tuple[str, str], _Entry] = {}

    async def put(self, schedule: Schedule, *, replace: bool, limit: int) -> bool:
        key = schedule.tenant, schedule.name
        known = self._entries.get(key)
        if known is None:
            if sum(tenant == schedule.tenant for tenant, _ in self._entries) >= limit:
                raise SchedulesFull(f"the tenant {schedule.tenant!r} has {limit:,} schedules")
            entry = self._entries[key] = _Entry(changed(schedule, created_at=self._clock.now_us()))
        elif replace:
            entry = known
            entry.token, entry.taken_at = entry.token + 1, 0
            entry.schedule = changed(
                entry.schedule,
                agent=schedule.agent,
                plan=schedule.plan,
                subject=schedule.subject,
                address=schedule.address,
                next_at=schedule.next_at,
                due_at=schedule.due_at,
                queued_at=0,
                last_error="",
            )
        else:
            return False
        self._set_look(entry)
        return True

    async def get(self, tenant: str, name: str) -> Schedule | None:
        entry = self._entries.get((tenant, name))
        return None if entry is None else entry.schedule

    async def list_schedules(self, tenant: str, after: str = "", limit: int = 100) -> list[Schedule]:
        found = [entry.schedule for key, entry in self._entries.items() if key[0] == tenant and key[1] > after]
        return sorted(found, key=lambda item: item.name.encode())[: min(limit, MAX_LIST)]

    async def pause(self, tenant: str, name: str, actor: str) -> bool:
        return self._change(tenant, name, paused=True, paused_by=actor, queued_at=0)

    async def resume(self, tenant: str, name: str, next_at: int, due_at: int) -> bool:
        entry = self._entries.get((tenant, name))
        if entry is None or not entry.schedule.paused:
            return entry is not None
        entry.token, entry.taken_at = entry.token + 1, 0
        return self._change(tenant, name, paused=False, paused_by="", next_at=next_at, due_at=due_at)

    async def remove(self, tenant: str, name: str) -> bool:
        return self._entries.pop((tenant, name), None) is not None

    async def request(self, tenant: str, name: str) -> bool:
        return self._change(tenant, name, requested_at=self._clock.now_us())

    async def take_due(
        self, agents: Sequence[str], lease_seconds: float, limit: int, environment: str = ""
    ) -> list[Due]:
        now = self._clock.now_us()
        due = [
            entry
            for entry in self._entries.values()
            if entry.schedule.agent in agents
            and entry.schedule.plan.environment in ("", environment)
            and entry.look_at is not None
            and entry.look_at <= now
            and not self._store.held_back(entry.schedule.tenant, entry.schedule.agent)
        ]
        due.sort(key=lambda entry: entry.look_at or 0)
        return [self._take(entry, now, lease_seconds) for entry in due[:limit]]

    async def settle(self, due: Due, fired: Fired) -> bool:
        entry = self._entries.get((due.schedule.tenant, due.schedule.name))
        if entry is None or entry.schedule.id != due.schedule.id or entry.token != due.token:
            return False
        known = entry.schedule
        entry.schedule = changed(
            known,
            next_at=fired.next_at,
            due_at=fired.due_at,
            queued_at=0 if known.paused else fired.queued_at,
            requested_at=0 if known.requested_at == fired.requested_at else known.requested_at,
            fired=known.fired + fired.fired,
            skipped=known.skipped + fired.skipped,
            last_at=fired.last_at or known.last_at,
            last_run=fired.last_run or known.last_run,
            last_error=fired.error,
        )
        entry.taken_at = 0
        self._set_look(entry)
        return True

    def _take(self, entry: _Entry, now: int, lease_seconds: float) -> Due:
        entry.token += 1
        entry.taken_at = entry.taken_at or now
        entry.look_at = now + int(lease_seconds * 1e6)
        schedule = entry.schedule
        last = self._store.runs.get((schedule.tenant, schedule.last_run)) if schedule.last_run else None
        still_open = last is not None and last.status not in (Status.ENDED, Status.QUARANTINED)
        return Due(schedule, entry.taken_at, still_open, entry.token)

    def _change(self, tenant: str, name: str, **changes: Any) -> bool:
        entry = self._entries.get((tenant, name))
        if entry is None:
            return False
        entry.schedule = changed(entry.schedule, **changes)
        self._set_look(entry)
        return True

    def _set_look(self, entry: _Entry) -> None:
        schedule, now = entry.schedule, self._clock.now_us()
        if schedule.requested_at:
            entry.look_at = now
        elif schedule.paused:
            entry.look_at = None
        elif schedule.queued_at:
            entry.look_at = min(now + LOOK_AGAIN_US, schedule.due_at or now + LOOK_AGAIN_US)
        else:
            entry.look_at = schedule.due_at or None
        self._tell()
