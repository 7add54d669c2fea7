"""Lists in memory pass the conformance suite."""

import pytest
from tests.contract.journal_world import World
from tests.contract.lists_suite import ListsSuite
from tests.contract.test_journal_memory import MemoryWorld

from penstock.adapters.memory import lists


class TestMemoryLists(ListsSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()

    @pytest.fixture
    def bounded(self, monkeypatch: pytest.MonkeyPatch) -> World:
        monkeypatch.setattr(lists, "LOOKED_AT_MOST", 5)
        return MemoryWorld()
