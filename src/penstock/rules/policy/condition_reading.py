"""Reading what stands under ``when`` and ``unless``: what is asked about, and the tests that it must pass."""

from collections.abc import Callable
from typing import Any

from penstock.rules.policy import conditions as tests
from penstock.rules.policy.conditions import PATTERN_MAX_CHARS, SET_MAX, Condition, Plain, Test
from penstock.rules.policy.measures import parse_measure, parse_path
from penstock.rules.policy.source import Complaints, Node, Place, kind_of, nearest

EFFECTS = ("read", "write")
RISKS = ("low", "medium", "high", "prohibited")
NAMES = ("tool", "agent", "release", "environment", "tenant", "customer", "behalf")
"""Fields in which ``*`` stands for any characters."""
FIELDS = ("effect", "risk", *NAMES, "taint", "args.", "tags.", "sum(args.…)", "count()")
NUMBER_TESTS: dict[str, Callable[[float], Test]] = {
    "min": tests.at_least,
    "max": tests.at_most,
    "above": tests.above,
    "below": tests.below,
}
TEXT_TESTS: dict[str, Callable[[str], Test]] = {
    "matches": tests.matches,
    "contains": tests.contains,
    "starts_with": tests.starts_with,
    "ends_with": tests.ends_with,
}
INNER_TESTS: dict[str, Callable[[Test], Test]] = {
    "length": tests.length,
    "size": tests.size,
    "each": tests.each,
    "some": tests.some,
}
VALUE_TESTS = ("is", "not", "in", "not_in", "present", *NUMBER_TESTS, *TEXT_TESTS, *INNER_TESTS)
NAME_TESTS = ("is", "not", "in", "not_in", "present")


def read_condition(key: str, place: Place, node: Node, complaints: Complaints) -> Condition | None:
    """One line, or None when it was complained about."""
    before = len(complaints.found)
    condition = _read(key, place, node, complaints)
    return condition if len(complaints.found) == before else None


def _read(key: str, place: Place, node: Node, complaints: Complaints) -> Condition | None:
    if key in ("effect", "risk"):
        return _named(key, node, complaints, EFFECTS if key == "effect" else RISKS)
    if key in NAMES:
        return _named(key, node, complaints, ())
    if key == "taint":
        return _taint(node, complaints)
    try:
        if key.startswith(("args.", "tags.")):
            path = parse_path(key[5:])
            if key.startswith("tags."):
                path = (key[5:],)
            return Condition(key, *_tests(node, complaints, VALUE_TESTS), path=path)
        if key.startswith(("sum", "count")) and "(" in key:
            measure = parse_measure(key)
            return Condition(key, *_tests(node, complaints, ("is", *NUMBER_TESTS)), measure=measure)
    except ValueError as error:
        complaints.add(place, f"{key!r} cannot be read", str(error))
        return None
    complaints.add(place, f"{key!r} is nothing that a rule can ask about", nearest(key, FIELDS))
    return None


def _named(key: str, node: Node, complaints: Complaints, known: tuple[str, ...]) -> Condition | None:
    """A field that holds a name: one, a list of them, or ``not`` these."""
    source: dict[str, Plain] = {}
    made: list[Test] = []
    given = node.value if isinstance(node.value, dict) else {"in" if isinstance(node.value, list) else "is": node}
    for name, operand in given.items():
        if name not in NAME_TESTS:
            place = node.keys.get(name, node.place)
            complaints.add(place, f"{name!r} is no test of a name", nearest(name, NAME_TESTS))
            continue
        if name == "present":
            _present(operand, source, made, complaints)
            continue
        nodes = operand.value if isinstance(operand.value, list) else [operand]
        names = [_name(key, one, known, complaints) for one in nodes]
        if not names or len(names) > SET_MAX:
            complaints.add(operand.place, f"a set of {len(names):,} names", f"name 1 to {SET_MAX:,}")
            continue
        test = tests.names_test(names)
        made.append(tests.negated(test) if name.startswith("not") else test)
        source[name] = sorted(set(names)) if isinstance(operand.value, list) else names[0]
    if not given:
        complaints.add(node.place, f"{key} says nothing", "name one, or a list of them")
    return Condition(key, source, tuple(made))


def _name(key: str, node: Node, known: tuple[str, ...], complaints: Complaints) -> str:
    if not isinstance(node.value, str) or not 0 < len(node.value) <= 256:
        complaints.add(node.place, f"{key} is a name, not {kind_of(node.value)}", "write a text; quote it if need be")
        return ""
    if known and node.value not in known:
        complaints.add(node.place, f"{node.value!r} is no {key}", nearest(node.value, known))
    return node.value


def _present(operand: Node, source: dict[str, Plain], made: list[Test], complaints: Complaints) -> None:
    if not isinstance(operand.value, bool):
        complaints.add(operand.place, f"present is {operand.kind}", "write true or false")
        return
    source["present"] = operand.value
    made.append(tests.present(operand.value))


