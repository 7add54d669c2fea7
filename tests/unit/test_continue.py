"""A run that goes on in another: one successor, what is left of the budget, and everybody who waits follows."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from penstock import Budget, Run, Settings, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import Event, RunContinued, RunEnded, RunSubmitted, decode
from penstock.journal.chain import verify
from penstock.kernel.errors import GateMisused, InputInvalid
from penstock.ports.model import Price
from penstock.ports.records import CONTINUED, Answer, Applied, Batch, RunFilter, RunRow, Status, Stop
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.testing import ScriptedModel
from penstock.wiring import assemble, open_in_memory

QUICK = Settings(poll_seconds=0.02)


async def chain_of(platform: Penstock) -> list[RunRow]:
    """All runs, oldest first."""
    rows = await platform.journal.list_runs("default", RunFilter(), 100)
    for row in rows:
        tape = await platform.journal.tape("default", row.id)
        verify("default", row.id, tape, row.head, row.last_seq)
    by_parent = {row.parent: row for row in rows}
    found = [by_parent[None]]
    while found[-1].id in by_parent:
        found.append(by_parent[found[-1].id])
    return found


async def events_of(platform: Penstock, run: UUID) -> list[Event]:
    return [decode(row.body) for row in await platform.journal.tape("default", run)]


@tool(effect="read")
async def look(number: int) -> int:
    """Look."""
    return number


@agent("stepper")
async def stepper(run: Run, left: int) -> str:
    await run.call(look, left)
    if left:
        await run.continue_as(left - 1)
    return "done"


async def test_the_result_is_that_of_the_last_run() -> None:
    async with open_in_memory(QUICK) as platform:
        run = await platform.submit(stepper, 3, session="s-1", tags={"customer": "acme"}, priority=7)
        result = await platform.result(run, timeout_seconds=60)
        assert result.output == "done"
        assert result.totals.tool_calls == 4
        rows = await chain_of(platform)
        assert len(rows) == 4
        assert rows[0].id == run
        assert rows[-1].id == result.run
        assert [row.code for row in rows] == [CONTINUED] * 3 + [""]
        assert {(row.outcome, row.session, row.priority, row.tags["customer"]) for row in rows} == {
            ("succeeded", "s-1", 7, "acme")
        }
        assert {row.root for row in rows} == {run}
        first = (await events_of(platform, rows[-1].id))[0]
        assert isinstance(first, RunSubmitted)
        assert (first.first, first.continues, first.carried.tool_calls) == (run, rows[2].id, 3)


async def test_each_run_of_a_chain_replays() -> None:
    async with open_in_memory(QUICK) as platform:
        await platform.result(await platform.submit(stepper, 2), timeout_seconds=60)
        for row in await chain_of(platform):
            assert (done := await replay(platform.services, row, [stepper])).same, done.divergence


async def test_another_value_in_a_replay_is_a_divergence() -> None:
    step = 1

    @agent("careless", version="1")
    async def careless(run: Run, left: int) -> str:
        if left > 0:
            await run.continue_as(left - step)
        return "done"

    async with open_in_memory(QUICK) as platform:
        await platform.result(await platform.submit(careless, 1), timeout_seconds=60)
        row = (await chain_of(platform))[0]
        step = 2
        done = await replay(platform.services, row, [careless])
        assert done.divergence is not None
        assert "other arguments" in done.divergence.words


async def test_what_is_left_of_the_budget_goes_along() -> None:
    model = ScriptedModel(["yes"], price=Price(1000.0, 1000.0, source="test"), repeat=True)

    @agent("spender", budget=Budget(usd="1", steps=5, tokens=100_000))
    async def spender(run: Run, left: int) -> str:
        await run.ask(model, "more?")
        await run.ask(model, "more?")
        await run.continue_as(left + 1)

    async with open_in_memory(QUICK) as platform:
        result = await platform.result(await platform.submit(spender, 0), timeout_seconds=60)
        assert (result.outcome, result.code) == ("exhausted", "over_steps")
        assert len(model.calls) == 5
        rows = await chain_of(platform)
        budgets = [(await events_of(platform, row.id))[0] for row in rows]
        assert [event.budget.steps for event in budgets if isinstance(event, RunSubmitted)] == [5, 3, 1]
        nanos = [event.budget.nano for event in budgets if isinstance(event, RunSubmitted)]
        assert nanos[1] == nanos[0] - rows[0].summary.nano
        assert nanos[2] == nanos[1] - rows[1].summary.nano


async def test_a_parent_gets_the_end_of_the_chain_and_is_charged_for_all_of_it() -> None:
    model = ScriptedModel(["yes"], price=Price(1000.0, 1000.0, source="test"), repeat=True)

    @agent("walker")
    async def walker(run: Run, left: int) -> str:
        await run.ask(model, "on?")
        if left:
            await run.continue_as(left - 1)
        return "arrived"

    @agent("sender", budget=Budget(usd="1"))
    async def sender(run: Run, left: int) -> str:
        return str(await run.call(walker, left))

    async with open_in_memory(QUICK) as platform:
        result = await platform.result(await platform.submit(sender, 2), timeout_seconds=60)
        assert result.output == "arrived"
        rows = await chain_of(platform)
        assert len(rows) == 4
        assert result.totals.nano == sum(row.summary.nano for row in rows[1:]) > 0


async def test_stops_reach_the_run_that_goes_on() -> None:
    waits = asyncio.Event()

    @agent("waiter")
    async def waiter(run: Run, left: int) -> str:
        if left:
            await run.continue_as(left - 1)
        waits.set()
        await run.sleep(600)
        return "never"

    async with open_in_memory(QUICK) as platform:
        run = await platform.submit(waiter, 2)
        await waits.wait()
        await platform.cancel(run, actor="ben")
        assert (await platform.result(run, timeout_seconds=60)).outcome == "cancelled"


async def test_inside_a_branch_it_is_misuse_and_a_wrong_value_is_refused() -> None:
    said: list[str] = []

    @agent("wrong")
    async def wrong(run: Run, number: int) -> str:
        for attempt in (run.gather(run.continue_as(1)), run.continue_as("no number")):
            try:
                await attempt
            except (GateMisused, InputInvalid) as error:
                said.append(error.code)
        return "went on"

    async with open_in_memory(QUICK) as platform:
        assert (await platform.result(await platform.submit(wrong, 1), timeout_seconds=60)).output == "went on"
    assert said == ["gate_misused", "input_invalid"]


class _Interrupted(MemoryJournal):
    """Loses the worker's claim between the record of going on and the run's end."""

    def __init__(self) -> None:
        super().__init__()
        self.stop: Stop | None = None
        self.cut = 0

    async def append(self, batches: Sequence[Batch], *payloads: Any, blocking: bool = False) -> list[Applied]:
        ends = [batch for batch in batches if batch.move is not None and batch.move.code == CONTINUED]
        if ends and not self.cut:
            self.cut += 1
            if self.stop is not None:
                await self.stop_run("default", ends[0].run, self.stop, "ben", "")
            run = self._store.runs[ends[0].tenant, ends[0].run]
            run.status, run.worker, run.epoch, run.wake_at = Status.QUEUED, None, run.epoch + 1, self._clock.now_us()
            self._news.set()
            return [Applied(Answer.FENCED) for _ in batches]
        return await super().append(batches, *payloads, blocking=blocking)


@pytest.mark.parametrize("stop", [None, Stop.KILL])
async def test_a_worker_that_dies_in_between_leaves_one_successor(stop: Stop | None) -> None:
    journal = _Interrupted()
    journal.stop = stop
    async with assemble(journal, QUICK) as platform:
        platform.start_worker("w")
        run = await platform.submit(stepper, 1)
        result = await platform.result(run, timeout_seconds=60)
        assert journal.cut == 1
        rows = await chain_of(platform)
        assert len(rows) == 2
        events = await events_of(platform, run)
        assert sum(isinstance(event, RunContinued) for event in events) == 1
        assert isinstance(events[-1], RunEnded)
        assert events[-1].code == CONTINUED
        assert result.outcome == ("killed" if stop else "succeeded"), "a kill reaches the run that goes on"
