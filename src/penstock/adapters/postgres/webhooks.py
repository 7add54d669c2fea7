"""`penstock.ports.webhooks.Webhooks` in PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from penstock.adapters.postgres.database import Database
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
)

_END_OF_TIME = 2**62

# Endpoint and Delivery. S608: all statements are made of constants.
_ENDPOINT = """
tenant, id, url, topics, agent, description, secret, created_by, created_at, old_secret, old_until, paused_why,
failures, failing_since, hold_until, last_status"""
_DELIVERY = "tenant, endpoint, id, topic, run_id, facts, state, attempts, created_at, next_at, last_status, last_at"

_ADD = f"SELECT {_ENDPOINT} FROM penstock.add_endpoint($1, $2, $3, $4, $5, $6, $7, $8, $9)"  # noqa: S608
_GET = f"SELECT {_ENDPOINT} FROM penstock.webhook_endpoints WHERE tenant = $1 AND id = $2"  # noqa: S608
_LIST = f"""
SELECT {_ENDPOINT} FROM penstock.webhook_endpoints WHERE tenant = $1 ORDER BY created_at, id LIMIT $2"""  # noqa: S608
_REMOVE = "DELETE FROM penstock.webhook_endpoints WHERE tenant = $1 AND id = $2 RETURNING 1"
_REMOVE_SOME = """
DELETE FROM penstock.webhook_deliveries d WHERE d.ctid = ANY (ARRAY(
    SELECT o.ctid FROM penstock.webhook_deliveries o WHERE o.tenant = $1 AND o.endpoint = $2 LIMIT $3
)) RETURNING 1"""
_PAUSE = f"""
UPDATE penstock.webhook_endpoints
SET paused_why = $3, hold_until = CASE $3 WHEN '' THEN 0 ELSE hold_until END,
    failures = CASE $3 WHEN '' THEN 0 ELSE failures END,
    failing_since = CASE $3 WHEN '' THEN NULL ELSE failing_since END
WHERE tenant = $1 AND id = $2 RETURNING {_ENDPOINT}"""  # noqa: S608
_ROTATE = f"""
UPDATE penstock.webhook_endpoints SET secret = $3, old_secret = secret, old_until = penstock.now_us() + $4
WHERE tenant = $1 AND id = $2 RETURNING {_ENDPOINT}"""  # noqa: S608
_COUNT = """
SELECT e.id,
    (SELECT count(*) FROM (
        SELECT FROM penstock.webhook_deliveries d
        WHERE d.tenant = $1 AND d.endpoint = e.id AND d.state = 'waiting' LIMIT $3) AS w),
    (SELECT count(*) FROM (
        SELECT FROM penstock.webhook_deliveries d
        WHERE d.tenant = $1 AND d.endpoint = e.id AND d.state = 'dead' LIMIT $3) AS g)
