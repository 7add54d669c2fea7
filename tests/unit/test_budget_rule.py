"""The budget rule: a call is allowed only when the most it can use still fits beside spent, held and set aside."""

from typing import Any

import pytest

from penstock.events import Amount, BudgetRecord
from penstock.ports.model import Price
from penstock.rules import budget
from penstock.rules.verdict import CallFacts, RunFacts, Verdict

PRICE = Price(1.0, 1.0)


@pytest.mark.parametrize(
    ("limits", "run", "call", "code"),
    [
        ({}, {}, {"reserved": Amount(10**9, 0, 10**12)}, None),
        ({"tokens": 100}, {}, {"reserved": Amount(60, 40)}, None),
        ({"tokens": 100}, {}, {"reserved": Amount(61, 40)}, "over_tokens"),
        ({"tokens": 100}, {"tokens": 1}, {"reserved": Amount(60, 40)}, "over_tokens"),
        ({"tokens": 100}, {"held_tokens": 1}, {"reserved": Amount(60, 40)}, "over_tokens"),
        ({"tokens": 100}, {"aside_tokens": 1}, {"reserved": Amount(60, 40)}, "over_tokens"),
        ({"tokens": 100}, {"aside_tokens": 99}, {"reserved": Amount(60, 40), "final": True}, None),
        ({"tokens": 100}, {"held_tokens": 1}, {"reserved": Amount(60, 40), "final": True}, "over_tokens"),
        ({"nano": 100}, {}, {"reserved": Amount(1, 1, 100)}, None),
        ({"nano": 100}, {}, {"reserved": Amount(1, 1, 101)}, "over_usd"),
        ({"nano": 100}, {"nano": 50, "held_nano": 30, "aside_nano": 20}, {"reserved": Amount(0, 0, 1)}, "over_usd"),
        ({"nano": 100}, {"nano": 50, "held_nano": 30, "aside_nano": 20}, {"reserved": Amount(0, 0, 0)}, None),
        ({"nano": 100}, {"aside_nano": 20}, {"reserved": Amount(0, 0, 100), "final": True}, None),
        ({"tokens": 10, "nano": 100}, {}, {"reserved": Amount(5, 5, 101)}, "over_usd"),
        ({"nano": 100}, {}, {"price": None}, "price_unknown"),
        ({"tokens": 100}, {}, {"price": None, "reserved": Amount(1, 1)}, None),
    ],
)
def test_table(limits: dict[str, int], run: dict[str, int], call: dict[str, Any], code: str | None) -> None:
    facts = CallFacts("model", "m", "d", **{"price": PRICE, **call})
    decision = budget.decide(facts, RunFacts(BudgetRecord(**limits), **run))  # type: ignore[arg-type]
    assert (decision and decision.code) == code
    assert budget.fits(facts, RunFacts(BudgetRecord(**limits), **run)) == (code is None)  # type: ignore[arg-type]
    if decision is not None:
        assert (decision.verdict, decision.ends_run) == (Verdict.DENY, True)


def test_a_child_that_does_not_fit_is_denied_and_the_run_goes_on() -> None:
    call = CallFacts("child", "helper", "d", reserved=Amount(tokens_in=11))
    decision = budget.decide(call, RunFacts(BudgetRecord(tokens=10)))
    assert decision is not None
    assert (decision.code, decision.ends_run) == ("over_tokens", False)


@pytest.mark.parametrize(
    ("limits", "run", "level"),
    [
        ({}, {"tokens": 10**9}, 0),
        ({"tokens": 100}, {"tokens": 69}, 0),
        ({"tokens": 100}, {"tokens": 70}, 70),
        ({"tokens": 100}, {"tokens": 89}, 70),
        ({"tokens": 100}, {"tokens": 90}, 90),
        ({"tokens": 100}, {"tokens": 100}, 100),
        ({"tokens": 100, "nano": 100}, {"tokens": 10, "nano": 95}, 90),
        ({"calls": 10}, {"tool_calls": 7}, 70),
        ({"seconds": 10}, {"seconds": 9.5}, 90),
        ({"steps": 10}, {"steps": 7}, 70),
        ({"steps": 10}, {"steps": 9}, 90),
        ({"steps": 3}, {"steps": 1}, 0),
        ({"steps": 3}, {"steps": 2}, 90),
        ({"steps": 1}, {"steps": 0}, 90),
        ({"steps": 3}, {"steps": 3}, 100),
    ],
)
def test_thresholds(limits: dict[str, Any], run: dict[str, Any], level: int) -> None:
    assert budget.level(RunFacts(BudgetRecord(**limits), **run)) == level


def test_the_limit_used_up_furthest_is_named_with_its_figures() -> None:
    run = RunFacts(BudgetRecord(tokens=100, nano=2 * 10**9, steps=4), tokens=10, nano=10**9, steps=1)
    assert budget.dominant_limit(run) == ("usd", 1.0, 2.0)
