"""The validation rule: a tool's own business rules, failing closed."""

from typing import Any

import pytest

from penstock import tool
from penstock.events import BudgetRecord
from penstock.rules import validation
from penstock.rules.verdict import CallFacts, RunFacts, Verdict


def at_most_fifty(args: dict[str, Any]) -> str | None:
    return None if args["amount"] <= 50 else f"{args['amount']} is more than 50"


def raises(args: dict[str, Any]) -> str | None:
    raise KeyError("nobody's fault")


def answers_false(args: dict[str, Any]) -> Any:
    return False


def never_asked(args: dict[str, Any]) -> str | None:
    raise AssertionError("asked after a denial")


@pytest.mark.parametrize(
    ("rules", "amount", "code", "words"),
    [
        ([], 99, None, ""),
        ([at_most_fifty], 50, None, ""),
        ([at_most_fifty, never_asked], 51, "not_valid", "at_most_fifty: 51 is more than 50"),
        ([raises], 1, "validation_failed", "raises failed: KeyError"),
        ([answers_false], 1, "validation_failed", "answers_false answered bool"),
        ([at_most_fifty, raises], 1, "validation_failed", "raises failed"),
    ],
)
def test_table(rules: list[Any], amount: int, code: str | None, words: str) -> None:
    @tool(effect="write", validate=rules)
    async def pay(amount: int) -> None:
        """Pay."""

    call = CallFacts("tool", "pay", "d", {"amount": amount}, pay.definition)
    decision = validation.decide(call, RunFacts(BudgetRecord()))
    assert (decision and decision.code) == code
    if decision is not None:
        assert decision.verdict is Verdict.DENY
        assert words in decision.reason


def test_without_a_tool_there_is_nothing_to_validate() -> None:
    assert validation.decide(CallFacts("tool", "x", "d"), RunFacts(BudgetRecord())) is None
