"""`penstock.ports.audit.Audit` in PostgreSQL; see migration 0027."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from penstock.adapters.postgres.database import Database, columns, connected
from penstock.ports.audit import (
    LEAVES_MAX,
    MAX_LIST,
    Ahead,
    Found,
    Growth,
    Leaf,
    LogHead,
    LogKey,
    SealingState,
    StoredCheckpoint,
    Turn,
)
from penstock.ports.records import RunKey

SETTLE_MS = 200
"""How long a look waits for ends of runs that are being committed; then it leaves them to the next one."""
OPEN_PAGE = 1000
ALL_PAGE = 250
"""Rows of unended runs, and of all runs, that one look goes through besides."""

_TURN = "SELECT mine, now_us FROM penstock.take_audit_turn($1, $2)"
_END_TURN = "UPDATE penstock.audit_turn SET holder = NULL, lease_until = 0 WHERE holder = $1"
_REPORT = """
UPDATE penstock.audit_turn SET problem = $1, problem_at = CASE WHEN $1 = '' THEN 0 ELSE penstock.now_us() END
WHERE problem <> $1"""
_COVERED = """coalesce((
    SELECT l.seq FROM penstock.audit_leaves l WHERE l.tenant = r.tenant AND l.run_id = r.id
    ORDER BY l.seq DESC LIMIT 1
), 0)"""
_ROW = f"r.tenant, r.id, r.last_seq, r.head, {_COVERED}"
_STATE = f"""
SELECT t.problem, t.problem_at, t.sealed_at, (SELECT count(*) FROM penstock.audit_logs),
       (SELECT coalesce(sum(l.size), 0)::bigint FROM penstock.audit_logs l),
       (SELECT penstock.to_us(min(r.created_at)) FROM penstock.runs r WHERE r.status = 'running' AND {_COVERED} = 0)
FROM penstock.audit_turn t"""  # noqa: S608 - constants
_HEALTH = """
SELECT t.problem, (SELECT coalesce(sum(l.size), 0)::bigint FROM penstock.audit_logs l),
       (SELECT k.public FROM penstock.audit_keys k ORDER BY k.number DESC LIMIT 1)
