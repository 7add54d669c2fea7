"""The kinds of what is found in a text, and which of several findings counts."""

from bisect import bisect
from collections.abc import Iterable, Mapping

from penstock.ports.classifiers import Finding

KINDS = ("card", "iban", "phone", "email", "national_id", "secret")
"""What is found without more being said. An agent's own patterns have names of their own."""
GROUPS = {"pii": ("card", "iban", "phone", "email", "national_id"), "all": KINDS}
"""Names for several kinds."""


def apart(found: Iterable[Finding], strictness: Mapping[str, int] | None = None) -> list[Finding]:
    """Those that do not overlap, in the order of the text.

    Of those that do: the one that is dealt with most strictly, of equals the surest, of these the longest.
    """
    order = strictness or {}
    kept: list[Finding] = []
    for finding in sorted(
        found, key=lambda one: (-order.get(one.kind, 0), -one.score, one.start - one.end, one.start, one.kind)
    ):
        place = bisect(kept, finding)
        before_ends = place == 0 or kept[place - 1].end <= finding.start
        if before_ends and (place == len(kept) or finding.end <= kept[place].start):
            kept.insert(place, finding)
    return kept
