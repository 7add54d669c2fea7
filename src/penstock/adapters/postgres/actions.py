"""`penstock.ports.actions.Actions` in PostgreSQL."""

from collections.abc import Sequence

from penstock.adapters.postgres.database import Database
from penstock.ports.actions import MAX_LIST, Action, ActionHead, NewAction, first_link

_RECORD = "SELECT seq, at, hash FROM penstock.record_actions($1, $2, $3, $4, $5)"
_PAGE = """
SELECT seq, at, body, hash FROM penstock.actions
WHERE tenant = $1 AND seq < $2 AND {} ORDER BY seq DESC LIMIT $3"""
_ALL, _ACTOR = _PAGE.format("true"), _PAGE.format("actor = $4")
_KIND, _KINDS = _PAGE.format("action = $4"), _PAGE.format("starts_with(action, $4)")
_BOTH, _BOTHS = _PAGE.format("actor = $4 AND action = $5"), _PAGE.format("actor = $4 AND starts_with(action, $5)")
_SINCE = "SELECT seq, at, body, hash FROM penstock.actions WHERE tenant = $1 AND seq > $2 ORDER BY seq LIMIT $3"
_HEAD = "SELECT seq, hash FROM penstock.action_heads WHERE tenant = $1"
_TENANTS = "SELECT tenant FROM penstock.action_heads ORDER BY tenant"
_LAST = 2**63 - 1


class PostgresActions:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, actions: Sequence[NewAction]) -> list[Action]:
        stored = await self._database.fetch(
            _RECORD,
            [action.tenant for action in actions],
            [action.actor for action in actions],
            [action.action for action in actions],
            [action.body for action in actions],
            [first_link(action.tenant) for action in actions],
        )
        return [Action(seq, at, action.body, digest) for action, (seq, at, digest) in zip(actions, stored, strict=True)]

    async def page(
        self, tenant: str, before: int | None = None, actor: str = "", action: str = "", limit: int = 100
    ) -> list[Action]:
        many = action.endswith(".")
        if actor:
            query = (_BOTHS if many else _BOTH) if action else _ACTOR
        else:
            query = (_KINDS if many else _KIND) if action else _ALL
        asked = [value for value in (actor, action) if value]
        found = await self._database.fetch(
            query, tenant, _LAST if before is None else before, min(limit, MAX_LIST), *asked
        )
        return [Action(*record) for record in found]

    async def since(self, tenant: str, after: int = 0, limit: int = MAX_LIST) -> list[Action]:
        return [Action(*record) for record in await self._database.fetch(_SINCE, tenant, after, min(limit, MAX_LIST))]

    async def head(self, tenant: str) -> ActionHead | None:
        record = await self._database.row(_HEAD, tenant)
        return None if record is None else ActionHead(*record)

    async def tenants(self) -> list[str]:
        return [record[0] for record in await self._database.fetch(_TENANTS)]
