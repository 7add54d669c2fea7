"""An agent's own patterns: regular expressions of a kind that cannot run away.

Python's engine tries again at every choice, so that a pattern such as ``(a+)+b`` takes time without end on the right
text. Here each choice has a bound, and the product of them, which is what one place in the text can cost, has one too.
"""

import importlib
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from penstock.ports.classifiers import Finding

_parser = importlib.import_module("re._parser")  # the only reader of Python's own patterns; it has no public name
REPEAT_MAX = 256
"""Most times that one part of a pattern may come."""
COST_MAX = 4096
"""Ways in which a pattern may be tried at one place of a text."""
PATTERN_MAX_CHARS = 1000
_FLAT = frozenset(("LITERAL", "NOT_LITERAL", "IN", "ANY", "AT"))


class PatternUnsafe(ValueError):
    """A pattern that could take too long, or cannot be read."""


def compiled(name: str, pattern: str) -> re.Pattern[str]:
    """The pattern, ready for use.

    Raises:
        PatternUnsafe: not a regular expression, longer than `PATTERN_MAX_CHARS`, matching nothing at all, or with more
            than `COST_MAX` ways at one place: an open repetition, nested repetitions, references to groups.
    """
    if len(pattern) > PATTERN_MAX_CHARS:
        raise PatternUnsafe(f"the pattern {name} has more than {PATTERN_MAX_CHARS} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = re.compile(pattern)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise PatternUnsafe(f"the pattern {name} is no regular expression: {error}") from error
    cost = _cost(name, tree)
    if cost > COST_MAX:
        raise PatternUnsafe(f"the pattern {name} can be tried in more than {COST_MAX} ways at one place")
    if tree.getwidth()[0] < 1:
        raise PatternUnsafe(f"the pattern {name} matches nothing at all")
    return found


def _cost(name: str, tree: Any) -> int:
    """In how many ways a part can be tried."""
    total = 1
    for kind, said in tree:
        total *= _cost_of(name, str(kind), said)
        if total > COST_MAX:
            return COST_MAX + 1
    return total


def _cost_of(name: str, kind: str, said: Any) -> int:
    if kind in _FLAT:
        return 1
    if kind == "SUBPATTERN":
        return _cost(name, said[3])
    if kind in ("ASSERT", "ASSERT_NOT"):
        return _cost(name, said[1])
    if kind == "BRANCH":
        return sum(_cost(name, branch) for branch in said[1])
    if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        least, most, part = said
        if int(most) > REPEAT_MAX:
            raise PatternUnsafe(f"the pattern {name} repeats a part without a bound; write {{1,{REPEAT_MAX}}}, not +")
        inside = _cost(name, part)
        ways: int = min(inside ** min(int(most), 16) if inside > 1 else 1, COST_MAX + 1)
        return ways * (int(most) - int(least) + 1)
    raise PatternUnsafe(f"the pattern {name} has a part that is not allowed here ({kind.lower()})")


def finder(patterns: Mapping[str, re.Pattern[str]]) -> Any:
    """A detector of these patterns, by their names."""

    def find(text: str) -> Iterator[Finding]:
        for name, pattern in patterns.items():
            for match in pattern.finditer(text):
                yield Finding(match.start(), match.end(), name, 1.0)

    return find


def widest(pattern: re.Pattern[str]) -> int:
    """Characters that the pattern may match, at most."""
    width: int = _parser.parse(pattern.pattern, pattern.flags).getwidth()[1]
    return width
