"""The simulated database passes the conformance suite of the journal, as the real one does."""

import contextvars

import pytest
from tests.contract.journal_suite import JournalSuite
from tests.contract.journal_world import World
from tests.contract.test_journal_memory import HandClock
from tests.sim.world.client import SimulatedJournal
from tests.sim.world.store import Database


class SimulatedWorld(World):
    def __init__(self) -> None:
        self.clock = HandClock()
        self.database = Database(self.clock, contextvars.copy_context())
        super().__init__(SimulatedJournal(self.database, self.clock))

    async def advance(self, seconds: float) -> None:
        self.clock.us += int(seconds * 1e6)


class TestSimulatedJournal(JournalSuite):
    @pytest.fixture
    def world(self) -> World:
        return SimulatedWorld()
