"""No call gets past a policy by being nonsense, and none that may go is held back; the large form is a benchmark."""

import functools
import random
import re
from pathlib import Path
from typing import Any

import pytest
from benchmarks.policy_fuzz import POLICY, Fuzzed, fuzzed

from penstock.events import BudgetRecord
from penstock.kernel.errors import PolicyInvalid
from penstock.rules import policy_rule
from penstock.rules.policy.cases import run_cases
from penstock.rules.policy.comparing import compare
from penstock.rules.policy.explaining import decide_safely, explain
from penstock.rules.policy.measures import Uses
from penstock.rules.policy.policy_set import PolicyCall, PolicySet, use_of
from penstock.rules.verdict import CallFacts, RuleSet, RunFacts, Verdict

COUNT = 4000


def asked(made: PolicySet, call: Fuzzed) -> PolicyCall:
    uses = Uses()
    for number, args in enumerate(call.before):
        uses.add(str(number), use_of("pay", args, 0, made.paths))
    return PolicyCall(
        call.tool, call.effect, call.risk, call.args, tags=call.tags, taint=call.taint, uses=uses, path="now"
    )


def test_nothing_goes_that_may_not_and_all_goes_that_may() -> None:
    made = PolicySet.compile({"p.yaml": POLICY})
    gate = RuleSet("tool", [policy_rule.RULE])
    went = 0
    for call in fuzzed(1, COUNT):
        one = asked(made, call)
        facts = CallFacts("tool", "pay", "d", policy=functools.partial(made.decide, one))
        verdict = gate.decide(facts, RunFacts(BudgetRecord())).verdict
        is_read = call.effect == "read" and verdict is Verdict.ALLOW  # reads go unless a rule says otherwise
        assert (verdict <= Verdict.FLAG) == call.may_go or is_read, call
        went += call.may_go
    assert went > COUNT / 20


def raising(_: Any) -> bool:
    raise RecursionError


@pytest.mark.parametrize("broken", range(4))
def test_nothing_goes_past_a_rule_that_raises(broken: int) -> None:
    made = PolicySet.compile({"p.yaml": POLICY})
    for condition in made.rules[broken].text.when:
        if condition.key.startswith(("args", "sum", "taint")):
            object.__setattr__(condition, "tests", (raising,))
    for call in fuzzed(2, COUNT // 10):
        verdict = decide_safely(made, asked(made, call)).verdict
        if call.effect != "read":
            assert verdict >= Verdict.HOLD


def test_what_is_explained_is_what_was_decided() -> None:
    """They ask the conditions in different ways."""
    made = PolicySet.compile({"p.yaml": POLICY})
    for call in fuzzed(3, COUNT // 8):
        one = asked(made, call)
        said = explain(made, one)
        counting = [answer.rule.text.then for answer in said.rules if answer.counts]
        strictest = max(counting, default=Verdict.ALLOW)
        if said.decision.code not in ("rule_failed", "prohibited", "policy_undecided", "policy_default"):
            assert said.decision.verdict == strictest, call
        assert said.decision.verdict >= strictest, call


BITS = (
    "\t",
    "\n",
    "  ",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "'",
    '"',
    "*",
    "&a ",
    "!x ",
    "#",
    "|",
    ">",
    "?",
    "%",
    "@",
    "\x00",
    "ü",
    "null",
    "true",
    "~",
    "5",
    "-1",
    ".inf",
    "1e400",
    "2",
    "a: b",
    "[[]]",
    "{}",
    "---",
    "...",
    "\ufeff",
    "\u2028",
)


def test_whatever_is_written_is_read_or_refused_with_its_place() -> None:
    """Texts spoiled at random: nothing but a policy or `PolicyInvalid` comes of them."""
    folder = Path(__file__).resolve().parents[2] / "examples" / "policies"
    rules, tests = ((folder / name).read_text() for name in ("bank.yaml", "bank.test.yaml"))
    chance, refused = random.Random(4), 0
    for _ in range(250):
        whole = chance.choice((rules, tests))
        spoiled = whole
        for _ in range(chance.choice((1, 1, 2, 5))):
            at = chance.randrange(len(spoiled))
            spoiled = spoiled[:at] + chance.choice(BITS) + spoiled[at + chance.choice((0, 0, 1, 5)) :]
        files = {"b.yaml": spoiled} if whole is rules else {"b.yaml": rules, "b.test.yaml": spoiled}
        error = refusal(files)
        if error is not None:
            refused += 1
            assert error.fields["problems"][0]["line"] >= 1
            assert re.match(r"b(\.test)?\.yaml:\d+:\d+: ", str(error)), error
    assert 125 < refused < 250


def refusal(files: dict[str, str]) -> PolicyInvalid | None:
    """What is wrong with them."""
    try:
        made = PolicySet.compile(files)
        run_cases(made)
        compare(made, made)
    except PolicyInvalid as error:
        return error
    return None
