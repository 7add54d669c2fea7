"""Calls that a run made in vain, drawn together; pure.

What is in vain, and which calls stand in one stretch, says `penstock.rules.spiral_detector`: the brackets of the run
page, the sentences of ``penstock why`` and the rule that steps in judge alike. Within a stretch those calls make a loop
that are the same (the one that they repeat included), those of one tool that failed or were refused, and those of one
tool that told only what was known.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from penstock.events import Event
from penstock.kernel.money import show_usd
from penstock.rules.past import PastCall
from penstock.rules.spiral_detector import Stretch, Vain
from penstock.rules.spiral_tape import TapeReader
from penstock.rules.spirals import DEFAULT

LOOP_MIN = 3
"""Calls that make a loop: from the third on the rule `repeats` refuses them."""
LOOPS_MAX = 200
"""Loops of one run that are told, at most: the first ones."""


class Loop(msgspec.Struct, frozen=True):
    """Repeated calls. ``nano``: money spent since the last new fact, until the loop's last call."""

    name: str
    spans: list[int]
    nano: int
    tokens_growth: float  # tokens of the prompt of its last call over those at the last new fact; 1 = no growth
    said: str


class Stretches:
    """Fed with a run's events in order: all its stretches of calls in vain, the latest included."""

    def __init__(self) -> None:
        self._reader = TapeReader()
        self._ended: list[Stretch] = []

    def take(self, event: Event) -> None:
        """The next event."""
        ended = self._reader.take(event)
        if ended is not None:
            self._add(ended)

    def all(self) -> list[Stretch]:
        """The stretches so far, in order; once only."""
        if self._reader.detector.latest.calls:
            self._add(self._reader.detector.latest)
        return self._ended

    def _add(self, stretch: Stretch) -> None:
        """A stretch; of one that outgrew the detector's window the parts overlap, and are put together again."""
        before = self._ended[-1].calls if self._ended else []
        if before and stretch.calls[0].call.path in {vain.call.path for vain in before}:
            known = {vain.call.path for vain in before}
            before.extend(vain for vain in stretch.calls if vain.call.path not in known)
        else:
            self._ended.append(Stretch(stretch.since, list(stretch.calls), stretch.points, stretch.extras))


def find_loops(stretches: Iterable[Stretch], spans: Mapping[str, int]) -> list[Loop]:
    """The loops in stretches; ``spans``: the index of each call, by its path."""
    loops: list[Loop] = []
    for stretch in stretches:
        loops += _within(stretch, spans)
    return loops[:LOOPS_MAX]


def worst_circle(events: Iterable[Event]) -> str:
    """The stretch of a run in which most was in vain, in words; "" when none was worth a word to the model."""
    stretches = Stretches()
    for event in events:
        stretches.take(event)
    worst = max(stretches.all(), key=lambda stretch: stretch.score, default=None)
    if worst is None or worst.score < DEFAULT.nudge:
        return ""
    reading = worst.reading()
    grown = f"; the prompt grew {reading.growth:.1f}-fold" if reading.growth >= 1.1 else ""
    spent = f"; {show_usd(reading.nano)} spent since then" if reading.nano else ""
    return f"{reading.words}{grown}{spent}"


def same_groups(keys: Sequence[tuple[str, str, str] | None]) -> list[int]:
    """For each span the number, from 1, of the group of calls with the same kind, name and arguments; 0 = alone."""
    counts: dict[tuple[str, str, str], int] = {}
    for key in keys:
        if key is not None:
            counts[key] = counts.get(key, 0) + 1
    numbers: dict[tuple[str, str, str], int] = {}
    return [numbers.setdefault(key, len(numbers) + 1) if key is not None and counts[key] > 1 else 0 for key in keys]


def _within(stretch: Stretch, spans: Mapping[str, int]) -> list[Loop]:
    groups: dict[tuple[str, str], list[PastCall]] = {}
    for vain in stretch.calls:
        group = groups.setdefault((vain.call.name, vain.call.digest), [])
        if not group and vain.like is not None and vain.like.digest == vain.call.digest:
            group.append(vain.like)
        group.append(vain.call)
    loops: list[Loop] = []
    looped: set[str] = set()
    for (name, _), group in groups.items():
        if len(group) >= LOOP_MIN:
            looped.update(call.path for call in group)
            loops.append(_loop(group, stretch, spans, f"{name} ×{len(group)} with the same arguments"))
    rest = [vain for vain in stretch.calls if vain.call.path not in looped]
    for name, group in _by_name(vain for vain in rest if not vain.call.ok):
        loops.append(_loop(group, stretch, spans, f"{name} failed or was refused {len(group)} times in a row"))
    for name, group in _by_name(vain for vain in rest if vain.call.ok):
        loops.append(_loop(group, stretch, spans, f"{name} ×{len(group)} with other arguments"))
    if not loops and stretch.score >= DEFAULT.nudge:
        calls = [vain.call for vain in stretch.calls]
        loops.append(_loop(calls, stretch, spans, f"{len(calls)} calls of several tools"))
    return sorted((loop for loop in loops if loop.spans), key=lambda loop: loop.spans[0])


def _by_name(vain: Iterable[Vain]) -> list[tuple[str, list[PastCall]]]:
    named: dict[str, list[PastCall]] = {}
    for one in vain:
        named.setdefault(one.call.name, []).append(one.call)
    return [(name, group) for name, group in named.items() if len(group) >= LOOP_MIN]


def _loop(group: Sequence[PastCall], stretch: Stretch, spans: Mapping[str, int], said: str) -> Loop:
    since, last = stretch.since, group[-1]
    growth = last.prompt / since.prompt if since.prompt and last.prompt else 1.0
    grown = f"; the prompt grew {growth:.1f}-fold" if growth >= 1.1 else ""
    nano = max(0, last.nano - since.nano)
    shown = [spans[call.path] for call in group if call.path in spans]
    return Loop(group[0].name, shown, nano, growth, f"{said}, nothing new came back{grown}")
