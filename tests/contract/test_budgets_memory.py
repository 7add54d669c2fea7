"""Budgets in memory pass the conformance suite."""

import pytest
from tests.contract.budgets_suite import BudgetsSuite, BudgetsWorld
from tests.contract.test_journal_memory import MemoryWorld


class MemoryBudgetsWorld(MemoryWorld, BudgetsWorld):
    pass


class TestMemoryBudgets(BudgetsSuite):
    @pytest.fixture
    def world(self) -> BudgetsWorld:
        return MemoryBudgetsWorld()