FROM penstock.audit_turn t"""
_PLACE = "SELECT place FROM penstock.audit_turn"
_SETTLED = "SELECT penstock.settled_ends($1)"
_RUNNING = f"SELECT {_ROW} FROM penstock.runs r WHERE r.status = 'running'"  # noqa: S608 - constants
_SEEN = f"""
SELECT {_ROW} FROM unnest($1::text[], $2::uuid[]) AS k(tenant, id)
JOIN penstock.runs r ON r.tenant = k.tenant AND r.id = k.id"""  # noqa: S608 - constants
_ENDED = f"""
WITH RECURSIVE t AS (
    (SELECT tenant FROM penstock.runs ORDER BY tenant LIMIT 1)
    UNION ALL
    SELECT (SELECT r.tenant FROM penstock.runs r WHERE r.tenant > t.tenant ORDER BY r.tenant LIMIT 1)
    FROM t WHERE t.tenant IS NOT NULL
)
SELECT {_ROW}, r.ended_no FROM t
LEFT JOIN penstock.audit_logs l ON l.tenant = t.tenant
CROSS JOIN LATERAL (
    SELECT e.* FROM penstock.runs e
    WHERE e.tenant = t.tenant AND e.ended_no > coalesce(l.ended_no, 0) AND e.ended_no <= $1
    ORDER BY e.ended_no LIMIT $2
) AS r
WHERE t.tenant IS NOT NULL"""  # noqa: S608 - constants
_PAGE = "SELECT {} FROM penstock.runs r WHERE (r.tenant, r.id) > ($1, $2){} ORDER BY r.tenant, r.id LIMIT $3"
_OPEN = _PAGE.format(_ROW, " AND r.status <> 'ended'")
_ALL = _PAGE.format(_ROW, "")
_ACTIONS = """
SELECT h.tenant, h.seq, h.hash FROM penstock.action_heads h
LEFT JOIN penstock.audit_logs l ON l.tenant = h.tenant
WHERE h.seq > coalesce(l.actions, 0)"""
_LOOKED = "UPDATE penstock.audit_turn SET place = $1 WHERE place <> $1"
_ENDS = """
UPDATE penstock.audit_logs l SET ended_no = n.ended
FROM unnest($1::text[], $2::bigint[]) AS n(tenant, ended) WHERE l.tenant = n.tenant AND l.ended_no < n.ended"""
_AHEAD_OF = f"SELECT {_ROW} FROM penstock.runs r WHERE r.tenant = $1 AND r.id = ANY ($2)"  # noqa: S608 - constants
_HEADS = "SELECT tenant, size, frontier, actions, key_number, at FROM penstock.audit_logs WHERE tenant = ANY ($1)"
_GROW = f"SELECT penstock.audit_grow({', '.join(f'${place}' for place in range(1, 21))})"
_LEAF = "index, data, kind, run_id, seq"
_LEAVES = f"""
SELECT {_LEAF} FROM penstock.audit_leaves
WHERE tenant = $1 AND index >= $2 AND index < $3 ORDER BY index LIMIT $4"""  # noqa: S608 - constants
_LEAVES_OF = f"""
SELECT {_LEAF} FROM penstock.audit_leaves
WHERE tenant = $1 AND run_id = ANY ($2) ORDER BY index"""  # noqa: S608 - constants
_SINCE = "SELECT penstock.audit_leaf_since($1, $2)"
_TILES = "SELECT index, nodes FROM penstock.audit_tiles WHERE tenant = $1 AND level = $2 AND index = ANY ($3)"
_ROOTS = """
SELECT root FROM penstock.audit_tiles WHERE tenant = $1 AND level = $2 AND index >= $3 AND index < $4 ORDER BY index"""
_CHECKPOINTS = """
SELECT size, note, at, witnesses FROM penstock.audit_checkpoints
WHERE tenant = $1 AND size < $2 ORDER BY size DESC LIMIT $3"""
_CHECKPOINT = "SELECT size, note, at, witnesses FROM penstock.audit_checkpoints WHERE tenant = $1 AND size = $2"
_COSIGN = """
UPDATE penstock.audit_checkpoints SET witnesses = (
    SELECT array_agg(DISTINCT w.line ORDER BY w.line) FROM unnest(witnesses || $3::text[]) AS w(line)
)
WHERE tenant = $1 AND size = $2 RETURNING true"""
_KEYS = "SELECT number, public, statement, at FROM penstock.audit_keys ORDER BY number"
_ADD_KEY = "SELECT penstock.audit_add_key($1, $2, $3)"
_LAST = 2**63 - 1


class _Place(msgspec.Struct, array_like=True):
    """Where looks go on: beyond which run among the unended ones, and among all; to which ends of runs, by tenant."""

    unended: tuple[str, UUID] = ("", UUID(int=0))
    all: tuple[str, UUID] = ("", UUID(int=0))
    ends: dict[str, int] = {}


@dataclass(slots=True, frozen=True)
class LogHealth:
    """How sealing stands, for whoever only looks. ``key``: the public key that signs; None = there is none yet."""

    problem: str
    leaves: int
    key: bytes | None


async def look_at_log(dsn: str, connect_seconds: float) -> LogHealth | None:
    """Look without a change of the schema; None = it has no audit log yet."""
    async with connected(dsn, connect_seconds) as connection:
        if not await connection.fetchval("SELECT to_regclass('penstock.audit_keys') IS NOT NULL"):
            return None
        return LogHealth(*await connection.fetchrow(_HEALTH))


class PostgresAudit:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take_turn(self, holder: UUID, lease_seconds: float) -> Turn:
        mine, now = await self._database.row(_TURN, holder, int(lease_seconds * 1e6)) or (False, 0)
        return Turn(mine, now)

    async def end_turn(self, holder: UUID) -> None:
        await self._database.fetch(_END_TURN, holder)

    async def report(self, problem: str) -> None:
        await self._database.fetch(_REPORT, problem)

    async def state(self) -> SealingState:
        return SealingState(*await self._database.row(_STATE) or ())

    async def ahead(self, seen: Sequence[RunKey], limit: int) -> Found:
        fetch = self._database.fetch
        stored = await self._database.value(_PLACE)
        place = msgspec.json.decode(stored, type=_Place) if stored else _Place()
        place.ends = {}
        settled = await self._database.value(_SETTLED, SETTLE_MS)
        running = await fetch(_RUNNING)
        now_running = {(record[0], record[1]) for record in running}
        gone = [key for key in seen if key not in now_running]
        found = [*running]
        if gone:
            found += await fetch(_SEEN, [key[0] for key in gone], [key[1] for key in gone])
        ended = await fetch(_ENDED, settled, limit) if settled is not None else []
        for record in ended:
            place.ends[record[0]] = record[5]
        unended = await fetch(_OPEN, *place.unended, OPEN_PAGE)
        everything = await fetch(_ALL, *place.all, ALL_PAGE)
        place.unended = _next(unended, OPEN_PAGE)
        place.all = _next(everything, ALL_PAGE)
        ahead = {
            (record[0], record[1]): Ahead(record[0], record[1], record[2], record[3])
            for record in (*found, *ended, *unended, *everything)
            if record[2] > record[4]
        }
        lists = [Ahead(tenant, None, seq, head) for tenant, seq, head in await fetch(_ACTIONS)]
        return Found([*lists, *ahead.values()], list(now_running), msgspec.json.encode(place), len(ended) >= limit)

    async def looked(self, place: bytes) -> None:
        known = msgspec.json.decode(place, type=_Place)
        ends, known.ends = known.ends, {}
        if ends:
            await self._database.fetch(_ENDS, list(ends), list(ends.values()))
        await self._database.fetch(_LOOKED, msgspec.json.encode(known))

    async def ahead_of(self, tenant: str, runs: Sequence[UUID]) -> list[Ahead]:
        found = await self._database.fetch(_AHEAD_OF, tenant, list(runs))
        return [Ahead(*record[:4]) for record in found if record[2] > record[4]]

    async def heads(self, tenants: Sequence[str]) -> dict[str, LogHead]:
        found = await self._database.fetch(_HEADS, list(tenants))
        return {record[0]: LogHead(*record[1:]) for record in found if record[1]}

    async def grow(self, growths: Sequence[Growth], keep_checkpoints: int) -> list[bool]:
        if not growths:
            return []
        logs = [
            (
                growth.tenant,
                growth.was.size,
                growth.now.size,
                growth.now.frontier,
                growth.now.actions,
                growth.now.key,
                growth.now.at,
                growth.checkpoint,
            )
            for growth in growths
        ]
        leaves = [
            (place, leaf.index, leaf.kind, leaf.run, leaf.seq, leaf.data)
            for place, growth in enumerate(growths, 1)
            for leaf in growth.leaves
        ]
        tiles = [
            (place, tile.level, tile.index, tile.nodes, tile.root)
            for place, growth in enumerate(growths, 1)
            for tile in growth.tiles
        ]
        grown: list[bool] = await self._database.value(
            _GROW, *columns(logs, 8), *columns(leaves, 6), *columns(tiles, 5), keep_checkpoints
        )
        return grown

    async def leaves(self, tenant: str, begin: int, end: int) -> list[Leaf]:
        return _leaves(await self._database.fetch(_LEAVES, tenant, begin, end, LEAVES_MAX))

    async def leaves_of(self, tenant: str, runs: Sequence[UUID]) -> list[Leaf]:
        return _leaves(await self._database.fetch(_LEAVES_OF, tenant, list(runs)))

    async def leaf_since(self, tenant: str, at: int) -> int:
        index: int = await self._database.value(_SINCE, tenant, at)
        return index

    async def tiles(self, tenant: str, level: int, indexes: Sequence[int]) -> dict[int, bytes]:
        return dict([tuple(record) for record in await self._database.fetch(_TILES, tenant, level, list(indexes))])

    async def tile_roots(self, tenant: str, level: int, begin: int, end: int) -> list[bytes]:
        return [record[0] for record in await self._database.fetch(_ROOTS, tenant, level, begin, end)]

    async def checkpoint(self, tenant: str, size: int | None = None) -> StoredCheckpoint | None:
        if size is None:
            found = await self.checkpoints(tenant, limit=1)
            return found[0] if found else None
        record = await self._database.row(_CHECKPOINT, tenant, size)
        return None if record is None else StoredCheckpoint(*record)

    async def checkpoints(self, tenant: str, before: int | None = None, limit: int = 100) -> list[StoredCheckpoint]:
        most = _LAST if before is None else before
        found = await self._database.fetch(_CHECKPOINTS, tenant, most, min(limit, MAX_LIST))
        return [StoredCheckpoint(*record) for record in found]

    async def cosign(self, tenant: str, size: int, lines: Sequence[str]) -> bool:
        return bool(await self._database.value(_COSIGN, tenant, size, list(lines)))

    async def keys(self) -> list[LogKey]:
        return [LogKey(*record) for record in await self._database.fetch(_KEYS)]

    async def add_key(self, key: LogKey) -> bool:
        return bool(await self._database.value(_ADD_KEY, key.number, key.public, key.statement))


def _leaves(records: Sequence[Any]) -> list[Leaf]:
    return [Leaf(*record) for record in records]


def _next(records: Sequence[Any], page: int) -> tuple[str, UUID]:
    """After the last page looks begin at the first one again."""
    return (records[-1][0], records[-1][1]) if len(records) == page else ("", UUID(int=0))
