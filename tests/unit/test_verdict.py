"""How the answers of several rules combine."""

from typing import Any

import pytest

from penstock.events import BudgetRecord
from penstock.rules.default import CHILD_RULES, MODEL_RULES, RULES, TOOL_RULES
from penstock.rules.verdict import CallFacts, Decision, Rule, RuleSet, RunFacts, Verdict

CALL = CallFacts("tool", "x", "d")
RUN = RunFacts(BudgetRecord())
ALLOW, FLAG, HOLD, DENY = Verdict.ALLOW, Verdict.FLAG, Verdict.HOLD, Verdict.DENY


def rules(*answers: Any) -> RuleSet:
    """A rule for each answer; an exception is raised."""

    def rule(number: int, answer: Any) -> Rule:
        def decide(call: CallFacts, run: RunFacts) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return Decision(answer, f"r{number} says", f"c{number}") if isinstance(answer, Verdict) else answer

        return Rule(f"r{number}", 1, frozenset({"tool"}), decide)

    return RuleSet("tool", [rule(number, answer) for number, answer in enumerate(answers)])


def test_strictness_is_an_order() -> None:
    assert ALLOW < FLAG < HOLD < DENY


@pytest.mark.parametrize(
    ("answers", "verdict", "passed", "remarked"),
    [
        ([None, None], ALLOW, ["r0@1", "r1@1"], []),
        ([FLAG, None], FLAG, ["r1@1"], ["r0"]),
        ([FLAG, HOLD], HOLD, [], ["r0", "r1"]),
        ([HOLD, None, DENY], DENY, ["r1@1"], ["r0", "r2"]),
        ([None, DENY, HOLD], DENY, ["r0@1"], ["r1"]),
        ([ALLOW], ALLOW, [], ["r0"]),
    ],
)
def test_the_strictest_wins(answers: list[Any], verdict: Verdict, passed: list[str], remarked: list[str]) -> None:
    ruling = rules(*answers).decide(CALL, RUN)
    assert ruling.verdict is verdict
    assert ruling.passed == passed
    assert [item.rule for item in ruling.verdicts] == remarked


NO_VERDICT: Any = "allow"


@pytest.mark.parametrize(
    "nonsense", [RuntimeError("broken"), "deny", True, 3, {"verdict": "allow"}, Decision(NO_VERDICT, "")]
)
def test_a_rule_that_raises_or_answers_nonsense_denies(nonsense: Any) -> None:
    ruling = rules(None, nonsense, None).decide(CALL, RUN)
    assert (ruling.verdict, ruling.code) == (DENY, "rule_failed")
    assert ruling.passed == ["r0@1"], "what comes after a denial is not asked"


def test_the_reason_is_the_first_of_the_strictest() -> None:
    ruling = rules(FLAG, HOLD, HOLD).decide(CALL, RUN)
    assert (ruling.reason, ruling.code) == ("r1 says", "c1")
    assert rules(None).decide(CALL, RUN).reason == ""


def test_a_run_ends_only_by_a_denial_that_says_so() -> None:
    def ends(call: CallFacts, run: RunFacts) -> Decision:
        return Decision(HOLD, "held", "", ends_run=True)

    ruling = RuleSet("tool", [Rule("held", 1, frozenset({"tool"}), ends)]).decide(CALL, RUN)
    assert not ruling.ends_run


def test_a_long_reason_is_cut() -> None:
    def wordy(call: CallFacts, run: RunFacts) -> Decision:
        return Decision(DENY, "x" * 10_000)

    [verdict] = RuleSet("tool", [Rule("wordy", 1, frozenset({"tool"}), wordy)]).decide(CALL, RUN).verdicts
    assert len(verdict.reason) == 500


def test_the_default_rules_stand_in_the_order_of_the_design() -> None:
    of_tools = [
        *("control", "tool_stop", "binding", "tool_changed", "permission", "policy", "schema", "validation"),
        *("conflict", "taint", "repeats", "spiral", "deadline", "limits"),
    ]
    assert [rule.name for rule in RULES] == [
        *of_tools[:12],
        "retries",
        *of_tools[12:],
        "breaker",
        "budget",
        "shared_budget",
    ]
    shared = ["breaker@1", "shared_budget@1"]
    assert TOOL_RULES.labels == [f"{name}@{2 if name == 'repeats' else 1}" for name in of_tools] + shared
    of_models = ["control@1", "spiral@1", "deadline@1", "limits@1", "breaker@1", "budget@1", "shared_budget@1"]
    assert of_models == MODEL_RULES.labels
    assert CHILD_RULES.labels == [
        f"{name}@1" for name in ("control", "schema", "spiral", "retries", "deadline", "limits", "breaker", "budget")
    ]
