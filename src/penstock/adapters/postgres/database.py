"""Connections to PostgreSQL: a bounded pool, and one tree of errors whatever the driver raises."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import asyncpg

from penstock.kernel.clock import wall_seconds
from penstock.kernel.errors import JournalError, JournalFull, JournalUnavailable, PenstockError
from penstock.settings import Settings

DEFAULT_PORT = 5432

_UNREACHABLE = (
    OSError,
    EOFError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # "connection is closed", "connection was closed in the middle of operation"
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, terminated by an administrator
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is not promoted yet
    asyncpg.TransactionRollbackError,  # deadlock: the same call again goes through
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,  # too many connections, out of memory; a full disk is told apart before
    asyncpg.PostgresSystemError,
)


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How to connect. Nothing that Penstock does depends on the state of a session, except `Signals` on its own."""

    dsn: str
    pool_size: int = 8
    statement_cache_size: int = 100
    """Prepared statements kept per connection. A transaction pooler that does not track them (PgBouncer before 1.21,
    or with ``max_prepared_statements = 0``) needs 0 here; each call is then wrapped in an explicit transaction, so that
    its parse and its execution reach the same server session."""
    listen_dsn: str | None = None
    """Direct connection for wake-ups, for when ``dsn`` is a pooler. Without one, waking falls back to polling there."""
    connect_seconds: float = 10.0
    """How long to keep trying to reach the server when the journal is opened."""
    command_seconds: float = 60.0
    """After this long without an answer a call counts as lost."""
    application_name: str = "penstock"
    seal_wait_ms: int = 50
    """Longest time that one try to seal a kill may hold up the writers that queue behind it."""
    seal_tries: int = 40
    """Tries, with growing pauses, before the sessions in the way are named and terminated; and as many after."""

    @classmethod
    def of(cls, settings: Settings, dsn: str) -> Self:
        """Those that the process's settings name, for the server at ``dsn``."""
        return cls(
            dsn,
            pool_size=settings.database_pool_size,
            connect_seconds=settings.database_connect_seconds,
            command_seconds=settings.database_statement_seconds,
            seal_wait_ms=settings.kill_lock_timeout_ms,
            seal_tries=settings.kill_seal_tries,
        )


def database_hosts(dsn: str) -> list[tuple[str, int]]:
    """The hosts and ports that an address of a server names; those that are sockets in a folder are none."""
    parts = urlsplit(dsn)
    found = []
    for part in filter(None, parts.netloc.rpartition("@")[2].split(",")):
        address, bracket, rest = part.removeprefix("[").partition("]")
        host, _, port = (address, "", rest[1:]) if bracket else part.partition(":")
        found.append((host, port))
    query = parse_qs(parts.query)
    ports = ",".join(query.get("port", [])).split(",")
    for index, host in enumerate(",".join(query.get("host", [])).split(",")):
        found.append((host, ports[min(index, len(ports) - 1)]))
    return [
        (host, int(port) if port.isdigit() else DEFAULT_PORT)
        for host, port in found
        if host and not host.startswith(("/", "%2F", "%2f"))
    ]


