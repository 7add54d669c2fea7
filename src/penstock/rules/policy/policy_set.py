"""A policy in force: its rules compiled, indexed by what is known before the arguments are, and asked about calls.

What a rule does, by what its conditions come to:

    conditions     allow      flag       hold       deny
    all hold       grants     marks      holds      denies
    undecided      nothing    marks      holds      denies
    one does not   nothing    nothing    nothing    nothing

A rule that raises denies. The strictest verdict wins. When no rule denies or holds, a write, and whatever is of high
risk, still needs a rule that allows it, and for high risk one that names ``risk: high``; without one it is held. A read
goes. What is prohibited, or a tool that is not known, is denied whatever the rules say.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.events import ApprovalTerms
from penstock.kernel.canonical import canonical_json
from penstock.rules.policy.conditions import MISSING, Answer, Condition, at_path, conjunction, names_test
from penstock.rules.policy.layout import Layout
from penstock.rules.policy.measures import Measure, Use, Uses
from penstock.rules.policy.reading import RuleText, read_rules
from penstock.rules.policy.source import Place, Problem, invalid
from penstock.rules.verdict import Decision, Verdict

ALL_RULES_MAX = 5000
LAYOUTS_MAX = 4096
"""Of the index; beyond it rules are picked out anew for each call."""
_STATIC = frozenset(("tool", "effect", "risk", "agent", "release", "environment", "tenant"))
"""What is the same for each call of a tool in an agent's runs."""


@dataclass(slots=True)
class PolicyCall:
    """A call as policies see it. ``customer`` and ``behalf`` are None where the run names none.

    ``taint``: what the run has read from outside, source → kind. ``uses``: its calls so far, None = not known. ``at``:
    now, microseconds since the epoch. ``path``: the call's place in the run.
    """

    tool: str
    effect: str = "write"
    risk: str = "medium"
    args: Any = None
    agent: str = ""
    release: str = ""
    environment: str = "development"
    tenant: str = "default"
    behalf: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    taint: Mapping[str, str] = field(default_factory=dict)
    uses: Uses | None = None
    at: int = 0
    path: str = ""
    approved: bool = False

    @property
    def customer(self) -> str | None:
        return self.tags.get("customer")


class CompiledRule:
    """One rule, ready to be asked."""

    __slots__ = ("_covers", "_measured", "has_more", "measures", "names_high", "plain", "text")

    def __init__(self, text: RuleText) -> None:
        self.text = text
        self.names_high = any(
            condition.key == "risk" and "high" in _positive(condition.source) for condition in text.when
        )
        self.measures = tuple(c.measure for c in (*text.when, *text.unless) if c.measure is not None)
        self._covers = {measure: names_test(list(measure.over)) for measure in self.measures if measure.over}
        asked = [c for c in text.when if c.key not in _STATIC]
        self.plain = tuple(c for c in asked if c.measure is None)
        self._measured = tuple(c for c in asked if c.measure is not None)
        self.has_more = bool(self._measured or text.unless)

    def concerns(self, call: PolicyCall) -> bool:
        """Whether the rule may apply, by what is known without the arguments."""
        return not any(
            condition.key in _STATIC and condition.of(getattr(call, condition.key)) is False
            for condition in self.text.when
        )

    def applies(self, call: PolicyCall) -> Answer:
        """What its conditions come to, for a call that it concerns."""
        plain = conjunction([c.of(self.value(c, call)) for c in self.plain])
        return False if plain is False else self.rest(call, plain)

    def rest(self, call: PolicyCall, answer: Answer) -> Answer:
        """What they come to when the plain ones come to ``answer``: the sums and counts, and what is excepted."""
        for condition in self._measured:
            found = condition.of(self.value(condition, call))
            if found is False:
                return False
            answer = None if found is None else answer
        if self.text.unless:
            excepted = conjunction([c.of(self.value(c, call)) for c in self.text.unless])
            if excepted is True:
                return False
            answer = None if excepted is None else answer
        return answer

    def counts(self, tool: str) -> bool:
        """Whether a call of the tool goes into one of its sums or counts."""
        if any(named(tool) is True for named in self._covers.values()):
            return True
        own = any(not measure.over for measure in self.measures)
        return own and not any(c.key == "tool" and c.of(tool) is False for c in self.text.when)

    def value(self, condition: Condition, call: PolicyCall) -> Any:
        """What the condition is about."""
        if condition.path:
            if condition.key[0] == "a":
                return at_path(call.args, condition.path)
            return call.tags.get(str(condition.path[0]), MISSING)
        if condition.measure is not None:
            return self._total(condition.measure, call)
        value = getattr(call, condition.key)
        return MISSING if value is None or value == "" else value

    def _total(self, measure: Measure, call: PolicyCall) -> Any:
        named = self._covers.get(measure)
        covers = (lambda name: named(name) is True) if named is not None else (lambda name: name == call.tool)
        if named is None:  # it is over the tool that is asked about
            measure = Measure(measure.what, measure.path, (call.tool,), measure.within_us, measure.last)
        if call.uses is None:
            return MISSING
        asked = use_of(call.tool, call.args, call.at, (measure.path,))
        total = call.uses.total(measure, covers, asked, call.path)
        return MISSING if total is None else total


