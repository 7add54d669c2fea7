"""Time-outs that fire at any moment of any run: replay takes the same course, and from every crash a run ends alike."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sim import programs
from tests.sim.programs import Program, World, simulated
from tests.sim.tapes import Tape, comings_and_goings, cut, open_on, same_end

from penstock.adapters.memory import MemoryJournal
from penstock.events import ApprovalDecided, ApprovalRequested, Event, RunClaimed, TimerFired, ToolIntent, ToolOutcome
from penstock.gates.limits import retry
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.tool import gate
from penstock.rules.verdict import Decision
from penstock.settings import Settings

CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
SETTINGS = Settings(poll_seconds=0.01, drain_seconds=0.1, start_allowance_seconds=1, doubt_margin_seconds=0.1)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.001)


def fresh_world() -> World:
    programs.world = World()
    return programs.world


async def run_live(program: Program) -> Tape:
    journal = MemoryJournal()
    async with open_on(journal, [simulated], settings=SETTINGS) as platform:
        run = await platform.submit(simulated, program)
        await platform.result(run, timeout_seconds=20)
    return Tape(run, journal)


async def go_on(tape: Tape, count: int) -> Tape:
    journal = cut(tape, count)
    async with open_on(journal, [simulated], settings=SETTINGS) as platform:
        await platform.result(tape.run, timeout_seconds=20)
    return Tape(tape.run, journal)


async def check_replay(live: Tape) -> None:
    """The whole tape but its last event: the code runs again and writes just that last event."""
    again = await go_on(live, len(live.rows) - 1)
    added = again.events[len(live.rows) - 1 :]
    assert [type(event) for event in added[:-1]] == [RunClaimed], added
    assert same_end(again.end, live.end)


def made(event: Event) -> bool:
    return isinstance(event, ToolIntent) and bool(event.key)


def outside_of_fired(events: list[Event], fired: set[str]) -> set[str]:
    """Places of calls, without those inside a time-out that fired."""
    return {
        event.path
        for event in comings_and_goings(events)
        if not any(event.path.startswith(f"{path}.") for path in fired)
    }


def fired_in(events: list[Event]) -> set[str]:
    return {event.path for event in events if isinstance(event, TimerFired) and event.settled}


@settings(max_examples=80, deadline=None, suppress_health_check=CHECKS)
@given(programs.timed_programs)
def test_a_run_with_time_outs_replays_to_identical_events(program: Program) -> None:
    async def check() -> None:
        fresh_world()
        live = await run_live(program)
        live.verify()
        assert live.end.outcome == "succeeded" or live.end.reason == "LookupError: no 1"
        await check_replay(live)

    asyncio.run(check())


@settings(max_examples=20, deadline=None, suppress_health_check=CHECKS)
@given(programs.timed_programs)
def test_from_every_crash_a_run_with_time_outs_ends_alike(program: Program) -> None:
    async def check() -> None:
        fresh_world()
        live = await run_live(program)
        for count in range(1, len(live.rows)):
            world = fresh_world()
            world.effects = effects_before(live.events[:count])
            again = await go_on(live, count)
            again.verify()
            assert again.output() == live.output(), f"after event {count}"
            fired = fired_in(live.events) | fired_in(again.events)
            assert outside_of_fired(again.events, fired) == outside_of_fired(live.events, fired)
            assert set(world.effects.values()) <= {1}, f"after event {count}"
            assert_settled(again.events)
            await check_replay(again)

    asyncio.run(check())


@settings(max_examples=40, deadline=None, suppress_health_check=CHECKS)
@given(programs.timed_programs, st.lists(st.floats(0, 1), min_size=2, max_size=4))
def test_a_run_with_time_outs_survives_one_crash_after_another(program: Program, places: list[float]) -> None:
    async def check() -> None:
        fresh_world()
        live = tape = await run_live(program)
        for place in places:
            count = 1 + int(place * (len(tape.rows) - 2))
            fresh_world().effects = effects_before(tape.events[:count])
            tape = await go_on(tape, count)
            tape.verify()
            assert tape.output() == live.output(), f"after event {count}"
            assert_settled(tape.events)
        await check_replay(tape)

    asyncio.run(check())


def assert_settled(events: list[Event]) -> None:
    """When the agent learns that its time is over, every write inside that was begun has an outcome."""
    open_writes: set[str] = set()
    for event in events:
        if isinstance(event, ToolIntent) and event.effect == "write":
            open_writes.add(event.path)
        elif isinstance(event, ToolOutcome):
            open_writes.discard(event.path)
        elif isinstance(event, TimerFired) and event.settled:
            assert not [path for path in open_writes if path.startswith(f"{event.path}.")]


def effects_before(events: list[Event]) -> dict[str, Any]:
    """What had happened outside when these events were all there was: each write whose outcome is known to be good."""
    good = {event.path for event in events if isinstance(event, ToolOutcome) and event.status in ("ok", "happened")}
    run = events[0].run.hex
    return {f"{run}-{event.path}": 1 for event in events if made(event) and event.path in good}


async def test_a_question_that_stands_is_withdrawn_also_when_the_gate_waits_for_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the run comes back, and its time-out with it, the gate asks a breaker before it asks for the answer."""
    fresh_world()
    program: Program = {"do": "overrun", "x": 200, "steps": [{"do": "held", "x": 1, "pause": 0}]}
    journal = MemoryJournal()
    async with open_on(journal, [simulated], settings=SETTINGS, person=None) as platform:
        run = await platform.submit(simulated, program)
        await platform.result(run, timeout_seconds=20)
    live = Tape(run, journal)
    asked = asyncio.Event()

    async def hold(ctx: RunContext, call: Call, kind: str, name: str) -> Decision | None:
        asked.set()
        decision: Decision | None = await ctx.interruptible(call.branch, asyncio.sleep(3600, None))
        return decision

    with monkeypatch.context() as patched:
        patched.setattr(gate, "hold", hold)
        question = next(place for place, event in enumerate(live.events, 1) if isinstance(event, ApprovalRequested))
        again = await go_on(live, question)
    assert asked.is_set()
    assert [event.decision for event in again.events if isinstance(event, ApprovalDecided)] == ["withdrawn"]
    await check_replay(again)
