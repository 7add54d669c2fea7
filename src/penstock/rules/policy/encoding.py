"""A policy as formulas: what `penstock.rules.policy.proving` asks the solver about.

Each condition becomes two formulas, for *holds* and for *undecided*. What the solver has no theory of (the members of a
list, a pattern that cannot be translated) becomes a free variable: what is proved never to happen then still never
happens, and every example is checked by asking the policy itself.
"""

from dataclasses import dataclass, field
from typing import Any

import z3

from penstock.rules.policy.conditions import Condition
from penstock.rules.policy.measures import Measure
from penstock.rules.policy.policy_set import CompiledRule, PolicySet
from penstock.rules.policy.reading import EFFECTS, RISKS
from penstock.rules.verdict import Verdict

MISSING, NULL, BOOL, NUMBER, TEXT, LIST, MAPPING = range(7)
STATIC = ("tool", "effect", "risk", "agent", "release", "environment", "tenant")
TEXT_MAX = 200
"""Of a text in an example."""
Path = tuple[str | int, ...]


@dataclass(slots=True)
class Pair:
    """Formulas for: it holds; it cannot be decided. Never both."""

    holds: Any
    undecided: Any

    @property
    def counts(self) -> Any:
        return z3.Or(self.holds, self.undecided)


@dataclass(slots=True)
class Value:
    """An argument or tag: which kind of value it is, and what it is when it is of that kind."""

    kind: Any
    flag: Any
    number: Any
    text: Any
    size: Any


@dataclass(slots=True)
class Outcome:
    """Formulas for a policy's verdicts on a call; exactly one of them holds."""

    allow: Any
    flag: Any
    hold: Any
    deny: Any

    def of(self, verdict: Verdict) -> Any:
        return getattr(self, verdict.name.lower())