def use_of(tool: str, args: Any, at: int, paths: Iterable[tuple[str | int, ...]]) -> Use:
    """What a call counts for: the numbers that it has at the measured paths."""
    values: dict[tuple[str | int, ...], int | float] = {}
    for path in paths:
        value = at_path(args, path) if path else MISSING
        if type(value) is int or (type(value) is float and value - value == 0):
            values[path] = value
    return Use(tool, at, values)


def _positive(source: Mapping[str, Any]) -> list[str]:
    """The names that a condition asks for, as against those that it excludes."""
    found = source.get("is", source.get("in", []))
    return found if isinstance(found, list) else [found]


@dataclass(slots=True, frozen=True)
class Finding:
    """One rule that speaks of a call: fully, or because it cannot be decided."""

    rule: CompiledRule
    undecided: bool


class _Heard:
    """What the rules said of one call: the first denial, all holds, the first mark, the first that grants."""

    __slots__ = ("denial", "flag", "granted", "holds")

    def __init__(self) -> None:
        self.denial: Finding | None = None
        self.holds: list[Finding] = []
        self.flag: Finding | None = None
        self.granted: Finding | None = None

    def takes(self, rule: CompiledRule, then: Verdict, answer: Answer, risk: str) -> bool:
        """A rule that applies, or is undecided; True when no other need be asked."""
        if then is Verdict.DENY:
            self.denial = Finding(rule, answer is None)
            return True
        if then is Verdict.HOLD:
            self.holds.append(Finding(rule, answer is None))
        elif then is Verdict.FLAG:
            self.flag = self.flag or Finding(rule, answer is None)
        elif answer is True and self.granted is None and (rule.names_high or risk != "high"):
            self.granted = Finding(rule, undecided=False)
        return False


