"""No progress: calls go on, but nothing new comes back. The model is told to wrap up, then must answer."""

from collections.abc import Sequence

from penstock.rules.budget import MUST_ANSWER, WRAP_UP
from penstock.rules.verdict import PastCall

NUDGE_AFTER = 4  # calls in a row that brought nothing new
STOP_AFTER = 5  # before `repeats.STOP_REPEATS` ends the run: who repeats one call is first made to answer


def level(past: Sequence[PastCall]) -> int:
    """0, 70 (wrap up) or 90 (must answer), by how many of the latest calls failed or repeated a known result."""
    known: set[str] = set()
    stale = 0
    for item in past:
        fresh = item.ok and (not item.result or item.result not in known)
        known.add(item.result)
        stale = 0 if fresh else stale + 1
    if stale >= STOP_AFTER:
        return MUST_ANSWER
    return WRAP_UP if stale >= NUDGE_AFTER else 0
