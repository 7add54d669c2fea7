"""Shared limits as runs meet them: calls wait before their intent, far turns park the run, replay is not disturbed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock import Agent, Run, Settings, agent, tool
from penstock.events import Failure, ModelIntent, ModelOutcome, RunEnded, RunParked, ToolIntent, decode
from penstock.gates.rates.throttle import Permit
from penstock.gates.run.context import RunContext
from penstock.journal.log import RunLog
from penstock.kernel.errors import ClaimLost, JournalUnavailable
from penstock.ports.model import ModelError
from penstock.ports.rates import STALE_US, Grant, Limit
from penstock.ports.records import Status
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.testing import ScriptedModel
from penstock.wiring import assemble, open_in_memory

QUICK: dict[str, Any] = {"poll_seconds": 0.02, "drain_seconds": 5.0}
MODEL = Limit("*", "model", "scripted:*", requests=60_000, burst=1000)


class Room:
    """How many calls of `look` are under way, and were at most."""

    there = 0
    most = 0


@tool(effect="read")
async def look(number: int) -> int:
    """Count how many are here at a time."""
    Room.there += 1
    Room.most = max(Room.most, Room.there)
    await asyncio.sleep(0.03)
    Room.there -= 1
    return number


@agent("looker")
async def looker(run: Run, count: int) -> list[int]:
    """Look several times, side by side."""
    return list(await run.gather(*(run.call(look, number=number) for number in range(count))))


def greeter(model: ScriptedModel) -> Agent:
    return Agent("greeter", model=model, instructions="Greet.")


@asynccontextmanager
async def limited(limit: Limit, **settings: Any) -> AsyncIterator[Penstock]:
    async with open_in_memory(Settings(**{**QUICK, **settings})) as platform:
        await platform.journal.rates.set_limit(limit, "ops")
        yield platform


async def events_of(platform: Penstock, run: Any) -> list[Any]:
    return [decode(row.body) for row in await platform.journal.tape("default", run)]


async def until(what: Any, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not await what():
            await asyncio.sleep(0.01)


async def test_calls_at_a_time_are_bounded_over_runs_and_all_places_come_back() -> None:
    Room.most = 0
    async with limited(Limit("*", "tool", "lo*", concurrent=3)) as platform:
        began = asyncio.get_running_loop().time()
        results = await asyncio.gather(*(looker.run(4) for _ in range(4)))
        assert [result.output for result in results] == [[0, 1, 2, 3]] * 4
        assert Room.most == 3
        assert asyncio.get_running_loop().time() - began < 3, "a place that is free is taken at once"

        async def all_back() -> bool:
            return (await platform.journal.rates.use())[0].in_flight == 0

        await until(all_back)


async def test_a_limit_of_another_tenant_or_tool_does_not_matter() -> None:
    Room.most = 0
    async with limited(Limit("acme", "tool", "*", concurrent=1)) as platform:
        await platform.journal.rates.set_limit(Limit("*", "tool", "looking*", concurrent=1), "ops")
        assert (await looker.run(4)).outcome == "succeeded"
        assert Room.most == 4


async def test_tokens_that_were_not_used_go_back() -> None:
    limit = Limit("*", "model", "scripted:*", tokens=100_000)
    async with limited(limit) as platform:
        result = await greeter(ScriptedModel(["hello"])).run("hi")
        used = result.totals.tokens

        async def settled() -> bool:
            (use,) = await platform.journal.rates.use()
            return bool(use.tokens == used)

        await until(settled)
        intent = next(item for item in await events_of(platform, result.run) if isinstance(item, ModelIntent))
        assert intent.reserved.tokens > used


async def test_a_far_turn_parks_the_run_and_it_goes_on_by_itself_and_replays() -> None:
    async with limited(MODEL, park_after_seconds=0.1) as platform:
        await platform.journal.rates.cool_down(MODEL.key, 0.8, "rate_limited")
        agent = greeter(ScriptedModel(["hello"]))
        run = await platform.submit(agent, "hi")

        async def parked() -> bool:
            row = await platform.journal.get_run("default", run)
            return row is not None and row.status is Status.PARKED and b'"rate"' in row.waiting

        await until(parked)
        assert platform.worker is not None
        assert not platform.worker.running, "it holds no place meanwhile"
        result = await platform.result(run, timeout_seconds=60)
        assert result.output == "hello"
        events = await events_of(platform, run)
        assert any(isinstance(event, RunParked) for event in events)
        assert sum(isinstance(event, ModelIntent) for event in events) == 1
        row = await platform.journal.get_run("default", run)
        assert row is not None
        replayed = await replay(platform.services, row, [agent])
        assert replayed.divergence is None
        assert isinstance(events[-1], RunEnded)


async def test_a_provider_that_is_too_busy_pauses_every_worker() -> None:
    busy = ModelError(Failure("rate_limited", "rate_limited", "too fast", 700_000), billed=False)
    hasty, calm = ScriptedModel([busy, "hello"], "scripted:a"), ScriptedModel(["calm"], "scripted:b")
    loop = asyncio.get_running_loop()
    async with limited(MODEL) as platform:
        second = assemble(platform.journal, Settings(**QUICK), models=[calm])
        other = Agent("other", model=calm, instructions="Greet.")
        began = loop.time()
        first = await platform.submit(greeter(hasty), "hi")

        async def paused() -> bool:
            return (await platform.journal.rates.use())[0].cooldown_until > 0

        await until(paused)
        second.start_worker("second")
        try:
            waiting = await second.submit(other, "hi")
            assert (await second.result(waiting, timeout_seconds=60)).output == "calm"
            assert loop.time() - began >= 0.7, "the pause holds for the other worker's calls too"
            assert (await platform.result(first, timeout_seconds=60)).output == "hello"
        finally:
            assert second.worker is not None
            second.worker.drain()
            assert second._working is not None
            await second._working
            await second.writer.close()


async def test_a_cancelled_run_stops_waiting_and_spends_nothing() -> None:
    async with limited(MODEL) as platform:
        await platform.journal.rates.cool_down(MODEL.key, 10, "rate_limited")
        model = ScriptedModel(["hello"])
        run = await platform.submit(greeter(model), "hi")
        throttle = platform.services.throttle
        assert throttle is not None

        async def waits() -> bool:
            return bool(throttle.waiting)

        await until(waits)
        await platform.cancel(run, actor="ann")
        assert (await platform.result(run, timeout_seconds=60)).outcome == "cancelled"
        assert not model.calls
        assert not throttle.waiting


async def test_a_worker_that_leaves_hands_back_what_waits_at_once() -> None:
    async with limited(MODEL) as platform:
        await platform.journal.rates.cool_down(MODEL.key, 10, "rate_limited")
        run = await platform.submit(greeter(ScriptedModel(["hello"])), "hi")
        throttle, worker = platform.services.throttle, platform.worker
        assert throttle is not None
        assert worker is not None

        async def waits() -> bool:
            return bool(throttle.waiting)

        await until(waits)
        began = asyncio.get_running_loop().time()
        worker.drain()
        assert platform._working is not None
        await platform._working
        assert asyncio.get_running_loop().time() - began < 2
        row = await platform.journal.get_run("default", run)
        assert row is not None
        assert row.status is Status.QUEUED


@pytest.mark.parametrize("end", ["cancel", "drain", "lost"])
async def test_a_call_whose_turn_has_gone_by_is_not_made_when_its_run_stops(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its intent was so long in becoming durable that it stands in line again, and there the stop reaches it."""
    intent = RunLog.intent
    too_old: list[Permit] = []

    async with limited(MODEL) as platform:
        throttle, worker = platform.services.throttle, platform.worker
        assert throttle is not None
        assert worker is not None

        def running() -> RunContext:
            ctx = next(iter(worker.running.values())).ctx
            assert ctx is not None
            return ctx

        def slow(self: RunLog, event: Any) -> "asyncio.Future[None]":
            async def later() -> None:
                await intent(self, event)
                await platform.journal.rates.cool_down(MODEL.key, 10, "rate_limited")
                too_old.extend(permit for _, _, permit in running().permits[event.path])

            return asyncio.ensure_future(later())

        monkeypatch.setattr(RunLog, "intent", slow)
        monkeypatch.setattr(Permit, "stale", property(lambda self: self in too_old))
        model = ScriptedModel(["hello"])
        run = await platform.submit(greeter(model), "hi")

        async def waits() -> bool:
            return bool(too_old and throttle.waiting)

        await until(waits)
        if end == "cancel":
            await platform.cancel(run, actor="ann")
            assert (await platform.result(run, timeout_seconds=60)).outcome == "cancelled"
        elif end == "drain":
            worker.drain()
            assert platform._working is not None
            await platform._working
        else:
            lost = running()
            lost.stop(ClaimLost("another has it", run=run))

            async def let_go() -> bool:
                return all(execution.ctx is not lost for execution in worker.running.values())

            await until(let_go, 30)
        assert not model.calls
        if end != "lost":
            [outcome] = [event for event in await events_of(platform, run) if isinstance(event, ModelOutcome)]
            assert outcome.failure is not None
            assert (outcome.failure.code, outcome.used.nano, outcome.at_maximum) == ("turn_missed", 0, False)


