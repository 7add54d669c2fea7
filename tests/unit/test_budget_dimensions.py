"""What a budget above the task may be counted by."""

import pytest

from penstock import Settings
from penstock.kernel.errors import BudgetInvalid
from penstock.ports.budgets import Budget
from penstock.runs.budgets import check_budget
from penstock.runs.submit import KNOWN_TAGS, checked_tags


@pytest.mark.parametrize("name", ["custmer", "tag", "x_", "x_Team", "release", ""])
def test_a_budget_over_what_no_call_has_is_refused(name: str) -> None:
    with pytest.raises(BudgetInvalid, match=r"matches nothing|no call has"):
        check_budget(Budget("acme", "b", {name: "*"}, calls=1))


def test_what_runs_are_tagged_with_can_be_budgeted() -> None:
    for name in (*KNOWN_TAGS, "x_team"):
        value = "judge" if name == "kind" else "a"
        checked_tags({name: value}, Settings())
        check_budget(Budget("acme", "b", {name: value}, calls=1))
    for name in ("agent", "key"):
        check_budget(Budget("acme", "b", {name: "*"}, calls=1))
