"""A holder that was passed changes nothing of the waits in memory."""

import pytest
from tests.contract.journal_world import World
from tests.contract.passed_waits_suite import PassedWaitsSuite
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryPassedWaits(PassedWaitsSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
