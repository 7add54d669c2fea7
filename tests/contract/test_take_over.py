"""One run goes from the worker that holds it to another, and to nobody else, in both journals."""

from collections.abc import AsyncIterator

import pytest
from tests.contract.journal_world import Holder, World
from tests.contract.test_journal_memory import MemoryWorld
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.ports.records import Answer, Status


class TakeOverSuite:
    async def test_the_new_holder_has_all_it_needs_and_the_old_one_can_append_nothing(self, world: World) -> None:
        first, second = await world.worker(), await world.worker()
        (held,) = await world.claimed(1, first)
        await held.append()
        mine = await world.journal.take_over(second, *held.key, first, held.claim.epoch)
        assert mine is not None
        old = held.claim
        assert (mine.run, mine.epoch, mine.last_seq, mine.head) == (old.run, old.epoch + 1, held.last_seq, held.head)
        assert (mine.agent, mine.subject_key, mine.root, mine.claims) == (old.agent, old.subject_key, old.root, 0)
        assert (await held.append()).answer is Answer.FENCED
        assert (await Holder(world.journal, mine).append()).answer is Answer.APPLIED
        row = await world.journal.get_run(*held.key)
        assert row is not None
        assert (row.status, row.worker) == (Status.RUNNING, second)

    async def test_it_is_no_claim_of_its_own(self, world: World) -> None:
        first, second = await world.worker(), await world.worker()
        (held,) = await world.claimed(1, first)
        mine = await world.journal.take_over(second, *held.key, first, held.claim.epoch)
        assert mine is not None
        assert mine.claims == held.claim.claims == 1

    async def test_nobody_takes_what_is_not_held_like_that(self, world: World) -> None:
        first, second, third = await world.worker(), await world.worker(), await world.worker()
        (held,) = await world.claimed(1, first)
        tenant, run = held.key
        epoch = held.claim.epoch
        take = world.journal.take_over
        assert await take(second, tenant, run, third, epoch) is None, "another holds it"
        assert await take(second, tenant, run, first, epoch + 1) is None, "under another epoch"
        assert await take(second, "globex", run, first, epoch) is None, "of another tenant"
        assert await take(new_id(SystemClock()), tenant, run, first, epoch) is None, "a worker that nobody knows"
        await world.journal.retire(third)
        assert await take(third, tenant, run, first, epoch) is None, "a worker whose lease is over"
        await held.move(Status.PARKED)
        assert await take(second, tenant, run, first, epoch) is None, "it is parked"

    async def test_of_two_that_try_one_gets_it(self, world: World) -> None:
        first, second, third = await world.worker(), await world.worker(), await world.worker()
        (held,) = await world.claimed(1, first)
        taken = [
            await world.journal.take_over(worker, *held.key, first, held.claim.epoch) for worker in (second, third)
        ]
        assert [claim is not None for claim in taken] == [True, False]


class TestTakeOverInMemory(TakeOverSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()


class TestTakeOverInPostgres(TakeOverSuite):
    @pytest.fixture
    async def world(self, journal_dsn: str) -> AsyncIterator[World]:
        journal = await open_journal(ConnectionSettings(journal_dsn))
        yield PostgresWorld(journal)
        await journal.close()
