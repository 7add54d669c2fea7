"""Who moves next: the tape before anything live, doubts before the rest, one outcome at a time."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from tests.unit.test_tape import event, tape

from penstock.events import Event, ToolIntent, ToolOutcome
from penstock.gates.order.branches import UNWOUND, Branch
from penstock.gates.order.schedule import Schedule
from penstock.kernel.errors import Divergence, GateMisused

stages: list["Stage"] = []


@pytest.fixture(autouse=True)
async def _put_away() -> AsyncIterator[None]:
    """A branch in a gate ignores that its task is cancelled, so a failed test must not leave one behind."""
    stages.clear()
    yield
    for stage in stages:
        stage.schedule.close()


class Stage:
    """A schedule on a tape, with branches that make calls and note the order in which they go on."""

    def __init__(self, *events: Event) -> None:
        self.schedule = Schedule(tape(*events))
        self.seen: list[str] = []
        self.diverged: list[Divergence] = []
        self.idle = 0
        stages.append(self)
        self.schedule.on_diverged = self.diverged.append
        self.schedule.on_idle = self._idle

    def _idle(self) -> None:
        self.idle += self.schedule.idle()

    async def recorded(self, name: str) -> None:
        """A call that the tape holds whole."""
        branch = self.schedule.bind()
        await self.schedule.recorded_turn(branch, branch.next_path())
        self.seen.append(name)

    async def live(self, name: str, until: "asyncio.Event | None" = None) -> None:
        """A call that is made."""
        branch = self.schedule.bind()
        await self.schedule.live(branch.next_path())
        self.seen.append(f"made {name}")
        if until is not None:
            await until.wait()
        await self.schedule.turn(branch)
        self.seen.append(name)

    async def gather(self, *coros: Coroutine[Any, Any, Any], limit: int = 99) -> list[Any]:
        branch = self.schedule.bind()
        return await self.schedule.join(branch, coros, branch.next_path(), limit)

    async def play(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Drive the main branch to its end."""
        async with asyncio.timeout(2):
            return await self.begin(main)

    def begin(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> "asyncio.Task[Any]":
        context = contextvars.copy_context()
        root = self.schedule.begin("", context)
        return asyncio.get_running_loop().create_task(root.drive(main()), context=context)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def called(*paths: str) -> list[Event]:
    """Intents of all calls, then their outcomes in this order."""
    intents = [event(ToolIntent, path, tool="x", digest="d") for path in sorted(paths)]
    return [*intents, *(event(ToolOutcome, path) for path in paths)]


async def test_recorded_outcomes_come_in_the_order_of_the_tape_whoever_asks_first() -> None:
    stage = Stage(*called("0.2.0", "0.0.0", "0.1.0"))
    await stage.play(lambda: stage.gather(*(stage.recorded(name) for name in "abc")))
    assert stage.seen == ["c", "a", "b"]


async def test_nothing_live_begins_before_the_tape_is_consumed() -> None:
    stage = Stage(*called("0.1.0", "0.1.1"))

    async def main() -> Any:
        async def second() -> None:
            await stage.recorded("b1")
            await stage.recorded("b2")

        return await stage.gather(stage.live("a"), second())

    await stage.play(main)
    assert stage.seen == ["b1", "b2", "made a", "a"]


async def test_doubts_are_settled_before_anything_else_is_made() -> None:
    stage = Stage(event(ToolIntent, "0.1.0", tool="x", digest="d"))
    settled = asyncio.Event()

    async def in_doubt() -> None:
        branch = stage.schedule.bind()
        path = branch.next_path()
        await stage.schedule.live(path)
        stage.seen.append("settling")
        await settled.wait()
        stage.schedule.settled(path)
        await stage.schedule.turn(branch)

    task = stage.begin(lambda: stage.gather(stage.live("a"), in_doubt()))
    await turns()
    assert stage.seen == ["settling"]
    settled.set()
    await task
    assert stage.seen == ["settling", "made a", "a"]


async def test_what_a_settled_doubt_lets_go_on_has_its_turn_after_the_outcome_that_settled_it() -> None:
    """That outcome is recorded by then, and what goes on records its own after it: in this order they are replayed."""
    stage = Stage(event(ToolIntent, "0.1.0", tool="x", digest="d"))
    settled = asyncio.Event()

    async def in_doubt() -> None:
        branch = stage.schedule.bind()
        path = branch.next_path()
        await stage.schedule.live(path)
        await settled.wait()
        stage.seen.append("records the settled call")
        stage.schedule.settled(path)
        stage.schedule.rest()
        assert not stage.schedule.idle(), "what was held up goes on in a moment: the run must not park"
        stage.schedule.wake()
        await stage.schedule.turn(branch)
        stage.seen.append("settled")

    async def timed() -> None:
        def fire() -> None:
            stage.seen.append("records the time-out")
            stage.schedule.post(branch, lambda: stage.seen.append("timed out"))

        branch = stage.schedule.bind()
        stage.schedule.when_live(branch, fire)
        await stage.live("b")

    task = stage.begin(lambda: stage.gather(timed(), in_doubt()))
    await turns()
    assert stage.seen == []
    settled.set()
    await task
    recorded = [words for words in stage.seen if words.startswith("records")]
    released = [words for words in stage.seen if words in ("settled", "timed out")]
    assert recorded == ["records the settled call", "records the time-out"]
    assert released == ["settled", "timed out"]


async def test_an_outcome_waits_while_other_code_runs_and_not_while_other_calls_do() -> None:
    stage, slow = Stage(), asyncio.Event()

    async def busy() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        stage.seen.append("computed")
        await stage.live("b", slow)

    task = stage.begin(lambda: stage.gather(stage.live("a"), busy()))
    await turns(20)
    assert stage.seen == ["made a", "computed", "made b", "a"]
    slow.set()
    await task


async def test_a_branch_that_waits_for_another_branch_does_not_hold_outcomes_up() -> None:
    stage, opened = Stage(), asyncio.Event()

    async def opens() -> None:
        await stage.live("a")
        opened.set()

    async def waits() -> None:
        await opened.wait()
        await stage.live("b")

    await stage.play(lambda: stage.gather(waits(), opens()))
    assert stage.seen == ["made a", "a", "made b", "b"]


async def test_no_more_branches_at_a_time_than_the_limit() -> None:
    stage, running, most = Stage(), 0, 0

    async def one(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await stage.live(str(number))
        running -= 1
        return number

    assert await stage.play(lambda: stage.gather(*(one(number) for number in range(9)), limit=3)) == list(range(9))
    assert most == 3


async def test_failures_are_results_and_all_branches_are_awaited() -> None:
    stage = Stage()

    async def fails() -> None:
        raise LookupError("no")

    [first, second] = await stage.play(lambda: stage.gather(fails(), stage.live("b")))
    assert isinstance(first, LookupError)
    assert second is None
    assert stage.seen == ["made b", "b"]


async def test_gathering_nothing_goes_on_at_once() -> None:
    stage = Stage()
    assert await stage.play(stage.gather) == []
    assert stage.schedule.loose == 1


async def test_when_nothing_can_move_without_something_from_outside_the_owner_is_told() -> None:
    stage = Stage()

    async def waits() -> None:
        branch = stage.schedule.bind()
        await stage.schedule.live(branch.next_path())
        stage.schedule.rest()
        await asyncio.get_running_loop().create_future()

    task = stage.begin(lambda: stage.gather(waits(), stage.live("b"), waits()))
    await turns()
    assert stage.idle == 1
    assert stage.schedule.close() == []
    assert await task is UNWOUND


async def test_a_recorded_call_that_the_code_does_not_make_is_divergence() -> None:
    stage = Stage(*called("0", "1"))

    async def main() -> None:
        await stage.recorded("a")
        await stage.gather(stage.live("b"))

    task = stage.begin(main)
    await turns()
    [error] = stage.diverged
    assert "a call at 1 (ToolIntent x, seq 3)" in error.what
    assert "waiting at 1.0.0" in error.what
    stage.schedule.close()
    await task


async def test_a_doubt_that_the_code_does_not_come_to_is_divergence() -> None:
    stage = Stage(*called("0"), event(ToolIntent, "5", tool="y", digest="d"))

    async def main() -> None:
        await stage.recorded("a")
        await stage.live("b")

    task = stage.begin(main)
    await turns()
    [error] = stage.diverged
    assert "a call at 5 (ToolIntent y" in error.what
    stage.schedule.close()
    await task


async def test_a_stop_releases_nothing_and_is_quiet_when_the_calls_in_flight_have_ended() -> None:
    stage, ended = Stage(), asyncio.Event()
    quiet: list[int] = []
    stage.schedule.on_quiet = lambda: quiet.append(1)
    task = stage.begin(lambda: stage.gather(stage.live("a", ended), stage.live("b", ended)))
    await turns()
    stage.schedule.stop()
    await turns()
    assert not quiet
    ended.set()
    await turns()
    assert quiet
    assert stage.seen == ["made a", "made b"]
    stage.schedule.close()
    await task


async def test_a_branch_in_a_gate_that_is_cancelled_from_outside_is_reported_and_stays() -> None:
    stage, cancelled = Stage(), []
    stage.schedule.on_cancelled = lambda: cancelled.append(1)
    never = asyncio.Event()
    task = stage.begin(lambda: stage.gather(stage.live("a", never)))
    await turns()
    task.cancel()
    await turns()
    assert cancelled
    assert not task.done()
    stage.schedule.close()
    await task


async def test_a_gate_takes_only_branches_of_its_run_that_are_not_being_put_away() -> None:
    stage, other = Stage(), Stage()
    with pytest.raises(GateMisused, match="no branch"):
        stage.schedule.bind()

    async def foreign() -> None:
        other.schedule.bind()

    with pytest.raises(GateMisused, match="no branch"):
        await stage.play(foreign)

    async def from_task() -> None:
        await asyncio.create_task(stage.live("a"))

    with pytest.raises(GateMisused, match="no branch"):
        await stage.play(from_task)
    refused: list[str] = []

    async def clings() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            try:
                stage.schedule.bind()
            except GateMisused as error:
                refused.append(error.what)

    task = stage.begin(clings)
    await turns()
    stage.schedule.close()
    assert await task is UNWOUND
    assert refused == ["a gate was called while the run was being put away"]


async def test_leaves_are_closed_before_what_waits_for_them() -> None:
    stage, closed = Stage(), []

    async def one(name: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append(name)

    async def nested() -> None:
        try:
            await stage.gather(one("leaf"))
        finally:
            closed.append("middle")

    async def main() -> None:
        try:
            await stage.gather(nested())
        finally:
            closed.append("root")

    task = stage.begin(main)
    await turns()
    branches: list[Branch] = stage.schedule.branches
    assert [branch.prefix for branch in branches] == ["", "0.0.", "0.0.0.0."]
    stage.schedule.close()
    await task
    assert closed == ["leaf", "middle", "root"]
