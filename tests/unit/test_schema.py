"""The schema rule passes on what reading the arguments found."""

from penstock.events import BudgetRecord
from penstock.rules import schema
from penstock.rules.verdict import CallFacts, Decision, RunFacts, Verdict


def test_arguments_that_were_read_pass_and_others_do_not() -> None:
    run = RunFacts(BudgetRecord())
    assert schema.decide(CallFacts("tool", "x", "d", {"a": 1}), run) is None
    problem = Decision(Verdict.DENY, "arguments not accepted: a: Field required", "arguments_invalid")
    assert schema.decide(CallFacts("tool", "x", "d", problem=problem), run) is problem
