"""Webhooks are told when a breaker opens and closes, by the transaction that does it, in both stores."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from penstock.adapters.memory import MemoryJournal
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.ports.breakers import Breaker, Condition
from penstock.ports.journal import Journal
from penstock.ports.webhooks import Endpoint

BREAKER = Breaker("acme", "b", "agent", "*", (Condition("failures", limit=3),))


class NoticesSuite:
    async def test_those_who_asked_are_told(self, journal: Journal) -> None:
        all_of_it, of_another = new_id(SystemClock()), new_id(SystemClock())
        topics = ("breaker.opened", "breaker.closed")
        for endpoint, agent in ((all_of_it, ""), (of_another, "cook")):
            made = Endpoint("acme", endpoint, "https://hooks.example.com/", topics, agent, "", b"s" * 24, "ann")
            assert await journal.webhooks.add(made, 10) is not None
        await journal.breakers.put(BREAKER, "ann")
        trip = new_id(SystemClock())
        await journal.breakers.trip(("acme", "b", "clerk"), 0, trip, 60, "w-1", b"{}")
        await journal.breakers.reset("acme", "b", None, "ann")
        told = await journal.webhooks.deliveries("acme", all_of_it, None, None, 10)
        facts = {item.topic: msgspec.json.decode(item.facts) for item in told}
        assert set(facts) == set(topics)
        opened, closed = facts["breaker.opened"], facts["breaker.closed"]
        assert opened.pop("until") > 0
        assert opened == {"breaker": "b", "value": "clerk", "trip": str(trip), "by": "w-1"}
        assert closed == {"breaker": "b", "value": "clerk", "trip": str(trip), "by": "ann"}
        assert await journal.webhooks.deliveries("acme", of_another, None, None, 10) == []


class TestMemory(NoticesSuite):
    @pytest.fixture
    def journal(self) -> Journal:
        return MemoryJournal()


class TestPostgres(NoticesSuite):
    @pytest.fixture
    async def journal(self, journal_dsn: str) -> AsyncIterator[Journal]:
        opened = await open_journal(ConnectionSettings(journal_dsn))
        yield opened
        await opened.close()
