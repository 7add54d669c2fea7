"""Sums and counts over the calls of a run so far, the one that is asked about included.

``sum(args.amount_cents) over refund within 1h``: what the run's calls of the tool ``refund`` had there, in the last
hour. ``count() over send_mail last 20`` would be at most 20. A call counts from when it was permitted, also while it is
under way, until it is known that it did nothing; one that failed counts, for a failure may come after the effect.
"""

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import asyncio

Covers = Callable[[str], bool]

LAST_MAX = 10_000
WITHIN_MAX_SECONDS = 31 * 86_400
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(s|min|h|d)\Z")
_FORM = re.compile(
    r"(?P<what>sum|count) ?\((?P<path>[^()]*)\)(?: over (?P<over>[^ ]+(?:, ?[^ ]+)*))?"
    r"(?: within (?P<within>[0-9.]+ ?[a-z]+))?(?: last (?P<last>[0-9]+))?\Z"
)


@dataclass(slots=True, frozen=True)
class Measure:
    """A sum or count. ``over`` are names of tools (``*`` = any characters), empty = the tool that is asked about.

    ``within_us``: microseconds back from now; ``last``: of so many calls of these tools; 0 = no such bound.
    """

    what: str  # sum | count
    path: tuple[str | int, ...]
    over: tuple[str, ...]
    within_us: int = 0
    last: int = 0