class PolicySet:
    """All rules of a policy, in the order of their files' names and places."""

    def __init__(self, rules: Sequence[RuleText], sources: Mapping[str, str]) -> None:
        self.rules = [CompiledRule(rule) for rule in rules]
        self.sources = dict(sources)
        plain = canonical_json([rule.plain() for rule in rules])
        self.version = hashlib.sha256(plain).hexdigest()
        self.measures = tuple(dict.fromkeys(measure for rule in self.rules for measure in rule.measures))
        self.paths = tuple(sorted({measure.path for measure in self.measures if measure.path}, key=repr))
        self._counts: dict[str, bool] = {}
        self._layouts: dict[tuple[str, ...], Layout] = {}

    @classmethod
    def compile(cls, sources: Mapping[str, str]) -> "PolicySet":
        """From texts by the names of their files; tests beside them (``*.test.yaml``) are not among the rules.

        Raises:
            PolicyInvalid: one of them is wrong, there is no rule, there are too many, or two have one name.
        """
        texts = {name: text for name, text in sources.items() if not name.endswith(TEST_ENDINGS)}
        if not texts:
            words = "there is no policy here"
            raise invalid([Problem(Place("policies", 1, 1), words, "write one rule, or take the setting away")])
        rules: list[RuleText] = []
        problems: list[Problem] = []
        for name in sorted(texts):
            rules.extend(read_rules(name, texts[name]))
        seen: dict[str, RuleText] = {}
        for rule in rules:
            first = seen.setdefault(rule.name, rule)
            if first is not rule:
                words = f"a second rule named {rule.name!r}; the first is at {first.place}"
                problems.append(Problem(rule.place, words, "give each a name of its own: verdicts are recorded by it"))
        if len(rules) > ALL_RULES_MAX:
            words = f"{len(rules):,} rules; the bound is {ALL_RULES_MAX:,}"
            problems.append(Problem(rules[ALL_RULES_MAX].place, words, "use sets of names and patterns"))
        if problems:
            raise invalid(problems)
        return cls(rules, sources)

    def asks_uses(self, call: PolicyCall) -> bool:
        """Whether a rule that may apply to the call asks for a sum or a count."""
        return bool(self.measures) and self.concerning(call).measures

    def counts(self, tool: str) -> bool:
        """Whether calls of this tool go into a sum or a count."""
        if not self.measures:
            return False
        known = self._counts.get(tool)
        if known is None:
            known = any(rule.counts(tool) for rule in self.rules)
            if len(self._counts) < LAYOUTS_MAX:
                self._counts[tool] = known
        return known

    def concerning(self, call: PolicyCall) -> Layout:
        """The rules that may apply to calls like this one, whatever the arguments."""
        key = (call.tool, call.effect, call.risk, call.agent, call.release, call.environment, call.tenant)
        found = self._layouts.get(key)
        if found is None:
            if not all(type(part) is str for part in key):
                raise TypeError(f"a call is known by texts, not by {key!r}"[:200])
            found = Layout([rule for rule in self.rules if rule.concerns(call)])
            if len(self._layouts) < LAYOUTS_MAX:
                self._layouts[key] = found
        return found

    def decide(self, call: PolicyCall) -> Decision:
        """The policy's verdict on a call. Never less strict than the strictest rule that applies or is undecided.

        Raises whatever a rule raises: the caller counts that as a denial (`penstock.rules.verdict.RuleSet`).
        """
        if call.risk == "prohibited":
            return self._said(Verdict.DENY, "prohibited", f"{call.tool} is prohibited", "")
        if call.effect not in ("read", "write") or call.risk not in ("low", "medium", "high"):
            return self._said(Verdict.DENY, "policy_undecided", "its effect or risk class is not known", "")
        heard = self._hear(call)
        if heard.denial is not None:
            return self._by(heard.denial)
        if heard.holds and not call.approved:
            return self._held(heard.holds)
        if not heard.holds and heard.granted is None and not call.approved:
            is_high = call.risk == "high"
            if is_high or call.effect != "read":
                words = f"no rule allows {call.tool}" + (" by naming its high risk" if is_high else "")
                return self._said(Verdict.HOLD, "policy_default", words, "")
        if heard.flag is not None:
            return self._by(heard.flag)
        if call.approved and (heard.holds or heard.granted is None):
            held = heard.holds[0].rule.text if heard.holds else None
            clause, owner = (held.name, held.owner) if held is not None else ("", "")
            return self._said(Verdict.ALLOW, "policy_approved", "allowed by a person", clause, owner)
        if heard.granted is not None:
            return self._by(heard.granted)
        return self._said(Verdict.ALLOW, "policy_read", "reads go unless a rule says otherwise", "")

    def _hear(self, call: PolicyCall) -> "_Heard":
        """Ask the rules, until one denies."""
        heard = _Heard()
        values, steps = self.concerning(call).for_call(call)
        for _, rule, then, (first, first_test), others, has_more in steps:
            answer = first_test(values[first])
            if answer is False:
                continue
            for slot, test in others:
                found = test(values[slot])
                if found is True:
                    continue
                if found is False:
                    answer = False
                    break
                answer = None
            if answer is not False and has_more:
                answer = rule.rest(call, answer)
            if answer is not False and heard.takes(rule, then, answer, call.risk):
                break
        return heard

    def _by(self, finding: Finding) -> Decision:
        rule = finding.rule.text
        name = rule.then.name.lower()
        words = f"{rule.name}: {rule.reason}" + (UNDECIDED if finding.undecided else "")
        code = "policy_undecided" if finding.undecided else f"policy_{name}"
        return self._said(rule.then, code, words, rule.name, rule.owner)

    def _held(self, holds: list[Finding]) -> Decision:
        terms, odd = merged_terms([finding.rule.text for finding in holds])
        first = holds[0].rule.text
        if odd is not None:
            words = f"{first.name} and {odd.name} hold it, and nobody may answer for both: no role is in both lists"
            return self._said(Verdict.DENY, "policy_conflict", words, first.name, first.owner)
        return replace(self._by(holds[0]), terms=terms)

    def _said(self, verdict: Verdict, code: str, reason: str, clause: str, owner: str = "") -> Decision:
        return Decision(verdict, reason, code, policy=self.version, clause=clause, owner=owner)


UNDECIDED = " (a value that it asks for is missing or of another type)"
TEST_ENDINGS = (".test.yaml", ".test.yml")


def merged_terms(rules: Sequence[RuleText]) -> tuple[ApprovalTerms | None, RuleText | None]:
    """Terms that fulfil those of all rules that hold a call, and the first rule for which there are none.

    Roles: those in all lists; people: the most; time: the least. Who fulfils them fulfils each rule's own.
    """
    merged: ApprovalTerms | None = None
    for rule in rules:
        terms = rule.terms
        if terms is None:
            continue
        if merged is None:
            merged = terms
            continue
        roles = (
            sorted(set(merged.roles) & set(terms.roles))
            if merged.roles and terms.roles
            else merged.roles or terms.roles
        )
        if merged.roles and terms.roles and not roles:
            return None, rule
        merged = ApprovalTerms(
            roles=roles,
            count=max(merged.count, terms.count),
            seconds=_least(merged.seconds, terms.seconds),
            escalate_to=sorted({*merged.escalate_to, *terms.escalate_to}),
            escalate_after_seconds=_least(merged.escalate_after_seconds, terms.escalate_after_seconds),
        )
    return merged, None


def _least(one: float, other: float) -> float:
    """The shorter time; 0 is none."""
    return min(one, other) if one and other else one or other
