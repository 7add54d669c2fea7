"""`penstock.ports.overview.Overview` in PostgreSQL: one statement, from partial indexes of runs that have not ended."""

from typing import Any

import msgspec

from penstock.adapters.postgres.database import Database
from penstock.ports.overview import WORKERS_MAX, LiveWorker, Standing

# runs_open holds all unended runs, runs_depth the queued and runs_held the running ones: what is left is parked. Only
# the oldest due time, and the questions, look at rows.
_STANDING = """
WITH held AS MATERIALIZED (
    SELECT r.worker, count(*) AS running FROM penstock.runs r
    WHERE r.status = 'running' AND r.worker = ANY (ARRAY(SELECT w.id FROM penstock.workers w)) AND r.tenant = $1
    GROUP BY r.worker
), workers AS MATERIALIZED (
    SELECT w.name, penstock.to_us(w.started_at) AS since, penstock.to_us(w.lease_until) AS until,
           coalesce(h.running, 0) AS running, w.lease_until > clock_timestamp() AS lives
    FROM penstock.workers w LEFT JOIN held h ON h.worker = w.id
    WHERE w.lease_until > clock_timestamp() OR h.running > 0
    ORDER BY running DESC, w.name LIMIT $2
), asking AS MATERIALIZED (
    SELECT position('"kind":"approval"'::bytea IN r.waiting) > 0 AS for_approval FROM penstock.runs r
    WHERE r.tenant = $1 AND r.status <> 'ended' AND penstock.first_question(r.waiting) > 0
      AND (position('"kind":"approval"'::bytea IN r.waiting) > 0 OR position('"kind":"doubt"'::bytea IN r.waiting) > 0)
)
SELECT
    penstock.to_us(clock_timestamp()),
    (SELECT count(*) FROM penstock.runs r WHERE r.tenant = $1 AND r.status <> 'ended'),
    (SELECT count(*) FROM penstock.runs r WHERE r.tenant = $1 AND r.status = 'queued'),
    (SELECT coalesce(sum(running), 0)::bigint FROM held),
    (SELECT count(*) FROM penstock.runs r WHERE r.tenant = $1 AND r.status = 'quarantined'),
    (SELECT penstock.to_us(min(r.wake_at)) FROM penstock.runs r WHERE r.tenant = $1 AND r.status = 'queued'),
    (SELECT count(*) FILTER (WHERE for_approval) FROM asking),
    (SELECT count(*) FILTER (WHERE NOT for_approval) FROM asking),
    (SELECT penstock.to_us(r.created_at) FROM penstock.runs r
        WHERE r.tenant = $1 AND r.status = 'quarantined' ORDER BY r.id LIMIT 1),
    (SELECT coalesce(json_agg(json_build_array(name, since, until, running, lives)), '[]')::text FROM workers)"""


class PostgresOverview:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, tenant: str) -> Standing:
        row: Any = await self._database.row(_STANDING, tenant, WORKERS_MAX)
        at, unended, queued, running, quarantined, due, approvals, doubts, aside, workers = row
        known = [(LiveWorker(*item[:4]), item[4]) for item in msgspec.json.decode(workers)]
        return Standing(
            at=at,
            queued=queued,
            running=running,
            parked=max(0, unended - queued - running - quarantined),
            quarantined=quarantined,
            oldest_due=min(due or 0, at),
            approvals=approvals,
            doubts=doubts,
            quarantined_since=aside or 0,
            workers=[worker for worker, lives in known if lives],
            dead=[worker for worker, lives in known if not lives],
        )
