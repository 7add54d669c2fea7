"""Many runs made in the image of one: what takes a worker hours is there in minutes.

Two ways. `fill_parked` makes runs that a worker cannot tell from those it parked itself: each has its own id, its own
key, its own chain over its own events, and its payloads under their keyed addresses; any of them can be woken, replayed
and verified. `fill_ended` makes runs that nobody will read again: as many rows and index entries as real ones, with
bodies cut short, so that a million of them fit on a small disk.

Neither leaves out an index, a constraint or the write-ahead log.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from penstock.journal.chain import genesis, link
from penstock.journal.payloads import Committer, ref_text
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import token_bytes

AT_A_TIME = 20_000  # runs made in one transaction
BODY_BYTES = 100  # of an ended run's event or payload

_COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = 'penstock.runs'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"""
_RUN = "SELECT * FROM penstock.runs WHERE tenant = $1 AND id = $2"
_EVENTS = "SELECT body FROM penstock.events WHERE tenant = $1 AND run_id = $2 ORDER BY seq"
_PAYLOADS = """
SELECT address, codec, size, data FROM penstock.payloads
WHERE tenant = $1 AND subject = $2::uuid::text ORDER BY address"""
_IDS = """
CREATE TEMP TABLE made ON COMMIT DROP AS
SELECT uuidv7() AS id FROM generate_series(1, $1::integer)"""
_ENDED_EVENTS = """
INSERT INTO penstock.events (tenant, run_id, seq, body, hash)
SELECT e.tenant, m.id, e.seq, e.body, e.hash
FROM (SELECT id FROM made ORDER BY id) AS m CROSS JOIN LATERAL (
    SELECT tenant, seq, substr(body, 1, $3) AS body, hash FROM penstock.events
    WHERE tenant = $1 AND run_id = $2 AND m.id IS NOT NULL ORDER BY seq) AS e"""
_ENDED_PAYLOADS = """
INSERT INTO penstock.payloads (tenant, subject, address, codec, size, data)
SELECT p.tenant, m.id::text, sha256(uuid_send(m.id) || p.address), p.codec, p.size, substr(p.data, 1, $3)
FROM (SELECT id FROM made ORDER BY id) AS m CROSS JOIN LATERAL (
    SELECT tenant, address, codec, size, data FROM penstock.payloads
    WHERE tenant = $1 AND subject = $2::uuid::text AND m.id IS NOT NULL) AS p"""


@dataclass(slots=True, frozen=True)
class _Image:
    """A run as it is stored. ``bodies`` are split where the run's id and the addresses of its payloads stand."""

    columns: dict[str, Any]  # of its row, those that are not NULL
    bodies: list[list[bytes]]
    payloads: list[tuple[str, int, bytes]]  # codec, size, data


async def fill_parked(connection: asyncpg.Connection, tenant: str, run: UUID, count: int) -> None:
    """Store ``count`` further runs like ``run``, which waits and whose payloads are kept as they are ("raw").

    Raises:
        ValueError: a payload of it is packed, or it has a subject of its own.
    """
    image = await _image(connection, tenant, run)
    runs = tuple(image.columns)
    events = ("tenant", "run_id", "seq", "body", "hash")
    payloads = ("tenant", "subject", "address", "codec", "size", "data")
    for start in range(0, count, AT_A_TIME):
        made = [_one_like(image, tenant) for _ in range(min(AT_A_TIME, count - start))]
        async with connection.transaction():
            await _copy(connection, "runs", runs, (one.row for one in made))
            await _copy(connection, "events", events, (row for one in made for row in one.events))
            await _copy(connection, "payloads", payloads, (row for one in made for row in one.payloads))


