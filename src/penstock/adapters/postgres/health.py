"""What a PostgreSQL server says of itself: whether it keeps what it acknowledges, and how far its schema is."""

from dataclasses import dataclass

import asyncpg

from penstock.adapters.postgres.database import connected
from penstock.adapters.postgres.migrate import known_migrations, unknown_here
from penstock.events import FORMAT
from penstock.kernel.clock import Clock

SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "synchronous_standby_names", "max_connections")


@dataclass(slots=True, frozen=True)
class Health:
    """One look at a server."""

    version_number: int  # 180003 is 18.3
    version: str
    settings: dict[str, str]
    clock_ahead_us: int  # the server's clock minus this process's, as well as the round trip allows
    round_trip_us: int
    applied: int  # migrations in the database; 0 = no schema yet
    known: int  # migrations of this installation
    unknown: list[str]  # applied ones that this installation neither knows nor can work with
    newer: list[str]  # applied ones that it does not know, and can work with
    format: int  # of new runs; 0 = no schema yet
    known_format: int  # the newest that this installation writes
    altered: list[str]  # applied ones that read differently here
    connections: int
    database_bytes: int


async def look(dsn: str, clock: Clock, *, connect_seconds: float) -> Health:
    """Connect once and ask; changes nothing, not even the schema.

    Raises:
        JournalUnavailable: the server cannot be reached.
        JournalError: it refused.
    """
    async with connected(dsn, connect_seconds) as connection:
        return await _ask(connection, clock)


async def _ask(connection: asyncpg.Connection, clock: Clock) -> Health:
    settings = {name: str(await connection.fetchval(f"SHOW {name}")) for name in SETTINGS}
    sent = clock.now_us()
    theirs = int(await connection.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"))
    received = clock.now_us()
    known = {migration.name: migration.sha256 for migration in known_migrations()}
    applied = await _applied(connection)
    foreign, newer = await unknown_here(connection)
    formats = await connection.fetchval("SELECT to_regclass('penstock.formats')")
    return Health(
        version_number=int(await connection.fetchval("SHOW server_version_num")),
        version=str(await connection.fetchval("SHOW server_version")),
        settings=settings,
        clock_ahead_us=theirs - (sent + received) // 2,
        round_trip_us=received - sent,
        applied=len(applied),
        known=len(known),
        unknown=foreign,
        newer=newer,
        format=int(await connection.fetchval("SELECT max(format) FROM penstock.formats")) if formats else 0,
        known_format=FORMAT,
        altered=sorted(name for name, digest in applied.items() if known.get(name, digest) != digest),
        connections=int(await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL")),
        database_bytes=int(await connection.fetchval("SELECT pg_database_size(current_database())")),
    )


async def _applied(connection: asyncpg.Connection) -> dict[str, str]:
    """Digests of the applied migrations by name."""
    if await connection.fetchval("SELECT to_regclass('penstock.migrations')") is None:
        return {}
    return {row[0]: row[1] for row in await connection.fetch("SELECT name, sha256 FROM penstock.migrations")}
