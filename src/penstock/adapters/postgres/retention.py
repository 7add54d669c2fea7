"""`penstock.ports.retention.Retention` in PostgreSQL."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from penstock.adapters.postgres import queries, rows
from penstock.adapters.postgres.database import Database
from penstock.adapters.postgres.migrate import add_partitions, months_before
from penstock.kernel.errors import JournalError, RunPruned, RunUnknown
from penstock.ports.records import RunKey, RunRow
from penstock.ports.retention import (
    MAX_LIST,
    TENANT,
    Action,
    Hold,
    Marking,
    MonthTotals,
    Policy,
    Sharer,
    Tombstone,
    Weight,
)

CLOCKS_APART_US = 86_400_000_000
"""By how much the clock that made a run's id may be ahead of the database's, for the index to find it in time."""
LOCK_WAIT_MS = 50
"""Longest time that one try to take a month away may hold up the writers that queue behind it."""
DROP_TRIES = 20

_PUT_POLICY = """
INSERT INTO penstock.retention_policies (tenant, agent, action, keep, forget, content, actor)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (tenant, agent) DO UPDATE SET action = excluded.action, keep = excluded.keep, forget = excluded.forget,
    content = excluded.content, actor = excluded.actor, set_at = clock_timestamp()"""
_REMOVE_POLICY = "DELETE FROM penstock.retention_policies WHERE tenant = $1 AND agent = $2 RETURNING 1"
_POLICIES = """
SELECT tenant, agent, action, keep, forget, content, actor, penstock.to_us(set_at) FROM penstock.retention_policies
WHERE ($1::text IS NULL OR tenant = $1) AND (($2 = '' AND $3 = '') OR (tenant, agent) > ($2, $3))
ORDER BY tenant, agent LIMIT $4"""
_HOLD = "SELECT penstock.hold($1, $2, $3, $4)"
_RELEASE = "DELETE FROM penstock.holds WHERE tenant = $1 AND run_id = $2 RETURNING 1"
_HOLDS = """
SELECT tenant, run_id, reason, actor, penstock.to_us(at) FROM penstock.holds WHERE tenant = $1
ORDER BY run_id LIMIT $2"""
_TAKE_TURN = "SELECT penstock.take_retention_turn($1, $2 * interval '1 second', $3)"
_END_TURN = """
UPDATE penstock.retention_turn SET holder = NULL, lease_until = '-infinity',
    due_at = clock_timestamp() + $2 * interval '1 second'
WHERE holder = $1"""
_AGENTS = """
WITH RECURSIVE a AS (
    SELECT min(r.agent) AS agent FROM penstock.runs r
    WHERE r.tenant = $1 AND r.status = 'ended' AND r.pruned_at IS NULL
    UNION ALL
    SELECT (SELECT min(r.agent) FROM penstock.runs r
            WHERE r.tenant = $1 AND r.agent > a.agent AND r.status = 'ended' AND r.pruned_at IS NULL)
    FROM a WHERE a.agent IS NOT NULL
)
SELECT agent FROM a WHERE agent IS NOT NULL"""
_DUE = f"""
SELECT {queries.RUN_COLUMNS} FROM penstock.runs r
WHERE r.tenant = $1 AND r.agent = $2 AND r.status = 'ended' AND r.pruned_at IS NULL AND r.id > $4 AND r.id < $5
  AND penstock.may_go(r, penstock.from_us($3))