async def fill_ended(connections: Sequence[asyncpg.Connection], tenant: str, run: UUID, count: int) -> None:
    """Store ``count`` further runs like ``run``, which has ended; each is its own subject. The connections share the
    work, which is the server's alone."""
    own = {"id": "m.id", "root": "m.id", "subject": "m.id::text"}
    names = await _columns(connections[0])
    chosen = ", ".join(own.get(name, f"r.{name}") for name in names)
    rows = (
        f"INSERT INTO penstock.runs ({', '.join(names)}) SELECT {chosen} "
        "FROM (SELECT id FROM made ORDER BY id) AS m CROSS JOIN penstock.runs AS r WHERE r.tenant = $1 AND r.id = $2"
    )
    parts = iter([min(AT_A_TIME, count - start) for start in range(0, count, AT_A_TIME)])

    async def fill(connection: asyncpg.Connection) -> None:
        for part in parts:
            async with connection.transaction():
                await connection.execute(_IDS, part)
                await connection.execute(rows, tenant, run)
                await connection.execute(_ENDED_EVENTS, tenant, run, BODY_BYTES)
                await connection.execute(_ENDED_PAYLOADS, tenant, run, BODY_BYTES)

    await asyncio.gather(*map(fill, connections))


async def settle(connection: asyncpg.Connection) -> None:
    """Do now what the server would do in the minutes after: no measurement should meet it."""
    await connection.execute("VACUUM (ANALYZE) penstock.runs, penstock.events, penstock.payloads")
    await connection.execute("CHECKPOINT")


@dataclass(slots=True, frozen=True)
class _Made:
    """One new run's rows."""

    row: tuple[Any, ...]
    events: list[tuple[Any, ...]]
    payloads: list[tuple[Any, ...]]


async def _columns(connection: asyncpg.Connection) -> list[str]:
    return [row[0] for row in await connection.fetch(_COLUMNS)]


async def _image(connection: asyncpg.Connection, tenant: str, run: UUID) -> _Image:
    row = await connection.fetchrow(_RUN, tenant, run)
    stored = await connection.fetch(_PAYLOADS, tenant, run)
    if row["subject_key"] is None or any(one["codec"] != "raw" for one in stored):
        raise ValueError(f"run {run} has a subject of its own, or a payload that is packed")
    places = [str(run).encode(), *(ref_text(one["address"]).encode() for one in stored)]
    # What is in brackets stays in the result of split: every second piece is a place, to be filled anew.
    pattern = re.compile(b"(" + b"|".join(re.escape(place) for place in places) + b")")
    number = {place: str(index).encode() for index, place in enumerate(places)}
    bodies = []
    for (body,) in await connection.fetch(_EVENTS, tenant, run):
        pieces = pattern.split(body)
        pieces[1::2] = [number[place] for place in pieces[1::2]]
        bodies.append(pieces)
    columns = {name: row[name] for name in await _columns(connection) if row[name] is not None}
    return _Image(columns, bodies, [(one["codec"], one["size"], one["data"]) for one in stored])


def _one_like(image: _Image, tenant: str) -> _Made:
    run, key = new_id(_CLOCK), token_bytes(32)
    subject = str(run)
    commit = Committer(key)
    payloads = [(tenant, subject, commit.address(data), codec, size, data) for codec, size, data in image.payloads]
    places = [subject.encode(), *(ref_text(where).encode() for _, _, where, *_ in payloads)]
    events: list[tuple[Any, ...]] = []
    head = genesis(tenant, run)
    for seq, pieces in enumerate(image.bodies, 1):
        filled = list(pieces)
        filled[1::2] = [places[int(place)] for place in pieces[1::2]]
        body = b"".join(filled)
        head = link(head, body)
        events.append((tenant, run, seq, body, head))
    own = {"id": run, "root": run, "subject": subject, "subject_key": key, "head": head}
    return _Made(tuple((image.columns | own).values()), events, payloads)


async def _copy(
    connection: asyncpg.Connection, table: str, columns: Sequence[str], rows: Iterator[tuple[Any, ...]]
) -> None:
    await connection.copy_records_to_table(table, schema_name="penstock", columns=list(columns), records=rows)


_CLOCK = SystemClock()
