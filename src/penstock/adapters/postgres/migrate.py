"""Brings a database's schema up to this installation's: forward only, one process at a time."""

import asyncio
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from uuid import UUID

import asyncpg

from penstock.kernel.backoff import Backoff
from penstock.kernel.errors import JournalError, SchemaBusy, SchemaTooNew, ServerTooOld

OLDEST_SERVER = 150_000
"""PostgreSQL 15, in the form of ``server_version_num``."""

MONTHS_AHEAD = 3
"""Event partitions that are made ahead of time, counted from the current month, which is included."""

TABLE_WAIT_MS = 300
"""How long a migration waits for a table that workers use. They queue behind it so long, and no longer; and it is below
PostgreSQL's ``deadlock_timeout`` (1 s), so that of the two it is never a worker's transaction that is ended."""

TABLE_TRIES = 100
"""Tries of one migration, with pauses of up to a second between them: one to two minutes in all."""

_LOCK = 7_955_997_830_308
_TABLE = """
CREATE SCHEMA IF NOT EXISTS penstock;
CREATE TABLE IF NOT EXISTS penstock.migrations (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE penstock.migrations ADD COLUMN IF NOT EXISTS compatible_from integer"""

FIRST_ADDITIVE_TO = 4
"""The last migration of the first release: later ones are additive to it unless they say otherwise."""

_COMPATIBLE = re.compile(r"^-- compatible-from: (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``migrations/``, such as ``0001_spine.sql``."""

    number: int
    name: str
    sql: str

    @property
    def compatible_from(self) -> int:
        """The oldest installation that can work on the schema after this migration, by the last migration it knows.

        A migration that older ones cannot bear says so in a line of its own, ``-- compatible-from: 12``.
        """
        said = _COMPATIBLE.search(self.sql)
        return int(said[1]) if said else FIRST_ADDITIVE_TO

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known_migrations() -> list[Migration]:
    """The migrations of this installation, in order."""
    folder = resources.files("penstock.adapters.postgres") / "migrations"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    return [Migration(int(item.name[:4]), item.name, item.read_text(encoding="utf-8")) for item in files]


async def migrate(connection: asyncpg.Connection) -> list[str]:
    """Apply what is missing, each migration in a transaction of its own; names of those applied.

    Raises:
        ServerTooOld: PostgreSQL older than 15.
        SchemaTooNew: the database holds a migration that this installation neither knows nor can work with.
        SchemaBusy: what workers do left no moment for one; those before it are applied.
        JournalError: a migration that was applied reads differently here.
    """
    await check_server(connection)
    known = known_migrations()
    return [
        migration.name
        for migration in _pending(known, await _applied(connection))
        if await _apply_between(connection, migration, known)
    ]


async def _apply_between(connection: asyncpg.Connection, migration: Migration, known: list[Migration]) -> bool:
    """Apply a migration between the transactions of workers, who go on meanwhile; whether it was not there already."""
    backoff = Backoff(cap_seconds=1.0)
    for _ in range(TABLE_TRIES):
        try:
            return await _apply(connection, migration, known)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await asyncio.sleep(backoff.next_seconds())
    raise SchemaBusy(f"{migration.name} found no moment in {TABLE_TRIES} tries at which its tables were free")


async def _apply(connection: asyncpg.Connection, migration: Migration, known: list[Migration]) -> bool:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(_TABLE)
        # Another process may have applied it while this one waited for the lock.
        if migration not in _pending(known, await _applied(connection)):
            return False
        await connection.execute(f"SET LOCAL lock_timeout = {TABLE_WAIT_MS}")
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO penstock.migrations (number, name, sha256, compatible_from) VALUES ($1, $2, $3, $4)",
            migration.number,
            migration.name,
            migration.sha256,
            migration.compatible_from,
        )
    return True


async def check_server(connection: asyncpg.Connection) -> None:
    """Refuse a server that is too old.

    Raises:
        ServerTooOld: it is.
    """
    number = int(await connection.fetchval("SHOW server_version_num"))
    if number < OLDEST_SERVER:
        raise ServerTooOld(f"the server is PostgreSQL {number // 10_000}; Penstock needs 15 or newer")


async def check_schema(connection: asyncpg.Connection) -> None:
    """Refuse a database on whose schema this installation cannot work. Newer additive migrations are no hindrance.

    Raises:
        SchemaTooNew: it is newer, and not by additive migrations alone.
        JournalError: it is older, or was never made.
    """
    pending = _pending(known_migrations(), await _applied(connection))
    if pending:
        raise JournalError(
            f"the database's schema is older than this installation: {pending[0].name} is missing",
            hint="start a worker or run `penstock doctor`, which bring it up to date",
        )


