"""`penstock.ports.triggers.Triggers` in memory."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Any
from uuid import UUID

from penstock.adapters.memory.records import Store
from penstock.kernel.clock import Clock
from penstock.kernel.errors import TriggersFull
from penstock.ports.triggers import MAX_LIST, Backlog, Fired, Firing, Trigger
from penstock.ports.waits import EventPost


@dataclass(slots=True)
class _Held:
    """A firing as it is kept; ``look_at``: None = it failed."""

    firing: Firing
    expires_at: int
    look_at: int | None


class MemoryTriggers:
    """See the port. `fire` is called by `MemoryWaits.publish`, in the same step."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._triggers: dict[tuple[str, str], Trigger] = {}
        self._held: dict[tuple[str, UUID], dict[int, _Held]] = {}
        self._ids = itertools.count(1)

    def matching(self, event: EventPost) -> list[Trigger]:
        """The triggers that an event fires."""
        found = [
            trigger
            for trigger in self._triggers.values()
            if (trigger.tenant, trigger.event) == (event.tenant, event.name)
            and not trigger.paused
            and event.key.startswith(trigger.prefix)
        ]
        return sorted(found, key=lambda trigger: trigger.id)

    def is_behind(self, trigger: Trigger) -> bool:
        """Whether it holds as many events as it may that are no runs yet."""
        return len(self._pending(trigger)) >= trigger.pending_max

    def fire(self, triggers: Sequence[Trigger], event: EventPost, keep_seconds: float) -> None:
        """Hold the event for each of the triggers."""
        now = self._clock.now_us()
        for trigger in triggers:
            number = next(self._ids)
            names = event.name, event.key, event.dedup
            firing = Firing(trigger.tenant, trigger.id, number, trigger.agent, *names, event.body, now, token=0)
            self._held[trigger.tenant, trigger.id][number] = _Held(firing, now + int(keep_seconds * 1e6), now)

    async def put(self, trigger: Trigger, *, replace: bool, limit: int, same_event: int) -> bool:
        key = trigger.tenant, trigger.name
        others = [item for item in self._triggers.values() if item.tenant == key[0] and item.name != key[1]]
        if len(others) >= limit or sum(item.event == trigger.event for item in others) >= same_event:
            raise TriggersFull(
                f"the tenant {trigger.tenant!r} has {limit:,} triggers, or {same_event:,} for {trigger.event}"
            )
        known = self._triggers.get(key)
        if known is None:
            self._triggers[key] = changed(trigger, created_at=self._clock.now_us())
            self._held[trigger.tenant, trigger.id] = {}
            return True
        if not replace:
            return False
        names = ("event", "prefix", "agent", "plan", "pending_max")
        self._triggers[key] = changed(known, last_error="", **{name: getattr(trigger, name) for name in names})
        for held in self._held[known.tenant, known.id].values():
            held.firing = changed(held.firing, agent=trigger.agent)
        return True

    async def get(self, tenant: str, name: str) -> Trigger | None:
        return self._triggers.get((tenant, name))

    async def by_id(self, tenant: str, trigger: UUID) -> Trigger | None:
        known = (item for item in self._triggers.values() if (item.tenant, item.id) == (tenant, trigger))
        return next(known, None)

    async def list_triggers(self, tenant: str, after: str = "", limit: int = 100) -> list[Trigger]:
        found = [item for key, item in self._triggers.items() if key[0] == tenant and key[1] > after]
        return sorted(found, key=lambda item: item.name.encode())[: min(limit, MAX_LIST)]

    async def pause(self, tenant: str, name: str, actor: str) -> bool:
        return self._change(tenant, name, paused=True, paused_by=actor)

    async def resume(self, tenant: str, name: str) -> bool:
        return self._change(tenant, name, paused=False, paused_by="")

    async def remove(self, tenant: str, name: str) -> bool:
        known = self._triggers.pop((tenant, name), None)
        if known is not None:
            del self._held[tenant, known.id]
        return known is not None

    async def backlog(self, tenant: str, trigger: UUID, most: int) -> Backlog:
        held = self._held.get((tenant, trigger), {}).values()
        pending = sum(item.look_at is not None for item in held)
        return Backlog(min(pending, most), min(len(held) - pending, most))

    async def failures(self, tenant: str, trigger: UUID, limit: int) -> list[Firing]:
        held = self._held.get((tenant, trigger), {}).values()
        failed = [item.firing for item in held if item.look_at is None]
        return sorted(failed, key=lambda item: item.id, reverse=True)[: min(limit, MAX_LIST)]

    async def retry(self, tenant: str, trigger: UUID, limit: int) -> int:
        failed = [held for held in self._held.get((tenant, trigger), {}).values() if held.look_at is None][:limit]
        for held in failed:
            held.look_at = self._clock.now_us()
            held.firing = changed(held.firing, error="")
        return len(failed)

    async def take(
        self, agents: Sequence[str], lease_seconds: float, limit: int, environment: str = ""
    ) -> list[Firing]:
        now = self._clock.now_us()
        due = [
            held
            for trigger in self._triggers.values()
            if not trigger.paused
            and trigger.agent in agents
            and trigger.plan.environment in ("", environment)
            and not self._store.held_back(trigger.tenant, trigger.agent)
            for held in self._pending(trigger)
            if held.look_at is not None and held.look_at <= now
        ]
        due.sort(key=lambda held: (held.look_at, held.firing.id))
        for held in due[:limit]:
            held.look_at = now + int(lease_seconds * 1e6)
            held.firing = changed(held.firing, token=held.firing.token + 1)
        return sorted((held.firing for held in due[:limit]), key=lambda firing: (firing.at, firing.id))

    async def settle(self, fired: Sequence[Fired]) -> int:
        settled = 0
        for item in sorted(fired, key=lambda item: item.firing.id):
            firing = item.firing
            own = self._held.get((firing.tenant, firing.trigger), {})
            held = own.get(firing.id)
            if held is None or held.firing.token != firing.token:
                continue
            settled += 1
            trigger = await self.by_id(firing.tenant, firing.trigger)
            assert trigger is not None
            if item.run is not None:
                del own[firing.id]
                counts: dict[str, Any] = {"fired": trigger.fired + 1, "last_at": self._clock.now_us()}
                counts |= {"last_run": item.run, "last_error": ""}
            else:
                held.look_at, held.firing = None, changed(held.firing, error=item.error)
                counts = {"failed": trigger.failed + 1, "last_error": item.error}
            self._triggers[trigger.tenant, trigger.name] = changed(trigger, **counts)
        return settled

    async def expire(self, limit: int) -> int:
        now = self._clock.now_us()
        old = [
            (own, number)
            for own in self._held.values()
            for number, held in own.items()
            if held.look_at is None and held.expires_at <= now
        ][:limit]
        for own, number in old:
            del own[number]
        return len(old)

    def _pending(self, trigger: Trigger) -> list[_Held]:
        return [held for held in self._held[trigger.tenant, trigger.id].values() if held.look_at is not None]

    def _change(self, tenant: str, name: str, **changes: Any) -> bool:
        known = self._triggers.get((tenant, name))
        if known is not None:
            self._triggers[tenant, name] = changed(known, **changes)
        return known is not None
