"""Why a policy says what it says of a call: each rule, each of its conditions, and what was found."""

from dataclasses import dataclass
from typing import Any

from penstock.kernel.canonical import clean_text
from penstock.rules.policy.conditions import MISSING, Answer, Condition
from penstock.rules.policy.policy_set import CompiledRule, PolicyCall, PolicySet
from penstock.rules.verdict import Decision, Verdict

FOUND_MAX_CHARS = 80


@dataclass(slots=True, frozen=True)
class Line:
    """One condition: where it stands, what it asks, what was found, and the answer (None = undecided)."""

    under: str  # when | unless
    words: str
    found: str
    answer: Answer


@dataclass(slots=True, frozen=True)
class RuleAnswer:
    """One rule: what its conditions come to; ``raised``: it could not even be asked."""

    rule: CompiledRule
    answer: Answer
    lines: tuple[Line, ...]
    raised: str = ""

    @property
    def counts(self) -> bool:
        """Whether it has a part in the verdict."""
        return self.answer is True or (self.answer is None and self.rule.text.then is not Verdict.ALLOW)


@dataclass(slots=True, frozen=True)
class Explanation:
    """A verdict, with every rule's part in it."""

    decision: Decision
    rules: tuple[RuleAnswer, ...]

    def plain(self, *, all_rules: bool = False) -> dict[str, Any]:
        """For programs; without ``all_rules`` only those that apply or cannot be decided."""
        return {
            "verdict": self.decision.verdict.name.lower(),
            "rule": self.decision.clause,
            "code": self.decision.code,
            "reason": self.decision.reason,
            "policy": self.decision.policy,
            "rules": [
                {
                    "name": one.rule.text.name,
                    "place": str(one.rule.text.place),
                    "then": one.rule.text.then.name.lower(),
                    "answer": WORDS[one.answer],
                    "conditions": [
                        {"under": line.under, "words": line.words, "found": line.found, "answer": WORDS[line.answer]}
                        for line in one.lines
                    ],
                }
                for one in self.rules
                if all_rules or one.answer is not False
            ],
        }


WORDS: dict[Answer, str] = {True: "yes", False: "no", None: "undecided"}


def decide_safely(policy: PolicySet, call: PolicyCall) -> Decision:
    """The policy's verdict; a rule that raises is a denial, as at the gate."""
    try:
        return policy.decide(call)
    except Exception as error:
        words = f"the rule failed: {type(error).__name__}"
        return Decision(Verdict.DENY, words, "rule_failed", policy=policy.version)


def explain(policy: PolicySet, call: PolicyCall) -> Explanation:
    """The verdict on a call, and why."""
    return Explanation(decide_safely(policy, call), tuple(_answer(rule, call) for rule in policy.rules))


def _answer(rule: CompiledRule, call: PolicyCall) -> RuleAnswer:
    lines = [_line("when", rule, condition, call) for condition in rule.text.when]
    lines += [_line("unless", rule, condition, call) for condition in rule.text.unless]
    try:
        answer = rule.applies(call) if rule.concerns(call) else False
    except Exception as error:
        return RuleAnswer(rule, None, tuple(lines), type(error).__name__)
    return RuleAnswer(rule, answer, tuple(lines))


def _line(under: str, rule: CompiledRule, condition: Condition, call: PolicyCall) -> Line:
    try:
        value = rule.value(condition, call)
        answer = condition.of(value)
    except Exception as error:
        return Line(under, condition.words(), f"raised {type(error).__name__}", None)
    found = "nothing" if value is MISSING else clean_text(_shown(value), FOUND_MAX_CHARS)
    return Line(under, condition.words(), found, answer)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return repr(value[:FOUND_MAX_CHARS])
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
