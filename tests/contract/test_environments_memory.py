"""Environments in memory pass the conformance suite."""

import pytest
from tests.contract.environments_suite import EnvironmentsSuite
from tests.contract.journal_world import World
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryEnvironments(EnvironmentsSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
