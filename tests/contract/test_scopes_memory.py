"""Stops by scope in memory pass the conformance suite."""

import pytest
from tests.contract.journal_world import World
from tests.contract.resources_suite import ResourcesSuite
from tests.contract.scopes_suite import ScopesSuite, ToolStopsSuite
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryScopes(ScopesSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()


class TestMemoryToolStops(ToolStopsSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()


class TestMemoryResources(ResourcesSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
