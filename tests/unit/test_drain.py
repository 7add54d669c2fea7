"""A worker that is told to stop hands its runs back: at once between calls, else within the grace time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from penstock import Run, Settings, agent, tool
from penstock.events import Event, Failure, ModelOutcome, RunHandedBack, ToolDoubted, ToolIntent, decode
from penstock.journal.chain import verify
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, Price
from penstock.ports.records import Status
from penstock.ports.tools import IdempotencyKey
from penstock.runs.client import Penstock
from penstock.testing import ScriptedModel
from penstock.wiring import open_in_memory

PATIENT = Settings(drain_seconds=20.0, poll_seconds=0.05)
HASTY = Settings(drain_seconds=0.1, poll_seconds=0.05, start_allowance_seconds=0.1, doubt_margin_seconds=0.1)


@asynccontextmanager
async def draining(settings: Settings) -> AsyncIterator[Penstock]:
    async with open_in_memory(settings) as platform:
        yield platform


async def events_of(platform: Penstock, run: UUID) -> list[Event]:
    return [decode(row.body) for row in await platform.journal.tape("default", run)]


async def drain(platform: Penstock) -> float:
    """Drain the platform's worker; the seconds that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert platform.worker is not None
    platform.worker.drain()
    assert platform._working is not None
    await platform._working
    return loop.time() - began


async def finish(platform: Penstock, run: UUID) -> Event:
    """Let another worker go on; the run's last event."""
    platform.start_worker("second")
    assert (await platform.result(run, timeout_seconds=60)).ok
    row = await platform.journal.get_run("default", run)
    assert row is not None
    tape = await platform.journal.tape("default", run)
    verify("default", run, tape, row.head, row.last_seq)
    return decode(tape[-1].body)


async def test_a_run_between_calls_is_handed_back_at_once() -> None:
    counted: list[int] = []
    reached = asyncio.Event()

    @tool(permission="auto", in_doubt="escalate")
    async def count(number: int) -> None:
        """Count."""
        counted.append(number)
        if number == 50:
            reached.set()

    @agent("counter")
    async def counter(run: Run, upto: int) -> int:
        for number in range(upto):
            await run.call(count, number)
        return upto

    async with draining(PATIENT) as platform:
        run = await platform.submit(counter, 400)
        await reached.wait()
        assert await drain(platform) < 2
        row = await platform.journal.get_run("default", run)
        assert row is not None
        assert row.status is Status.QUEUED
        assert len(counted) < 400, "it went on to its end instead"
        events = await events_of(platform, run)
        assert isinstance(events[-1], RunHandedBack)
        await finish(platform, run)
        assert counted == list(range(400))


async def test_a_call_in_flight_may_end_and_is_in_no_doubt() -> None:
    started, go_on = asyncio.Event(), asyncio.Event()
    paid: list[int] = []

    @tool(permission="auto", in_doubt="escalate")
    async def pay(cents: int) -> str:
        """Pay."""
        started.set()
        await go_on.wait()
        paid.append(cents)
        return "paid"

    @agent("payer")
    async def payer(run: Run, cents: int) -> str:
        first = await run.call(pay, cents)
        return f"{first} {await run.call(pay, cents + 1)}"

    async with draining(PATIENT) as platform:
        run = await platform.submit(payer, 5)
        await started.wait()
        leaving = asyncio.create_task(drain(platform))
        await asyncio.sleep(0.1)
        assert not leaving.done()
        go_on.set()
        await leaving
        assert paid == [5], "a further call was started"
        await finish(platform, run)
        assert paid == [5, 6]
        assert not any(isinstance(event, ToolDoubted) for event in await events_of(platform, run))


class _Slow(ScriptedModel):
    """Its first call does not answer."""

    def __init__(self) -> None:
        super().__init__(["late"], price=Price(1.0, 1.0, source="test"), repeat=True)
        self.asked = asyncio.Event()

    async def request(self, request: ModelRequest) -> ModelResponse:
        if not self.asked.is_set():
            self.asked.set()
            await asyncio.Event().wait()
        return await super().request(request)