ORDER BY r.id LIMIT $6"""  # noqa: S608 - constants
_WEIGH = """
SELECT coalesce(sum(e.count), 0)::bigint, (coalesce(sum(e.size), 0) + coalesce(sum(p.size), 0))::bigint
FROM unnest($2::uuid[]) AS n(id)
CROSS JOIN LATERAL (
    SELECT count(*) AS count, sum(octet_length(e.body)) AS size FROM penstock.events e
    WHERE e.tenant = $1 AND e.run_id = n.id
) AS e
CROSS JOIN LATERAL (
    SELECT sum(octet_length(p.data)) AS size FROM penstock.payloads p WHERE p.tenant = $1 AND p.subject = n.id::text
) AS p"""
_MARK = "SELECT penstock.mark_pruned($1, $2::uuid[], $3::int[], $4::bytea[], $5::boolean[], $6, $7, $8, $9)"
_ARCHIVED_IN = """
SELECT ARRAY(SELECT t.run_id FROM penstock.tombstones t WHERE t.tenant = $1 AND t.archive = $2 ORDER BY t.run_id)
FROM penstock.archives a WHERE a.tenant = $1 AND a.name = $2"""
_STONE = """
    t.tenant, t.run_id, t.agent, r.subject, t.last_seq, t.head, t.archive, penstock.to_us(t.pruned_at),
    t.emptied_at IS NOT NULL, t.swept_at IS NOT NULL"""
_TOMBSTONES = f"""
SELECT {_STONE} FROM unnest($1::text[], $2::uuid[]) AS k(tenant, id)
JOIN penstock.tombstones t ON t.tenant = k.tenant AND t.run_id = k.id
JOIN penstock.runs r ON r.tenant = k.tenant AND r.id = k.id"""  # noqa: S608 - constants
_UNEMPTIED = f"""
SELECT {_STONE} FROM penstock.tombstones t JOIN penstock.runs r ON r.tenant = t.tenant AND r.id = t.run_id
WHERE t.tenant = $1 AND t.named AND t.emptied_at IS NULL AND t.run_id > $2 AND NOT penstock.tenant_held($1)
ORDER BY t.run_id LIMIT $3"""  # noqa: S608 - constants
_EMPTY = "SELECT penstock.empty_runs($1, $2)"
_SHARERS = """
SELECT r.id, r.last_seq, r.status = 'running' FROM penstock.runs r
WHERE r.tenant = $1 AND r.subject = $2 AND r.pruned_at IS NULL AND r.subject <> r.id::text AND r.id > $3
ORDER BY r.id LIMIT $4"""
_DROP_PAYLOADS = "SELECT penstock.drop_payloads($1, $2, $3::bytea[], $4, $5)"
_SET_EMPTIED = "SELECT penstock.set_emptied($1, $2::uuid[])"
_SWEEP = "SELECT penstock.sweep_events($1, $2, $3)"
_FORGET = "SELECT penstock.forget_runs($1, $2, $3, $4)"
_FORGETTABLE = """
WITH RECURSIVE a AS (
    SELECT min(t.agent) AS agent FROM penstock.tombstones t WHERE t.tenant = $1 AND t.swept_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(t.agent) FROM penstock.tombstones t
            WHERE t.tenant = $1 AND t.agent > a.agent AND t.swept_at IS NOT NULL)
    FROM a WHERE a.agent IS NOT NULL
)
SELECT agent FROM a WHERE agent IS NOT NULL"""
_FORGOTTEN = """
SELECT agent, month, outcome, runs, tokens, nano FROM penstock.forgotten WHERE tenant = $1
ORDER BY month DESC, agent, outcome LIMIT $2"""
_MONTHS = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'penstock' AND c.relkind = 'r' AND c.relispartition AND c.relname LIKE 'events\\_%'"""
# Only those that were taken out here have such a name: what an operator has detached is his.
_TAKEN_OUT = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'penstock' AND c.relkind = 'r' AND NOT c.relispartition
  AND c.relname ~ '^events_[0-9]{4}_[0-9]{2}_gone$'"""


class PostgresRetention:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def origin(self) -> UUID:
        origin: UUID = await self._database.value("SELECT origin FROM penstock.retention_turn")
        return origin

    async def put_policy(self, policy: Policy) -> None:
        await self._database.fetch(
            _PUT_POLICY,
            policy.tenant,
            policy.agent,
            policy.action.value,
            policy.keep,
            policy.forget,
            policy.content,
            policy.actor,
        )

    async def remove_policy(self, tenant: str, agent: str) -> bool:
        return await self._database.row(_REMOVE_POLICY, tenant, agent) is not None

    async def policies(self, tenant: str | None, after: tuple[str, str] = ("", ""), limit: int = 100) -> list[Policy]:
        found = await self._database.fetch(_POLICIES, tenant, *after, min(limit, MAX_LIST))
        return [Policy(row[0], row[1], Action(row[2]), *row[3:]) for row in found]

    async def hold(self, tenant: str, run: UUID, actor: str, reason: str) -> bool:
        answer: int = await self._database.value(_HOLD, tenant, run, actor, reason)
        if answer == -1:
            raise RunUnknown(f"there is no run {run} for tenant {tenant!r}")
        if answer == -2:
            raise RunPruned(f"run {run} cannot be held any more: its record was pruned", run=run)
        return answer == 1

    async def release(self, tenant: str, run: UUID, actor: str) -> bool:
        del actor
        return await self._database.row(_RELEASE, tenant, run) is not None

    async def holds(self, tenant: str, limit: int = 100) -> list[Hold]:
        return [Hold(*record) for record in await self._database.fetch(_HOLDS, tenant, min(limit, MAX_LIST))]

    async def take_turn(self, holder: UUID, lease_seconds: float, *, due: bool) -> bool:
        return bool(await self._database.value(_TAKE_TURN, holder, lease_seconds, due))

    async def end_turn(self, holder: UUID, again_seconds: float) -> None:
        await self._database.fetch(_END_TURN, holder, again_seconds)

    async def agents(self, tenant: str) -> list[str]:
        return [record[0] for record in await self._database.fetch(_AGENTS, tenant)]

    async def due(
        self, tenant: str, agent: str, ended_before: int, after: UUID | None = None, limit: int = 100
    ) -> list[RunRow]:
        highest = UUID(int=(max(0, ended_before + CLOCKS_APART_US) // 1000) << 80)
        found = await self._database.fetch(
            _DUE, tenant, agent, ended_before, after or TENANT, highest, min(limit, MAX_LIST)
        )
        return [rows.run_row(record) for record in found]

    async def weigh(self, tenant: str, runs: Sequence[UUID]) -> Weight:
        record = await self._database.row(_WEIGH, tenant, list(runs))
        assert record is not None
        return Weight(*record)

    async def mark(self, marking: Marking) -> list[UUID]:
        columns = [[run[part] for run in marking.runs] for part in range(4)]
        marked: list[UUID] = await self._database.value(
            _MARK,
            marking.tenant,
            *columns,
            marking.ended_before,
            marking.archive,
            marking.folder,
            marking.size,
        )
        return list(marked)

    async def archived_in(self, tenant: str, archive: str) -> list[UUID] | None:
        record = await self._database.row(_ARCHIVED_IN, tenant, archive)
        return None if record is None else list(record[0])

    async def tombstones(self, runs: Sequence[RunKey]) -> dict[RunKey, Tombstone]:
        found = await self._database.fetch(_TOMBSTONES, [key[0] for key in runs], [key[1] for key in runs])
        return {(record[0], record[1]): Tombstone(*record) for record in found}

    async def empty(self, tenant: str, limit: int) -> bool:
        return bool(await self._database.value(_EMPTY, tenant, limit))

    async def unemptied(self, tenant: str, after: UUID | None = None, limit: int = 100) -> list[Tombstone]:
        found = await self._database.fetch(_UNEMPTIED, tenant, after or TENANT, min(limit, MAX_LIST))
        return [Tombstone(*record) for record in found]

    async def sharers(self, tenant: str, subject: str, after: UUID | None = None, limit: int = 1000) -> list[Sharer]:
        found = await self._database.fetch(_SHARERS, tenant, subject, after or TENANT, min(limit, MAX_LIST))
        return [Sharer(*record) for record in found]

    async def drop_payloads(
        self, tenant: str, subject: str, addresses: Sequence[bytes], known: tuple[int, int]
    ) -> bool:
        try:
            return bool(await self._database.value(_DROP_PAYLOADS, tenant, subject, list(addresses), *known))
        except JournalError as error:
            if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                return False  # writers of payloads are busy: the next round tries again
            raise

    async def set_emptied(self, tenant: str, runs: Sequence[UUID]) -> None:
        await self._database.fetch(_SET_EMPTIED, tenant, list(runs))

    async def sweep(self, tenant: str, pruned_before: int, limit: int) -> bool:
        return bool(await self._database.value(_SWEEP, tenant, pruned_before, limit))

    async def add_months(self) -> list[str]:
        async with self._database.connection() as connection:
            return await add_partitions(connection, int(await connection.fetchval(queries.NOW)))

    async def drop_months(self) -> list[str]:
        dropped = []
        async with self._database.connection() as connection:
            now = int(await connection.fetchval(queries.NOW))
            present = [record[0] for record in await connection.fetch(_MONTHS)]
            for name, low, high in months_before(now, present):
                if await connection.fetchval("SELECT penstock.range_is_gone($1, $2)", low, high) and await _detached(
                    connection, name, low, high
                ):
                    dropped.append(name)
            for record in await connection.fetch(_TAKEN_OUT):
                await connection.execute(f"DROP TABLE IF EXISTS penstock.{record[0]}")
        return dropped

    async def forget(self, tenant: str, agent: str, ended_before: int, limit: int) -> int:
        gone: int = await self._database.value(_FORGET, tenant, agent, ended_before, limit)
        return gone

    async def forgettable(self, tenant: str) -> list[str]:
        return [record[0] for record in await self._database.fetch(_FORGETTABLE, tenant)]

    async def forgotten(self, tenant: str, limit: int = 1000) -> list[MonthTotals]:
        found = await self._database.fetch(_FORGOTTEN, tenant, min(limit, MAX_LIST))
        return [MonthTotals(*record) for record in found]


async def _detached(connection: Any, name: str, low: UUID, high: UUID) -> bool:
    """Take a month out of the table, unless a run came into it meanwhile. What was taken out is dropped after.

    PostgreSQL refuses DETACH ... CONCURRENTLY where there is a default partition, so writers have to be kept out for a
    moment: no longer than ``LOCK_WAIT_MS`` while waiting for them, and for a few look-ups in indexes then.
    """
    for _ in range(DROP_TRIES):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT_MS}ms'")
                await connection.execute("LOCK TABLE ONLY penstock.events IN ACCESS EXCLUSIVE MODE")
                if not await connection.fetchval("SELECT penstock.range_is_gone($1, $2)", low, high):
                    return False
                await connection.execute(f"ALTER TABLE penstock.events DETACH PARTITION penstock.{name}")
                await connection.execute(f"ALTER TABLE penstock.{name} RENAME TO {name}_gone")
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(5 * LOCK_WAIT_MS / 1000)
        else:
            return True
    return False
