"""Databases that hold Penstock's schema already: cloned from one that was migrated once a session."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from penstock.adapters.postgres.journal import open_journal

pytest.register_assert_rewrite("tests.contract.journal_suite", "tests.contract.journal_world")

_numbers = itertools.count(1)


def with_database(dsn: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def journal_template(server_dsn: str) -> Iterator[str]:
    """Name of a migrated database."""
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
