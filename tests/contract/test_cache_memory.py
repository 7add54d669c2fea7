"""The cache in memory passes the conformance suite."""

import pytest
from tests.contract.cache_suite import CacheSuite
from tests.contract.journal_world import World
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryCache(CacheSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