def _taint(node: Node, complaints: Complaints) -> Condition | None:
    """``any``, ``none``, a kind or several, or ``{from: tools}``."""
    source: dict[str, Plain] = {}
    given = node.value if isinstance(node.value, dict) else {"kind": node}
    for name, operand in given.items():
        if name not in ("kind", "from"):
            place = node.keys.get(name, node.place)
            complaints.add(place, f"{name!r} means nothing here", nearest(name, ("kind", "from")))
            continue
        nodes = operand.value if isinstance(operand.value, list) else [operand]
        names = [_name("taint", one, (), complaints) for one in nodes]
        if not names or ({"any", "none"} & set(names) and (len(names) > 1 or name == "from")):
            complaints.add(operand.place, "any and none stand alone", "write `taint: any`, or a list of kinds")
            continue
        source[name] = sorted(set(names)) if len(names) > 1 else names[0]
    if not source:
        complaints.add(node.place, "taint says nothing", "write `taint: any`, `none`, or a kind")
    return Condition("taint", source, tuple(_taint_test(name, operand) for name, operand in source.items()))


def _taint_test(name: str, operand: Plain) -> Test:
    if operand == "any":
        return bool
    if operand == "none":
        return lambda taint: not taint
    named = tests.names_test(operand if isinstance(operand, list) else [operand])
    if name == "from":
        return lambda taint: any(named(source) is True for source in taint)
    return lambda taint: any(named(kind) is True for kind in taint.values())


def _tests(
    node: Node, complaints: Complaints, allowed: tuple[str, ...], depth: int = 0
) -> tuple[dict[str, Plain], tuple[Test, ...]]:
    """The tests of a value: a mapping of them, a set, or what it must equal."""
    if not isinstance(node.value, dict):
        name = "in" if isinstance(node.value, list) else "is"
        if name not in allowed:
            complaints.add(node.place, "a sum or count is compared with bounds", "write {min: …}, {max: …}, {above: …}")
            return {}, ()
        node = Node(node.place, {name: node}, {name: node.place})
    assert isinstance(node.value, dict)
    if not node.value:
        complaints.add(node.place, "nothing is asked of it", f"use one of {', '.join(allowed)}")
    source: dict[str, Plain] = {}
    made: list[Test] = []
    for name, operand in node.value.items():
        if name not in allowed:
            complaints.add(node.keys[name], f"{name!r} is no test", nearest(name, allowed))
            continue
        test = _test(name, operand, complaints, depth)
        if test is not None:
            source[name], compiled = test
            made.append(compiled)
    return source, tuple(made)


def _test(name: str, operand: Node, complaints: Complaints, depth: int) -> tuple[Plain, Test] | None:
    value: Any = operand.plain()
    if name in NUMBER_TESTS:
        if not tests.is_number(value):
            complaints.add(operand.place, f"{name} is {operand.kind}", "write a number, without quotes")
            return None
        return value, NUMBER_TESTS[name](value)
    if name in TEXT_TESTS:
        return _text_test(name, operand, complaints)
    if name == "present":
        source: dict[str, Plain] = {}
        made: list[Test] = []
        _present(operand, source, made, complaints)
        return (value, made[0]) if made else None
    if name in INNER_TESTS:
        if depth >= 3:
            complaints.add(operand.place, "tests inside tests inside tests", "ask about a deeper path instead")
            return None
        allowed = ("is", *NUMBER_TESTS) if name in ("length", "size") else VALUE_TESTS
        inner, compiled = _tests(operand, complaints, allowed, depth + 1)
        combined = Condition("", inner, compiled)
        return inner, INNER_TESTS[name](combined.of)
    return _equality(name, operand, complaints)


def _text_test(name: str, operand: Node, complaints: Complaints) -> tuple[Plain, Test] | None:
    value = operand.value
    if not isinstance(value, str) or not value:
        complaints.add(operand.place, f"{name} is {operand.kind}, or empty", "write a text in quotes")
        return None
    if len(value) > PATTERN_MAX_CHARS:
        words = f"{name} has {len(value):,} characters"
        complaints.add(operand.place, words, f"use at most {PATTERN_MAX_CHARS}, or a set of texts")
        return None
    try:
        return value, TEXT_TESTS[name](value)
    except ValueError as error:
        fix = "patterns are those of Rust's regex crate: no back-references, no look-around; single quotes keep \\"
        complaints.add(operand.place, f"{value[:60]!r} is no pattern: {error}", fix)
        return None


def _equality(name: str, operand: Node, complaints: Complaints) -> tuple[Plain, Test] | None:
    value: Any = operand.plain()
    is_set = isinstance(value, list)
    if isinstance(value, dict) or (is_set and any(isinstance(item, list | dict) for item in value)):
        complaints.add(
            operand.place, f"{name} is compared with {operand.kind}", "use a text, number, true, false, null"
        )
        return None
    if name in ("in", "not_in") and not is_set:
        complaints.add(operand.place, f"{name} is {operand.kind}", "write a list: [USD, EUR]")
        return None
    if is_set and not 0 < len(value) <= SET_MAX:
        complaints.add(operand.place, f"a set of {len(value):,} values", f"name 1 to {SET_MAX:,}")
        return None
    test = tests.in_test(value) if is_set else tests.is_test(value)
    return value, tests.negated(test) if name.startswith("not") else test
