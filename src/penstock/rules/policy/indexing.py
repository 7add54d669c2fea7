"""Which of many rules may apply to a call, by one value that each of them asks about, without asking each.

What is left out here is a rule of which a condition is surely false, so that it would say nothing. What a rule cannot
decide, for its value is missing or of another type, is never left out.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar

from penstock.rules.policy.conditions import Condition, Plain, is_number

INDEXED_FROM = 4
"""Rules that ask alike about a value: fewer are asked one by one as quickly."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Kind = Literal["named", "lower", "upper"]


class Index(Protocol[T_co]):
    """Some rules, by what they ask of one value."""

    def may_apply(self, value: Any) -> Sequence[T_co]:
        """Those that the value does not rule out, in any order."""
        ...


class Named(Generic[T]):
    """Rules that ask for one of some texts."""

    __slots__ = ("_all", "_by_name")

    def __init__(self, rules: Iterable[tuple[T, list[str]]]) -> None:
        self._all: list[T] = []
        self._by_name: dict[str, list[T]] = defaultdict(list)
        for rule, names in rules:
            self._all.append(rule)
            for name in dict.fromkeys(names):
                self._by_name[name].append(rule)

    def may_apply(self, value: Any) -> Sequence[T]:
        return self._by_name.get(value, ()) if type(value) is str else self._all


class Bounded(Generic[T]):
    """Rules that ask for a number from a bound on: upwards (``lower`` bounds) or downwards (``upper`` ones)."""

    __slots__ = ("_bounds", "_is_lower", "_rules")

    def __init__(self, rules: Iterable[tuple[T, float]], *, is_lower: bool) -> None:
        ordered = sorted(rules, key=lambda rule: rule[1])
        self._rules = [rule for rule, _ in ordered]
        self._bounds = [bound for _, bound in ordered]
        self._is_lower = is_lower

    def may_apply(self, value: Any) -> Sequence[T]:
        if not is_number(value):
            return self._rules
        if self._is_lower:
            return self._rules[: bisect_right(self._bounds, value)]
        return self._rules[bisect_left(self._bounds, value) :]


def asked_of(condition: Condition) -> dict[Kind, Plain]:
    """What of a condition an index knows: the texts that it takes, the least bound from below or from above."""
    source = condition.source
    found: dict[Kind, Plain] = {}
    names = source.get("is", source.get("in"))
    names = names if isinstance(names, list) else [names]
    # Of a field that holds a name, * stands for any characters.
    if names and all(type(name) is str and (condition.path or "*" not in name) for name in names):
        found["named"] = names
    lower = [source[test] for test in ("min", "above") if test in source]
    upper = [source[test] for test in ("max", "below") if test in source]
    if lower:
        found["lower"] = max(lower)
    if upper:
        found["upper"] = min(upper)
    return found


def indexed(rules: Mapping[T, Sequence[Condition]]) -> tuple[dict[tuple[str, Kind], Index[T]], list[T]]:
    """Indexes by the key of the conditions and the kind of what is asked, and the rules that are in none.

    A rule is in one index at most: that of texts before that of bounds, else the one that most rules share.

    Args:
        rules: with the conditions that all must hold.
    """
    askers: dict[tuple[str, Kind], dict[T, Plain]] = defaultdict(dict)
    for rule, conditions in rules.items():
        for condition in conditions:
            for kind, operand in asked_of(condition).items():
                askers[condition.key, kind][rule] = operand
    found: dict[tuple[str, Kind], Index[T]] = {}
    left = dict.fromkeys(rules)
    for (key, kind), sharing in sorted(askers.items(), key=lambda of: (of[0][1] != "named", -len(of[1]))):
        members = [(rule, operand) for rule, operand in sharing.items() if rule in left]
        if len(members) < INDEXED_FROM:
            continue
        found[key, kind] = Named(members) if kind == "named" else Bounded(members, is_lower=kind == "lower")
        for rule, _ in members:
            del left[rule]
    return found, list(left)