_RAISED = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    EOFError,
    TimeoutError,
)
"""What the driver raises whatever is asked of it."""


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """asyncpg resets a session's state when it goes back to the pool, one round trip each time; ours has none."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


async def _prefer_indexes(connection: asyncpg.Connection) -> None:
    """A statement prepared while a table is small keeps its plan while the table grows, until the next automatic
    analysis: one that reads the whole table would be ruinous by then. Only speed depends on this."""
    await connection.execute("SET enable_seqscan = off; SET jit = off")


class Database:
    """A pool of connections that raises only `JournalError`."""

    def __init__(self, pool: asyncpg.Pool, settings: ConnectionSettings) -> None:
        self._pool = pool
        self.settings = settings
        self._kept: list[Any] = []
        """Taken from the pool and between two statements: its own taking and giving back make a task each."""
        self._waiting = 0
        self._closed = False

    @classmethod
    async def connect(cls, settings: ConnectionSettings) -> "Database":
        """Open the pool. A server that is just starting is waited for, up to ``connect_seconds``.

        Raises:
            JournalUnavailable: it could not be reached in that time.
            JournalError: the address cannot be read, or the server refused.
        """
        give_up_at = wall_seconds() + settings.connect_seconds
        pause = 0.02
        while True:
            try:
                pool = await asyncpg.create_pool(
                    settings.dsn,
                    min_size=1,
                    max_size=settings.pool_size,
                    max_queries=2**31,
                    max_inactive_connection_lifetime=0,
                    connection_class=_Connection,
                    statement_cache_size=settings.statement_cache_size,
                    max_cached_statement_lifetime=0,
                    init=_prefer_indexes if settings.statement_cache_size else None,
                    command_timeout=settings.command_seconds,
                    timeout=settings.connect_seconds,
                    server_settings={"application_name": settings.application_name},
                )
                return cls(pool, settings)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
                mapped = as_journal_error(error)
                if not isinstance(mapped, JournalUnavailable) or wall_seconds() + pause > give_up_at:
                    raise mapped from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.5)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the pool; waits when all are in use.

        Raises:
            JournalUnavailable: the server cannot be reached. Retryable, like JournalFull.
            JournalFull: its disk is full.
            JournalError: it refused.
        """
        try:
            connection = await self._taken()
            try:
                yield connection
            finally:
                await self._pool.release(connection)
        except PenstockError:
            raise
        except _RAISED as error:
            raise as_journal_error(error) from error

    async def fetch(self, query: str, *args: object) -> list[Any]:
        """Rows of one statement."""
        if not self.settings.statement_cache_size:
            async with self.connection() as connection, connection.transaction():
                within: list[Any] = await connection.fetch(query, *args)
                return within
        try:
            kept = await self._taken()
            try:
                rows: list[Any] = await kept.fetch(query, *args)
            except BaseException:
                await self._pool.release(kept)  # which sees to what a failed or cancelled call leaves behind
                raise
        except _RAISED as error:
            raise as_journal_error(error) from error
        if self._waiting or self._closed:
            await self._pool.release(kept)
        else:
            self._kept.append(kept)
        return rows

    async def _taken(self) -> Any:
        """A connection that nobody uses; whoever has it gives it back to the pool, or keeps it for the next."""
        while self._kept:
            kept = self._kept.pop()
            if not kept.is_closed():
                return kept
            await self._pool.release(kept)
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=self.settings.command_seconds)
        finally:
            self._waiting -= 1

    async def row(self, query: str, *args: object) -> Any | None:
        """First row of one statement, or None."""
        rows = await self.fetch(query, *args)
        return rows[0] if rows else None

    async def value(self, query: str, *args: object) -> Any:
        """First column of the first row, or None."""
        row = await self.row(query, *args)
        return None if row is None else row[0]

    async def close(self) -> None:
        """Close all connections; waits briefly for calls under way."""
        self._closed = True
        kept, self._kept = self._kept, []
        try:
            for connection in kept:
                await self._pool.release(connection)
            await asyncio.wait_for(self._pool.close(), 5)
        except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self._pool.terminate()


@asynccontextmanager
async def connected(dsn: str, connect_seconds: float) -> AsyncIterator[asyncpg.Connection]:
    """One connection, outside any pool: for what must not change the schema on its way in.

    Raises:
        JournalUnavailable: the server cannot be reached.
        JournalError: it refused.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=connect_seconds)
        try:
            yield connection
        finally:
            await connection.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        raise as_journal_error(error) from error


def as_journal_error(error: BaseException) -> JournalError:
    """The error of our tree for what the driver raised."""
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, asyncpg.DiskFullError):
        return JournalFull(f"the database cannot write: {words}")
    if isinstance(error, (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)):
        return JournalError(f"the database refused what was to be stored: {words}")
    if isinstance(error, asyncpg.ClientConfigurationError | ValueError):
        return JournalError(f"the database's address cannot be read: {words}", hint="mend PENSTOCK_DATABASE_URL")
    if isinstance(error, _UNREACHABLE):
        return JournalUnavailable(f"the database cannot be reached: {words}")
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return JournalError(f"the database refused the log-in: {words}", hint="check PENSTOCK_DATABASE_URL")
    return JournalError(f"the database refused a call: {words}")


def is_refusal(error: BaseException | None) -> bool:
    """Whether the database refused the values of a call, rather than the call: others may go through."""
    return isinstance(
        error, (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
    )


def columns(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    """Rows turned into columns: what ``unnest`` wants. ``width`` columns also when there are no rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
