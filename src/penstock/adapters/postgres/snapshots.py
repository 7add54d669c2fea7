"""`penstock.ports.snapshots.Snapshots` in PostgreSQL."""

from collections.abc import Sequence
from uuid import UUID

from penstock.adapters.postgres import queries, rows
from penstock.adapters.postgres.database import Database
from penstock.ports.records import Payload, PayloadKey, Row, RunKey
from penstock.ports.snapshots import Snapshot

_PUT = "SELECT penstock.put_snapshot($1, $2, $3, $4, $5, $6, $7, $8, $9)"
_DROP = "SELECT penstock.drop_snapshot($1, $2)"
_LATEST = """
SELECT s.tenant, s.run_id, s.epoch, s.seq, s.head, s.format, s.release, s.address
FROM unnest($1::text[], $2::uuid[]) AS k(tenant, run_id)
JOIN penstock.snapshots s ON s.tenant = k.tenant AND s.run_id = k.run_id"""
_WEIGH = """
SELECT k.i, w.size FROM unnest($1::text[], $2::uuid[], $3::int[]) WITH ORDINALITY AS k(tenant, run_id, after, i)
CROSS JOIN LATERAL (
    SELECT sum(octet_length(e.body))::bigint AS size FROM penstock.events e
    WHERE e.tenant = k.tenant AND e.run_id = k.run_id AND e.seq > k.after
) AS w
WHERE w.size > 0"""
_ROWS = """
SELECT e.seq, e.body, e.hash, penstock.to_us(e.at) FROM penstock.events e
WHERE e.tenant = $1 AND e.run_id = $2 AND e.seq = ANY ($3::int[]) ORDER BY e.seq"""
# The sizes of bodies and payloads are read from their headers: what lies beyond the bound is not read at all.
_PAGE = """
SELECT x.seq, x.body, x.hash, penstock.to_us(x.at) FROM (
    SELECT e.*, sum(octet_length(e.body)) OVER (ORDER BY e.seq) - octet_length(e.body) AS before
    FROM (
        SELECT seq, body, hash, at FROM penstock.events
        WHERE tenant = $1 AND run_id = $2 AND seq > $3 ORDER BY seq LIMIT $4
    ) AS e
) AS x
WHERE x.before < $5 ORDER BY x.seq"""
_PAYLOADS = """
SELECT x.i, x.data, x.codec, x.size FROM (
    SELECT k.i, p.data, p.codec, p.size, sum(p.size::bigint) OVER (ORDER BY k.i) - p.size AS before
    FROM unnest($1::text[], $2::text[], $3::bytea[]) WITH ORDINALITY AS k(tenant, subject, address, i)
    CROSS JOIN LATERAL (
        SELECT data, codec, size FROM penstock.payloads q
        WHERE q.tenant = k.tenant AND q.subject = k.subject AND q.address = k.address OFFSET 0
    ) AS p
) AS x
WHERE x.before < $4 ORDER BY x.i"""


class PostgresSnapshots:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, snapshot: Snapshot, state: Payload) -> bool:
        # An erasure in between leaves a row without a payload, which is as good as none.
        await self._database.fetch(queries.PUT_PAYLOADS, *rows.payload_arguments([state]))
        kept: bool = await self._database.value(
            _PUT,
            snapshot.tenant,
            snapshot.run,
            snapshot.epoch,
            snapshot.seq,
            snapshot.head,
            snapshot.format,
            snapshot.release,
            state.subject,
            snapshot.address,
        )
        return kept

    async def latest(self, runs: Sequence[RunKey]) -> dict[RunKey, Snapshot]:
        found = await self._database.fetch(_LATEST, [key[0] for key in runs], [key[1] for key in runs])
        return {(record[0], record[1]): Snapshot(*record) for record in found}

    async def drop(self, tenant: str, run: UUID, subject: str) -> bool:
        del subject  # the row says it
        return bool(await self._database.value(_DROP, tenant, run))

    async def weigh(self, runs: Sequence[tuple[str, UUID, int]]) -> dict[RunKey, int]:
        columns = [[run[place] for run in runs] for place in range(3)]
        found = await self._database.fetch(_WEIGH, *columns)
        return {runs[number - 1][:2]: size for number, size in found}

    async def rows(self, tenant: str, run: UUID, seqs: Sequence[int]) -> list[Row]:
        return [Row(*record) for record in await self._database.fetch(_ROWS, tenant, run, list(seqs))]

    async def page(self, tenant: str, run: UUID, after: int, most: int, most_bytes: int) -> list[Row]:
        return [Row(*record) for record in await self._database.fetch(_PAGE, tenant, run, after, most, most_bytes)]

    async def payloads(self, wanted: Sequence[PayloadKey], most_bytes: int) -> dict[PayloadKey, Payload]:
        keys = list(dict.fromkeys(wanted))
        columns = [[key[place] for key in keys] for place in range(3)]
        found = await self._database.fetch(_PAYLOADS, *columns, most_bytes)
        payloads: dict[PayloadKey, Payload] = {}
        for number, data, codec, size in found:
            tenant, subject, where = key = keys[number - 1]
            payloads[key] = Payload(tenant, subject, where, data, codec, size)
        return payloads
