"""`penstock.ports.people.People` for one process."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from penstock.kernel.clock import Clock
from penstock.ports.people import DELEGATIONS_MAX, PEOPLE_MAX, Delegation, Person


class MemoryPeople:
    """See the port."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._people: dict[tuple[str, str], Person] = {}
        self._delegations: dict[tuple[str, UUID], Delegation] = {}

    async def put(self, person: Person) -> Person:
        kept = self._people[person.tenant, person.actor] = replace(person, set_at=self._clock.now_us())
        return kept

    async def forget(self, tenant: str, actor: str) -> bool:
        return self._people.pop((tenant, actor), None) is not None

    async def known(self, tenant: str, actors: Sequence[str]) -> dict[str, Person]:
        return {actor: self._people[tenant, actor] for actor in actors if (tenant, actor) in self._people}

    async def page(self, tenant: str, after: str, limit: int) -> list[Person]:
        found = [person for (of, actor), person in self._people.items() if of == tenant and actor > after]
        return sorted(found, key=lambda person: person.actor)[: min(limit, PEOPLE_MAX)]

    def writes(self, tenant: str) -> bool:
        """Whether somebody of the tenant has an address."""
        return any(of == tenant and person.mail for (of, _), person in self._people.items())

    def tidy(self, before: int, limit: int) -> int:
        """Forget delegations that were over by then; how many."""
        old = [key for key, item in self._delegations.items() if item.until < before][:limit]
        for key in old:
            del self._delegations[key]
        return len(old)

    async def delegate(self, delegation: Delegation, seconds: float) -> Delegation:
        now = self._clock.now_us()
        kept = replace(delegation, made_at=now, until=now + int(seconds * 1e6))
        self._delegations[delegation.tenant, delegation.id] = kept
        return kept

    async def end_delegation(self, tenant: str, delegation: UUID, by: str) -> Delegation | None:
        known = self._delegations.get((tenant, delegation))
        if known is None or known.ended_at:
            return known
        ended = self._delegations[tenant, delegation] = replace(known, ended_at=self._clock.now_us(), ended_by=by)
        return ended

    async def delegation(self, tenant: str, delegation: UUID) -> Delegation | None:
        return self._delegations.get((tenant, delegation))

    async def delegations(self, tenant: str, actor: str, limit: int) -> list[Delegation]:
        now = self._clock.now_us()
        found = [
            item
            for (of, _), item in self._delegations.items()
            if of == tenant and item.holds(now) and actor in ("", item.giver, item.taker)
        ]
        found.sort(key=lambda item: (-item.made_at, item.id))
        return found[: min(limit, DELEGATIONS_MAX)]