@dataclass(slots=True)
class Space:
    """The variables that describe a call, shared by the policies that are asked about it."""

    texts: dict[str, Any] = field(default_factory=dict)
    values: dict[tuple[str, Path], Value] = field(default_factory=dict)
    measures: dict[Measure, tuple[Any, Any]] = field(default_factory=dict)
    taints: dict[tuple[str, str], Any] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> Any:
        return self.texts.setdefault(name, z3.String(name))

    def value(self, root: str, path: Path) -> Value:
        found = self.values.get((root, path))
        if found is None:
            name = f"{root}.{path!r}"
            found = self.values[root, path] = Value(
                z3.Int(f"{name} kind"),
                z3.Bool(f"{name} flag"),
                z3.Real(f"{name} number"),
                z3.String(f"{name} text"),
                z3.Int(f"{name} size"),
            )
        return found

    def unknown(self, name: str) -> Any:
        return self.free.setdefault(name, z3.Bool(f"free {name}"))

    def taint(self, what: str, name: str) -> Any:
        return self.taints.setdefault((what, name), z3.Bool(f"taint {what} {name}"))

    def sense(self) -> list[Any]:
        """What holds of every call."""
        said = [z3.Or(*(self.text("effect") == name for name in EFFECTS))]
        said.append(z3.Or(*(self.text("risk") == name for name in RISKS)))
        said.append(z3.Length(self.text("tool")) > 0)
        said += [z3.Length(text) <= TEXT_MAX for text in self.texts.values()]
        for (root, path), value in self.values.items():
            kinds = (MISSING, TEXT) if root != "args" else range(7)
            said.append(z3.Or(*(value.kind == kind for kind in kinds)))
            said += [value.size >= 0, value.size <= TEXT_MAX, z3.Length(value.text) <= TEXT_MAX]
            for (other, longer), below in self.values.items():
                if root == other == "args" and len(longer) > len(path) and longer[: len(path)] == path:
                    step = longer[len(path)]
                    parent = value.kind == (MAPPING if isinstance(step, str) else LIST)
                    said.append(z3.Implies(below.kind != MISSING, parent))
        for measure, (known, number) in self.measures.items():
            if measure.what == "count":
                said += [known, number >= 0, z3.IsInt(number)]
        some = self.taint("any", "")
        said += [z3.Implies(one, some) for (what, _), one in self.taints.items() if what != "any"]
        return said

    def alone(self) -> list[Any]:
        """That nothing came before the call, and numbers are whole: of two examples the plainer one."""
        said = [z3.IsInt(value.number) for value in self.values.values()]
        for measure, (_, number) in self.measures.items():
            if measure.path:
                said.append(number == self.value("args", measure.path).number)
            else:
                said.append(number <= 1)
        return said

    def rule(self, rule: CompiledRule) -> Pair:
        """What the rule's conditions come to."""
        pairs = [self.condition(condition) for condition in rule.text.when]
        if rule.text.unless:
            excepted = conjoined([self.condition(condition) for condition in rule.text.unless])
            pairs.append(Pair(z3.And(z3.Not(excepted.holds), z3.Not(excepted.undecided)), excepted.undecided))
        return conjoined(pairs)

    def outcome(self, policy: PolicySet) -> Outcome:
        """The policy's verdict: as `PolicySet.decide`, for a call that nobody has approved."""
        pairs = [(rule, self.rule(rule)) for rule in policy.rules]
        high = self.text("risk") == "high"
        denied = [self.text("risk") == "prohibited"]
        denied += [pair.counts for rule, pair in pairs if rule.text.then is Verdict.DENY]
        holds = [(rule, pair) for rule, pair in pairs if rule.text.then is Verdict.HOLD]
        for place, (rule, pair) in enumerate(holds):
            denied += [z3.And(pair.counts, other.counts) for more, other in holds[:place] if are_at_odds(rule, more)]
        deny = z3.Or(*denied)
        granted = z3.Or(
            *(
                pair.holds if rule.names_high else z3.And(pair.holds, z3.Not(high))
                for rule, pair in pairs
                if rule.text.then is Verdict.ALLOW
            )
        )
        needed = z3.Or(high, self.text("effect") != "read")
        held = z3.Or(*(pair.counts for _, pair in holds), z3.And(needed, z3.Not(granted)))
        marked = z3.Or(*(pair.counts for rule, pair in pairs if rule.text.then is Verdict.FLAG))
        goes = z3.And(z3.Not(deny), z3.Not(held))
        return Outcome(z3.And(goes, z3.Not(marked)), z3.And(goes, marked), z3.And(z3.Not(deny), held), deny)

    def condition(self, condition: Condition) -> Pair:
        """One line of a rule."""
        if condition.measure is not None:
            pair = self.measures.get(condition.measure)
            if pair is None:
                name = repr(condition.measure)
                if condition.measure.path:
                    self.value("args", condition.measure.path)
                pair = self.measures[condition.measure] = (z3.Bool(f"{name} known"), z3.Real(name))
            known, number = pair
            tests = [compared(name, number, operand) for name, operand in condition.source.items()]
            return conjoined([Pair(z3.And(known, test), z3.Not(known)) for test in tests])
        if condition.key == "taint":
            return conjoined([self._taint(name, operand) for name, operand in condition.source.items()])
        if condition.key in STATIC:
            text = self.text(condition.key)
            return conjoined([_named(name, text, operand) for name, operand in condition.source.items()])
        if condition.path:
            value = self.value(condition.root, condition.path)
            return conjoined(
                [self._tested(condition.key, name, value, operand) for name, operand in condition.source.items()]
            )
        root, path = ("tags", ("customer",)) if condition.key == "customer" else ("run", (condition.key,))
        value = self.value(root, path)
        pairs = []
        for name, operand in condition.source.items():
            if name == "present":
                pairs.append(_present(value, operand))
                continue
            named = _named(name, value.text, operand)
            is_text = value.kind == TEXT
            pairs.append(Pair(z3.And(is_text, named.holds), z3.Not(is_text)))
        return conjoined(pairs)

    def _taint(self, name: str, operand: Any) -> Pair:
        some = self.taint("any", "")
        if operand == "any":
            return Pair(some, _NEVER)
        if operand == "none":
            return Pair(z3.Not(some), _NEVER)
        names = operand if isinstance(operand, list) else [operand]
        return Pair(z3.Or(*(self.taint(name, one) for one in names)), _NEVER)

    def _tested(self, key: str, name: str, value: Value, operand: Any) -> Pair:
        if name in ("not", "not_in"):
            asked = self._equal(value, operand)
            return Pair(z3.And(z3.Not(asked.holds), z3.Not(asked.undecided)), asked.undecided)
        if name in ("is", "in"):
            return self._equal(value, operand)
        if name == "present":
            return _present(value, operand)
        if name in ("min", "max", "above", "below"):
            is_number = value.kind == NUMBER
            return Pair(z3.And(is_number, compared(name, value.number, operand)), z3.Not(is_number))
        if name in ("length", "size"):
            is_length = name == "length"
            sized = value.kind == TEXT if is_length else z3.Or(value.kind == LIST, value.kind == MAPPING)
            size = z3.ToReal(z3.Length(value.text) if is_length else value.size)
            tests = [compared(inner, size, bound) for inner, bound in operand.items()]
            return Pair(z3.And(sized, *tests), z3.Not(sized))
        opaque = f"{key} {name} {operand!r}"
        is_text, is_list = value.kind == TEXT, value.kind == LIST
        if name in ("each", "some"):
            holds, doubt = self.unknown(opaque), self.unknown(f"{opaque} doubt")
            return Pair(z3.And(is_list, holds, z3.Not(doubt)), z3.Or(z3.Not(is_list), doubt))
        in_text = {
            "contains": lambda: z3.Contains(value.text, z3.StringVal(operand)),
            "starts_with": lambda: z3.PrefixOf(z3.StringVal(operand), value.text),
            "ends_with": lambda: z3.SuffixOf(z3.StringVal(operand), value.text),
            "matches": lambda: self.unknown(opaque),
        }[name]()
        return Pair(z3.And(is_text, in_text), z3.Not(is_text))

    def _equal(self, value: Value, operand: Any) -> Pair:
        if isinstance(operand, list):
            pairs = [self._equal(value, one) for one in operand]
            return Pair(z3.Or(*(pair.holds for pair in pairs)), z3.And(*(pair.undecided for pair in pairs)))
        if operand is None:
            return Pair(value.kind == NULL, value.kind == MISSING)
        if isinstance(operand, bool):
            kind, same = BOOL, value.flag == operand
        elif isinstance(operand, str):
            kind, same = TEXT, value.text == z3.StringVal(operand)
        else:
            kind, same = NUMBER, value.number == real(operand)
        return Pair(z3.And(value.kind == kind, same), value.kind != kind)


