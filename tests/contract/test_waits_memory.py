"""Waiting in memory passes the conformance suite."""

import pytest
from tests.contract.journal_world import World
from tests.contract.test_journal_memory import MemoryWorld
from tests.contract.waits_suite import WaitsSuite


class TestMemoryWaits(WaitsSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
