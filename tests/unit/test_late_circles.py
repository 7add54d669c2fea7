"""Circles of waiting runs that are closed after their last wait began: found, broken at one wait, replayed alike."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from penstock import Run, Settings, agent
from penstock.events import RunParked, WaitEnded, Waiting, decode
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import WaitCycle
from penstock.kernel.ids import new_id
from penstock.ports.circles import HeldWait, Sleeper
from penstock.ports.records import Status
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.runs.work.late_circles import waits_to_break
from penstock.wiring import open_in_memory

SOON = Settings(poll_seconds=0.02, circle_look_seconds=0.05)
NEVER = Settings(poll_seconds=0.02, circle_look_seconds=3600)


@agent("branched", version="1")
async def branched(run: Run, value: int) -> list[str]:
    """Waits for the other's word beside a branch that might have sent one, and ends without."""

    async def listen() -> str:
        other = UUID(await run.wait_event("other"))
        try:
            return str(await run.wait_event("word", from_run=other))
        except WaitCycle as circle:
            await run.send_event(other, "word", "said at last")
            return f"{circle.code} of {len(circle.fields['circle'])}"

    return await run.gather(listen(), quiet(run))


async def quiet(run: Run) -> str:
    return str(await run.wait_event("enough"))


@agent("listener", version="1")
async def listener(run: Run, parent: str) -> Any:
    await run.sleep(0.01)
    try:
        return await run.wait_event("word", from_run=UUID(parent))
    except WaitCycle as circle:
        return circle.fields["circle"]


@agent("caller", version="1")
async def caller(run: Run, value: int) -> Any:
    return await run.call(listener, str(run.id))


AGENTS = [branched, listener, caller]


@asynccontextmanager
async def in_memory(settings: Settings) -> AsyncIterator[Penstock]:
    async with open_in_memory(settings, agents=AGENTS) as platform:
        yield platform


async def two_branched(platform: Penstock) -> list[UUID]:
    runs = [await platform.submit(branched, n) for n in range(2)]
    for run, other in zip(runs, reversed(runs), strict=True):
        await platform.send_event(run, "other", str(other))
    for run in runs:  # only once both wait for each other's word
        while len(await platform.journal.waits.edges("default", 10)) < 2:
            await asyncio.sleep(0.01)
        await platform.send_event(run, "enough", "nothing more")
    return runs


async def check_two_branched(platform: Penstock) -> None:
    runs = await two_branched(platform)
    results = [(await platform.result(run, timeout_seconds=60)).output for run in runs]
    assert sorted(result[0] for result in results) == ["said at last", "wait_cycle of 2"]
    broken = results[0] if results[0][0].startswith("wait_cycle") else results[1]
    victim = runs[results.index(broken)]
    ended = [event for event in await tape(platform, victim) if isinstance(event, WaitEnded)]
    [cycle] = [event for event in ended if event.status == "cycle"]
    assert cycle.circle == [victim, next(run for run in runs if run != victim)]
    assert cycle.dedup.startswith("cycle:")
    for run in runs:
        await check_replay(platform, run)


async def check_replay(platform: Penstock, run: UUID) -> None:
    row = await platform.journal.get_run("default", run)
    assert row is not None
    replayed = await replay(platform.services, row, AGENTS)
    assert replayed.same, replayed.divergence


async def tape(platform: Penstock, run: UUID) -> list[Any]:
    return [decode(row.body) for row in await platform.journal.tape("default", run)]


async def test_a_circle_closed_by_the_end_of_branches_is_broken_at_one_wait() -> None:
    async with in_memory(SOON) as platform:
        await check_two_branched(platform)


async def test_nothing_is_broken_before_it_is_looked_for() -> None:
    """The same without looks: both sleep, so that the test above cannot pass by anything else."""
    async with in_memory(NEVER) as platform:
        await platform.journal.circles.look(3600, 1)
        runs = await two_branched(platform)
        async with asyncio.timeout(30):
            while not all([await _sleeps(platform, run) for run in runs]):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert all([await _sleeps(platform, run) for run in runs])


async def _sleeps(platform: Penstock, run: UUID) -> bool:
    row = await platform.journal.get_run("default", run)
    parked = [event for event in await tape(platform, run) if isinstance(event, RunParked)]
    return row is not None and row.status is Status.PARKED and bool(parked) and len(parked[-1].waiting) == 1


async def test_a_child_that_waits_for_its_parents_event_gets_an_answer() -> None:
    async with in_memory(SOON) as platform:
        run = await platform.submit(caller, 1)
        result = await platform.result(run, timeout_seconds=60)
        assert result.output[1] == str(run)
        assert len(result.output) == 2
        await check_replay(platform, run)


RUNS = [new_id(SystemClock()) for _ in range(7)]


def sleeper(number: int, targets: Sequence[int], *, turn: bool = False, arrival: int | None = None) -> Sleeper:
    """Run ``number``, which waits for the runs ``targets``: in one branch each, or (``turn``) in its session."""
    if turn:
        return Sleeper(RUNS[number], 0, [], behind=[RUNS[target] for target in targets])
    held = [
        HeldWait(f"0.{n}", RUNS[target], 10 * number + n if arrival is None else arrival)
        for n, target in enumerate(targets)
    ]
    waiting = [Waiting("event", wait.path, "go", str(wait.target)) for wait in held]
    return Sleeper(RUNS[number], 1, waiting, held)


def victims(*sleepers: Sleeper) -> list[int]:
    return [RUNS.index(broken.run) for broken in waits_to_break("acme", sleepers)]


class TestWaitsToBreak:
    def test_the_youngest_wait_of_the_circle_not_of_those_that_wait_for_it(self) -> None:
        assert victims(sleeper(0, [1]), sleeper(1, [0]), sleeper(5, [0])) == [1]
        assert victims(sleeper(0, [1], arrival=99), sleeper(1, [0])) == [0]

    def test_a_chain_is_no_circle(self) -> None:
        assert victims(sleeper(0, [1]), sleeper(1, [2]), sleeper(2, [3])) == []

    def test_one_branch_that_may_go_on_is_enough(self) -> None:
        assert victims(sleeper(0, [1, 6]), sleeper(1, [0])) == []
        assert victims(sleeper(0, [1, 2]), sleeper(1, [0]), sleeper(2, [0])) != []

    def test_circles_that_share_no_run_are_broken_each(self) -> None:
        assert victims(sleeper(0, [1]), sleeper(1, [0]), sleeper(2, [3]), sleeper(3, [2])) == [3, 1]

    def test_circles_through_one_run_are_broken_by_one_wait_where_that_is_enough(self) -> None:
        assert victims(sleeper(5, [0, 1]), sleeper(0, [5]), sleeper(1, [5])) == [5]

    def test_a_turn_needs_all_before_it_to_end(self) -> None:
        assert victims(sleeper(0, [1]), sleeper(1, [0, 6], turn=True)) == [0]

    def test_a_circle_without_a_wait_that_could_fail_is_left(self) -> None:
        assert victims(sleeper(0, [1], turn=True), sleeper(1, [0], turn=True)) == []

    @pytest.mark.parametrize("length", [1, 2, 7])
    def test_the_circle_is_named_in_order_from_the_run_whose_wait_fails(self, length: int) -> None:
        sleepers = [sleeper(n, [(n + 1) % length]) for n in range(length)]
        [broken] = waits_to_break("acme", sleepers)
        assert broken.circle == [RUNS[length - 1], *RUNS[: length - 1]]
        assert broken.sleeping == dict.fromkeys(RUNS[:length], 1)
