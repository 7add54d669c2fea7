"""Documents in memory pass the conformance suite."""

import pytest
from tests.contract.documents_suite import DocumentsSuite
from tests.contract.journal_world import World
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryDocuments(DocumentsSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
