"""Calls that a run repeated without anything new coming back; pure.

What is new is judged as the rule against it does (`penstock.rules.progress`): a call brings something new when it
succeeds with a result that no earlier call of the run had. A loop begins with a call and goes on with those that have
its name and arguments, or that fail in its stead, for as long as nothing new comes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

LOOP_MIN = 3
"""Calls that make a loop: from the third on the rule `repeats` refuses them."""
LOOPS_MAX = 200
"""Loops of one run that are told, at most: the first ones."""


@dataclass(slots=True, frozen=True)
class PastCall:
    """A tool call or a delegation that was over. ``span``: its index; ``seq``: of its last event."""

    span: int
    seq: int
    name: str
    digest: str  # of the arguments
    ok: bool
    result: str  # commitment to what came back; "" = nothing did


class Loop(msgspec.Struct, frozen=True):
    """Repeated calls. ``nano``: money spent since the last new fact, until the loop's last call."""

    name: str
    spans: list[int]
    nano: int
    tokens_growth: float  # prompt tokens of the last model call in it over those of the first; 1 = no growth
    said: str


@dataclass(slots=True)
class Spending:
    """What the model calls between took: of each its seq, tokens of its prompt and money, in order of seq."""

    seqs: Sequence[int]
    prompts: Sequence[int]
    nano: Sequence[int]

    def between(self, low: int, high: int) -> tuple[int, float]:
        """Money after ``low`` and up to ``high``, and by how much the prompt grew in that time."""
        from bisect import bisect_right

        first, last = bisect_right(self.seqs, low), bisect_right(self.seqs, high)
        prompts = [tokens for tokens in self.prompts[max(0, first - 1) : last] if tokens]
        growth = prompts[-1] / prompts[0] if prompts else 1.0
        return sum(self.nano[first:last]), growth


def find_loops(calls: Sequence[PastCall], spending: Spending) -> list[Loop]:
    """The loops among calls in the order in which they were over."""
    loops: list[Loop] = []
    known: set[str] = set()
    first: dict[tuple[str, str], PastCall] = {}  # the latest that began anew, by name and arguments
    stale: list[PastCall] = []
    new_at = 0
    for call in calls:
        if call.ok and (not call.result or call.result not in known):
            loops += _within(stale, first, spending, new_at)
            stale, new_at = [], call.seq
            first[call.name, call.digest] = call
        else:
            stale.append(call)
        known.add(call.result)
    loops += _within(stale, first, spending, new_at)
    return loops[:LOOPS_MAX]


def same_groups(keys: Sequence[tuple[str, str, str] | None]) -> list[int]:
    """For each span the number, from 1, of the group of calls with the same kind, name and arguments; 0 = alone."""
    counts: dict[tuple[str, str, str], int] = {}
    for key in keys:
        if key is not None:
            counts[key] = counts.get(key, 0) + 1
    numbers: dict[tuple[str, str, str], int] = {}
    return [numbers.setdefault(key, len(numbers) + 1) if key is not None and counts[key] > 1 else 0 for key in keys]


def _within(
    stale: Sequence[PastCall], first: Mapping[tuple[str, str], PastCall], spending: Spending, new_at: int
) -> list[Loop]:
    """The loops in a stretch of calls that brought nothing new."""
    if not stale:
        return []
    groups: dict[tuple[str, str], list[PastCall]] = {}
    for call in stale:
        key = call.name, call.digest
        if key not in groups:
            groups[key] = [first[key]] if key in first else []
        groups[key].append(call)
    loops = []
    for (name, _), group in groups.items():
        if len(group) >= LOOP_MIN:
            loops.append(_loop(group, spending, new_at, f"{name} ×{len(group)} with the same arguments"))
    looped = {call.span for group in groups.values() if len(group) >= LOOP_MIN for call in group}
    failing: dict[str, list[PastCall]] = {}
    for call in stale:
        if not call.ok and call.span not in looped:
            failing.setdefault(call.name, []).append(call)
    for name, group in failing.items():
        if len(group) >= LOOP_MIN:
            loops.append(_loop(group, spending, new_at, f"{name} failed or was refused {len(group)} times in a row"))
    return sorted(loops, key=lambda loop: loop.spans[0])


def _loop(group: Sequence[PastCall], spending: Spending, new_at: int, said: str) -> Loop:
    nano, growth = spending.between(new_at, group[-1].seq)
    grown = f"; the prompt grew {growth:.1f}-fold" if growth >= 1.1 else ""
    return Loop(group[0].name, [call.span for call in group], nano, growth, f"{said}, nothing new came back{grown}")