_NEVER = z3.BoolVal(False)


def are_at_odds(rule: CompiledRule, other: CompiledRule) -> bool:
    """Whether nobody may answer for both: each names roles, and none is in both lists."""
    mine, theirs = rule.text.terms, other.text.terms
    return bool(mine and theirs and mine.roles and theirs.roles and not set(mine.roles) & set(theirs.roles))


def conjoined(pairs: list[Pair]) -> Pair:
    """Kleene's: undecided when none fails and one is undecided."""
    holds = z3.And(*(pair.holds for pair in pairs))
    none_fails = z3.And(*(pair.counts for pair in pairs))
    return Pair(holds, z3.And(none_fails, z3.Not(holds)))


def compared(name: str, number: Any, bound: float) -> Any:
    """A test of a number."""
    to = real(bound)
    return {
        "is": number == to,
        "min": number >= to,
        "max": number <= to,
        "above": number > to,
        "below": number < to,
    }[name]


def real(number: float) -> Any:
    """The number as it is, not as it is printed."""
    top, bottom = number.as_integer_ratio()
    return z3.Q(top, bottom)


def _present(value: Value, wanted: bool) -> Pair:
    there = z3.And(value.kind != MISSING, value.kind != NULL)
    return Pair(there if wanted else z3.Not(there), _NEVER)


def _named(name: str, text: Any, operand: Any) -> Pair:
    if name == "present":
        there = z3.Length(text) > 0
        return Pair(there if operand else z3.Not(there), _NEVER)
    names = operand if isinstance(operand, list) else [operand]
    same = z3.Or(*(_is_named(text, one) for one in names))
    return Pair(z3.Not(same) if name.startswith("not") else same, _NEVER)


def _is_named(text: Any, pattern: str) -> Any:
    if "*" not in pattern:
        return text == z3.StringVal(pattern)
    parts: list[Any] = []
    anything = z3.Full(z3.ReSort(z3.StringSort()))
    for place, part in enumerate(pattern.split("*")):
        parts += [anything] if place else []
        parts += [z3.Re(part)] if part else []
    return z3.InRe(text, z3.Concat(*parts) if len(parts) > 1 else parts[0])
