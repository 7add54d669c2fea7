"""What a rule can ask of a value: tests, and how their answers combine.

An answer is True, False, or None for *undecided*: the value is missing, of another type than the test is about, or not
a number. Conditions combine as in Kleene's logic: one False makes a conjunction False whatever the others say, else one
undecided makes it undecided. What follows from an undecided rule is said in `penstock.rules.policy.policy_set`.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from penstock.rules.policy.measures import Measure

Answer = bool | None
Test = Callable[[Any], Answer]
Plain = Any


class _Missing:
    """There is no such value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "missing"


MISSING: Final = _Missing()
PATTERN_MAX_CHARS = 500
SET_MAX = 2000
TEXT_MAX_CHARS = 100_000
"""A longer text is not searched: the answer is undecided. Linear time of a megabyte is still a millisecond."""

_NUMBERS = (int, float)


def is_number(value: object) -> bool:
    """A finite number; true and false are none."""
    kind = type(value)
    return kind is int or (kind is float and math.isfinite(value))  # type: ignore[arg-type]


def is_test(operand: Plain) -> Test:
    """Equal to it. Another type is undecided: 5 and "5" are told apart by nobody who reads a policy."""
    if is_number(operand):
        return lambda value: value == operand if is_number(value) else None
    kind = type(operand)
    if operand is None:
        return lambda value: None if value is MISSING else value is None
    return lambda value: value == operand if type(value) is kind else None


def in_test(operands: list[Plain]) -> Test:
    """One of them."""
    if all(type(operand) is str for operand in operands):
        names = frozenset(operands)
        return lambda value: value in names if type(value) is str else None
    tests = [is_test(operand) for operand in operands]

    def one_of(value: Any) -> Answer:
        answers = [test(value) for test in tests]
        if True in answers:
            return True
        return None if all(answer is None for answer in answers) else False

    return one_of


def negated(test: Test) -> Test:
    """Not so; undecided stays undecided."""

    def no(value: Any) -> Answer:
        answer = test(value)
        return None if answer is None else not answer

    return no


def at_least(bound: float) -> Test:
    return lambda value: value >= bound if type(value) is int or is_number(value) else None


def at_most(bound: float) -> Test:
    return lambda value: value <= bound if type(value) is int or is_number(value) else None


def above(bound: float) -> Test:
    return lambda value: value > bound if type(value) is int or is_number(value) else None


def below(bound: float) -> Test:
    return lambda value: value < bound if type(value) is int or is_number(value) else None


def contains(part: str) -> Test:
    """A text holds the text. Of lists ask ``some``: a test that takes both would be passed by what it is not about."""
    return lambda value: part in value if type(value) is str else None


def starts_with(prefix: str) -> Test:
    return lambda value: value.startswith(prefix) if type(value) is str else None


def ends_with(suffix: str) -> Test:
    return lambda value: value.endswith(suffix) if type(value) is str else None


def present(wanted: bool) -> Test:
    """Whether there is such a value, and it is not null. Never undecided."""
    return lambda value: (value is not MISSING and value is not None) is wanted


def length(test: Test) -> Test:
    """Of a text, in characters."""
    return lambda value: test(len(value)) if type(value) is str else None


def size(test: Test) -> Test:
    """Of a list or mapping, in members."""
    return lambda value: test(len(value)) if type(value) in (list, dict) else None


def each(test: Test) -> Test:
    """Every member of a list; of none, too."""

    def all_of(value: Any) -> Answer:
        if type(value) is not list:
            return None
        answers = [test(item) for item in value]
        return False if False in answers else None if None in answers else True

    return all_of


def some(test: Test) -> Test:
    """At least one member of a list."""

    def any_of(value: Any) -> Answer:
        if type(value) is not list:
            return None
        answers = [test(item) for item in value]
        return True if True in answers else None if None in answers else False

    return any_of


