"""Numbers of payment cards: a brand's prefix and length, and the check digit (Luhn; ISO/IEC 7812-1, annex B)."""

import re
from collections.abc import Iterator

from penstock.ports.classifiers import Finding

_CLUSTER = re.compile(r"(?<![A-Za-z0-9])(?<!\d[.,])\d(?:[ -]?\d){11,40}(?![A-Za-z0-9])")
_GROUP = re.compile(r"\d+")
_UUID_BEFORE = re.compile(r"[0-9A-Fa-f]{4}-\Z")
_BRANDS: tuple[tuple[str, str, frozenset[int]], ...] = (
    ("4", "4", frozenset((13, 16, 19))),  # Visa
    ("51", "55", frozenset((16,))),  # Mastercard
    ("2221", "2720", frozenset((16,))),
    ("34", "34", frozenset((15,))),  # American Express
    ("37", "37", frozenset((15,))),
    ("6011", "6011", frozenset(range(16, 20))),  # Discover
    ("644", "659", frozenset(range(16, 20))),
    ("300", "305", frozenset(range(14, 20))),  # Diners Club
    ("309", "309", frozenset(range(14, 20))),
    ("36", "36", frozenset(range(14, 20))),
    ("38", "39", frozenset(range(14, 20))),
    ("35", "35", frozenset(range(16, 20))),  # JCB has 3528 to 3589
    ("1800", "1800", frozenset((15,))),
    ("2131", "2131", frozenset((15,))),
    ("2200", "2204", frozenset(range(16, 20))),  # Mir
    ("62", "62", frozenset(range(16, 20))),  # UnionPay
    ("0604", "0604", frozenset(range(12, 20))),  # Maestro
    ("50", "50", frozenset(range(12, 20))),
    ("56", "58", frozenset(range(12, 20))),
    ("60", "69", frozenset(range(12, 20))),
)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_GROUPINGS = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 5), (4, 4, 4, 1), (6, 13), (4, 4, 4))


def find(text: str) -> Iterator[Finding]:
    """Card numbers, in one piece or in groups with single spaces or dashes between them."""
    for cluster in _CLUSTER.finditer(text):
        begin = cluster.start()
        if _UUID_BEFORE.search(text, max(0, begin - 5), begin):
            continue
        groups = [match.span() for match in _GROUP.finditer(text, begin, cluster.end())]
        first = 0
        while first < len(groups):
            last, score = _longest(text, groups, first)
            if score:
                yield Finding(groups[first][0], groups[last][1], "card", score)
            first = last + 1


def _longest(text: str, groups: list[tuple[int, int]], first: int) -> tuple[int, float]:
    """The last group of the longest card that begins with a group, and how sure that is; 0 = none begins there."""
    for last in range(min(len(groups), first + 8) - 1, first - 1, -1):
        sizes = tuple(end - start for start, end in groups[first : last + 1])
        if not 12 <= sum(sizes) <= 19 or (len(sizes) > 1 and min(sizes[:-1]) < 2):
            continue
        digits = "".join(text[start:end] for start, end in groups[first : last + 1])
        if is_card(digits):
            whole = len(sizes) == 1 or sizes in _GROUPINGS
            return last, 0.95 if len(digits) >= 14 and whole else 0.7
    return first, 0.0


def is_card(digits: str) -> bool:
    """Whether digits are a card's number: prefix, length and check digit."""
    size = len(digits)
    for low, high, sizes in _BRANDS:
        if size in sizes and low <= digits[: len(low)] <= high:
            return luhn(digits) and len(set(digits)) > 1
    return False


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        total += _DOUBLED[int(digit)] if place % 2 else int(digit)
    return total % 10 == 0
