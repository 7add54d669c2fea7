"""Where a run's time went: one chain of calls and waits that tiles it from submission to end; pure.

The walk goes backwards from the end, as in Jaeger's critical path and, before it, in J. Hollingsworth, B. Miller,
"Parallel program performance metrics" (Supercomputing 1992): what ended last was waited for; before it, what its own
branch did before, or, where a branch begins, what had ended last by then in any branch. Concurrency here is structured,
so no edge has to be guessed: a group of branches is over when the last of them is.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

PARTS = ("queue", "model", "tool", "approval", "wait", "engine")
"""What a stretch of the path may be. ``wait``: for a timer, an event, a child, a retry; ``engine``: between calls."""

STRETCHES_MAX = 2_000
"""Stretches of one path, at most: beyond it the shortest are taken together with their neighbours."""
DEPTH_MAX = 200
"""Groups within groups that are looked into; one that is deeper counts as a whole."""

NO_SPAN = -1


class Stretch(msgspec.Struct, frozen=True):
    """A part of the path. ``span`` -1 = none: the queue, or the engine. Microseconds."""

    span: int
    part: str
    start: int
    duration: int


@dataclass(slots=True)
class Timeline:
    """What the path is found in; one element a span. Times in microseconds after the submission.

    Attributes:
        total: the end of the run, or now.
        parent: index of the group that a span belongs to; -1 = the run.
        branch: number of the branch that the span is called in; calls of one branch follow each other.
        start: when its first event was made.
        end: when its last one was; ``total`` for one that has not ended.
        part: what its time counts as; "" = it is a group, whose time is that of what is in it.
        cuts: spans whose time counts as several things: from when it counts as what, in order.
        idle: when nobody worked on the run though it had not ended: from, to; in order.
    """

    total: int
    parent: Sequence[int]
    branch: Sequence[int]
    start: Sequence[int]
    end: Sequence[int]
    part: Sequence[str]
    cuts: Mapping[int, Sequence[tuple[int, str]]] = field(default_factory=dict)
    idle: Sequence[tuple[int, int]] = ()


def critical_path(line: Timeline) -> list[Stretch]:
    """Stretches that follow each other without a gap and come to ``line.total``; [] when that is 0."""
    if line.total <= 0:
        return []
    walk = _Walk(line)
    walk.group(NO_SPAN, 0, line.total, 0)
    return walk.stretches()


def shares(path: Sequence[Stretch], total: int) -> dict[str, float]:
    """Each part's share of the total, 0 to 1."""
    sums = dict.fromkeys(PARTS, 0)
    for stretch in path:
        sums[stretch.part] += stretch.duration
    return {part: time / total if total else 0.0 for part, time in sums.items()}


def shortened(path: list[Stretch], most: int = STRETCHES_MAX) -> list[Stretch]:
    """At most ``most`` stretches of the same whole: what lies between the longest ones becomes one stretch each, which
    goes by what most of it is."""
    if len(path) <= most:
        return path
    keep = set(sorted(range(len(path)), key=lambda index: path[index].duration, reverse=True)[: most // 2])
    short: list[Stretch] = []
    between: list[Stretch] = []
    for index, stretch in enumerate(path):
        if index not in keep:
            between.append(stretch)
            continue
        if between:
            short.append(_together(between))
            between = []
        short.append(stretch)
    return [*short, _together(between)] if between else short


def _together(stretches: Sequence[Stretch]) -> Stretch:
    longest = max(stretches, key=lambda stretch: stretch.duration)
    sums: dict[str, int] = {}
    for stretch in stretches:
        sums[stretch.part] = sums.get(stretch.part, 0) + stretch.duration
    part = max(sums, key=lambda name: sums[name])
    span = longest.span if longest.part == part else NO_SPAN
    return Stretch(span, part, stretches[0].start, sum(stretch.duration for stretch in stretches))


class _Walk:
    """The path so far, from its end to its beginning."""

    def __init__(self, line: Timeline) -> None:
        self._line = line
        self._spans = array("q")
        self._parts: list[str] = []
        self._starts = array("q")
        self._members: dict[int, list[int]] = {}
        self._before = array("q", [NO_SPAN]) * len(line.parent)
        """The call before in the same branch."""
        last: dict[int, int] = {}
        for index, parent in enumerate(line.parent):
            self._members.setdefault(parent, []).append(index)
            self._before[index] = last.get(line.branch[index], NO_SPAN)
            last[line.branch[index]] = index
        self._visited = bytearray(len(line.parent))

    def group(self, group: int, low: int, high: int, depth: int) -> None:
        """Cover the time from ``low`` to ``high`` by what went on in a group."""
        line, visited = self._line, self._visited
        waiting = sorted(self._members.get(group, ()), key=line.end.__getitem__)
        now = high
        chosen = NO_SPAN
        while now > low:
            before = self._before[chosen] if chosen != NO_SPAN else NO_SPAN
            if before != NO_SPAN and not visited[before] and line.end[before] <= now:
                chosen = before
            else:
                while waiting and (visited[waiting[-1]] or line.end[waiting[-1]] > now):
                    waiting.pop()
                if not waiting:
                    break
                chosen = waiting.pop()
            visited[chosen] = 1
            start, end = max(line.start[chosen], low), max(line.end[chosen], low)
            self._between(end, now)
            now = min(now, end)
            if start < now:
                self._cover(chosen, start, now, depth)
                now = start
        self._between(low, now)

    def _cover(self, span: int, start: int, end: int, depth: int) -> None:
        part = self._line.part[span]
        if not part and depth < DEPTH_MAX:
            self.group(span, start, end, depth + 1)
            return
        cuts = self._line.cuts.get(span)
        if cuts is None:
            self._add(span, part or "engine", start)
            return
        for at, name in reversed(cuts):
            if at < end:
                self._add(span, name, max(start, at))
                end = max(start, at)
            if end <= start:
                return
        self._add(span, cuts[0][1], start)

    def _between(self, start: int, end: int) -> None:
        """Time that no call took: in the queue where nobody held the run, else the engine's and the agent's code."""
        if start >= end:
            return
        for begun, over in reversed(self._line.idle):
            if over <= start:
                break
            if begun >= end:
                continue
            if over < end:
                self._add(NO_SPAN, "engine", over)
            end = max(start, begun)
            self._add(NO_SPAN, "queue", end)
            if end <= start:
                return
        self._add(NO_SPAN, "engine", start)

    def _add(self, span: int, part: str, start: int) -> None:
        """The stretch that ends where the one found before begins."""
        if self._parts and self._parts[-1] == part and self._spans[-1] == span:
            self._starts[-1] = start
            return
        if self._starts and self._starts[-1] <= start:
            return
        self._spans.append(span)
        self._parts.append(part)
        self._starts.append(start)

    def stretches(self) -> list[Stretch]:
        """The path in order of time."""
        starts = [*reversed(self._starts), self._line.total]
        named = zip(reversed(self._spans), reversed(self._parts), strict=True)
        return [
            Stretch(span, part, begun, ended - begun)
            for (span, part), (begun, ended) in zip(named, pairwise(starts), strict=True)
            if ended > begun
        ]
