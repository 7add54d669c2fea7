"""How far a database's schema and format are, and bringing the schema up to date while workers run."""

from dataclasses import dataclass

from penstock.adapters.postgres.database import connected
from penstock.adapters.postgres.migrate import known_migrations, migrate, names_applied
from penstock.adapters.postgres.releases import WORKERS
from penstock.events import FORMAT
from penstock.ports.releases import LiveWorker


@dataclass(slots=True, frozen=True)
class UpgradeStatus:
    """One look at a database. ``format`` 0: its schema is older than formats are, or there is none yet."""

    pending: list[str]  # migrations of this installation that are not applied
    newer: list[str]  # applied ones that this installation does not know
    format: int  # of new runs
    known_format: int  # the newest that this installation writes
    workers: list[LiveWorker]

    @property
    def finalized(self) -> bool:
        return self.format >= self.known_format


async def look(dsn: str, connect_seconds: float) -> UpgradeStatus:
    """How far the database is; changes nothing."""
    async with connected(dsn, connect_seconds) as connection:
        applied = await names_applied(connection)
        known = [migration.name for migration in known_migrations()]
        written = 0
        workers: list[LiveWorker] = []
        if await connection.fetchval("SELECT to_regclass('penstock.formats')") is not None:
            written = await connection.fetchval("SELECT max(format) FROM penstock.formats")
            workers = [LiveWorker(*record) for record in await connection.fetch(WORKERS)]
        elif applied:
            query = "SELECT name FROM penstock.workers WHERE lease_until > clock_timestamp() ORDER BY name"
            workers = [LiveWorker(record[0], 1, []) for record in await connection.fetch(query)]
    return UpgradeStatus(
        [name for name in known if name not in applied],
        sorted(applied - set(known)),
        written,
        FORMAT,
        workers,
    )


async def expand(dsn: str, connect_seconds: float) -> list[str]:
    """Apply what is missing of the schema; names of what was. Workers of older releases go on working meanwhile.

    Raises:
        SchemaTooNew: the database is ahead of this installation in a way that it cannot work with.
    """
    async with connected(dsn, connect_seconds) as connection:
        return await migrate(connection)
