"""Snapshots in memory pass the conformance suite."""

import pytest
from tests.contract.journal_world import World
from tests.contract.snapshots_suite import SnapshotsSuite
from tests.contract.test_journal_memory import MemoryWorld


class TestMemorySnapshots(SnapshotsSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