def matches(pattern: str) -> Test:
    """The whole text matches the pattern.

    Searched by Rust's regex crate, as pydantic brings it: time linear in the text, so that no pattern can be made to
    hang a worker (https://docs.rs/regex, "Untrusted input"). It has no back-references and no look-around.

    Raises:
        ValueError: it is no pattern, or would be too large when compiled; the words say which.
    """
    search = compile_pattern(rf"\A(?:{pattern})\z")
    return lambda value: search(value) if type(value) is str and len(value) <= TEXT_MAX_CHARS else None


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """A search of it.

    Raises:
        ValueError: see `matches`.
    """
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    try:
        validator = SchemaValidator(core_schema.str_schema(pattern=pattern, strict=True, regex_engine="rust-regex"))
    except SchemaError as error:
        words = " ".join(str(error).split())
        raise ValueError(words.rsplit("error: ", 1)[-1].rsplit("SchemaError: ", 1)[-1]) from None
    return validator.isinstance_python


def name_test(pattern: str) -> Test:
    """A name, in which ``*`` stands for any characters."""
    if "*" not in pattern:
        return is_test(pattern)
    if pattern == "*":
        return lambda value: True if type(value) is str else None
    search = compile_pattern(r"\A(?s:" + ".*".join(re.escape(part) for part in pattern.split("*")) + r")\z")
    return lambda value: search(value) if type(value) is str else None


def names_test(patterns: list[str]) -> Test:
    """One of several names, in which ``*`` stands for any characters."""
    plain = frozenset(pattern for pattern in patterns if "*" not in pattern)
    tests = [name_test(pattern) for pattern in patterns if "*" in pattern]
    if not tests:
        return lambda value: value in plain if type(value) is str else None

    def named(value: Any) -> Answer:
        if type(value) is not str:
            return None
        return value in plain or any(test(value) is True for test in tests)

    return named


@dataclass(slots=True, frozen=True)
class Condition:
    """One line under ``when`` or ``unless``.

    Attributes:
        key: what it asks about, as it is written: ``tool``, ``args.amount_cents``, ``sum(args.amount_cents)``.
        source: what it asks, as a plain value: the tests by name.
        tests: the same compiled; all must hold.
        path: the steps of an ``args.`` or ``tags.`` path; empty for others.
        measure: of a sum or count.
    """

    key: str
    source: Mapping[str, Plain]
    tests: tuple[Test, ...]
    path: tuple[str | int, ...] = ()
    measure: Measure | None = None

    @property
    def root(self) -> str:
        """``args``, ``tags``, ``measure``, or the field's own name."""
        if self.measure is not None:
            return "measure"
        return self.key.split(".", 1)[0] if self.path else self.key

    def of(self, value: Any) -> Answer:
        """The answer for a value."""
        result: Answer = True
        for test in self.tests:
            answer = test(value)
            if answer is False:
                return False
            if answer is None:
                result = None
        return result

    def words(self) -> str:
        """As a reader of the policy would say it."""
        return f"{self.key} {'; '.join(f'{name} {show(operand)}' for name, operand in self.source.items())}"


def show(operand: Plain) -> str:
    """A plain value in words, cut where it is long."""
    if isinstance(operand, list):
        shown = ", ".join(show(item) for item in operand[:6])
        return f"{shown}, … ({len(operand)})" if len(operand) > 6 else shown
    if isinstance(operand, Mapping):
        return "; ".join(f"{name} {show(value)}" for name, value in operand.items())
    text = str(operand).lower() if isinstance(operand, bool) else str(operand)
    return text if len(text) <= 80 else text[:79] + "…"


def at_path(value: Any, path: tuple[str | int, ...]) -> Any:
    """What stands at a path of names and places, or `MISSING`."""
    for step in path:
        if type(step) is str:
            if type(value) is not dict or step not in value:
                return MISSING
            value = value[step]
        else:
            if type(value) is not list or not -len(value) <= step < len(value):  # type: ignore[operator]
                return MISSING
            value = value[step]  # type: ignore[index]
    return value


def conjunction(answers: list[Answer]) -> Answer:
    """Kleene's: one False decides, else one undecided."""
    if False in answers:
        return False
    return None if None in answers else True