async def test_after_the_grace_time_a_model_call_is_given_up_and_charged() -> None:
    model = _Slow()

    @agent("asker")
    async def asker(run: Run, text: str) -> str:
        return await run.ask(model, text)

    async with draining(HASTY) as platform:
        run = await platform.submit(asker, "well?")
        await model.asked.wait()
        assert await drain(platform) < 2
        lost = [event for event in await events_of(platform, run) if isinstance(event, ModelOutcome)]
        assert [(event.at_maximum, event.again) for event in lost] == [(True, True)]
        assert lost[0].used.nano > 0
        await finish(platform, run)


class _Busy(ScriptedModel):
    """Asks for a pause at its first call."""

    def __init__(self) -> None:
        super().__init__([ModelError(Failure("busy", "rate_limited", "slow down", 15_000_000)), "well"], repeat=True)
        self.asked = asyncio.Event()

    async def request(self, request: ModelRequest) -> ModelResponse:
        self.asked.set()
        return await super().request(request)


async def test_a_pause_before_the_next_attempt_is_not_sat_out() -> None:
    model = _Busy()

    @agent("asker")
    async def asker(run: Run, text: str) -> str:
        return await run.ask(model, text)

    async with draining(PATIENT) as platform:
        run = await platform.submit(asker, "well?")
        await model.asked.wait()
        await asyncio.sleep(0.05)
        assert await drain(platform) < 2
        row = await platform.journal.get_run("default", run)
        assert row is not None
        assert row.status is Status.QUEUED
        assert len(model.calls) == 1


@pytest.mark.parametrize("branches", [1, 3])
async def test_after_the_grace_time_a_write_is_in_doubt_and_settled_by_its_way(branches: int) -> None:
    calls: list[str] = []
    receipts: dict[str, int] = {}
    hanging = asyncio.Event()

    @tool(permission="auto", in_doubt="keyed", timeout_seconds=1.6)
    async def pay(cents: int, *, key: IdempotencyKey) -> str:
        """Pay."""
        calls.append(key)
        receipts.setdefault(key, cents)
        if len(calls) <= branches:
            if len(calls) == branches:
                hanging.set()
            await asyncio.Event().wait()
        return "paid"

    @agent("payer")
    async def payer(run: Run, cents: int) -> int:
        return len(await run.gather(*(run.call(pay, cents + index) for index in range(branches))))

    async with draining(HASTY) as platform:
        run = await platform.submit(payer, 5)
        await hanging.wait()
        assert await drain(platform) < 1.4, "it waited for the tool's own time-out"
        row = await platform.journal.get_run("default", run)
        assert row is not None
        assert row.status is Status.QUEUED
        events = await events_of(platform, run)
        assert sum(isinstance(event, ToolIntent) for event in events) == branches
        await finish(platform, run)
        assert len(receipts) == branches
        assert len(calls) == 2 * branches


async def test_code_that_never_yields_to_a_gate_is_let_go() -> None:
    begun = asyncio.Event()

    @agent("dawdler")
    async def dawdler(run: Run, rounds: int) -> int:
        begun.set()
        for _ in range(rounds):
            await asyncio.sleep(0)
        return rounds

    async with draining(HASTY) as platform:
        run = await platform.submit(dawdler, 10**9)
        await begun.wait()
        assert await drain(platform) < 5
        row = await platform.journal.get_run("default", run)
        assert row is not None
        assert row.status in (Status.QUEUED, Status.RUNNING)


async def test_draining_twice_keeps_the_first_grace_time() -> None:
    async with draining(HASTY) as platform:
        worker = platform.worker
        assert worker is not None
        worker.drain()
        leave_by = worker._leave_by_ns
        await asyncio.sleep(0.01)
        worker.drain()
        assert worker._leave_by_ns == leave_by
