"""The tape: a run's events arranged for giving them back."""

from typing import Any
from uuid import UUID

import pytest

from penstock.events import (
    ApprovalDecided,
    ApprovalRequested,
    ChildIntent,
    ChildOutcome,
    DecisionRecorded,
    Event,
    LimitReached,
    ModelIntent,
    ModelOutcome,
    NoteRecorded,
    RunClaimed,
    RunEnded,
    RunParked,
    RunPatched,
    RunSubmitted,
    TimerFired,
    TimerSet,
    ToolDoubted,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
    encode,
)
from penstock.gates.order.tape import Identity, Tape, identity_of, is_last
from penstock.kernel.errors import EventUnreadable
from penstock.ports.records import Row

RUN = UUID(int=7)


def event(kind: type[Event], path: str = "", **fields: Any) -> Event:
    return kind(tenant="t", run=RUN, agent="a", path=path, **fields)


def tape(*events: Event) -> Tape:
    """A tape of a submission and these."""
    rows = []
    for seq, item in enumerate([event(RunSubmitted), *events], 1):
        item.seq = seq
        rows.append(Row(seq, encode(item), b"", at=item.at or seq * 10))
    return Tape(rows)


def test_outcomes_are_given_back_in_their_order_and_intents_are_not_outcomes() -> None:
    made = tape(
        event(ToolIntent, "0.0.0", tool="x", digest="d"),
        event(ToolIntent, "0.1.0", tool="y", digest="d"),
        event(ToolOutcome, "0.1.0"),
        event(RunParked),
        event(RunClaimed, worker=RUN),
        event(ToolOutcome, "0.0.0"),
        event(LimitReached, "1", limit="usd", level=70),
        event(ModelIntent, "1", model="m", digest="d"),
        event(ModelOutcome, "1", status="error", again=True),
        event(ModelIntent, "1", model="m", digest="d", attempt=2),
        event(ModelOutcome, "1", attempt=2),
    )
    assert list(made.order) == ["0.1.0", "0.0.0", "1"]
    assert [type(item).__name__ for item in made.calls["1"]] == ["ModelIntent", "ModelOutcome"] * 2
    assert set(made.calls) == {"0.0.0", "0.1.0", "1"}, "what no call made stands in no call"
    assert made.doubts == set()
    assert made.ended is None


def test_what_has_no_outcome_is_in_doubt() -> None:
    made = tape(
        event(ToolIntent, "0", tool="x", digest="d"),
        event(ModelIntent, "1", model="m", digest="d"),
        event(ToolIntent, "2", tool="y", digest="d"),
        event(ToolDoubted, "2", tool="y"),
        event(ChildIntent, "3", child=RUN, child_agent="c", digest="d"),
        event(TimerSet, "4", until=1),
        event(ApprovalRequested, "5", approval="q", tool="z", digest="d"),
    )
    assert made.doubts == {"0", "1", "2"}, "what waits for a child, a time or a person is not"
    assert not made.order
    assert made.committed == {2: 20, 3: 30, 4: 40}


@pytest.mark.parametrize(
    ("last", "ends"),
    [
        (event(ModelOutcome), True),
        (event(ModelOutcome, again=True), False),
        (event(ToolOutcome), True),
        (event(ToolOutcome, again=True), False),
        (event(ApprovalDecided, approval="q", decision="approve"), False),
        (event(ApprovalDecided, approval="q", decision="deny"), True),
        (event(ApprovalDecided, approval="q", decision="expired"), True),
        (event(ApprovalDecided, approval="q", decision="withdrawn"), True),
        (event(ApprovalDecided, approval="q", decision="happened"), False),
        (event(ApprovalDecided, approval="q", decision="did_not_happen"), False),
        (event(ApprovalDecided, approval="q", decision="mismatch"), False),
        (event(VerdictRecorded, gate="tool", name="x", verdict="deny"), True),
        (event(ChildOutcome, child=RUN, outcome="failed"), True),
        (event(TimerFired), True),
        (event(NoteRecorded, name="n"), True),
        (event(RunPatched, patch="p", taken=True), True),
        (event(DecisionRecorded, name="d"), True),
        (event(TimerSet, until=1), False),
        (event(ToolDoubted, tool="x"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else str(value),
)
def test_what_ends_a_call(last: Event, ends: bool) -> None:
    assert is_last(last) is ends


@pytest.mark.parametrize(
    ("opening", "identity"),
    [
        (event(ModelIntent, model="m", digest="d"), Identity("model", "m", "d")),
        (event(ToolIntent, tool="x", digest="d"), Identity("tool", "x", "d")),
        (event(ApprovalRequested, approval="q", tool="x", digest="rfc", call_digest="d"), Identity("tool", "x", "d")),
        (event(VerdictRecorded, gate="child", name="c", verdict="deny", digest="d"), Identity("child", "c", "d")),
        (event(ChildIntent, child=RUN, child_agent="c", digest="d"), Identity("child", "c", "d")),
        (event(TimerSet, until=5, duration=3), Identity("timer", "sleep", "3")),
        (event(NoteRecorded, name="n"), Identity("note", "n", "")),
        (event(RunPatched, patch="p", taken=False), Identity("patch", "p", "")),
        (event(DecisionRecorded, name="d"), Identity("decision", "d", "")),
        (event(ToolOutcome), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else "",
)
def test_what_a_call_is_known_by(opening: Event, identity: Identity | None) -> None:
    assert identity_of(opening) == identity


def test_time_spent_parked_does_not_count_as_active() -> None:
    made = tape(
        event(RunClaimed, worker=RUN, at=1_000),
        event(NoteRecorded, "0", name="n", at=1_400),
        event(RunParked, at=1_500),
        event(RunClaimed, worker=RUN, at=9_000),
        event(NoteRecorded, "1", name="n", at=9_250),
    )
    assert made.active_us() == 500 + 250
    assert tape().active_us() == 0


def test_a_tape_that_does_not_begin_with_its_submission_is_unreadable() -> None:
    for rows in ([], [Row(1, encode(event(RunParked)), b"")], [Row(1, b"{", b"")]):
        with pytest.raises(EventUnreadable):
            Tape(rows)


def test_the_end() -> None:
    last = tape(event(RunEnded, outcome="succeeded")).ended
    assert last is not None
    assert last.outcome == "succeeded"
