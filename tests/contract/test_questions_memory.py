"""Questions and stops in memory pass the conformance suite."""

import pytest
from tests.contract.journal_world import World
from tests.contract.questions_suite import ControlsSuite, QuestionsSuite
from tests.contract.test_journal_memory import MemoryWorld


class TestMemoryQuestions(QuestionsSuite, ControlsSuite):
    @pytest.fixture
    def world(self) -> World:
        return MemoryWorld()
