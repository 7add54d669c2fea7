"""The rule against spirals: what it says at which score, to whom."""

from typing import Any

import pytest
from tests.unit.test_tape import event, tape

from penstock import tool
from penstock.events import BudgetRecord, ModelIntent, ModelOutcome, ToolIntent, ToolOutcome
from penstock.gates.run.ledger import Ledger
from penstock.rules import repeats, spiral
from penstock.rules.past import PastCall
from penstock.rules.spiral_detector import Detector
from penstock.rules.spirals import DEFAULT, Spirals
from penstock.rules.verdict import CallFacts, RunFacts, Verdict


@tool(effect="read", repeatable=True)
async def poll(x: int) -> int:
    """Meant to be asked again."""
    return x


def run(score: int, spirals: Spirals | None = Spirals()) -> RunFacts:
    """A run of which so many calls of ``look`` were in vain."""
    calls = [PastCall("look", str(number), ok=False, turn=number, path=str(number)) for number in range(score)]
    return RunFacts(BudgetRecord(), stretch=Detector(calls).stretch, spirals=spirals)


@pytest.mark.parametrize(
    ("score", "call", "said"),
    [
        (3, {"gate": "model"}, None),
        (3, {"gate": "model", "told": spiral.NUDGE}, None),
        (4, {"gate": "model"}, None),
        (4, {"gate": "model", "told": spiral.NUDGE}, (Verdict.FLAG, "spiral_nudge", False)),
        (9, {"gate": "model", "told": spiral.NUDGE}, (Verdict.FLAG, "spiral_nudge", False)),
        (6, {"gate": "model", "told": spiral.LAST, "final": True}, (Verdict.FLAG, "spiral_last", False)),
        (8, {"gate": "model"}, None),
        (9, {"gate": "model"}, (Verdict.DENY, "spiral", True)),
        (9, {"gate": "model", "final": True}, None),
        (5, {"gate": "tool", "name": "look"}, None),
        (6, {"gate": "tool", "name": "look"}, (Verdict.DENY, "spiral_limit", False)),
        (6, {"gate": "child", "name": "look"}, (Verdict.DENY, "spiral_limit", False)),
        (6, {"gate": "tool", "name": "look", "approved": True}, None),
        (6, {"gate": "tool", "name": "look", "tool": poll.definition}, None),
        (6, {"gate": "tool", "name": "other"}, None),
        (9, {"gate": "tool", "name": "other"}, (Verdict.DENY, "spiral", True)),
        (9, {"gate": "tool", "name": "look", "approved": True}, None),
    ],
)
def test_table(score: int, call: dict[str, Any], said: tuple[Verdict, str, bool] | None) -> None:
    facts = CallFacts(**{"name": "m", "digest": "d", **call})
    decision = spiral.decide(facts, run(score))
    assert (decision and (decision.verdict, decision.code, decision.ends_run)) == said
    assert spiral.decide(facts, run(score, None)) is None
    assert spiral.decide(facts, RunFacts(BudgetRecord(), spirals=Spirals())) is None


def test_who_repeats_one_call_is_told_and_made_to_answer_before_the_run_is_ended() -> None:
    first_and_vain = 1 + DEFAULT.limit
    assert first_and_vain < repeats.STOP_REPEATS


def test_the_words_are_evidence_and_hold_no_content() -> None:
    decision = spiral.decide(CallFacts("model", "m", "d"), run(11))
    assert decision is not None
    assert decision.reason == "11 calls since the last new fact, 11 failed (calls … 3, 4, 5, 6, 7, 8, 9, 10)"


def asked_after(*pauses: float, name: str = "look") -> RunFacts:
    """A run whose model asked the same each time after so many seconds, as its holder rebuilds it."""
    events, at = [], 1_000_000
    for number, pause in enumerate(pauses):
        at += int(pause * 1e6)
        events += [
            event(ModelIntent, f"{number}0", model="m", digest="d", at=at),
            event(ModelOutcome, f"{number}0", latency=5_000_000, at=at + 5_000_000),
            event(ToolIntent, f"{number}1", tool=name, digest="d", effect="read", at=at + 5_000_000),
            event(ToolOutcome, f"{number}1", payloads={"result": ["same"]}, at=at + 5_000_000),
        ]
        at += 5_000_000
    facts = RunFacts(BudgetRecord(), spirals=DEFAULT)
    Ledger(facts, tape(*events))
    return facts


def test_who_asks_again_after_pauses_that_grow_is_let_be_by_this_rule_and_by_repeats() -> None:
    call = CallFacts("tool", "look", "d")
    patient = asked_after(0, *(3 * 1.5**n for n in range(9)))
    assert (len(patient.past), spiral.level(patient)) == (10, 0)
    assert repeats.decide(call, patient) is None
    hasty = asked_after(*[0.1] * 10)
    assert spiral.level(hasty) == spiral.LAST
    decision = repeats.decide(call, hasty)
    assert decision is not None
    assert decision.ends_run


@pytest.mark.parametrize(("score", "level"), [(0, 0), (3, 0), (4, spiral.NUDGE), (5, spiral.NUDGE), (6, spiral.LAST)])
def test_levels(score: int, level: int) -> None:
    assert spiral.level(run(score)) == level
    assert spiral.level(run(score, None)) == 0
