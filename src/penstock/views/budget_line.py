"""What a run has used and reserved after each of its events, and which call took it over a threshold; pure."""

from array import array
from collections.abc import Iterator

import msgspec

from penstock.events import (
    Amount,
    BudgetRecord,
    ChildIntent,
    ChildOutcome,
    Event,
    LimitReached,
    ModelIntent,
    ModelOutcome,
    RunEnded,
    ToolIntent,
    ToolOutcome,
)
from penstock.rules.budget import EXHAUSTED, MUST_ANSWER, WRAP_UP

POINTS_MAX = 2_000
"""Points of one line that are shown, at most."""

_NAMES = {"usd": "money"}
_CODES = {
    "over_tokens": "tokens",
    "over_usd": "money",
    "over_steps": "steps",
    "over_calls": "calls",
    "over_attempts": "attempts",
    "over_seconds": "seconds",
}
"""Codes of a run's end by a limit. Others, such as ``loop``, are no resource."""


class Point(msgspec.Struct, frozen=True):
    """The accounts after an event. ``at``: microseconds after the submission."""

    seq: int
    at: int
    nano: int
    reserved_nano: int
    tokens: int
    steps: int


class Threshold(msgspec.Struct, frozen=True):
    """A share of a limit that was reached: 70, 90 or 100 percent. ``span``: the call that did it, -1 = none."""

    level: int
    resource: str  # money | tokens | steps | calls | attempts | seconds
    seq: int
    span: int


class BudgetLine:
    """Fed with a run's events in order. A reservation ends with the outcome of its attempt."""

    def __init__(self, budget: BudgetRecord) -> None:
        self.marks: list[Threshold] = []
        limits = {
            "money": budget.nano,
            "tokens": budget.tokens,
            "steps": budget.steps,
            "calls": budget.calls,
            "attempts": budget.attempts,
        }
        # The limit on attempts is of one call: what all calls took says nothing of how near it is.
        self._limited = [(name, limit) for name, limit in limits.items() if limit and name != "attempts"]
        self._used = dict.fromkeys(limits, 0)
        self._reached = dict.fromkeys([*limits, "seconds"], 0)
        self._reserved = 0
        self._open: dict[tuple[str, int], int] = {}
        self._columns = tuple(array("q") for _ in Point.__struct_fields__)
        self._span = -1  # of the call that was settled last

    @property
    def nano(self) -> int:
        """Settled so far, children included."""
        return self._used["money"]

    def take(self, event: Event, at: int, span: int) -> None:
        """Account for an event of the call at index ``span``, ``at`` microseconds after the submission."""
        used = self._used
        match event:  # the most frequent kinds first
            case ModelOutcome() | ToolOutcome():
                self._settle(event.path, event.attempt, event.used)
            case ModelIntent() | ToolIntent():
                used["attempts"] += 1
                used["steps" if type(event) is ModelIntent else "calls"] += event.attempt == 1
                self._reserve(event.path, event.attempt, event.reserved)
            case ChildOutcome(totals=totals):
                self._settle(event.path, 1, Amount(totals.tokens_in, totals.tokens_out, totals.nano))
            case ChildIntent():
                used["calls"] += 1
                self._reserve(event.path, 1, event.reserved)
            case _:
                return
        self._span = span
        if self._limited:
            self._cross(event.seq)
        seqs, times, nano, reserved, tokens, steps = self._columns
        seqs.append(event.seq)
        times.append(at)
        nano.append(used["money"])
        reserved.append(self._reserved)
        tokens.append(used["tokens"])
        steps.append(used["steps"])

    def note(self, event: LimitReached | RunEnded) -> None:
        """What the engine itself said of a limit: of the time, and that the run ended by one."""
        if isinstance(event, LimitReached):
            name = _NAMES.get(event.limit, event.limit)
            if name == "seconds":
                self._mark(name, event.level, event.seq, self._span)
        elif event.outcome == "exhausted" and (name := _CODES.get(event.code, "")):
            self._mark(name, EXHAUSTED, event.seq, self._span)

    def points(self) -> list[Point]:
        """The line, thinned out to `POINTS_MAX`; of each stretch its ends, its lowest and its highest stay."""
        count = len(self._columns[0])
        kept: Iterator[int] | list[int] = iter(range(count))
        if count > POINTS_MAX:
            kept = self._extremes(count)
        return [Point(*(column[index] for column in self._columns)) for index in kept]

    def _extremes(self, count: int) -> list[int]:
        _, _, nano, reserved, _, _ = self._columns
        stretches = POINTS_MAX // 4
        kept: set[int] = set()
        for number in range(stretches):
            low, high = number * count // stretches, (number + 1) * count // stretches
            between = range(low, high)
            kept |= {low, high - 1}
            kept.add(max(between, key=lambda index: nano[index] + reserved[index]))
            kept.add(min(between, key=lambda index: reserved[index]))
        return sorted(kept)

    def _reserve(self, path: str, attempt: int, amount: Amount) -> None:
        self._open[path, attempt] = amount.nano
        self._reserved += amount.nano

    def _settle(self, path: str, attempt: int, amount: Amount) -> None:
        self._reserved -= self._open.pop((path, attempt), 0)
        self._used["money"] += amount.nano
        self._used["tokens"] += amount.tokens_in + amount.tokens_out

    def _cross(self, seq: int) -> None:
        for name, limit in self._limited:
            if 100 * self._used[name] >= WRAP_UP * limit:
                percent = 100 * self._used[name] / limit
                for level in (WRAP_UP, MUST_ANSWER, EXHAUSTED):
                    if percent >= level:
                        self._mark(name, level, seq, self._span)

    def _mark(self, name: str, level: int, seq: int, span: int) -> None:
        if level > self._reached[name]:
            self._reached[name] = level
            self.marks.append(Threshold(level, name, seq, span))