async def test_a_permit_whose_answer_was_long_on_the_way_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process may have stood still before it heard of it: by its own reckoning the permit would be new."""
    async with limited(MODEL) as platform:
        rates = platform.journal.rates
        take = rates.take
        taken: list[Grant] = []

        async def late(*asked: Any) -> Grant:
            grant = await take(*asked)
            taken.append(grant)
            if len(taken) == 1:
                await asyncio.sleep(STALE_US / 1e6 + 0.1)
            return grant

        monkeypatch.setattr(rates, "take", late)
        model = ScriptedModel(["hello"])
        assert (await greeter(model).run("hi")).output == "hello"
        assert [len(grant.starts) for grant in taken] == [1, 1], "a permit was asked for again"
        assert len(model.calls) == 1


async def test_a_worker_with_too_many_waiting_calls_takes_on_no_more_of_that_agent() -> None:
    async with limited(MODEL, rate_waiters_max=3) as platform:
        await platform.journal.rates.cool_down(MODEL.key, 1.2, "rate_limited")
        crowd = greeter(ScriptedModel(["hello"], repeat=True))
        first = await platform.submit_many([_request(crowd) for _ in range(3)])
        throttle, worker = platform.services.throttle, platform.worker
        assert throttle is not None
        assert worker is not None

        async def crowded() -> bool:
            return throttle.crowded(crowd.release)

        await until(crowded)
        late = await platform.submit_many([_request(crowd) for _ in range(3)])
        assert (await looker.run(1)).output == [0], "others go on"
        assert len(worker.running) == 3
        for run in [*first, *late]:
            assert (await platform.result(run, timeout_seconds=60)).output == "hello"


def _request(agent: Agent) -> Any:
    from penstock.runs.submit import Request

    return Request(agent, "hi")


async def test_the_wait_comes_before_the_intent() -> None:
    """The start allowance counts from the intent: a wait after it would let the allowance run out."""
    Room.most = 0
    async with limited(Limit("*", "tool", "look", requests=300, burst=1), start_allowance_seconds=0.1) as platform:
        result = await looker.run(4)
        assert result.output == [0, 1, 2, 3]
        tape = await platform.journal.tape("default", result.run)
        times = [row.at for row in tape if isinstance(decode(row.body), ToolIntent)]
        assert len(times) == 4, "none was put forward twice"
        assert times[-1] - times[0] > 0.5e6


@pytest.mark.parametrize("failing", [True, False])
async def test_every_attempt_has_a_permit_of_its_own(failing: bool) -> None:
    busy = ModelError(Failure("overloaded", "transient", "busy"), billed=False)
    async with limited(Limit("*", "model", "scripted:*", requests=60_000, burst=100)) as platform:
        result = await greeter(ScriptedModel([busy, "hello"] if failing else ["hello"])).run("hi")
        assert result.output == "hello"
        (use,) = await platform.journal.rates.use()
        outcomes = [event for event in await events_of(platform, result.run) if isinstance(event, ModelOutcome)]
        assert use.requests == len(outcomes) == 1 + failing


async def test_before_the_limits_could_be_read_no_call_goes_out() -> None:
    async with limited(MODEL) as platform:
        rates = platform.journal.rates
        read, tries = rates.limits, 0

        async def away() -> list[Limit]:
            nonlocal tries
            tries += 1
            if tries < 3:
                raise JournalUnavailable("away")
            return await read()

        rates.limits = away  # type: ignore[method-assign]
        result = await greeter(ScriptedModel(["hello"])).run("hi")
        assert result.output == "hello"
        assert tries == 3
        assert (await rates.use())[0].requests == 1


async def test_when_the_store_goes_away_the_limits_last_read_stay() -> None:
    async with limited(MODEL) as platform:
        assert (await greeter(ScriptedModel(["hello"])).run("hi")).output == "hello"
        throttle = platform.services.throttle
        assert throttle is not None

        async def away() -> list[Limit]:
            raise JournalUnavailable("away")

        platform.journal.rates.limits = away  # type: ignore[method-assign]
        throttle._read_ns = 0
        assert await throttle.lane_of("default", "model", "scripted:model") is not None
