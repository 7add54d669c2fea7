"""`penstock.ports.cases.Cases` in PostgreSQL. Who holds what is decided in ``migrations/0029_approvals.sql``."""

from collections.abc import Sequence
from uuid import UUID

from penstock.adapters.postgres.database import Database
from penstock.ports.cases import CASES_MAX, Case

# S608: all statements are made of constants.
_CASE = """
tenant, run_id, assignee, assigned_by, due, holder, claimed_at, until, closed_at, closed_by, note, claims"""
_CLAIM = f"SELECT {_CASE} FROM penstock.claim_case($1, $2, $3, $4, $5)"  # noqa: S608
_HAND_BACK = f"SELECT {_CASE} FROM penstock.hand_back($1, $2, $3, $4, $5)"  # noqa: S608
_ASSIGN = f"""
INSERT INTO penstock.cases (tenant, run_id, assignee, due, assigned_by) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant, run_id) DO UPDATE
SET assignee = excluded.assignee, due = excluded.due, assigned_by = excluded.assigned_by, closed_at = 0, closed_by = ''
RETURNING {_CASE}"""  # noqa: S608
_KNOWN = f"SELECT {_CASE} FROM penstock.cases WHERE tenant = $1 AND run_id = ANY ($2::uuid[])"  # noqa: S608
_PAGE = f"""
SELECT {_CASE} FROM penstock.cases
WHERE tenant = $1 AND closed_at = 0 AND run_id > $3
  AND ($2 = '' OR assignee = $2 OR (holder = $2 AND until > penstock.now_us()))
ORDER BY run_id LIMIT $4"""  # noqa: S608


class PostgresCases:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, tenant: str, run: UUID, holder: str, seconds: float, *, force: bool = False) -> Case:
        record = await self._database.row(_CLAIM, tenant, run, holder, int(seconds * 1e6), force)
        assert record is not None
        return Case(*record)

    async def hand_back(self, tenant: str, run: UUID, holder: str, note: str, *, close: bool = False) -> Case | None:
        record = await self._database.row(_HAND_BACK, tenant, run, holder, note, close)
        return None if record is None else Case(*record)

    async def assign(self, tenant: str, run: UUID, assignee: str, due: int, by: str) -> Case:
        record = await self._database.row(_ASSIGN, tenant, run, assignee, due, by)
        assert record is not None
        return Case(*record)

    async def known(self, tenant: str, runs: Sequence[UUID]) -> dict[UUID, Case]:
        found = [Case(*record) for record in await self._database.fetch(_KNOWN, tenant, list(runs))]
        return {case.run: case for case in found}

    async def page(self, tenant: str, holder: str, after: UUID | None, limit: int) -> list[Case]:
        start = after or UUID(int=0)
        return [
            Case(*record) for record in await self._database.fetch(_PAGE, tenant, holder, start, min(limit, CASES_MAX))
        ]

    async def now(self) -> int:
        now: int = await self._database.value("SELECT penstock.now_us()")
        return now
