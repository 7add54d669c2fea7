"""A database with Penstock's tables and those of the world outside; a server to be killed; the table of the trials."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.crash import trial
from tests.crash.server import Server
from tests.crash.world import World

from penstock.adapters.postgres.journal import open_journal


@pytest.fixture
async def world(database_url: str) -> World:
    """The world outside, empty, in a database that is ready."""
    await (await open_journal(database_url)).close()
    made = World(database_url)
    await made.make()
    return made


@pytest.fixture
async def server(short_tmp: Path) -> AsyncIterator[Server]:
    """A PostgreSQL server of the test's own, running, empty."""
    made = Server(short_tmp / "pg")
    short_tmp.chmod(0o755)
    try:
        await made.create()
        yield made
    finally:
        await made.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the trials did."""
    if trial.TALLIES:
        terminalreporter.section("crash trials")
        for line in trial.table():
            terminalreporter.write_line(line)
