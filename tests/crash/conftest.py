"""A database with Penstock's tables and those of the world outside."""

import pytest
from tests.crash.world import World

from penstock.adapters.postgres.journal import open_journal


@pytest.fixture
async def world(database_url: str) -> World:
    """The world outside, empty, in a database that is ready."""
    await (await open_journal(database_url)).close()
    made = World(database_url)
    await made.make()
    return made
