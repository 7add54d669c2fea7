"""The PostgreSQL that both sides use, and what they cost it."""

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil

from penstock.adapters.postgres.embedded import start_embedded

PEER_DATABASE = "peer"

_READING = """
SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8 AS wal,
       (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()) AS commits,
       (SELECT blks_hit + blks_read FROM pg_stat_database WHERE datname = current_database()) AS blocks,
       (SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend') AS sessions
"""
_SIZES = """
SELECT CASE WHEN c.relname LIKE 'events%' THEN 'events' ELSE c.relname END, sum(pg_total_relation_size(c.oid))::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
GROUP BY 1"""


@dataclass(slots=True, frozen=True)
class Reading:
    """Meters of the server at one moment; two of them make a cost."""

    cpu_seconds: float
    wal_bytes: float
    commits: int
    blocks: int  # of the database that were looked at, in memory or not: no load of the machine changes that
    sizes: dict[str, int]  # bytes by table, indexes and TOAST included
    busy_seconds: float  # of the whole machine
    at: float

    def others(self, before: "Reading", ours: float) -> float:
        """Cores that other work on the machine took since ``before``; ``ours`` is what the measured took, seconds."""
        return max(0.0, self.busy_seconds - before.busy_seconds - ours) / (self.at - before.at)


class Server:
    """A server in a folder of its own, with the settings it has for every user."""

    def __init__(self, dsn: str, postmaster: int) -> None:
        self.dsn = dsn
        self.postmaster = psutil.Process(postmaster)

    @property
    def peer_dsn(self) -> str:
        """The peer's database, on the same server."""
        return self.dsn.replace("@/penstock?", f"@/{PEER_DATABASE}?")

    async def version(self) -> str:
        connection = await asyncpg.connect(self.dsn)
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    async def reading(self, dsn: str | None = None) -> Reading:
        """The meters now. Sessions tell what they committed when they end: read when the workers have left."""
        connection = await asyncpg.connect(dsn or self.dsn)
        try:
            row = await connection.fetchrow(_READING)
            sizes = dict(await connection.fetch(_SIZES))
        finally:
            await connection.close()
        assert row is not None
        return Reading(
            self._cpu_seconds(), row["wal"], row["commits"], row["blocks"], sizes, _busy_seconds(), time.monotonic()
        )

    async def make_peer_database(self) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(f"CREATE DATABASE {PEER_DATABASE}")
        finally:
            await connection.close()

    def _cpu_seconds(self) -> float:
        """Of all processes of the server; those that have ended are in the postmaster's account of its children."""
        spent = self.postmaster.cpu_times()
        total = spent.user + spent.system + spent.children_user + spent.children_system
        for child in self.postmaster.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                total += times.user + times.system
        return float(total)


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Server]:
    """A new embedded server in ``folder``, stopped at the end."""
    embedded = await start_embedded(folder)
    try:
        yield Server(embedded.dsn, _postmaster(folder))
    finally:
        await embedded.close()


def _busy_seconds() -> float:
    spent = psutil.cpu_times()
    return float(sum(spent) - spent.idle - getattr(spent, "iowait", 0.0) - getattr(spent, "guest", 0.0))


def _postmaster(folder: Path) -> int:
    """The server's process id, from the first line of the file it keeps."""
    return int(next(folder.glob("pg*/data/postmaster.pid")).read_text(encoding="utf-8").split()[0])
