"""Replay identity: what was recorded is what happens again, and from every crash the run ends alike."""

import asyncio
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sim import programs
from tests.sim.programs import Program, World, simulated
from tests.sim.tapes import Tape, comings_and_goings, go_on, run_live, same_end

from penstock.events import ChildIntent, Event, RunClaimed, ToolIntent, ToolOutcome
from penstock.gates.limits import retry

CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
CRASHED = 60 if os.environ.get("HYPOTHESIS_PROFILE") == "explore" else 24
"""Programs that are cut off again and again, each after all of its events: the longer in ``make sim``."""


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.001)


def fresh_world() -> World:
    programs.world = World()
    return programs.world


async def check_replay(live: Tape) -> None:
    """The whole tape but its last event: the code runs again, calls nothing, and writes just that last event."""
    before = programs.world.asked
    again = await go_on(live, len(live.rows) - 1, [simulated])
    added = again.events[len(live.rows) - 1 :]
    assert [type(event) for event in added[:-1]] == [RunClaimed], added
    assert same_end(again.end, live.end)
    children = any(isinstance(event, ChildIntent) for event in live.events)
    assert children or programs.world.asked == before


@settings(max_examples=150, deadline=None, suppress_health_check=CHECKS)
@given(programs.programs)
def test_a_run_replays_to_identical_events(program: Program) -> None:
    async def check() -> None:
        fresh_world()
        live = await run_live(simulated, program)
        live.verify()
        assert live.end.outcome == "succeeded" or live.end.reason == "LookupError: no 1"
        await check_replay(live)

    asyncio.run(check())


@settings(max_examples=CRASHED, deadline=None, suppress_health_check=CHECKS)
@given(programs.programs)
def test_from_every_crash_a_run_ends_alike(program: Program) -> None:
    async def check() -> None:
        fresh_world()
        live = await run_live(simulated, program)
        for count in range(1, len(live.rows)):
            fresh_world().effects = effects_of(live.events[:count], in_doubt=count % 2)
            again = await go_on(live, count, [simulated])
            again.verify()
            assert again.output() == live.output(), f"after event {count}"
            assert same_calls(again, live)
            assert effects_of(again.events, in_doubt=1).items() <= programs.world.effects.items(), (
                f"after event {count}"
            )
            assert set(programs.world.effects.values()) <= {1}, f"after event {count}"

    asyncio.run(check())


@settings(max_examples=CRASHED, deadline=None, suppress_health_check=CHECKS)
@given(programs.programs, st.lists(st.floats(0, 1), min_size=2, max_size=4))
def test_a_run_survives_one_crash_after_another(program: Program, places: list[float]) -> None:
    """Each time it goes on from somewhere in what the holder before had written, doubts and retries included."""

    async def check() -> None:
        fresh_world()
        live = tape = await run_live(simulated, program)
        for place in places:
            count = 1 + int(place * (len(tape.rows) - 2))
            fresh_world().effects = effects_of(tape.events[:count], in_doubt=count % 2)
            tape = await go_on(tape, count, [simulated])
            tape.verify()
            assert tape.output() == live.output(), f"after event {count}"
        await check_replay(tape)

    asyncio.run(check())


def effects_of(events: list[Event], *, in_doubt: int) -> dict[str, int]:
    """What had happened outside when these events were all there was: each write whose outcome is known to be good,
    and those in doubt if so said."""
    happened: dict[str, int] = {}
    for event in events:
        if isinstance(event, ToolIntent) and event.key:
            happened[event.path] = in_doubt
    good = {event.path for event in events if isinstance(event, ToolOutcome) and event.status in ("ok", "happened")}
    run = events[0].run.hex
    return {f"{run}-{path}": 1 for path, doubt in happened.items() if doubt or path in good}


def same_calls(one: Tape, other: Tape) -> bool:
    """The same calls stand at the same places."""
    return {event.path for event in comings_and_goings(one.events)} == {
        event.path for event in comings_and_goings(other.events)
    }
