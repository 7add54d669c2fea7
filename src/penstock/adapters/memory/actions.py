"""`penstock.ports.actions.Actions` in memory."""

from collections.abc import Sequence

from penstock.kernel.clock import Clock
from penstock.ports.actions import MAX_LIST, Action, ActionHead, NewAction, first_link, link_action


class MemoryActions:
    """See the port."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lists: dict[str, list[Action]] = {}
        self._said: dict[str, list[NewAction]] = {}

    async def record(self, actions: Sequence[NewAction]) -> list[Action]:
        stored = []
        for new in actions:
            known = self._lists.setdefault(new.tenant, [])
            previous = known[-1].hash if known else first_link(new.tenant)
            seq, at = len(known) + 1, self._clock.now_us()
            known.append(Action(seq, at, new.body, link_action(previous, seq, at, new.body)))
            self._said.setdefault(new.tenant, []).append(new)
            stored.append(known[-1])
        return stored

    async def page(
        self, tenant: str, before: int | None = None, actor: str = "", action: str = "", limit: int = 100
    ) -> list[Action]:
        pairs = zip(self._lists.get(tenant, []), self._said.get(tenant, []), strict=True)
        found = [
            item
            for item, said in pairs
            if (before is None or item.seq < before)
            and (not actor or said.actor == actor)
            and (not action or said.action == action or (action.endswith(".") and said.action.startswith(action)))
        ]
        return found[::-1][: min(limit, MAX_LIST)]

    async def since(self, tenant: str, after: int = 0, limit: int = MAX_LIST) -> list[Action]:
        return self._lists.get(tenant, [])[after : after + min(limit, MAX_LIST)]

    async def head(self, tenant: str) -> ActionHead | None:
        known = self._lists.get(tenant)
        return ActionHead(known[-1].seq, known[-1].hash) if known else None

    async def tenants(self) -> list[str]:
        return sorted(self._lists)
