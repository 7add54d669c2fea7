"""`penstock.ports.people.People` in PostgreSQL."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from penstock.adapters.postgres.database import Database
from penstock.ports.people import DELEGATIONS_MAX, PEOPLE_MAX, Delegation, Person

# S608: all statements are made of constants.
_PERSON = "tenant, actor, person, roles, mail, barred, set_by, set_at"
_DELEGATION = "tenant, id, giver, taker, roles, giver_key, reason, made_at, until, ended_at, ended_by"

_PUT = f"""
INSERT INTO penstock.people ({_PERSON}) VALUES ($1, $2, $3, $4, $5, $6, $7, penstock.now_us())
ON CONFLICT (tenant, actor) DO UPDATE
SET person = excluded.person, roles = excluded.roles, mail = excluded.mail, barred = excluded.barred,
    set_by = excluded.set_by, set_at = excluded.set_at
RETURNING {_PERSON}"""  # noqa: S608
_FORGET = "DELETE FROM penstock.people WHERE tenant = $1 AND actor = $2 RETURNING 1"
_KNOWN = f"SELECT {_PERSON} FROM penstock.people WHERE tenant = $1 AND actor = ANY ($2::text[])"  # noqa: S608
_PAGE = f"""
SELECT {_PERSON} FROM penstock.people WHERE tenant = $1 AND actor > $2 ORDER BY actor LIMIT $3"""  # noqa: S608
_DELEGATE = f"""
INSERT INTO penstock.delegations (tenant, id, giver, taker, roles, giver_key, reason, made_at, until)
SELECT $1, $2, $3, $4, $5, $6, $7, n.now, n.now + $8::bigint FROM (SELECT penstock.now_us() AS now) AS n
RETURNING {_DELEGATION}"""  # noqa: S608
_END = f"""
UPDATE penstock.delegations
SET ended_by = CASE ended_at WHEN 0 THEN $3 ELSE ended_by END,
    ended_at = CASE ended_at WHEN 0 THEN penstock.now_us() ELSE ended_at END
WHERE tenant = $1 AND id = $2 RETURNING {_DELEGATION}"""  # noqa: S608
_ONE = f"SELECT {_DELEGATION} FROM penstock.delegations WHERE tenant = $1 AND id = $2"  # noqa: S608
_LIST = f"""
SELECT {_DELEGATION} FROM penstock.delegations
WHERE tenant = $1 AND ended_at = 0 AND until > penstock.now_us() AND ($2 = '' OR giver = $2 OR taker = $2)
ORDER BY made_at DESC, id LIMIT $3"""  # noqa: S608


class PostgresPeople:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, person: Person) -> Person:
        record = await self._database.row(
            _PUT,
            person.tenant,
            person.actor,
            person.person,
            list(person.roles),
            person.mail,
            person.barred,
            person.set_by,
        )
        assert record is not None
        return _person(record)

    async def forget(self, tenant: str, actor: str) -> bool:
        return await self._database.row(_FORGET, tenant, actor) is not None

    async def known(self, tenant: str, actors: Sequence[str]) -> dict[str, Person]:
        found = [_person(record) for record in await self._database.fetch(_KNOWN, tenant, list(actors))]
        return {person.actor: person for person in found}

    async def page(self, tenant: str, after: str, limit: int) -> list[Person]:
        found = await self._database.fetch(_PAGE, tenant, after, min(limit, PEOPLE_MAX))
        return [_person(record) for record in found]

    async def delegate(self, delegation: Delegation, seconds: float) -> Delegation:
        record = await self._database.row(
            _DELEGATE,
            delegation.tenant,
            delegation.id,
            delegation.giver,
            delegation.taker,
            list(delegation.roles),
            delegation.giver_key,
            delegation.reason,
            int(seconds * 1e6),
        )
        assert record is not None
        return _delegation(record)

    async def end_delegation(self, tenant: str, delegation: UUID, by: str) -> Delegation | None:
        record = await self._database.row(_END, tenant, delegation, by)
        return None if record is None else _delegation(record)

    async def delegation(self, tenant: str, delegation: UUID) -> Delegation | None:
        record = await self._database.row(_ONE, tenant, delegation)
        return None if record is None else _delegation(record)

    async def delegations(self, tenant: str, actor: str, limit: int) -> list[Delegation]:
        found = await self._database.fetch(_LIST, tenant, actor, min(limit, DELEGATIONS_MAX))
        return [_delegation(record) for record in found]


def _person(record: Sequence[Any]) -> Person:
    values = list(record)
    values[3] = tuple(values[3])
    return Person(*values)


def _delegation(record: Sequence[Any]) -> Delegation:
    values = list(record)
    values[4] = tuple(values[4])
    return Delegation(*values)
