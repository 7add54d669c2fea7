"""120 recorded runs of a real agent through both gates: every call gets its verdict, every run replays, every chain
verifies, and what is stored grows with what was said.

The figures of the rules against spirals are printed, not asserted: ``pytest -s tests/sim/test_recorded_runs.py``.
"""

import asyncio
import collections
from typing import Any

import pytest
from tests.sim import airline as world
from tests.sim.airline import HELD, Airline, case_of, desk
from tests.sim.tapes import Tape, copy_of, decide_all, go_on, open_on, same_end

import penstock
from penstock import Settings
from penstock.adapters.memory import MemoryJournal
from penstock.events import (
    ApprovalDecided,
    ApprovalRequested,
    Event,
    LimitReached,
    ModelIntent,
    RunClaimed,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
)
from penstock.journal.payloads import ref_address
from penstock.ports.journal import Journal
from penstock.runs.approvals import Approval
from penstock.runs.client import Penstock
from penstock.runs.result import Result
from penstock.runs.submit import Request

CASES = range(120)
CALLS = 810  # tool calls in the recordings
LONG = (0, 3, 13, 34, 69)  # five of the longer ones, for PostgreSQL


def person(approval: Approval) -> str:
    """Approves everything but certificates."""
    return "deny" if approval.tool == "send_certificate" else "approve"


async def serve(platform: Penstock, cases: list[int]) -> list[Result]:
    """Run some cases side by side."""
    requests = [Request(desk, case_of(case), tags={"x_case": str(case)}) for case in cases]
    runs = await platform.submit_many(requests)
    return [await platform.result(run, timeout_seconds=60) for run in runs]


class Served:
    """All cases, run once in memory."""

    def __init__(self) -> None:
        world.airline = self.airline = Airline()
        self.journal = MemoryJournal()
        self.results = asyncio.run(self._serve())
        self.tapes = [Tape(result.run, self.journal) for result in self.results]
        self.events = [tape.events for tape in self.tapes]

    async def _serve(self) -> list[Result]:
        async with open_on(self.journal, [desk], person=person) as platform:
            return await serve(platform, list(CASES))


@pytest.fixture(scope="module")
def served() -> Served:
    return Served()


def calls_of(events: list[Event]) -> dict[str, list[Event]]:
    """The events of each tool call by its path."""
    calls: dict[str, list[Event]] = collections.defaultdict(list)
    for event in events:
        if isinstance(event, ToolIntent | ToolOutcome | VerdictRecorded | ApprovalRequested | ApprovalDecided):
            calls[event.path].append(event)
    return calls


def test_every_run_ends_well_and_every_call_has_its_verdict(served: Served) -> None:
    assert {result.outcome for result in served.results} == {"succeeded"}
    assert not served.airline.astray
    gated = 0
    for events in served.events:
        for event in events:
            if isinstance(event, ModelIntent):
                assert "budget@1" in event.passed
        for call in calls_of(events).values():
            gated += 1
            first = call[0]
            assert isinstance(first, ToolIntent | VerdictRecorded | ApprovalRequested)
            assert first.verdicts or len(getattr(first, "passed", ())) >= 5
    assert gated + sum(served.airline.untooled.values()) == CALLS
    answers = sum(len([m for m in case if m["role"] == "assistant"]) for case in served.airline.cases)
    assert sum(result.totals.model_calls for result in served.results) == answers


def test_writes_are_held_or_allowed_by_policy(served: Served) -> None:
    made = collections.Counter[str]()
    for events in served.events:
        for call in calls_of(events).values():
            intents = [event for event in call if isinstance(event, ToolIntent)]
            decisions = [event.decision for event in call if isinstance(event, ApprovalDecided)]
            for intent in intents:
                made[intent.tool] += intent.effect == "write"
                assert decisions == (["approve"] if intent.tool in HELD else [])
            if "deny" in decisions:
                assert not intents
    assert made == collections.Counter(name for _, _, name in served.airline.writes)
    assert made["send_certificate"] == 0
    assert made["book_reservation"] > 20
    assert made["update_reservation_flights"] > 80


def test_a_double_booking_of_the_recorded_agent_is_stopped(served: Served) -> None:
    """In one recording the agent booked the same journey twice with the same arguments, and the airline let it."""
    denials = [
        (case, event.name, event.verdicts[-1].code)
        for case, events in enumerate(served.events)
        for event in events
        if isinstance(event, VerdictRecorded) and event.verdicts[-1].code == "repeated_write"
    ]
    assert denials == [(90, "book_reservation", "repeated_write")]


def test_every_chain_verifies(served: Served) -> None:
    assert served.tapes[0].verify() == len(CASES)


