"""Rules that ask alike are found by what they ask: that changes nothing of what a policy says."""

import random
from typing import Any

import pytest

from penstock.rules.policy import indexing
from penstock.rules.policy.conditions import Condition, at_least, below, in_test, is_test, names_test
from penstock.rules.policy.explaining import decide_safely
from penstock.rules.policy.indexing import INDEXED_FROM, Bounded, Named, asked_of, indexed
from penstock.rules.policy.policy_set import PolicyCall, PolicySet

VALUES: tuple[Any, ...] = (
    *range(-3, 9),
    *(0.5, 3.0, 4.5, -0.0, float("nan"), float("inf"), float("-inf"), 10**30, -(10**30)),
    *(True, False, None, "", "3", "c3", "C3", "c*", [], ["c3"], {"c3": 1}),
)
ASKED: dict[str, tuple[str, ...]] = {
    "is": ("{key}: c{n}",),
    "in": ("{key}: [c{n}, c{m}]",),
    "mixed": ("{key}: [c{n}, {m}]", "{key}: {n}", "{key}: true"),
    "lower": ("{key}: {{min: {n}}}", "{key}: {{above: {n}.5}}", "{key}: {{above: {n}}}"),
    "upper": ("{key}: {{max: {n}}}", "{key}: {{below: {n}.5}}", "{key}: {{below: {n}}}"),
    "between": ("{key}: {{min: {n}, below: {m}}}", "{key}: {{above: {m}, max: {n}}}"),
    "not": ("{key}: {{not: c{n}}}", "{key}: {{not_in: [c{n}, c{m}]}}"),
    "other": ("{key}: {{starts_with: c{n}}}", "{key}: {{present: true}}", "{key}: {{length: {{max: {n}}}}}"),
}
NAMES = ("customer: c{n}", "customer: [c{n}, c{m}*]", "behalf: {{not: c{n}}}", "customer: '*'")


def policy_of(chance: random.Random) -> str:
    """Some forty rules about one tool, most of which ask alike."""
    kinds = chance.sample(list(ASKED), 3)
    lines = []
    for place in range(chance.choice((3, 12, 40))):
        asked = {}
        for key in chance.sample(("args.a", "args.b", "args.c.d", "tags.t"), chance.choice((1, 1, 2))):
            asked[key] = chance.choice(ASKED[chance.choice(kinds)]).format(
                key=key, n=chance.randrange(6), m=chance.randrange(6)
            )
        if chance.random() < 0.3:
            line = chance.choice(NAMES).format(n=chance.randrange(4), m=chance.randrange(4))
            asked[line.partition(":")[0]] = line
        then = chance.choice(("allow", "allow", "flag", "hold", "deny"))
        lines.append(
            f"  - name: r{place}\n    owner: o\n    reviewed: 2026-11-01\n    reason: because\n"
            f"    when: {{tool: pay, {', '.join(asked.values())}}}\n    then: {then}\n"
        )
    return "version: 1\nrules:\n" + "".join(lines)


def call_of(chance: random.Random) -> PolicyCall:
    args: Any = {name: chance.choice(VALUES) for name in "ab" if chance.random() < 0.9}
    args["c"] = {"d": chance.choice(VALUES)} if chance.random() < 0.8 else chance.choice(VALUES)
    tags = {name: chance.choice(("c1", "c2", "c3", "", "x")) for name in ("t", "customer") if chance.random() < 0.7}
    return PolicyCall(
        "pay", args=args if chance.random() < 0.97 else None, tags=tags, behalf=chance.choice((None, "c1"))
    )


@pytest.mark.parametrize("seed", range(30))
def test_an_index_changes_no_decision(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    text = policy_of(chance)
    calls = [call_of(chance) for _ in range(25)]
    with_index = PolicySet.compile({"p.yaml": text})
    found = [decide_safely(with_index, call) for call in calls]
    monkeypatch.setattr(indexing, "INDEXED_FROM", 10**6)
    one_by_one = PolicySet.compile({"p.yaml": text})
    assert found == [decide_safely(one_by_one, call) for call in calls]


@pytest.mark.parametrize(
    ("source", "known"),
    [
        ({"is": "a"}, {"named": ["a"]}),
        ({"in": ["a", "b"]}, {"named": ["a", "b"]}),
        ({"in": ["a", 1]}, {}),
        ({"is": 5}, {}),
        ({"not": "a"}, {}),
        ({"not_in": ["a"]}, {}),
        ({"min": 1, "above": 2, "max": 9}, {"lower": 2, "upper": 9}),
        ({"contains": "a"}, {}),
    ],
)
def test_what_is_known_of_a_condition(source: dict[str, Any], known: dict[str, Any]) -> None:
    assert asked_of(Condition("args.x", source, (), path=("x",))) == known


def test_a_star_in_a_name_is_no_name() -> None:
    assert asked_of(Condition("customer", {"in": ["a", "b*"]}, (names_test(["a", "b*"]),))) == {}
    assert asked_of(Condition("args.x", {"is": "b*"}, (is_test("b*"),), path=("x",))) == {"named": ["b*"]}


def test_what_cannot_be_decided_is_never_left_out() -> None:
    bounded, named = Bounded([("r", 5.0)], is_lower=True), Named([("r", ["a"])])
    odd: tuple[Any, ...] = (None, True, "5", float("nan"), float("inf"), [], {})
    for value in odd:
        assert list(bounded.may_apply(value)) == ["r"]
    odd = (None, True, 5, ["a"], {"a": 1})
    for value in odd:
        assert list(named.may_apply(value)) == ["r"]
    assert list(named.may_apply("b")) == []


def test_bounds_are_kept_on_their_side() -> None:
    lower = Bounded([("from 5", 5), ("from 1", 1)], is_lower=True)
    upper = Bounded([("to 5", 5), ("to 1", 1)], is_lower=False)
    assert set(lower.may_apply(5)) == {"from 1", "from 5"}
    assert set(lower.may_apply(4.9)) == {"from 1"}
    assert set(upper.may_apply(1)) == {"to 1", "to 5"}
    assert set(upper.may_apply(1.1)) == {"to 5"}


def test_few_rules_that_ask_alike_are_asked_one_by_one() -> None:
    condition = Condition("args.x", {"min": 1}, (at_least(1),), path=("x",))
    few = {place: [condition] for place in range(INDEXED_FROM - 1)}
    assert indexed(few) == ({}, list(few))
    found, left = indexed(few | {INDEXED_FROM: [condition]})
    assert list(found) == [("args.x", "lower")]
    assert left == []


def test_a_rule_is_in_one_index() -> None:
    both = [
        Condition("args.x", {"below": 9}, (below(9),), path=("x",)),
        Condition("args.y", {"in": ["a"]}, (in_test(["a"]),), path=("y",)),
    ]
    found, left = indexed(dict.fromkeys(range(9), both))
    assert list(found) == [("args.y", "named")]
    assert left == []
