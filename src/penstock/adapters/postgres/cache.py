"""The cache in the database: who is served, and who makes the call, is decided in migration 0025."""

from collections.abc import Sequence
from typing import Any

from penstock.adapters.postgres.database import Database, columns
from penstock.events import CacheSource
from penstock.kernel.randomness import token_bytes
from penstock.ports.cache import COUNTS_KEPT_DAYS, FIGURES, HOUR, Bounds, Count, Entry, Held, Seat, Taken, Which

_SECRET = "SELECT penstock.cache_secret($1, $2)"  # noqa: S105 - a statement
_TAKE = """
SELECT t.state, t.now_us, (t.entry).gate, (t.entry).scope, (t.entry).scope_name, (t.entry).agent, (t.entry).name,
       (t.entry).subject, (t.entry).run_id, (t.entry).path, (t.entry).at, (t.entry).tags, (t.entry).data,
       (t.entry).codec, (t.entry).size, (t.entry).digest, (t.entry).finish, (t.entry).simulated, (t.entry).tokens,
       (t.entry).nano
FROM penstock.cache_take($1, $2, $3, $4, $5, $6) AS t"""
_PUT = """
SELECT penstock.cache_put(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text[],
    $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24
)"""
_LET_GO = "SELECT penstock.cache_let_go($1, $2, $3, $4, $5, $6)"
_DROP = "SELECT penstock.cache_drop($1, $2::text[], $3, $4, $5, $6, $7, $8)"
_HELD = "SELECT entries, bytes FROM penstock.cache_tenants WHERE tenant = $1"
_COUNT = f"""
SELECT penstock.cache_count(
    $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[],
    {", ".join(f"${place}::bigint[]" for place in range(6, 6 + len(FIGURES)))}
)"""
_COUNTS = f"""
SELECT gate, agent, name, {", ".join(f"sum({figure})::bigint" for figure in FIGURES)}
FROM penstock.cache_counts WHERE tenant = $1 AND hour >= $2 AND hour < $3
GROUP BY gate, agent, name ORDER BY gate, agent, name"""  # noqa: S608 - constants
_SWEEP = "SELECT penstock.cache_sweep($1, $2)"


class PostgresCache:
    """Implements `penstock.ports.cache.CacheEntries`; see there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def secret(self, tenant: str) -> bytes:
        secret: bytes = await self._database.value(_SECRET, tenant, token_bytes(32))
        return secret

    async def take(self, tenant: str, key: bytes, seat: Seat, lease_seconds: float) -> Taken:
        lease = int(lease_seconds * 1e6)
        row = await self._database.row(_TAKE, tenant, key, seat.run, seat.epoch, seat.path, lease)
        assert row is not None
        state, now = row[0], row[1]
        return Taken(state, now, _entry(tenant, key, row) if state == "hit" else None)

    async def put(self, entry: Entry, seat: Seat, began: int, life_seconds: float, bounds: Bounds) -> bool:
        kept: bool = await self._database.value(
            _PUT,
            entry.tenant,
            entry.key,
            entry.gate,
            entry.scope,
            entry.scope_name,
            entry.agent,
            entry.name,
            entry.subject,
            seat.run,
            seat.epoch,
            seat.path,
            list(entry.tags),
            entry.codec,
            entry.size,
            entry.digest,
            entry.data,
            entry.finish,
            entry.simulated,
            entry.tokens,
            entry.nano,
            began,
            int(life_seconds * 1e6),
            bounds.entries,
            bounds.bytes,
        )
        return kept

    async def let_go(self, tenant: str, key: bytes, seat: Seat, alone_seconds: float) -> None:
        await self._database.fetch(_LET_GO, tenant, key, seat.run, seat.epoch, seat.path, int(alone_seconds * 1e6))

    async def drop(self, tenant: str, tags: Sequence[str]) -> int:
        if not tags:
            return 0
        return int(await self._database.value(_DROP, tenant, list(tags), "", "", "", "", "", ""))

    async def clear(self, tenant: str, which: Which) -> int:
        named = which.gate or "", which.scope or "", which.scope_name, which.agent, which.name, which.tag
        return int(await self._database.value(_DROP, tenant, [], *named))

    async def held(self, tenant: str) -> Held:
        row = await self._database.row(_HELD, tenant)
        return Held(0, 0) if row is None else Held(row[0], row[1])

    async def count(self, counts: Sequence[Count]) -> None:
        ordered = sorted(counts, key=lambda item: (item.tenant, item.hour, item.gate, item.agent, item.name))
        rows = [
            (item.tenant, item.hour, item.gate, item.agent, item.name, *(getattr(item, figure) for figure in FIGURES))
            for item in ordered
        ]
        if rows:
            await self._database.fetch(_COUNT, *columns(rows, 5 + len(FIGURES)))

    async def counts(self, tenant: str, since: int, until: int) -> list[Count]:
        rows = await self._database.fetch(_COUNTS, tenant, since, until)
        return [Count(tenant, 0, *row) for row in rows]

    async def sweep(self, limit: int) -> int:
        return int(await self._database.value(_SWEEP, limit, COUNTS_KEPT_DAYS * 24 * HOUR))


def _entry(tenant: str, key: bytes, row: Any) -> Entry:
    return Entry(
        tenant=tenant,
        key=key,
        gate=row[2],
        scope=row[3],
        scope_name=row[4],
        agent=row[5],
        name=row[6],
        subject=row[7],
        source=CacheSource(row[8], row[9], row[10]),
        tags=tuple(row[11]),
        data=row[12],
        codec=row[13],
        size=row[14],
        digest=row[15],
        finish=row[16],
        simulated=row[17],
        tokens=row[18],
        nano=row[19],
    )