async def test_every_run_replays_to_identical_events(served: Served) -> None:
    for tape in served.tapes:
        await check_replay(tape, served.airline)


async def check_replay(tape: Tape, airline: Airline) -> None:
    """From all events but the last: nobody is asked anything, and only that last one is written again."""
    asked, writes = airline.asked, len(airline.writes)
    again = await go_on(tape, len(tape.rows) - 1, [desk], person=person)
    added = again.events[len(tape.rows) - 1 :]
    assert [type(event) for event in added[:-1]] == [RunClaimed]
    assert same_end(again.end, tape.end)
    assert (airline.asked, len(airline.writes)) == (asked, writes)


def stored_bytes(tape: Tape) -> list[int]:
    """Bytes of events and payloads after each message of the conversation; a payload counts where it first appears."""
    run = tape.journal._store.runs["default", tape.run]
    payloads = tape.journal._store.payloads["default", run.new.subject]
    seen: set[str] = set()
    total, sizes = 0, []
    for row, event in zip(tape.rows, tape.events, strict=True):
        total += len(row.body)
        for ref in [ref for refs in event.payloads.values() for ref in refs if ref not in seen]:
            seen.add(ref)
            total += len(payloads[ref_address(ref)].data)
        if type(event).__name__ in ("NoteRecorded", "ModelOutcome", "ToolOutcome"):
            sizes.append(total)
    return sizes


def test_what_is_stored_grows_with_what_was_said(served: Served) -> None:
    """Twice the messages take about twice the bytes, in each long run."""
    long = [sizes for sizes in map(stored_bytes, served.tapes) if len(sizes) >= 40]
    assert len(long) >= 15
    ratios = []
    for sizes in long:
        half = len(sizes) // 2
        ratios.append(sizes[2 * half - 1] / sizes[half - 1])
    assert max(ratios) <= 2.3


async def test_a_conversation_of_five_hundred_messages_is_stored_once() -> None:
    """Recordings strung together: a history that were stored again with each call would grow with its square."""
    cases = Airline().cases
    opening = cases[0][:1]
    long: list[dict[str, Any]] = []
    for case in cases:
        if case[-1]["role"] == "user" and not any(message["role"] == "tool" for message in case[-2:]):
            long += case[1:-1]
        if len(long) > 500:
            break
    world.airline = Airline(cases=[opening + long])
    journal = MemoryJournal()
    async with open_on(journal, [desk], person=person) as platform:
        [result] = await serve(platform, [0])
    assert result.ok
    assert not world.airline.astray
    sizes = stored_bytes(Tape(result.run, journal))
    assert len(sizes) > 500
    for count in (64, 128, 250):
        assert sizes[2 * count - 1] <= 2.3 * sizes[count - 1]


async def test_on_postgresql_as_well(database_url: str, served: Served) -> None:
    """The same events as in memory, and the same replay."""
    world.airline = Airline()
    settings = Settings(database_url=database_url, poll_seconds=0.05)
    async with penstock.open(settings, agents=[desk], worker="w") as platform:
        deciding = asyncio.create_task(decide_all(platform, person, pause=0.05))
        results = await serve(platform, list(LONG))
        deciding.cancel()
        journal: Journal = platform.journal
        tapes = [await copy_of(journal, result.run) for result in results]
    for case, tape in zip(LONG, tapes, strict=True):
        tape.verify()
        assert story(tape.events) == story(served.events[case])
        await check_replay(tape, world.airline)


def story(events: list[Event]) -> list[tuple[str, str]]:
    """What happened, without who held the run when."""
    kinds = ("ModelIntent", "ToolIntent", "VerdictRecorded", "ApprovalDecided", "NoteRecorded", "RunEnded")
    return [(type(event).__name__, event.path) for event in events if type(event).__name__ in kinds]


def test_how_often_the_rules_against_spirals_speak(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints what they do on runs of which most are honest."""
    spoken = collections.Counter[str]()
    runs: dict[str, set[int]] = collections.defaultdict(set)
    for case, events in enumerate(served.events):
        for event in events:
            words = ""
            if isinstance(event, VerdictRecorded) and event.verdicts[-1].rule == "repeats":
                words = f"repeats: {event.verdicts[-1].code}" + (" (ended the run)" if event.ends_run else "")
            elif isinstance(event, LimitReached) and event.limit == "loop":
                words = f"spiral: {event.level}"
            if words:
                spoken[words] += 1
                runs[words].add(case)
    with capsys.disabled():
        print()  # noqa: T201 - what this test is for
        for words, count in sorted(spoken.items()):
            print(f"  {words}: {count} times in {len(runs[words])} of {len(CASES)} runs")  # noqa: T201
