"""Late circles in memory pass the conformance suite."""

import pytest
from tests.contract.circles_suite import CirclesSuite
from tests.contract.journal_world import World
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryCircles(CirclesSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
