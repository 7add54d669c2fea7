"""The journal in memory passes the conformance suite."""

import asyncio

import pytest
from tests.contract.journal_suite import JournalSuite
from tests.contract.journal_world import World

from penstock.adapters.memory import MemoryJournal
from penstock.ports.journal import Journal


class HandClock:
    """A clock that a test moves. Sleepers sleep in real time: only `wait_for_work` does."""

    def __init__(self) -> None:
        self.us = 1_800_000_000_000_000

    def now_us(self) -> int:
        self.us += 1
        return self.us

    def boot_ns(self) -> int:
        return self.us * 1000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class MemoryWorld(World):
    def __init__(self) -> None:
        self.clock = HandClock()
        journal: Journal = MemoryJournal(self.clock)
        super().__init__(journal)

    async def advance(self, seconds: float) -> None:
        self.clock.us += int(seconds * 1e6)


class TestMemoryJournal(JournalSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
