"""Shared rate limits in PostgreSQL pass the conformance suite."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.rates_suite import RatesSuite, RatesWorld

from penstock.adapters.postgres.database import ConnectionSettings, Database
from penstock.adapters.postgres.rates import PostgresRates

# The database's clock cannot be moved, so all that is compared with it is.
_ADVANCE = """
UPDATE penstock.rates SET arrival = arrival - $1::bigint * 1000000, latest = greatest(0, latest - $1::bigint),
    cooldown_until = cooldown_until - $1::bigint * 1000000,
    requests_ring = (
        SELECT array_agg(requests_ring[(s + $1::bigint) % 64 + 1] ORDER BY s % 64)
        FROM generate_series(greatest(latest, 200) - $1::bigint - 63, greatest(latest, 200) - $1::bigint) AS s
    ),
    tokens_ring = (
        SELECT array_agg(tokens_ring[(s + $1::bigint) % 64 + 1] ORDER BY s % 64)
        FROM generate_series(greatest(latest, 200) - $1::bigint - 63, greatest(latest, 200) - $1::bigint) AS s
    )"""
_ADVANCE_HOLDERS = """
UPDATE penstock.rate_holders SET until = until - $1::bigint * 1000000, asked = asked - $1::bigint * 1000000"""


class PostgresWorld(RatesWorld):
    def __init__(self, database: Database) -> None:
        self.database = database
        self.rates = PostgresRates(database)
        self._owed = 0.0

    async def advance(self, seconds: float) -> None:
        """Whole seconds, as the rings count them; what is left over comes with the next."""
        self._owed += seconds
        whole = int(self._owed)
        self._owed -= whole
        self.shift += whole
        await self.database.fetch(_ADVANCE, whole)
        await self.database.fetch(_ADVANCE_HOLDERS, whole)


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[RatesWorld]:
    database = await Database.connect(ConnectionSettings(journal_dsn))
    yield PostgresWorld(database)
    await database.close()


class TestPostgresRates(RatesSuite):
    pass
