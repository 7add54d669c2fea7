"""The queue in memory passes the conformance suite."""

import pytest
from tests.contract.journal_world import World
from tests.contract.queue_suite import QueueSuite
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryQueue(QueueSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
