"""Ready-made checks: bounds and relations of arguments, windows over a run, values that must come from its case."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import checks, tool
from penstock.agents.checks import Case, CaseCall, Check
from penstock.events import BudgetRecord
from penstock.rules import validation
from penstock.rules.verdict import CallFacts, RunFacts

NAN, INFINITE = math.nan, math.inf
AT = 1_000_000_000


def case(*calls: CaseCall, **fields: Any) -> Case:
    return Case(tool="refund", path="9", now=AT, calls={str(n): call for n, call in enumerate(calls)}, **fields)


def refund(amount: Any = 10, seconds_ago: float = 0, **fields: Any) -> CaseCall:
    return CaseCall("refund", {"amount": amount}, at=AT - int(seconds_ago * 1e6), **fields)


@pytest.mark.parametrize(
    ("check", "args", "fits"),
    [
        (checks.bounds("amount", low=1, high=50), {"amount": 1}, True),
        (checks.bounds("amount", low=1, high=50), {"amount": 50}, True),
        (checks.bounds("amount", low=1, high=50), {"amount": 50.0001}, False),
        (checks.bounds("amount", low=1), {"amount": 0}, False),
        (checks.bounds("amount", high=50), {"amount": NAN}, False),
        (checks.bounds("amount", low=1), {"amount": INFINITE}, False),
        (checks.bounds("amount", high=50), {"amount": "7"}, False),
        (checks.bounds("amount", high=50), {"amount": True}, False),
        (checks.bounds("amount", high=50), {"amount": [7]}, False),
        (checks.bounds("amount", high=50), {}, True),
        (checks.bounds("lines[0].price", high=50), {"lines": [{"price": 51}]}, False),
        (checks.bounds("lines[-1].price", high=50), {"lines": [{"price": 51}, {"price": 2}]}, True),
        (checks.length("note", most=3), {"note": "abcd"}, False),
        (checks.length("note", most=3, least=1), {"note": ""}, False),
        (checks.length("lines", most=2), {"lines": [1, 2]}, True),
        (checks.length("note", most=3), {"note": {"a": 1}}, False),
        (checks.one_of("currency", ["EUR", "USD"]), {"currency": "EUR"}, True),
        (checks.one_of("currency", ["EUR", "USD"]), {"currency": "eur"}, False),
        (checks.one_of("kind", [1, 2]), {"kind": True}, False),
        (checks.one_of("kind", [1, 2]), {"kind": "1"}, False),
        (checks.one_of("kind", [1, 2]), {"kind": ["x"]}, False),
        (checks.required("order"), {}, False),
        (checks.required("order"), {"order": None}, False),
        (checks.required("reason", when="amount"), {}, True),
        (checks.required("reason", when="amount"), {"amount": 3}, False),
        (checks.exactly_one("order", "ticket"), {"order": "o", "ticket": "t"}, False),
        (checks.exactly_one("order", "ticket"), {}, False),
        (checks.exactly_one("order", "ticket"), {"ticket": "t"}, True),
        (checks.in_order("begin", "end"), {"begin": "2026-01-02", "end": "2026-01-02"}, True),
        (checks.in_order("begin", "end"), {"begin": "2026-01-02", "end": "2026-01-01"}, False),
        (checks.in_order("begin", "end"), {"begin": "2026-01-02T10:00:00Z", "end": "2026-01-03"}, False),
        (checks.in_order("low", "high"), {"low": 1, "high": 2}, True),
        (checks.in_order("low", "high"), {"low": 1, "high": "2"}, False),
        (checks.in_order("low", "high"), {"low": "soon", "high": "later"}, False),
    ],
)
def test_arguments_alone(check: Check, args: dict[str, Any], fits: bool) -> None:
    said = check(args)
    assert (said is None) is fits, said
    for value in args.values():
        assert said is None or not isinstance(value, str) or len(value) < 2 or value not in said, "no value is repeated"


def test_calls_of_a_run_are_counted() -> None:
    most = checks.at_most_calls(3)
    assert most.judge({}, case(refund(), refund())) is None
    assert most.judge({}, case(refund(), refund(state="error"), refund(state="ok"))) is not None
    assert most.judge({}, case(refund(), refund(), CaseCall("mail"))) is None
    recent = checks.at_most_calls(1, within_seconds=60)
    assert recent.judge({}, case(refund(seconds_ago=61), refund(seconds_ago=59))) is not None
    assert recent.judge({}, case(refund(seconds_ago=61), refund(seconds_ago=100))) is None
    both = checks.at_most_calls(2, tools=["mail", "refund"])
    assert both.judge({}, case(refund(), CaseCall("mail"))) is not None
    assert most.judge({}, case(refund(), forgotten={"refund"})) is not None, "what is not known denies"


@pytest.mark.parametrize("bad", [NAN, INFINITE, -1, "7", True, {}])
def test_sums_of_a_run(bad: Any) -> None:
    most = checks.sum_at_most("amount", 100)
    assert most.judge({"amount": 60}, case(refund(40))) is None
    assert most.judge({"amount": 60}, case(refund(40.01))) is not None
    assert most.judge({"amount": 60}, case(refund(None), refund(40))) is None
    assert most.judge({"amount": bad}, case()) is not None
    assert most.judge({"amount": 1}, case(refund(bad))) is not None
    assert most.judge({"amount": 1}, case(CaseCall("refund", None))) is not None, "what was erased has no sum"
    recent = checks.sum_at_most("amount", 100, within_seconds=60)
    assert recent.judge({"amount": 60}, case(refund(90, seconds_ago=61))) is None


FOUND = {"orders": [{"id": "o-17", "n": 4}, {"id": "o-18", "note": "see o-20."}]}
ORDERS = CaseCall("get_orders", result=FOUND, state="ok")


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("o-17", True),
        ("o-18", True),
        (4, True),
        ("4", True),
        (4.0, True),
        ("o-1", False),
        ("o-19", False),
        ("o-20", False),
        (["o-17", "o-18"], True),
        (["o-17", "o-19"], False),
        ([], True),
        (None, True),
        (True, False),
        ({"id": "o-17"}, False),
        ("id", False),
        ("o-30", True),
        ("O-17", False),
    ],
)
def test_what_is_traced(value: Any, fits: bool) -> None:
    known = case(ORDERS, CaseCall("search", result="o-19", state="ok"), input="please refund o-30.")
    said = checks.traced("order", to=["get_orders"]).judge({"order": value}, known)
    assert (said is None) is fits, said


def test_only_what_succeeded_and_what_is_named_counts() -> None:
    check = checks.traced("order", to=["get_orders"], inputs=False)
    assert check.judge({"order": "o-17"}, case(CaseCall("get_orders", result="o-17", state="error"))) is not None
    assert check.judge({"order": "o-17"}, case(CaseCall("get_orders", result="o-17"))) is not None
    assert check.judge({"order": "o-17"}, case(input="o-17")) is not None
    assert checks.traced("order", to=["get_orders"], words=True).judge({"order": "o-20"}, case(ORDERS)) is None
    with pytest.raises(ValueError, match="traced to nothing"):
        checks.traced("order", to=[], inputs=False)


def test_one_that_looks_at_the_run_cannot_be_asked_without_it() -> None:
    with pytest.raises(TypeError, match="asked by the gate"):
        checks.sum_at_most("amount", 1)({"amount": 1})


@pytest.mark.parametrize("bad", [{}, {"low": 2, "high": 1}, {"low": NAN, "high": 2}])
def test_bounds_that_bound_nothing_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="bounds of amount"):
        checks.bounds("amount", **bad)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


async def refund_it(amount: Any) -> str:
    """Refund."""
    return "done"


DECLARED = {
    name: tool(effect="write", name="refund", validate=[check])(refund_it)
    for name, check in {
        "bounds": checks.bounds("amount", low=1, high=50),
        "sum": checks.sum_at_most("amount", 50),
        "traced": checks.traced("amount", to=["look"], inputs=False),
    }.items()
}


@settings(max_examples=500, deadline=None)
@given(PLAIN, PLAIN, PLAIN)
def test_whatever_is_asked_nothing_but_what_fits_is_allowed(value: Any, earlier: Any, seen: Any) -> None:
    """Through the rule, as the gate asks it: a check that raises denies, too."""
    known = case(CaseCall("refund", {"amount": earlier}), CaseCall("look", result=seen, state="ok"))
    facts = RunFacts(BudgetRecord())
    facts.case = known

    def allowed(check: str) -> bool:
        asked = CallFacts("tool", "refund", "d", {"amount": value}, DECLARED[check].definition, path="9")
        return validation.decide(asked, facts) is None

    def is_fine(number: Any) -> bool:
        return type(number) in (int, float) and math.isfinite(number)

    if allowed("bounds"):
        assert value is None or (is_fine(value) and 1 <= value <= 50)
    if allowed("sum"):
        for number in (value, earlier):
            assert number is None or (is_fine(number) and number >= 0)
        assert (value or 0) + (earlier or 0) <= 50
    if allowed("traced"):
        wanted = [item for item in (value if isinstance(value, list) else [value]) if item is not None]
        assert all(isinstance(item, str) or is_fine(item) for item in wanted)
        assert not wanted or (seen not in ([], {}) and seen is not None and not isinstance(seen, bool))
