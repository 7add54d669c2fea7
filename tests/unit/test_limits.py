"""The limits rule: counted limits, 0 meaning none."""

from typing import Any

import pytest

from penstock.events import BudgetRecord
from penstock.rules import limits
from penstock.rules.verdict import CallFacts, RunFacts, Verdict


@pytest.mark.parametrize(
    ("gate", "budget", "call", "run", "code"),
    [
        ("model", {}, {}, {"steps": 10**6, "seconds": 1e9}, None),
        ("model", {"seconds": 5}, {}, {"seconds": 4.999}, None),
        ("model", {"seconds": 5}, {}, {"seconds": 5.0}, "over_seconds"),
        ("tool", {"seconds": 5}, {}, {"seconds": 5.1}, "over_seconds"),
        ("child", {"seconds": 5}, {}, {"seconds": 5.1}, "over_seconds"),
        ("model", {"steps": 3}, {}, {"steps": 2}, None),
        ("model", {"steps": 3}, {}, {"steps": 3}, "over_steps"),
        ("tool", {"steps": 3}, {}, {"steps": 3}, None),
        ("model", {"attempts": 2}, {"attempt": 2}, {}, None),
        ("model", {"attempts": 2}, {"attempt": 3}, {}, "over_attempts"),
        ("tool", {"attempts": 2}, {"attempt": 3}, {}, None),
        ("tool", {"calls": 2}, {}, {"tool_calls": 1}, None),
        ("tool", {"calls": 2}, {}, {"tool_calls": 2}, "over_calls"),
        ("child", {"calls": 2}, {}, {"tool_calls": 2}, "over_calls"),
        ("model", {"calls": 2}, {}, {"tool_calls": 2}, None),
        ("child", {}, {"depth": 5}, {"depth_max": 5}, None),
        ("child", {}, {"depth": 6}, {"depth_max": 5}, "over_depth"),
        ("child", {"depth": 1}, {"depth": 2}, {"depth_max": 5}, "over_depth"),
        ("child", {"depth": 9}, {"depth": 6}, {"depth_max": 5}, "over_depth"),
        ("child", {"fanout": 2}, {}, {"children": 1}, None),
        ("child", {"fanout": 2}, {}, {"children": 2}, "over_fanout"),
        ("child", {}, {}, {"children": 10, "fanout_max": 10}, "over_fanout"),
    ],
)
def test_table(gate: Any, budget: dict[str, Any], call: dict[str, Any], run: dict[str, Any], code: str | None) -> None:
    decision = limits.decide(CallFacts(gate, "x", "d", **call), RunFacts(BudgetRecord(**budget), **run))
    assert (decision and decision.code) == code
    if decision is not None:
        assert decision.verdict is Verdict.DENY
        assert decision.ends_run == (code not in ("over_depth", "over_fanout")), "those deny one child, not the run"


def test_the_reason_says_how_much_of_what() -> None:
    decision = limits.decide(CallFacts("model", "x", "d"), RunFacts(BudgetRecord(steps=3), steps=3))
    assert decision is not None
    assert decision.reason == "steps: 3 of 3 used"
