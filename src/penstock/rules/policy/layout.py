"""The rules that may apply to calls of one kind, laid out for asking them of one call after the other."""

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from penstock.rules.policy.conditions import MISSING, Answer, Condition, Test
from penstock.rules.policy.indexing import indexed
from penstock.rules.verdict import Verdict

if TYPE_CHECKING:
    from penstock.rules.policy.policy_set import CompiledRule, PolicyCall

    Getter = Callable[[PolicyCall], Any]

Check = tuple[int, Test]
"""The place of a value among those that are asked about, and a test of it."""
Step = tuple[int, "CompiledRule", Verdict, Check, tuple[Check, ...], bool]
"""A rule to ask: its place among the rules, itself, what it says, its first check, the others, and whether it has
more conditions than those."""


class Layout:
    """A value that many rules ask about is read once. Where many ask alike of it, only those are asked that it does not
    rule out."""

    __slots__ = ("_always", "_getters", "_indexes", "measures", "rules")

    def __init__(self, rules: "Sequence[CompiledRule]") -> None:
        self.rules = tuple(rules)
        self.measures = any(rule.measures for rule in rules)
        self._getters: list[Getter] = [_nothing]
        slots: dict[str, int] = {}
        steps: dict[Step, Sequence[Condition]] = {}
        for place, rule in enumerate(rules):
            checks: list[Check] = []
            for condition in rule.plain:
                slot = slots.setdefault(condition.key, len(self._getters))
                if slot == len(self._getters):
                    self._getters.append(_getter(rule, condition))
                checks += [(slot, test) for test in condition.tests]
            first, *others = checks or [(0, _holds)]
            steps[place, rule, rule.text.then, first, tuple(others), rule.has_more] = rule.plain
        found, self._always = indexed(steps)
        self._indexes = [(slots[key], index) for (key, _), index in found.items()]

    def for_call(self, call: "PolicyCall") -> tuple[list[Any], list[Step]]:
        """The values that are asked about, and the rules that they do not rule out, in order."""
        values = [get(call) for get in self._getters]
        steps = self._always
        for slot, index in self._indexes:
            if found := index.may_apply(values[slot]):
                steps = [*steps, *found]
        return values, steps if steps is self._always else sorted(steps, key=_place)


_place = operator.itemgetter(0)


def _getter(rule: "CompiledRule", condition: Condition) -> "Getter":
    if condition.root == "args" and len(condition.path) == 1:
        name = condition.path[0]
        return lambda call: call.args.get(name, MISSING) if type(call.args) is dict else MISSING
    return lambda call: rule.value(condition, call)


def _nothing(call: "PolicyCall") -> Any:
    """What a rule without a check is asked of."""


def _holds(value: Any) -> Answer:
    return True
