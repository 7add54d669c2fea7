"""The budget's line: what is used and reserved after each event, and which call crossed a threshold."""

from typing import Any
from uuid import UUID

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
    Totals,
)
from penstock.views.budget_line import POINTS_MAX, BudgetLine, Threshold

RUN = UUID(int=1)
SAID: dict[str, Any] = {"tenant": "acme", "run": RUN, "agent": "desk"}


def intent(seq: int, path: str, nano: int = 0) -> ModelIntent:
    return ModelIntent(**SAID, seq=seq, path=path, model="m", digest="d", reserved=Amount(nano=nano))


def outcome(seq: int, path: str, nano: int = 0, tokens: int = 0) -> ModelOutcome:
    return ModelOutcome(**SAID, seq=seq, path=path, used=Amount(tokens_in=tokens, nano=nano))


def fed(line: BudgetLine, *events: tuple[Event, int]) -> BudgetLine:
    """The line after events of the spans at these indices, a microsecond each."""
    for event, span in events:
        line.take(event, event.seq, span)
    return line


def test_what_is_reserved_and_settled() -> None:
    line = fed(
        BudgetLine(BudgetRecord()), (intent(2, "0", 50), 0), (intent(3, "1", 30), 1), (outcome(4, "0", 20, 7), 0)
    )
    points = [(point.seq, point.nano, point.reserved_nano, point.tokens, point.steps) for point in line.points()]
    assert points == [(2, 0, 50, 0, 1), (3, 0, 80, 0, 2), (4, 20, 30, 7, 2)]
    assert line.marks == []


def test_the_call_that_crossed_a_threshold_is_named_once() -> None:
    line = BudgetLine(BudgetRecord(nano=100, tokens=1_000))
    fed(line, (intent(2, "0", 90), 0), (outcome(3, "0", 69), 0), (intent(4, "1", 30), 1), (outcome(5, "1", 22), 1))
    fed(line, (intent(6, "2", 9), 2), (outcome(7, "2", 9), 2))
    assert line.marks == [
        Threshold(70, "money", 5, 1),
        Threshold(90, "money", 5, 1),
        Threshold(100, "money", 7, 2),
    ]


def test_steps_and_calls_cross_when_they_begin() -> None:
    line = BudgetLine(BudgetRecord(steps=2, calls=1))
    tool = ToolIntent(**SAID, seq=3, path="1", tool="look", digest="d")
    fed(line, (intent(2, "0"), 0), (tool, 1), (ToolOutcome(**SAID, seq=4, path="1"), 1), (intent(5, "2"), 2))
    assert [(mark.level, mark.resource, mark.span) for mark in line.marks if mark.level == 100] == [
        (100, "calls", 1),
        (100, "steps", 2),
    ]


def test_children_are_part_of_it() -> None:
    child = ChildIntent(**SAID, seq=2, path="0", child=RUN, child_agent="x", digest="d", reserved=Amount(nano=70))
    ended = ChildOutcome(**SAID, seq=3, path="0", child=RUN, outcome="succeeded", totals=Totals(nano=71, tokens_in=5))
    line = fed(BudgetLine(BudgetRecord(nano=100)), (child, 0), (ended, 0))
    assert [(point.nano, point.reserved_nano, point.tokens) for point in line.points()] == [(0, 70, 0), (71, 0, 5)]
    assert line.marks == [Threshold(70, "money", 3, 0)]


def test_time_and_the_end_by_a_limit_are_as_the_engine_says() -> None:
    line = fed(BudgetLine(BudgetRecord(nano=100)), (intent(2, "0", 60), 0), (outcome(3, "0", 60), 0))
    line.note(LimitReached(**SAID, seq=4, limit="seconds", level=70))
    line.note(LimitReached(**SAID, seq=5, limit="usd", level=70))  # the line itself knows better when that was
    line.note(RunEnded(**SAID, seq=6, outcome="exhausted", code="over_usd"))
    line.note(RunEnded(**SAID, seq=6, outcome="exhausted", code="loop"))
    assert line.marks == [Threshold(70, "seconds", 4, 0), Threshold(100, "money", 6, 0)]


def test_a_long_line_keeps_its_extremes() -> None:
    line = BudgetLine(BudgetRecord())
    for number in range(6_000):
        spike = 10**9 if number == 3_333 else 100
        fed(
            line,
            (intent(2 * number + 2, str(number), spike), number),
            (outcome(2 * number + 3, str(number), 1), number),
        )
    points = line.points()
    assert len(points) <= POINTS_MAX
    assert (points[0].seq, points[-1].seq, points[-1].nano) == (2, 12_001, 6_000)
    assert max(point.reserved_nano for point in points) == 10**9
    assert [point.seq for point in points] == sorted({point.seq for point in points})
