"""`penstock.ports.notices.Notices` in PostgreSQL. A trigger notes what begins to wait."""

from penstock.adapters.postgres.database import Database
from penstock.ports.notices import Notice, State

# S608: all statements are made of constants.
_COLUMNS = (
    "tenant, approval, kind, run_id, agent, tool, question, expires, created_at, due, state, attempts, last_status, "
    "token"
)
_OF_ALL = ", ".join(f"n.{name}" for name in _COLUMNS.split(", "))
_TAKE = f"""
WITH due AS MATERIALIZED (
    SELECT n.tenant, n.approval, n.kind FROM penstock.notices n
    WHERE n.state = 'waiting' AND n.due <= penstock.now_us()
    ORDER BY n.due LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE penstock.notices n SET token = n.token + 1, attempts = n.attempts + 1, due = penstock.now_us() + $2::bigint
FROM due WHERE n.tenant = due.tenant AND n.approval = due.approval AND n.kind = due.kind
RETURNING {_OF_ALL}"""  # noqa: S608
_SETTLE = """
UPDATE penstock.notices SET state = $5, last_status = $6, due = penstock.now_us() + $7::bigint
WHERE tenant = $1 AND approval = $2 AND kind = $3 AND token = $4 AND state = 'waiting' RETURNING 1"""
_ADD = """
INSERT INTO penstock.notices (tenant, approval, kind, run_id, agent, tool, question, expires, created_at, due)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, n.now, n.now + $9::bigint FROM (SELECT penstock.now_us() AS now) AS n
ON CONFLICT DO NOTHING RETURNING 1"""
_OF = f"SELECT {_COLUMNS} FROM penstock.notices WHERE tenant = $1 AND approval = $2 ORDER BY kind"  # noqa: S608
_FORGET = """
DELETE FROM penstock.notices d WHERE d.ctid = ANY (ARRAY(
    SELECT o.ctid FROM penstock.notices o
    WHERE o.created_at < (SELECT penstock.now_us() - $1::bigint) ORDER BY o.created_at LIMIT $2 FOR UPDATE SKIP LOCKED
)) RETURNING 1"""
_TELL = "SELECT penstock.tell_endpoints($1, 'approval.escalated', $2, $3, $4, $5)"


class PostgresNotices:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, limit: int, lease_seconds: float) -> list[Notice]:
        return [Notice(*record) for record in await self._database.fetch(_TAKE, limit, int(lease_seconds * 1e6))]

    async def settle(self, notice: Notice, state: State, status: str, again_seconds: float = 0.0) -> bool:
        record = await self._database.row(
            _SETTLE,
            notice.tenant,
            notice.approval,
            notice.kind,
            notice.token,
            state,
            status,
            int(again_seconds * 1e6),
        )
        return record is not None

    async def add(self, notice: Notice, seconds: float) -> bool:
        record = await self._database.row(
            _ADD,
            notice.tenant,
            notice.approval,
            notice.kind,
            notice.run,
            notice.agent,
            notice.tool,
            notice.question,
            notice.expires,
            int(seconds * 1e6),
        )
        return record is not None

    async def tell_escalated(self, notice: Notice, facts: bytes) -> None:
        await self._database.fetch(_TELL, notice.tenant, notice.run, notice.agent, notice.approval, facts.decode())

    async def of(self, tenant: str, approval: str) -> list[Notice]:
        return [Notice(*record) for record in await self._database.fetch(_OF, tenant, approval)]

    async def forget(self, keep_seconds: float, limit: int) -> int:
        return len(await self._database.fetch(_FORGET, int(keep_seconds * 1e6), limit))
