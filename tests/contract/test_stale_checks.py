"""An append refuses intents that were checked against circuit breakers that have changed since, in both stores."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.journal_world import Holder, World

from penstock.adapters.memory import MemoryJournal
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.ports.breakers import Breaker, Condition
from penstock.ports.journal import Journal
from penstock.ports.records import Answer, Stop

BREAKER = Breaker("acme", "b", "agent", "clerk", (Condition("failures", limit=3),))


async def held(journal: Journal) -> Holder:
    (holder,) = await World(journal).claimed()
    return holder


class StaleSuite:
    async def test_an_intent_of_an_older_version_is_not_written(self, journal: Journal) -> None:
        holder = await held(journal)
        version = await journal.breakers.version()
        await journal.breakers.put(BREAKER, "ops")
        stale = await holder.append(holder.intent(), intent=True, checked=version)
        assert stale.answer is Answer.STALE
        assert len(await journal.tape(*holder.key)) == 1
        again = await holder.append(holder.intent(), intent=True, checked=await journal.breakers.version())
        assert again.answer is Answer.APPLIED

    async def test_what_is_no_intent_or_was_not_checked_passes(self, journal: Journal) -> None:
        holder = await held(journal)
        await journal.breakers.put(BREAKER, "ops")
        assert (await holder.append(checked=0)).answer is Answer.APPLIED
        assert (await holder.append(holder.intent(), intent=True)).answer is Answer.APPLIED, "a worker of older code"

    async def test_a_batch_sent_again_is_applied_whatever_changed_since(self, journal: Journal) -> None:
        holder = await held(journal)
        batch = holder.batch(holder.intent(), intent=True, checked=await journal.breakers.version())
        assert (await journal.append([batch]))[0].answer is Answer.APPLIED
        await journal.breakers.put(BREAKER, "ops")
        assert (await journal.append([batch]))[0].answer is Answer.APPLIED

    async def test_a_stop_comes_before_a_stale_check(self, journal: Journal) -> None:
        holder = await held(journal)
        await journal.breakers.put(BREAKER, "ops")
        await journal.stop_run(*holder.key, Stop.KILL, "eve", "")
        assert (await holder.append(holder.intent(), intent=True, checked=0)).answer is Answer.STOPPED

    async def test_of_two_batches_only_the_stale_one_is_left_out(self, journal: Journal) -> None:
        one, two = await World(journal).claimed(2)
        version = await journal.breakers.version()
        await journal.breakers.put(BREAKER, "ops")
        batches = [one.batch(one.intent(), intent=True, checked=version), two.batch(two.note())]
        assert [answer.answer for answer in await journal.append(batches)] == [Answer.STALE, Answer.APPLIED]


class TestMemory(StaleSuite):
    @pytest.fixture
    def journal(self) -> Journal:
        return MemoryJournal()


class TestPostgres(StaleSuite):
    @pytest.fixture
    async def journal(self, journal_dsn: str) -> AsyncIterator[Journal]:
        opened = await open_journal(ConnectionSettings(journal_dsn))
        yield opened
        await opened.close()
