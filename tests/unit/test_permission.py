"""The permission rule: effect, permission and risk class of a tool."""

from typing import Any

import pytest

from penstock import tool
from penstock.events import BudgetRecord
from penstock.ports.tools import ToolDef
from penstock.rules import permission
from penstock.rules.verdict import CallFacts, Decision, RunFacts, Verdict


def declared(**how: Any) -> ToolDef:
    async def act(x: int) -> int:
        """Do something."""
        return x

    made: ToolDef = tool(**how)(act).definition
    return made


@pytest.mark.parametrize(
    ("how", "approved", "verdict", "code"),
    [
        ({"effect": "read"}, False, None, None),
        ({"effect": "read", "risk": "medium"}, False, None, None),
        ({"effect": "read", "risk": "high"}, False, Verdict.HOLD, "high_risk"),
        ({"effect": "read", "risk": "prohibited"}, False, Verdict.DENY, "prohibited"),
        ({}, False, Verdict.HOLD, "confirmation"),
        ({"effect": "write"}, False, Verdict.HOLD, "confirmation"),
        ({"effect": "write", "permission": "auto"}, False, None, None),
        ({"effect": "write", "permission": "auto", "risk": "high"}, False, Verdict.HOLD, "high_risk"),
        ({"effect": "write", "risk": "high"}, True, None, None),
        ({"effect": "write"}, True, None, None),
        ({"effect": "write", "risk": "prohibited"}, True, Verdict.DENY, "prohibited"),
    ],
)
def test_table(how: dict[str, Any], approved: bool, verdict: Verdict | None, code: str | None) -> None:
    call = CallFacts("tool", "act", "d", tool=declared(**how), approved=approved)
    decision = permission.decide(call, RunFacts(BudgetRecord()))
    assert (decision and (decision.verdict, decision.code)) == (verdict and (verdict, code))


def test_a_tool_that_does_not_exist_is_denied() -> None:
    call = CallFacts("tool", "made_up", "d")
    decision = permission.decide(call, RunFacts(BudgetRecord()))
    assert decision is not None
    assert (decision.verdict, decision.code) == (Verdict.DENY, "tool_unknown")
    known = Decision(Verdict.DENY, "there is no tool named 'made_up'", "tool_unknown")
    call.problem = known
    assert permission.decide(call, RunFacts(BudgetRecord())) is known, "what reading the call found says it better"
