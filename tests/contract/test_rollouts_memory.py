"""Managed releases in memory pass the conformance suite."""

import pytest
from tests.contract.journal_world import World
from tests.contract.rollouts_suite import RolloutsSuite
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryRollouts(RolloutsSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
