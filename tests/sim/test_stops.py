"""Kill, cancel and pause at any moment of any run: nothing starts after the seal, and a pause changes no result."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sim import programs
from tests.sim.programs import Program, World, simulated
from tests.sim.tapes import TENANT, Tape, open_on, run_live

from penstock.adapters.memory import MemoryJournal
from penstock.events import ChildIntent, ModelIntent, ToolIntent, decode
from penstock.gates.limits import retry
from penstock.ports.records import Status, Stop

CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
INTENTS = (ModelIntent, ToolIntent, ChildIntent)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.001)
    programs.world = World()


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@settings(max_examples=80, deadline=None, suppress_health_check=CHECKS)
@given(programs.programs, st.integers(0, 300), st.sampled_from([Stop.KILL, Stop.CANCEL]))
def test_nothing_starts_after_the_seal_and_the_engine_decides_the_outcome(
    program: Program, moment: int, stop: Stop
) -> None:
    async def check() -> None:
        programs.world = World()
        journal = MemoryJournal()
        async with open_on(journal, [simulated]) as platform:
            run = await platform.submit(simulated, program)
            await turns(moment)
            sealed = await journal.stop_run(TENANT, run, stop, "ann", "enough")
            assert sealed.sealed
            result = await platform.result(run, timeout_seconds=20)
            async with asyncio.timeout(20):  # its children end too, in their own time
                while any(stored.status is not Status.ENDED for stored in journal._store.runs.values()):
                    await asyncio.sleep(0.002)
        decided_before = Tape(run, journal).end.at <= sealed.at
        assert decided_before or result.outcome == ("killed" if stop is Stop.KILL else "cancelled")
        for stored in journal._store.runs.values():
            late = [decode(row.body) for row in stored.tape if row.at > sealed.at]
            assert not [event for event in late if isinstance(event, INTENTS)]
        Tape(run, journal).verify()

    asyncio.run(check())


@settings(max_examples=60, deadline=None, suppress_health_check=CHECKS)
@given(programs.programs, st.lists(st.integers(0, 60), min_size=1, max_size=4))
def test_a_pause_changes_no_result(program: Program, moments: list[int]) -> None:
    async def check() -> None:
        programs.world = World()
        undisturbed = await run_live(simulated, program)
        programs.world = world = World()
        journal = MemoryJournal()
        async with open_on(journal, [simulated]) as platform:
            run = await platform.submit(simulated, program)
            for moment in moments:
                await turns(moment)
                await journal.stop_run(TENANT, run, Stop.PAUSE, "ann", "a moment")
                await turns(moment)
                await journal.resume_run(TENANT, run, "ann")
            await platform.result(run, timeout_seconds=20)
        tape = Tape(run, journal)
        tape.verify()
        assert tape.output() == undisturbed.output()
        assert set(world.effects.values()) <= {1}

    asyncio.run(check())