def parse_seconds(text: str) -> float:
    """A duration like ``90 s``, ``15 min``, ``1h``, ``2 d``, in seconds.

    Raises:
        ValueError: it is none.
    """
    found = _DURATION.match(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no duration; write it like 90 s, 15 min, 1 h or 2 d")
    return float(found[1]) * _UNITS[found[2]]


def parse_path(text: str) -> tuple[str | int, ...]:
    """The steps of a path below ``args.`` or ``tags.``: names with dots between them, places in brackets.

    Raises:
        ValueError: it is no path.
    """
    steps: list[str | int] = []
    for part in text.split("."):
        found = re.fullmatch(r"([^\[\]\s]+)((?:\[-?[0-9]{1,6}\])*)", part)
        if found is None:
            raise ValueError(f"{text!r} is no path; write it like address.street or lines[0].price")
        steps.append(found[1])
        steps.extend(int(place) for place in re.findall(r"\[(-?[0-9]+)\]", found[2]))
    if len(steps) > 16:
        raise ValueError(f"{text[:40]!r}… has more than 16 steps")
    return tuple(steps)


def parse_measure(text: str) -> Measure:
    """What a key like ``sum(args.amount_cents) over refund within 1h`` says.

    Raises:
        ValueError: it is none; the words say how to write it.
    """
    found = _FORM.match(text.strip())
    if found is None:
        raise ValueError(
            "write it like sum(args.amount_cents) over refund within 1h, or count() over send_mail last 20"
        )
    what, inner = found["what"], found["path"].strip()
    path: tuple[str | int, ...] = ()
    if what == "sum":
        if not inner.startswith("args."):
            raise ValueError("a sum is over an argument: sum(args.amount_cents)")
        path = parse_path(inner[5:])
    elif inner:
        raise ValueError("a count takes nothing between its brackets: count() over send_mail")
    over = tuple(sorted({name.strip() for name in (found["over"] or "").split(",") if name.strip()}))
    within = parse_seconds(found["within"]) if found["within"] else 0.0
    last = int(found["last"]) if found["last"] else 0
    if found["within"] and not 0 < within <= WITHIN_MAX_SECONDS:
        raise ValueError("within is at least a moment and at most 31 d")
    if found["last"] and not 1 <= last <= LAST_MAX:
        raise ValueError(f"last is 1 to {LAST_MAX:,}")
    return Measure(what, path, over, int(within * 1e6), last)


class Use(msgspec.Struct, gc=False):
    """A call of the run that counts: what it had at each measured path; a path without a number is not in it."""

    tool: str
    at: int  # microseconds since the epoch
    values: dict[tuple[str | int, ...], int | float]


class Uses:
    """The calls of one run that count, and what they come to."""

    def __init__(self, uses: Mapping[str, Use] | None = None) -> None:
        self._uses: dict[str, Use] = dict(uses or {})
        self._totals: dict[Measure, _Total] = {}

    def __len__(self) -> int:
        return len(self._uses)

    def __contains__(self, path: str) -> bool:
        return path in self._uses

    def add(self, path: str, use: Use) -> None:
        """A call was permitted; again, when it is asked about once more."""
        known = path in self._uses
        self._uses[path] = use
        if known:
            self._totals.clear()
            return
        for total in self._totals.values():
            total.feed(use)

    def take_out(self, path: str) -> None:
        """It is certain that the call did nothing."""
        if self._uses.pop(path, None) is not None:
            self._totals.clear()

    def total(self, measure: Measure, covers: Covers, asked: Use, path: str) -> int | float | None:
        """With the call that is asked about, at ``path``; None = undecided: one of the calls has no number there.

        ``covers`` says of a tool's name whether the measure is over it.
        """
        if path in self._uses:  # it is asked about again
            total = _Total(measure, covers)
            for place, use in self._uses.items():
                if place != path:
                    total.feed(use)
            return total.value(asked)
        known = self._totals.get(measure)
        if known is None:
            known = self._totals[measure] = _Total(measure, covers)
            for use in self._uses.values():
                known.feed(use)
        return known.value(asked)


class _Total:
    """One measure, kept in step. Sums are exact, so that they are the same whichever way they were come by."""

    def __init__(self, measure: Measure, covers: Covers) -> None:
        self.measure = measure
        self._covers = covers
        self._kept: deque[tuple[int, int | Fraction | None]] = deque()
        self._sum: int | Fraction = 0
        self._count = 0
        self._unknown = 0

    def feed(self, use: Use) -> None:
        if not self._covers(use.tool):
            return
        value = self._value(use)
        self._book(value, 1)
        if self.measure.within_us or self.measure.last:
            self._kept.append((use.at, value))
            if self.measure.last and len(self._kept) > self.measure.last:
                self._book(self._kept.popleft()[1], -1)

    def value(self, asked: Use) -> int | float | None:
        if self.measure.within_us:
            since = asked.at - self.measure.within_us
            while self._kept and self._kept[0][0] <= since:
                self._book(self._kept.popleft()[1], -1)
        if not self._covers(asked.tool):
            return self._result(self._count, self._sum, self._unknown)
        here = self._value(asked)
        count, total, unknown = self._count + 1, self._sum + (here or 0), self._unknown + (here is None)
        if self.measure.last and len(self._kept) == self.measure.last:
            oldest = self._kept[0][1]
            count, total, unknown = count - 1, total - (oldest or 0), unknown - (oldest is None)
        return self._result(count, total, unknown)

    def _result(self, count: int, total: int | Fraction, unknown: int) -> int | float | None:
        if self.measure.what == "count":
            return count
        if unknown:
            return None
        return total if isinstance(total, int) else float(total)

    def _value(self, use: Use) -> int | Fraction | None:
        if self.measure.what == "count":
            return 0
        value = use.values.get(self.measure.path)
        return Fraction(value) if isinstance(value, float) else value

    def _book(self, value: int | Fraction | None, sign: int) -> None:
        self._count += sign
        if value is None:
            self._unknown += sign
        else:
            self._sum += sign * value


@dataclass(slots=True)
class RunUses:
    """What a run keeps for the sums and counts of the policy in force.

    Attributes:
        counted: its calls that count; None = not looked at yet.
        measures: what ``counted`` was made for, with ``paths`` (the arguments they are about) and ``counts`` (whether
            a tool's calls go into any of them).
        pending: calls that were permitted and are not over, by path: tool, arguments, time.
        over: those of them that ended while the journal was read.
        loading: done when the calls have been read from the journal.
    """

    counted: Uses | None = None
    measures: tuple[Measure, ...] = ()
    paths: tuple[tuple[str | int, ...], ...] = ()
    counts: Covers = lambda tool: False
    pending: dict[str, tuple[str, Any, int]] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    loading: "asyncio.Future[None] | None" = None
