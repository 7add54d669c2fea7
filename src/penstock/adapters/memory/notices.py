"""`penstock.ports.notices.Notices` for one process."""

from dataclasses import replace

import msgspec

from penstock.adapters.memory.people import MemoryPeople
from penstock.adapters.memory.records import Run, Store
from penstock.events import Waiting
from penstock.kernel.clock import Clock
from penstock.ports.notices import Notice, State
from penstock.ports.records import Status

_QUESTIONS = {"approval": "may_run", "doubt": "did_it_happen"}
Key = tuple[str, str, str]


class MemoryNotices:
    """See the port. ``waiting`` is what a trigger is in PostgreSQL."""

    def __init__(self, store: Store, clock: Clock, people: MemoryPeople) -> None:
        self._store = store
        self._clock = clock
        self._people = people
        self._notices: dict[Key, Notice] = {}
        store.when_waiting = self.waiting

    def waiting(self, run: Run, waited: bytes) -> None:
        """A run's row was written, and what it waits for was ``waited`` before."""
        tenant = run.new.tenant
        if run.status is Status.ENDED or run.waiting == waited:
            return
        if not self._people.writes(tenant) and not self._store.is_told(tenant, "approval.escalated"):
            return
        now = self._clock.now_us()
        for item in msgspec.json.decode(run.waiting, type=list[Waiting]):
            if item.kind in _QUESTIONS and item.id and item.id.encode() not in waited:
                asked = _QUESTIONS[item.kind]
                self._add(
                    Notice(tenant, item.id, "asked", run.new.id, run.new.agent, item.name, asked, item.until, now, now)
                )

    async def take(self, limit: int, lease_seconds: float) -> list[Notice]:
        now = self._clock.now_us()
        due = [item for item in self._notices.values() if item.state == "waiting" and item.due <= now]
        taken = []
        for item in sorted(due, key=lambda item: item.due)[:limit]:
            later = now + int(lease_seconds * 1e6)
            held = replace(item, token=item.token + 1, attempts=item.attempts + 1, due=later)
            self._notices[_key(item)] = held
            taken.append(held)
        return taken

    async def settle(self, notice: Notice, state: State, status: str, again_seconds: float = 0.0) -> bool:
        known = self._notices.get(_key(notice))
        if known is None or known.state != "waiting" or known.token != notice.token:
            return False
        due = self._clock.now_us() + int(again_seconds * 1e6)
        self._notices[_key(notice)] = replace(known, state=state, last_status=status, due=due)
        return True

    async def add(self, notice: Notice, seconds: float) -> bool:
        now = self._clock.now_us()
        return self._add(replace(notice, created_at=now, due=now + int(seconds * 1e6)))

    async def tell_escalated(self, notice: Notice, facts: bytes) -> None:
        told = msgspec.json.decode(facts)
        self._store.tell(notice.tenant, "approval.escalated", notice.run, notice.agent, notice.approval, told)

    async def of(self, tenant: str, approval: str) -> list[Notice]:
        found = [item for item in self._notices.values() if (item.tenant, item.approval) == (tenant, approval)]
        return sorted(found, key=lambda item: item.kind)

    async def forget(self, keep_seconds: float, limit: int) -> int:
        before = self._clock.now_us() - int(keep_seconds * 1e6)
        old = [key for key, item in self._notices.items() if item.created_at < before][:limit]
        for key in old:
            del self._notices[key]
        return len(old)

    def _add(self, notice: Notice) -> bool:
        fresh = replace(notice, state="waiting", attempts=0, last_status="", token=0)
        return self._notices.setdefault(_key(notice), fresh) is fresh


def _key(notice: Notice) -> Key:
    return notice.tenant, notice.approval, notice.kind
