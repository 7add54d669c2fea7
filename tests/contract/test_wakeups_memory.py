"""Lost wake-ups in memory pass the conformance suite."""

from typing import cast

import pytest
from tests.contract.journal_world import Holder, World
from tests.contract.test_journal_memory import MemoryWorld
from tests.contract.wakeups_suite import Hand, WakeupsSuite

from penstock.adapters.memory.journal import MemoryJournal
from penstock.ports.records import Status


class TestMemoryWakeups(WakeupsSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()

    @pytest.fixture
    def hand(self, world: World) -> Hand:
        store = cast("MemoryJournal", world.journal)._store

        async def act(what: str, holder: Holder, dedup: str = "") -> None:
            run = store.runs[holder.key]
            if what == "asleep":
                run.status, run.wake_at = Status.PARKED, None
            elif what == "consumed":
                run.consumed.add(dedup)
            elif what == "no letter":
                del run.inbox[dedup]
            else:
                run.wake_at = None

        return act
