"""How runs stand, in memory."""

import pytest
from tests.contract.journal_world import World
from tests.contract.overview_suite import OverviewSuite
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryOverview(OverviewSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