async def add_partitions(connection: asyncpg.Connection, now_us: int, months: int = MONTHS_AHEAD) -> list[str]:
    """Make the event partitions of this month and the following ones where they are missing; names of those made.

    A month whose events have already gone to the default partition stays there: moving them would lock the table.
    """
    moment = datetime.fromtimestamp(now_us / 1e6, UTC)
    first = moment.year * 12 + moment.month - 1
    wanted = {_partition_name(month): month for month in range(first, first + months)}
    present = await connection.fetch(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'penstock.events'::regclass"
    )
    made = []
    for name in sorted(wanted.keys() - {row[0] for row in present}):
        low, high = _month_start(wanted[name]), _month_start(wanted[name] + 1)
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL lock_timeout = '500ms'")
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
                await connection.execute(
                    f"CREATE TABLE IF NOT EXISTS penstock.{name} PARTITION OF penstock.events"
                    f" FOR VALUES FROM ('{low}') TO ('{high}')"
                )
        except (asyncpg.LockNotAvailableError, asyncpg.CheckViolationError):
            continue  # busy, or the default partition holds events of that month: it serves as well
        made.append(name)
    return made


@dataclass(frozen=True, slots=True)
class _Applied:
    name: str
    sha256: str
    compatible_from: int | None


async def _applied(connection: asyncpg.Connection) -> dict[int, _Applied]:
    if await connection.fetchval("SELECT to_regclass('penstock.migrations')") is None:
        return {}
    # By way of JSON: the first release's table has no such column.
    rows = await connection.fetch(
        "SELECT number, name, sha256, (to_jsonb(m) ->> 'compatible_from')::integer FROM penstock.migrations m"
    )
    return {row[0]: _Applied(row[1], row[2], row[3]) for row in rows}


async def unknown_here(connection: asyncpg.Connection) -> tuple[list[str], list[str]]:
    """Names of applied migrations that this installation does not know: those it cannot work with, and the others."""
    applied = await _applied(connection)
    ours = {migration.number for migration in known_migrations()}
    foreign: list[str] = []
    newer: list[str] = []
    for number in sorted(applied.keys() - ours):
        (foreign if _is_foreign(applied[number], ours) else newer).append(applied[number].name)
    return foreign, newer


async def names_applied(connection: asyncpg.Connection) -> set[str]:
    """Names of the migrations that the database holds; empty when it has no schema."""
    if await connection.fetchval("SELECT to_regclass('penstock.migrations')") is None:
        return set()
    return {row[0] for row in await connection.fetch("SELECT name FROM penstock.migrations")}


def _is_foreign(there: _Applied, ours: set[int]) -> bool:
    """Whether an installation that knows ``ours`` cannot work on the schema after that migration."""
    return there.compatible_from is None or there.compatible_from > max(ours)


def _pending(known: list[Migration], applied: dict[int, _Applied]) -> list[Migration]:
    ours = {migration.number for migration in known}
    for number in sorted(applied.keys() - ours):
        if _is_foreign(applied[number], ours):
            raise SchemaTooNew(f"the database has migration {number:04}, which this installation cannot work with")
    for migration in known:
        there = applied.get(migration.number)
        if there is not None and there.sha256 != migration.sha256:
            raise JournalError(
                f"migration {migration.name} was applied in another form than this installation has",
                hint="install the release that made the database, or restore the database from a backup",
            )
    return [migration for migration in known if migration.number not in applied]


def _partition_name(month: int) -> str:
    return f"events_{month // 12:04}_{month % 12 + 1:02}"


def months_before(now_us: int, names: Iterable[str]) -> list[tuple[str, UUID, UUID]]:
    """Of these event partitions those of months that were over by then: name, lowest id, and the first id beyond it."""
    moment = datetime.fromtimestamp(now_us / 1e6, UTC)
    this = moment.year * 12 + moment.month - 1
    found = []
    for name in sorted(names):
        parts = re.fullmatch(r"events_(\d{4})_(\d{2})", name)
        month = int(parts[1]) * 12 + int(parts[2]) - 1 if parts else this
        if month < this:
            found.append((name, _month_start(month), _month_start(month + 1)))
    return found


def _month_start(month: int) -> UUID:
    """The lowest time-ordered id of a month, which is counted from year 0."""
    start = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return UUID(int=int(start.timestamp() * 1000) << 80)
