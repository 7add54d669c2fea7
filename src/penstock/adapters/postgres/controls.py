"""Stops in PostgreSQL: what is known of them afterwards. Stopping itself is in ``stops.py``."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from penstock.adapters.postgres.database import Database
from penstock.adapters.postgres.stops import COLUMNS, open_intents
from penstock.ports.controls import COUNTED_MOST, PAGE_MAX, Claimed, Control, Reach, Scope, ToolStops, of_all, of_run
from penstock.ports.records import Status

_NO_END = 2**52  # a time after all others, in the year 2112

# S608: all of these are made of constants.
_CONTROL = """
SELECT c.tenant, c.run_id, c.scope, c.name,
       c.id, c.action, c.actor, c.reason, penstock.to_us(c.at), penstock.to_us(c.lifted_at), coalesce(c.lifted_by, ''),
       penstock.to_us(c.sealed_at), c.blockers, r.status
FROM penstock.controls c LEFT JOIN penstock.runs r ON r.tenant = c.tenant AND r.id = c.run_id"""

_GET = f"{_CONTROL} WHERE c.id = $2 AND (c.tenant = $1 OR c.tenant IS NULL)"
_BELOW = "(c.at, c.id) < (penstock.from_us($1), $2) ORDER BY c.at DESC, c.id DESC LIMIT $3"
_NEWEST = f"{_CONTROL} WHERE c.tenant = $4 AND {_BELOW}"
_NEWEST_OF_ALL = f"{_CONTROL} WHERE c.tenant IS NULL AND {_BELOW}"
_WIDE = f"""
({_CONTROL}
WHERE c.run_id IS NULL AND c.lifted_at IS NULL AND (c.tenant = $1 OR c.tenant IS NULL) ORDER BY c.at DESC LIMIT $2)
UNION ALL
({_CONTROL}
WHERE c.scope <> '' AND c.lifted_at IS NULL AND (c.tenant = $1 OR c.tenant IS NULL) ORDER BY c.at DESC LIMIT $2)"""
_OF_RUN = f"{_CONTROL} WHERE c.tenant = $1 AND c.run_id = $2 ORDER BY c.at DESC LIMIT $3"

_FAMILY = """
WITH RECURSIVE family AS MATERIALIZED (
    SELECT r.id, r.parent, r.status, r.outcome, r.nano, r.ended_at FROM penstock.runs r
    WHERE r.tenant = $1 AND r.parent IS NOT NULL
      AND r.root = (SELECT t.root FROM penstock.runs t WHERE t.tenant = $1 AND t.id = $2)
    UNION ALL
    SELECT r.id, NULL, r.status, r.outcome, r.nano, r.ended_at FROM penstock.runs r
    WHERE r.tenant = $1 AND r.id = $2 AND r.parent IS NULL
), scope AS (
    SELECT f.* FROM family f WHERE f.id = $2
    UNION
    SELECT f.* FROM family f JOIN scope s ON f.parent = s.id
)"""
_REACH = "SELECT status, count(*), coalesce(sum(nano), 0)::bigint FROM {} WHERE status <> 'ended' GROUP BY status"
_REACH_RUN = f"{_FAMILY} {_REACH.format('scope')}"
_UNENDED = "SELECT r.status, r.nano FROM penstock.runs r WHERE r.status <> 'ended'"
_REACH_CALLING = _REACH.format(f"({_UNENDED} AND r.tenant = $1 AND r.id = ANY ($2::uuid[])) AS scope")
_REACH_ALL = _REACH.format(f"({_UNENDED} AND ($1::text IS NULL OR r.tenant = $1) LIMIT {COUNTED_MOST}) AS scope")
_REACH_SOME = _REACH.format(f"({_UNENDED} AND r.tenant = $1 AND r.{{}} = $2 LIMIT {COUNTED_MOST}) AS scope")
_STOPPED = "SELECT count(*) FROM scope WHERE outcome IN ('killed', 'cancelled') AND ended_at >= penstock.from_us($3)"
_STOPPED_RUN = f"{_FAMILY} {_STOPPED}"
_STOPPED_WIDE = f"""
SELECT count(*) FROM (
    SELECT FROM penstock.runs r
    WHERE r.status = 'ended' AND r.outcome <> 'succeeded' AND r.outcome = 'killed'
      AND r.ended_at >= penstock.from_us($2) AND ($1::text IS NULL OR r.tenant = $1) {{}}
    LIMIT {COUNTED_MOST}
) AS k"""  # noqa: S608


# One statement, one snapshot: the version is that of what is read with it.
_OF_TOOLS = f"""
SELECT v.version, k.* FROM penstock.breaker_version v
LEFT JOIN ({_CONTROL} WHERE c.scope = 'tool' AND c.lifted_at IS NULL) AS k ON true"""  # noqa: S608


_CLAIM_RESOURCE = """
SELECT answer, holder, coalesce(held_by_tool, ''), coalesce(since, 0), coalesce(has_others, false)
FROM penstock.claim_resource($1, $2, $3, $4, $5)"""
_FORGET_RESOURCES = "SELECT penstock.forget_resources($1)"


class PostgresControls:
    """Implements `penstock.ports.controls.Controls`; see there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, tenant: str, control: UUID) -> Control | None:
        record = await self._database.row(_GET, tenant, control)
        return None if record is None else _control(record)

    async def newest(self, tenant: str, before: tuple[int, UUID] | None, limit: int) -> list[Control]:
        at, control = before or (_NO_END, UUID(int=2**128 - 1))
        span = at, control, min(limit, PAGE_MAX)
        found = await self._database.fetch(_NEWEST, *span, tenant)
        found += await self._database.fetch(_NEWEST_OF_ALL, *span)
        return sorted(map(_control, found), key=lambda item: (item.at, item.id), reverse=True)[:limit]

    async def wide(self, tenant: str) -> list[Control]:
        found = map(_control, await self._database.fetch(_WIDE, tenant, PAGE_MAX))
        return sorted(found, key=lambda item: (item.at, item.id), reverse=True)[:PAGE_MAX]

    async def of_run(self, tenant: str, run: UUID, limit: int) -> list[Control]:
        found = await self._database.fetch(_OF_RUN, tenant, run, min(limit, PAGE_MAX))
        return [_control(record) for record in found]

    async def of_tools(self) -> ToolStops:
        rows = await self._database.fetch(_OF_TOOLS)
        return ToolStops(rows[0][0], tuple(_control(tuple(row)[1:]) for row in rows if row[1] is not None))

    async def reach(self, scope: Scope) -> Reach:
        if scope.kind == "tool":
            calls = await open_intents(self._database, scope)
            found = await self._database.fetch(_REACH_CALLING, scope.tenant, [call.run for call in calls])
        elif scope.run is not None:
            found = await self._database.fetch(_REACH_RUN, scope.tenant, scope.run)
        elif scope.kind in COLUMNS:
            found = await self._database.fetch(_REACH_SOME.format(COLUMNS[scope.kind]), scope.tenant, scope.name)
        else:
            found = await self._database.fetch(_REACH_ALL, scope.tenant)
        counts = {status: count for status, count, _ in found}
        return Reach(**counts, nano=sum(nano for _, _, nano in found))

    async def claim_resource(self, tenant: str, run: UUID, epoch: int, resource: str, tool: str) -> Claimed:
        row = await self._database.row(_CLAIM_RESOURCE, tenant, run, epoch, resource, tool)
        assert row is not None
        return Claimed(*row)

    async def forget_resources(self, most: int) -> int:
        gone: int = await self._database.value(_FORGET_RESOURCES, most)
        return gone

    async def stopped(self, scope: Scope, since: int) -> int:
        if scope.kind == "tool":
            return 0
        if scope.run is not None:
            count: int = await self._database.value(_STOPPED_RUN, scope.tenant, scope.run, since)
        elif scope.kind in COLUMNS:
            query = _STOPPED_WIDE.format(f"AND r.{COLUMNS[scope.kind]} = $3")
            count = await self._database.value(query, scope.tenant, since, scope.name)
        else:
            count = await self._database.value(_STOPPED_WIDE.format(""), scope.tenant, since)
        return count


def _control(record: Sequence[Any]) -> Control:
    tenant, run, kind, name = record[:4]
    if kind:
        scope = Scope(kind, tenant, name)
    else:
        scope = of_all(tenant) if run is None else of_run(tenant, run)
    status = record[13]
    return replace(Control(record[4], scope, *record[5:13]), status=Status(status) if status else None)
