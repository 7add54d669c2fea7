"""The control rule: what is under a stop starts nothing more."""

import pytest

from penstock.events import BudgetRecord
from penstock.rules import control
from penstock.rules.verdict import CallFacts, RunFacts, Verdict


@pytest.mark.parametrize("gate", ["model", "tool", "child"])
@pytest.mark.parametrize("stop", ["", "pause", "cancel", "kill"])
def test_any_stop_denies_any_call(gate: str, stop: str) -> None:
    decision = control.decide(CallFacts(gate, "x", "d"), RunFacts(BudgetRecord(), stop=stop))  # type: ignore[arg-type]
    if not stop:
        assert decision is None
    else:
        assert decision is not None
        assert (decision.verdict, decision.code, decision.ends_run) == (Verdict.DENY, "stopped", False)
        assert stop in decision.reason


def test_every_gate_asks_it() -> None:
    assert control.RULE.gates == {"model", "tool", "child"}
