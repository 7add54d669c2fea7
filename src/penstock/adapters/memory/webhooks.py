"""`penstock.ports.webhooks.Webhooks` for one process."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec

from penstock.adapters.memory.records import Run, Store
from penstock.events import Waiting
from penstock.kernel.clock import Clock
from penstock.ports.controls import Control
from penstock.ports.lists import shown
from penstock.ports.questions import Decided
from penstock.ports.records import CONTINUED, Status
from penstock.ports.webhooks import (
    COUNTED_MOST,
    GONE,
    PAGE_MAX,
    Attempted,
    Counts,
    Delivery,
    Endpoint,
    State,
    Taken,
    Trouble,
    delivery_id,
)

_QUESTIONS = {"approval": "may_run", "doubt": "did_it_happen"}
Key = tuple[str, UUID, str]


class MemoryWebhooks:
    """See the port. ``moved``, ``decided`` and ``sealed`` are what triggers are in PostgreSQL."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._endpoints: dict[tuple[str, UUID], Endpoint] = {}
        self._deliveries: dict[Key, Delivery] = {}
        self._tokens: dict[Key, int] = {}
        store.tell = self._tell
        store.is_told = self._is_told
        store.when_moved = self.moved
        store.when_decided = self.decided
        store.when_sealed = self.sealed

    def moved(self, run: Run, before: Status, waited: bytes) -> None:
        """A run's row was written."""
        self._store.when_waiting(run, waited)
        new = run.new
        if not any(tenant == new.tenant for tenant, _ in self._endpoints):
            return
        is_asked_for = new.parent is None or new.parent_path == CONTINUED
        told = run.status is Status.QUARANTINED or (run.status in (Status.ENDED, Status.PARKED) and is_asked_for)
        if run.status is not before and told and run.code != CONTINUED:
            facts = {
                "run": str(new.id),
                "agent": new.agent,
                "shown": shown(run.status, run.stop, run.outcome, run.waiting),
                "outcome": run.outcome or "",
                "code": run.code,
                "seq": run.last_seq,
                "nano": run.summary.nano,
            }
            self._tell(new.tenant, f"run.{run.status.value}", new.id, new.agent, str(run.last_seq), facts)
        if run.status is Status.ENDED or run.waiting == waited:
            return
        for item in msgspec.json.decode(run.waiting, type=list[Waiting]):
            if item.kind in _QUESTIONS and item.id and item.id.encode() not in waited:
                facts = {
                    "run": str(new.id),
                    "agent": new.agent,
                    "approval": item.id,
                    "tool": item.name,
                    "question": _QUESTIONS[item.kind],
                    "until": item.until,
                }
                self._tell(new.tenant, "approval.requested", new.id, new.agent, item.id, facts)

    def _is_told(self, tenant: str, topic: str) -> bool:
        return any(of == tenant and topic in told.topics for (of, _), told in self._endpoints.items())

    def decided(self, decided: Decided) -> None:
        """A decision was delivered."""
        facts = {"run": str(decided.run)} | {
            name: getattr(decided, name) for name in ("agent", "approval", "tool", "question", "decision", "actor")
        }
        self._tell(decided.tenant, "approval.decided", decided.run, decided.agent, decided.approval, facts)

    def sealed(self, control: Control) -> None:
        """Nothing new starts in the scope of a stop."""
        scope, run = control.scope, control.scope.run
        facts = {
            "run": None if run is None else str(run),
            "control": str(control.id),
            "action": control.action,
            "scope": scope.kind,
            "name": "" if run is not None else scope.name,
            "actor": "" if scope.tenant is None else control.actor,
        }
        for tenant in {tenant for tenant, _ in self._endpoints if scope.tenant in (None, tenant)}:
            known = None if run is None else self._store.runs.get((tenant, run))
            agent = known.new.agent if known else scope.name if scope.kind == "agent" else None
            self._tell(tenant, "control.applied", run, agent, str(control.id), facts)

    def tell(self, tenant: str, topic: str, agent: str | None, what: str, facts: dict[str, Any]) -> None:
        """Something happened that is of no run."""
        self._tell(tenant, topic, None, agent, what, facts)

    def _tell(
        self, tenant: str, topic: str, run: UUID | None, agent: str | None, what: str, facts: dict[str, Any]
    ) -> None:
        now = self._clock.now_us()
        body = msgspec.json.encode(facts)
        for (owner, endpoint), told in self._endpoints.items():
            if owner == tenant and topic in told.topics and (not told.agent or agent in (None, told.agent)):
                name = delivery_id(endpoint, topic, run, what)
                made = Delivery(tenant, endpoint, name, topic, run, body, "waiting", 0, now, now)
                self._deliveries.setdefault((tenant, endpoint, name), made)

    async def add(self, endpoint: Endpoint, limit: int) -> Endpoint | None:
        if sum(tenant == endpoint.tenant for tenant, _ in self._endpoints) >= limit:
            return None
        stored = replace(endpoint, created_at=self._clock.now_us())
        self._endpoints[endpoint.tenant, endpoint.id] = stored
        return stored

    async def get(self, tenant: str, endpoint: UUID) -> Endpoint | None:
        return self._endpoints.get((tenant, endpoint))

    async def list_endpoints(self, tenant: str) -> list[Endpoint]:
        found = [item for item in self._endpoints.values() if item.tenant == tenant]
        return sorted(found, key=lambda item: (item.created_at, item.id))[:PAGE_MAX]

    async def remove(self, tenant: str, endpoint: UUID) -> bool:
        for key in [key for key in self._deliveries if key[:2] == (tenant, endpoint)]:
            self._drop(key)
        return self._endpoints.pop((tenant, endpoint), None) is not None

    async def pause(self, tenant: str, endpoint: UUID, why: str) -> Endpoint | None:
        fresh = {} if why else {"hold_until": 0, "failures": 0, "failing_since": None}
        return self._change(tenant, endpoint, paused_why=why, **fresh)

    async def rotate(self, tenant: str, endpoint: UUID, secret: bytes, overlap_seconds: float) -> Endpoint | None:
        known = self._endpoints.get((tenant, endpoint))
        if known is None:
            return None
        until = self._clock.now_us() + int(overlap_seconds * 1e6)
        return self._change(tenant, endpoint, secret=secret, old_secret=known.secret, old_until=until)

    async def counts(self, tenant: str, endpoints: Sequence[UUID]) -> dict[UUID, Counts]:
        found = {}
        for endpoint in endpoints:
            states = [item.state for item in self._of(tenant, endpoint)]
            waiting, dead = states.count("waiting"), states.count("dead")
            found[endpoint] = Counts(min(waiting, COUNTED_MOST), min(dead, COUNTED_MOST))
        return found

    async def deliveries(
        self, tenant: str, endpoint: UUID, state: State | None, before: tuple[int, str] | None, limit: int
    ) -> list[Delivery]:
        found = [
            item
            for item in self._of(tenant, endpoint)
            if state in (None, item.state) and (before is None or (item.created_at, item.id) < before)
        ]
        found.sort(key=lambda item: (item.created_at, item.id), reverse=True)
        return found[: min(limit, PAGE_MAX)]

    async def replay(self, tenant: str, endpoint: UUID, delivery: str) -> Delivery | None:
        key = tenant, endpoint, delivery
        known = self._deliveries.get(key)
        if known is None:
            return None
        self._tokens[key] = self._tokens.get(key, 0) + 1
        again = replace(known, state="waiting", attempts=0, next_at=self._clock.now_us())
        self._deliveries[key] = again
        return again

    async def replay_dead(self, tenant: str, endpoint: UUID, limit: int) -> int:
        dead = [item for item in self._of(tenant, endpoint) if item.state == "dead"]
        dead = sorted(dead, key=lambda item: (item.created_at, item.id))[:limit]
        for item in dead:
            await self.replay(tenant, endpoint, item.id)
        return len(dead)

    async def take(self, under_way: Mapping[UUID, int], each: int, limit: int, lease_seconds: float) -> list[Taken]:
        now = self._clock.now_us()
        taken: list[Taken] = []
        for told in self._endpoints.values():
            if told.paused_why or told.hold_until > now:
                continue
            free = (each if told.failing_since is None else 1) - under_way.get(told.id, 0)
            waiting = [item for item in self._of(told.tenant, told.id) if item.state == "waiting"]
            due = sorted((item for item in waiting if item.next_at <= now), key=lambda item: item.next_at)
            for item in due[: max(0, min(free, limit - len(taken)))]:
                key = item.tenant, item.endpoint, item.id
                token = self._tokens[key] = self._tokens.get(key, 0) + 1
                held = replace(item, attempts=item.attempts + 1, next_at=now + int(lease_seconds * 1e6))
                self._deliveries[key] = held
                old = (told.old_secret,) if told.old_secret is not None and told.old_until > now else ()
                taken.append(Taken(held, told.url, (told.secret, *old), token))
        return taken

    async def settle(self, attempted: Attempted, failing_after: int) -> bool:
        item = attempted.taken.delivery
        key = item.tenant, item.endpoint, item.id
        known = self._deliveries.get(key)
        if known is None or known.state != "waiting" or self._tokens.get(key) != attempted.taken.token:
            return False
        now = self._clock.now_us()
        again = now + int(attempted.again_seconds * 1e6)
        self._deliveries[key] = replace(
            known, state=attempted.state, next_at=again, last_status=attempted.status, last_at=now
        )
        told = self._endpoints.get(key[:2])
        if told is None:
            return True
        if attempted.state == "delivered":
            self._change(*key[:2], failures=0, failing_since=None, last_status=attempted.status)
            return True
        failures = told.failures + 1
        self._change(
            *key[:2],
            failures=failures,
            last_status=attempted.status,
            failing_since=(told.failing_since or now) if failures >= failing_after else None,
            hold_until=max(told.hold_until, now + int(attempted.hold_seconds * 1e6)),
            paused_why=GONE if attempted.gone and not told.paused_why else told.paused_why,
        )
        return True

    async def trouble(self, tenant: str) -> Trouble:
        found = [
            item
            for item in await self.list_endpoints(tenant)
            if item.paused_why == GONE or (not item.paused_why and item.failing_since is not None)
        ]
        return Trouble(len(found), min((item.failing_since for item in found if item.failing_since), default=0))

    async def forget(self, keep_seconds: float, limit: int) -> int:
        before = self._clock.now_us() - int(keep_seconds * 1e6)
        old = [key for key, item in self._deliveries.items() if item.created_at < before][:limit]
        for key in old:
            self._drop(key)
        return len(old)

    def _of(self, tenant: str, endpoint: UUID) -> list[Delivery]:
        return [item for key, item in self._deliveries.items() if key[:2] == (tenant, endpoint)]

    def _drop(self, key: Key) -> None:
        del self._deliveries[key]
        self._tokens.pop(key, None)

    def _change(self, tenant: str, endpoint: UUID, **changes: Any) -> Endpoint | None:
        known = self._endpoints.get((tenant, endpoint))
        if known is None:
            return None
        changed = self._endpoints[tenant, endpoint] = replace(known, **changes)
        return changed
