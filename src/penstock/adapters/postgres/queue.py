"""The queue in PostgreSQL. What decides is in ``migrations/0005_queue.sql``."""

from collections.abc import Sequence

from penstock.adapters.postgres.database import Database
from penstock.ports.queue import (
    LIST_MAX,
    Bounds,
    Depth,
    HeldSession,
    Order,
    check_weight,
    expected_wait,
    queue_full,
    same_queue,
)
from penstock.ports.records import Status, Stop

ADMIT = """
SELECT ranks, why, number, queued, bound, rate, expected FROM penstock.admit(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[], $8::bigint[], $9, $10
)"""

DEPTHS = """
WITH open AS MATERIALIZED (
    SELECT r.tenant, r.agent, r.customer,
           count(*) FILTER (WHERE r.status = 'queued') AS queued,
           count(*) FILTER (WHERE r.status = 'queued' AND r.turn = 2) AS behind,
           count(*) FILTER (WHERE r.status = 'running') AS running,
           count(*) FILTER (WHERE r.status = 'parked') AS parked,
           count(*) FILTER (WHERE r.status = 'quarantined') AS quarantined,
           min(r.created_at) FILTER (WHERE r.status = 'queued') AS oldest
    FROM penstock.runs r
    WHERE r.status <> 'ended' AND ($1::text IS NULL OR r.tenant = $1) AND ($2::text IS NULL OR r.agent = $2)
    GROUP BY r.tenant, r.agent, r.customer
    ORDER BY queued DESC, r.tenant, r.agent, r.customer LIMIT $3
), lanes AS MATERIALIZED (
    SELECT p.agent, p.release, lane.*
    FROM (
        SELECT q.agent, q.release FROM penstock.pace q WHERE q.agent IN (SELECT o.agent FROM open o)
        GROUP BY q.agent, q.release
    ) AS p CROSS JOIN LATERAL penstock.lane(p.release) AS lane
)
SELECT o.tenant, o.agent, o.customer, o.queued, o.behind, o.running, o.parked, o.quarantined,
       penstock.to_us(o.oldest), coalesce(w.weight, 1), coalesce(f.rate, 0), f.expected
FROM open o
LEFT JOIN penstock.weights w ON w.tenant = o.tenant AND w.customer = o.customer
LEFT JOIN LATERAL (
    SELECT sum(least(l.rate, l.speed * coalesce(w.weight, 1) / penstock.queue_unit())) AS rate,
           max((k.finish - l.tag) / nullif(l.speed, 0)) AS expected
    FROM lanes l CROSS JOIN LATERAL (
        SELECT max(x.finish) AS finish FROM penstock.flows x
        WHERE x.release = l.release AND x.tenant = o.tenant AND x.customer = o.customer
    ) AS k
    WHERE l.agent = o.agent AND k.finish > l.tag
) AS f ON true
ORDER BY o.queued DESC, o.tenant, o.agent, o.customer"""

SESSIONS = """
SELECT s.tenant, s.session, s.holder, h.status, h.stop, h.code, f.behind, penstock.to_us(f.since)
FROM penstock.sessions s
JOIN penstock.runs h ON h.tenant = s.tenant AND h.id = s.holder
CROSS JOIN LATERAL (
    SELECT count(*) AS behind, min(q.created_at) AS since FROM (
        SELECT r.created_at FROM penstock.runs r
        WHERE r.tenant = s.tenant AND r.session = s.session AND r.turn = 2 AND r.status <> 'ended'
        ORDER BY r.place LIMIT $3
    ) AS q
) AS f
WHERE f.behind > 0 AND h.status <> 'ended' AND ($1::text IS NULL OR s.tenant = $1)
ORDER BY s.tenant, s.session LIMIT $2"""

SET_WEIGHT = """
INSERT INTO penstock.weights (tenant, customer, weight) VALUES ($1, $2, $3)
ON CONFLICT (tenant, customer) DO UPDATE SET weight = excluded.weight"""

UNSET_WEIGHT = "DELETE FROM penstock.weights WHERE tenant = $1 AND customer = $2"

WEIGHTS = "SELECT customer, weight FROM penstock.weights WHERE tenant = $1 ORDER BY customer LIMIT $2"


class PostgresQueue:
    """Implements `penstock.ports.queue.Queue`; see there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(self, orders: Sequence[Order], bounds: Bounds) -> list[int | None]:
        if not orders:
            return []
        record = await self._database.row(
            ADMIT,
            [order.tenant for order in orders],
            [order.agent for order in orders],
            [order.release for order in orders],
            [order.customer for order in orders],
            [order.priority for order in orders],
            [order.key for order in orders],
            [order.session for order in orders],
            [order.max_wait for order in orders],
            bounds.per_agent,
            bounds.per_customer,
        )
        assert record is not None
        ranks, why, number, queued, bound, rate, expected = record
        if why is None:
            given: list[int | None] = ranks
            return given
        order = orders[number - 1]
        raise queue_full(
            order,
            why=why,
            count=sum(same_queue(order, other, why) for other in orders),
            queued=queued,
            bound=bound,
            rate=rate or 0.0,
            expected_seconds=expected,
        )

    async def depths(self, tenant: str | None = None, agent: str | None = None, limit: int = LIST_MAX) -> list[Depth]:
        found = await self._database.fetch(DEPTHS, tenant, agent, min(limit, LIST_MAX))
        return [Depth(*(*record[:11], expected_wait(record[3], record[10], record[11]))) for record in found]

    async def sessions(self, tenant: str | None = None, limit: int = LIST_MAX) -> list[HeldSession]:
        found = await self._database.fetch(SESSIONS, tenant, min(limit, LIST_MAX), LIST_MAX)
        return [
            HeldSession(whose, name, holder, Status(status), Stop(stop) if stop else None, code, behind, since)
            for whose, name, holder, status, stop, code, behind, since in found
        ]

    async def set_weight(self, tenant: str, customer: str, weight: float) -> None:
        check_weight(weight)
        if weight == 1:
            await self._database.fetch(UNSET_WEIGHT, tenant, customer)
        else:
            await self._database.fetch(SET_WEIGHT, tenant, customer, weight)

    async def weights(self, tenant: str) -> dict[str, float]:
        return dict(await self._database.fetch(WEIGHTS, tenant, LIST_MAX))