FROM unnest($2::uuid[]) AS e(id)"""
_PAGE = f"""
SELECT {_DELIVERY} FROM penstock.webhook_deliveries
WHERE tenant = $1 AND endpoint = $2 AND (created_at, id) < ($3, $4)
  AND ($5::text IS NULL OR state = $5) ORDER BY created_at DESC, id DESC LIMIT $6"""  # noqa: S608
_AGAIN = "state = 'waiting', attempts = 0, token = token + 1, next_at = penstock.now_us()"
_REPLAY = f"""
UPDATE penstock.webhook_deliveries SET {_AGAIN} WHERE tenant = $1 AND endpoint = $2 AND id = $3
RETURNING {_DELIVERY}"""  # noqa: S608
# Materialized: in a join it could be run more than once, and each time skip what it has locked before.
_REPLAY_DEAD = f"""
WITH old AS MATERIALIZED (
    SELECT o.id FROM penstock.webhook_deliveries o
    WHERE o.tenant = $1 AND o.endpoint = $2 AND o.state = 'dead'
    ORDER BY o.created_at, o.id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE penstock.webhook_deliveries d SET {_AGAIN}
FROM old WHERE d.tenant = $1 AND d.endpoint = $2 AND d.id = old.id RETURNING 1"""  # noqa: S608
_TAKE = f"""
SELECT {", ".join(f"t.{name}" for name in _DELIVERY.split(", "))}, t.token, e.url, e.secret,
       CASE WHEN e.old_until > penstock.now_us() THEN e.old_secret END
FROM penstock.take_deliveries($1, $2, $3, $4, $5) AS t
    JOIN penstock.webhook_endpoints e ON e.tenant = t.tenant AND e.id = t.endpoint"""  # noqa: S608
_SETTLE = "SELECT penstock.settle_delivery($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
_TROUBLE = """
SELECT count(*), coalesce(min(failing_since), 0) FROM penstock.webhook_endpoints
WHERE tenant = $1 AND (paused_why = $2 OR (paused_why = '' AND failing_since IS NOT NULL))"""
_FORGET = """
DELETE FROM penstock.webhook_deliveries d WHERE d.ctid = ANY (ARRAY(
    SELECT o.ctid FROM penstock.webhook_deliveries o
    WHERE o.created_at < (SELECT penstock.now_us() - $1::bigint) ORDER BY o.created_at LIMIT $2 FOR UPDATE SKIP LOCKED
)) RETURNING 1"""
_AT_ONCE = 1000


class PostgresWebhooks:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, endpoint: Endpoint, limit: int) -> Endpoint | None:
        record = await self._database.row(
            _ADD,
            endpoint.tenant,
            endpoint.id,
            endpoint.url,
            list(endpoint.topics),
            endpoint.agent,
            endpoint.description,
            endpoint.secret,
            endpoint.created_by,
            limit,
        )
        return None if record is None else _endpoint(record)

    async def get(self, tenant: str, endpoint: UUID) -> Endpoint | None:
        record = await self._database.row(_GET, tenant, endpoint)
        return None if record is None else _endpoint(record)

    async def list_endpoints(self, tenant: str) -> list[Endpoint]:
        return [_endpoint(record) for record in await self._database.fetch(_LIST, tenant, PAGE_MAX)]

    async def remove(self, tenant: str, endpoint: UUID) -> bool:
        if await self._database.row(_REMOVE, tenant, endpoint) is None:
            return False
        while len(await self._database.fetch(_REMOVE_SOME, tenant, endpoint, _AT_ONCE)) == _AT_ONCE:
            pass
        return True

    async def pause(self, tenant: str, endpoint: UUID, why: str) -> Endpoint | None:
        record = await self._database.row(_PAUSE, tenant, endpoint, why)
        return None if record is None else _endpoint(record)

    async def rotate(self, tenant: str, endpoint: UUID, secret: bytes, overlap_seconds: float) -> Endpoint | None:
        record = await self._database.row(_ROTATE, tenant, endpoint, secret, int(overlap_seconds * 1e6))
        return None if record is None else _endpoint(record)

    async def counts(self, tenant: str, endpoints: Sequence[UUID]) -> dict[UUID, Counts]:
        found = await self._database.fetch(_COUNT, tenant, list(endpoints), COUNTED_MOST)
        return {record[0]: Counts(record[1], record[2]) for record in found}

    async def deliveries(
        self, tenant: str, endpoint: UUID, state: State | None, before: tuple[int, str] | None, limit: int
    ) -> list[Delivery]:
        at, last = before or (_END_OF_TIME, "")
        found = await self._database.fetch(_PAGE, tenant, endpoint, at, last, state, min(limit, PAGE_MAX))
        return [Delivery(*record) for record in found]

    async def replay(self, tenant: str, endpoint: UUID, delivery: str) -> Delivery | None:
        record = await self._database.row(_REPLAY, tenant, endpoint, delivery)
        return None if record is None else Delivery(*record)

    async def replay_dead(self, tenant: str, endpoint: UUID, limit: int) -> int:
        return len(await self._database.fetch(_REPLAY_DEAD, tenant, endpoint, limit))

    async def take(self, under_way: Mapping[UUID, int], each: int, limit: int, lease_seconds: float) -> list[Taken]:
        found = await self._database.fetch(
            _TAKE, list(under_way), list(under_way.values()), each, limit, int(lease_seconds * 1e6)
        )
        taken = []
        for *delivery, token, url, secret, old in found:
            secrets = (secret,) if old is None else (secret, old)
            taken.append(Taken(Delivery(*delivery), url, secrets, token))
        return taken

    async def settle(self, attempted: Attempted, failing_after: int) -> bool:
        delivery = attempted.taken.delivery
        settled: bool = await self._database.value(
            _SETTLE,
            delivery.tenant,
            delivery.endpoint,
            delivery.id,
            attempted.taken.token,
            attempted.state,
            attempted.status,
            int(attempted.again_seconds * 1e6),
            int(attempted.hold_seconds * 1e6),
            GONE if attempted.gone else "",
            failing_after,
        )
        return settled

    async def trouble(self, tenant: str) -> Trouble:
        row = await self._database.row(_TROUBLE, tenant, GONE)
        assert row is not None
        return Trouble(*row)

    async def forget(self, keep_seconds: float, limit: int) -> int:
        return len(await self._database.fetch(_FORGET, int(keep_seconds * 1e6), limit))


def _endpoint(record: Sequence[Any]) -> Endpoint:
    values = list(record)
    values[3] = tuple(values[3])
    return Endpoint(*values)
