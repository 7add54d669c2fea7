"""The accounts of a run: the same whether they are kept while it goes on or rebuilt from its tape."""

from typing import Any
from uuid import UUID

from tests.unit.test_tape import event, tape

from penstock.events import (
    Amount,
    ApprovalDecided,
    ApprovalRequested,
    BudgetRecord,
    ChildIntent,
    ChildOutcome,
    Event,
    ModelIntent,
    ModelOutcome,
    RuleVerdict,
    ToolIntent,
    ToolOutcome,
    Totals,
    VerdictRecorded,
)
from penstock.gates.run.ledger import Ledger, Seen
from penstock.rules.repeats import WINDOW
from penstock.rules.verdict import RunFacts

MOST = Amount(100, 50, 1_000)


def rebuilt(*events: Event) -> tuple[RunFacts, Ledger]:
    facts = RunFacts(BudgetRecord())
    return facts, Ledger(facts, tape(*events))


def model(path: str, attempt: int = 1, **outcome: Any) -> list[Event]:
    intent = event(ModelIntent, path, model="m", digest="d", attempt=attempt, reserved=MOST)
    return [intent, event(ModelOutcome, path, attempt=attempt, **outcome)] if outcome else [intent]


def tool(path: str, digest: str = "d", **outcome: Any) -> list[Event]:
    intent = event(ToolIntent, path, tool="x", digest=digest)
    return [intent, event(ToolOutcome, path, **outcome)]


def test_a_settled_call_is_charged_what_it_used() -> None:
    facts, ledger = rebuilt(*model("0", used=Amount(10, 5, 100)))
    assert (facts.tokens, facts.nano, facts.held_tokens, facts.held_nano) == (15, 100, 0, 0)
    assert (facts.steps, facts.model_calls, facts.attempts) == (1, 1, 1)
    assert (ledger.tokens_in, ledger.tokens_out, ledger.at_maximum, ledger.open_intents) == (10, 5, 0, 0)


def test_a_call_without_an_outcome_holds_its_reservation() -> None:
    facts, ledger = rebuilt(*model("0"))
    assert (facts.tokens, facts.held_tokens, facts.held_nano) == (0, 150, 1_000)
    assert ledger.summary().open_intents == 1
    assert ledger.summary().reserved_nano == 1_000


def test_a_retry_is_a_reservation_and_an_attempt_of_its_own_but_no_step() -> None:
    lost = model("0", used=MOST, at_maximum=True, again=True, status="lost")
    facts, ledger = rebuilt(*lost, *model("0", attempt=2, used=Amount(10, 5, 100)))
    assert (facts.steps, facts.model_calls, facts.attempts) == (1, 2, 2)
    assert (facts.tokens, facts.nano, ledger.at_maximum) == (165, 1_100, 1_000)
    assert ledger.totals().nano_at_maximum == 1_000


def test_a_child_holds_what_was_carved_for_it_and_is_charged_what_it_used() -> None:
    child = UUID(int=9)
    intent = event(ChildIntent, "0", child=child, child_agent="c", digest="d", reserved=Amount(500, 0, 5_000))
    facts, _ = rebuilt(intent)
    assert (facts.held_tokens, facts.held_nano, facts.children, facts.tool_calls) == (500, 5_000, 1, 1)
    used = Totals(tokens_in=40, tokens_out=2, nano=77)
    end = event(ChildOutcome, "0", child=child, outcome="succeeded", totals=used)
    facts, ledger = rebuilt(intent, end)
    assert (facts.held_tokens, facts.held_nano, facts.tokens, facts.nano) == (0, 0, 42, 77)
    assert ledger.totals().tokens == 42


def test_when_a_run_ends_what_is_still_held_is_charged_at_its_maximum() -> None:
    facts, ledger = rebuilt(*model("0", used=Amount(10, 5, 100)), *model("1"))
    ledger.close()
    assert ledger.totals() == Totals(2, 2, 0, 2, tokens_in=160, tokens_out=5, nano=1_100, nano_at_maximum=1_000)
    assert (facts.held_tokens, facts.held_nano, ledger.summary().open_intents) == (0, 0, 0)


def test_past_tool_calls_are_remembered_as_the_rules_want_them() -> None:
    """Made, failed, found to have happened, denied by a rule, denied by a person."""
    by_rule = [RuleVerdict("validation", 1, "deny")]
    facts, _ = rebuilt(
        *tool("0", "a", payloads={"result": ["ref"]}),
        *tool("1", "b", status="error"),
        *tool("2", "c", status="happened"),
        event(VerdictRecorded, "3", gate="tool", name="x", verdict="deny", digest="e", verdicts=by_rule),
        event(ApprovalRequested, "5", approval="q", tool="y", digest="rfc", call_digest="g"),
        event(ApprovalDecided, "5", approval="q", decision="deny"),
        event(VerdictRecorded, "6", gate="model", name="m", verdict="deny", verdicts=by_rule),
    )
    assert [(past.name, past.digest, past.ok, past.result, past.refused) for past in facts.past] == [
        ("x", "a", True, "ref", False),
        ("x", "b", False, "", False),
        ("x", "c", True, "", False),
        ("x", "e", False, "", True),
        ("y", "g", False, "", True),
    ]
    assert (facts.tool_calls, facts.attempts) == (3, 3)


def test_an_attempt_that_is_repeated_is_not_yet_a_past_call() -> None:
    facts, _ = rebuilt(*tool("0", status="error", again=True))
    assert facts.past == []


def test_past_calls_are_bounded() -> None:
    facts, ledger = rebuilt()
    for number in range(10 * WINDOW):
        for one in tool(str(number), str(number)):
            ledger.witness(one)
    assert WINDOW <= len(facts.past) <= 2 * WINDOW
    assert facts.past[-1].digest == str(10 * WINDOW - 1)


def test_what_an_agent_sees_moves_with_released_outcomes_alone() -> None:
    seen = Seen(at=100)
    seen.release([*model("0", used=MOST, again=True, at=0), *model("0", attempt=2, used=Amount(10, 5, 100))])
    assert (seen.tokens, seen.nano, seen.steps, seen.tool_calls) == (165, 1_100, 1, 0)
    seen.release(tool("1", at=700))
    assert (seen.tool_calls, seen.at) == (1, 700)
    seen.release(tool("2", at=650))
    assert seen.at == 700, "time does not go back when clocks of workers differ"
