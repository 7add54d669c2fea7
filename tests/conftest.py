"""Fixtures that the whole suite shares: a PostgreSQL server for the session, an empty database for a test."""

import asyncio
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest

from penstock.adapters.postgres.embedded import start_embedded
from penstock.adapters.postgres.journal import open_journal

pytest.register_assert_rewrite("tests.contract.journal_suite", "tests.contract.journal_world", "tests.crash.record")

_numbers = itertools.count(1)


# A slow machine is no failure. The tests are the same each time; `make sim` looks at new cases at every run.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(scope="session")
def fast_disk() -> Path:
    """A folder in memory, if there is one: no test cuts the power, so disks need not be waited for."""
    return next(Path(folder) for folder in ("/dev/shm", "/tmp") if os.access(folder, os.W_OK))


@pytest.fixture
def short_tmp(fast_disk: Path) -> Iterator[Path]:
    """An empty folder whose path is short enough for a socket; pytest's own is not always."""
    with tempfile.TemporaryDirectory(prefix="pt-", dir=fast_disk) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def server_dsn(fast_disk: Path) -> Iterator[str]:
    """The address of a PostgreSQL server: PENSTOCK_DATABASE_URL, or an embedded one that ends with the session."""
    if given := os.environ.get("PENSTOCK_DATABASE_URL"):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="pt-", dir=fast_disk) as folder:
        server = asyncio.run(start_embedded(Path(folder)))
        yield server.dsn
        asyncio.run(server.close())


@pytest.fixture
async def database_url(server_dsn: str) -> AsyncIterator[str]:
    """The address of an empty database of its own, dropped after the test."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    admin = await asyncpg.connect(server_dsn)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        yield with_database(server_dsn, name)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


def with_database(dsn: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def journal_template(server_dsn: str) -> Iterator[str]:
    """Name of a database that was migrated once, to be cloned."""
    name = f"journal_template_{os.getpid()}"

    async def prepare() -> None:
        admin = await asyncpg.connect(server_dsn)
        await admin.execute(f"CREATE DATABASE {name}")
        journal = await open_journal(with_database(server_dsn, name))
        await journal.close()
        await admin.close()

    async def remove() -> None:
        admin = await asyncpg.connect(server_dsn)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()

    asyncio.run(prepare())
    yield name
    asyncio.run(remove())


@pytest.fixture
async def journal_dsn(server_dsn: str, journal_template: str) -> AsyncIterator[str]:
    """The address of a migrated database of its own, dropped after the test."""
    name = f"journal_{os.getpid()}_{next(_numbers)}"
    admin = await asyncpg.connect(server_dsn)
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {journal_template} STRATEGY file_copy")
        yield with_database(server_dsn, name)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()
