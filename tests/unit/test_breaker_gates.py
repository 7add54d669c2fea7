"""What the gates do when a breaker is open: deny, ask another model, wait; what trips one; what is cut off."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from penstock import Agent, Run, agent, tool
from penstock.events import ModelIntent, ModelOutcome, RunParked, ToolIntent, ToolOutcome, VerdictRecorded, decode
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import BreakerOpen
from penstock.kernel.ids import new_id
from penstock.ports.breakers import Breaker, Condition
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.settings import Settings
from penstock.testing import ScriptedModel, in_memory, tool_call

THREE = (Condition("failures", limit=3),)
SOON = Settings(poll_seconds=0.1)


def breaker(scope: Any = "model", value: str = "*", **fields: Any) -> Breaker:
    given: dict[str, Any] = {"conditions": THREE, "open_seconds": 30.0, "probes": 1} | fields
    return Breaker("default", "b", scope, value, **given)


@contextlib.asynccontextmanager
async def platform(made: Breaker, **options: Any) -> AsyncIterator[Penstock]:
    async with in_memory(SOON, **options) as known:
        await known.journal.breakers.put(made, "ops")
        yield known


async def trip(known: Penstock, value: str, seconds: float = 30.0) -> None:
    key = "default", "b", value
    assert await known.journal.breakers.trip(key, None, new_id(SystemClock()), seconds, "ops", b"{}")


async def events(known: Penstock, run: Any) -> list[Any]:
    return [decode(row.body) for row in await known.journal.tape("default", run)]


async def check_replay(known: Penstock, run: Any, code: Any) -> None:
    row = await known.journal.get_run("default", run)
    assert row is not None
    found = await replay(known.services, row, [code])
    assert found.same, found.divergence


def failing(name: str = "m", times: int = 10) -> ScriptedModel:
    return ScriptedModel([ValueError("down")] * times, name)


async def test_it_trips_at_the_third_failure_and_then_nothing_is_called() -> None:
    model = failing()
    desk = Agent("desk", model=model, instructions="Answer.")
    async with platform(breaker()) as known:
        for _ in range(3):
            assert (await desk.run("hello")).code == "model_failed"
        result = await desk.run("hello")
        assert (result.outcome, result.code) == ("failed", "breaker_open")
        assert len(model.calls) == 3
        (tripped,) = await known.journal.breakers.trips("default", "b", None, 5)
        said = msgspec.json.decode(tripped.evidence)
        assert (said["condition"], said["figures"]) == ("failures", {"failures": 3})
        assert [call["failure"] for call in said["calls"]] == ["model_adapter"] * 3
        verdict = next(e for e in await events(known, result.run) if isinstance(e, VerdictRecorded))
        assert [(v.rule, v.code) for v in verdict.verdicts] == [("breaker", "breaker_open")]


async def test_a_success_in_between_begins_the_count_anew() -> None:
    desk = Agent("desk", model=ScriptedModel([ValueError(), ValueError(), "ok"], "m", repeat=True), instructions="x")
    async with platform(breaker()) as known:
        for _ in range(9):
            await desk.run("hello")
        assert await known.journal.breakers.trips("default", "b", None, 5) == []


async def test_its_probe_closes_it_when_it_is_good() -> None:
    model = ScriptedModel([*[ValueError("down")] * 3, "well again", "and again"], "m")
    desk = Agent("desk", model=model, instructions="Answer.")
    async with platform(breaker(open_seconds=0.2)) as known:
        for _ in range(3):
            await desk.run("hello")
        assert (await desk.run("hello")).code == "breaker_open"
        await asyncio.sleep(0.25)
        assert (await desk.run("hello")).output == "well again"
        assert (await desk.run("hello")).output == "and again"
        (tripped,) = await known.journal.breakers.trips("default", "b", None, 5)
        assert tripped.closed_by == "probes"


async def test_a_bad_probe_opens_it_again() -> None:
    model = failing()
    desk = Agent("desk", model=model, instructions="Answer.")
    async with platform(breaker(open_seconds=0.2)):
        for _ in range(3):
            await desk.run("hello")
        await asyncio.sleep(0.25)
        assert (await desk.run("hello")).code == "model_failed"
        assert (await desk.run("hello")).code == "breaker_open"
        assert len(model.calls) == 4


async def test_another_model_is_asked_and_the_tape_replays() -> None:
    main, small = failing("main"), ScriptedModel(["from the small one"] * 5, "small")
    desk = Agent("desk", model=main, instructions="Answer.")
    async with platform(breaker("model", "main", meanwhile="fallback", fallback="small"), models=[small]) as known:
        await trip(known, "main")
        result = await desk.run("hello")
        assert result.output == "from the small one"
        assert main.calls == []
        (intent,) = [event for event in await events(known, result.run) if isinstance(event, ModelIntent)]
        assert (intent.model, intent.because, intent.instead_of) == ("small", "fallback", "main")
        await check_replay(known, result.run, desk)
        assert len(small.calls) == 1


async def test_an_agents_own_fallback_is_asked() -> None:
    main, small = failing("main"), ScriptedModel(["from the small one"], "small")
    desk = Agent("desk", model=[main, small], instructions="Answer.")
    async with platform(breaker("model", "main", meanwhile="fallback")) as known:
        await trip(known, "main")
        assert (await desk.run("hello")).output == "from the small one"


async def test_of_an_agent_the_model_that_is_named_passes() -> None:
    main, small = failing("main"), ScriptedModel(["cheaper"], "small")
    desk = Agent("desk", model=main, instructions="Answer.")
    async with platform(breaker("agent", "desk", meanwhile="fallback", fallback="small"), models=[small]) as known:
        await trip(known, "desk")
        assert (await desk.run("hello")).output == "cheaper"


async def test_when_the_other_model_is_open_too_it_is_denied() -> None:
    main, small = failing("main"), failing("small")
    desk = Agent("desk", model=main, instructions="Answer.")
    async with platform(breaker(meanwhile="fallback", fallback="small"), models=[small]) as known:
        await trip(known, "main")
        await trip(known, "small")
        assert (await desk.run("hello")).code == "breaker_open"


async def test_a_queued_call_parks_its_run_and_goes_on_afterwards() -> None:
    model = ScriptedModel(["at last"], "m")
    desk = Agent("desk", model=model, instructions="Answer.")
    async with platform(breaker(meanwhile="queue")) as known:
        await trip(known, "m", 0.6)
        result = await desk.run("hello")
        assert result.output == "at last"
        parked = [event for event in await events(known, result.run) if isinstance(event, RunParked)]
        assert [item.kind for item in parked[0].waiting] == ["breaker"]
        await check_replay(known, result.run, desk)


async def test_a_call_under_way_is_cut_off_and_charged_at_its_most() -> None:
    begun = asyncio.Event()

    class Slow(ScriptedModel):
        async def request(self, request: ModelRequest) -> ModelResponse:
            begun.set()
            await asyncio.sleep(60)
            return await super().request(request)

    model = Slow(["never"], "m", Price(1.0, 1.0, source="test"))
    desk = Agent("desk", model=model, instructions="Answer.")
    async with platform(breaker()) as known:
        running = asyncio.create_task(desk.run("hello"))
        await begun.wait()
        loop = asyncio.get_running_loop()
        at = loop.time()
        await trip(known, "m")
        result = await running
        assert loop.time() - at < 1.0
        assert result.code == "breaker_open"
        outcome = next(event for event in await events(known, result.run) if isinstance(event, ModelOutcome))
        assert outcome.failure is not None
        assert (outcome.failure.code, outcome.again, outcome.at_maximum) == ("breaker_open", True, True)
        await check_replay(known, result.run, desk)


@pytest.mark.parametrize("effect", ["read", "write"])
async def test_a_read_under_way_is_cut_off_and_a_write_never(effect: Any) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @tool(effect=effect, in_doubt="idempotent", risk="low", permission="auto")
    async def work() -> str:
        begun.set()
        await go_on.wait()
        return "done"

    desk = Agent("desk", model=ScriptedModel([tool_call("work"), "bye"], "m"), instructions="x", tools=[work])
    async with platform(breaker("tool", "work")) as known:
        running = asyncio.create_task(desk.run("hello"))
        await begun.wait()
        await trip(known, "work")
        await asyncio.sleep(0.5)
        go_on.set()
        result = await running
        assert result.outcome == "succeeded"
        outcome = next(event for event in await events(known, result.run) if isinstance(event, ToolOutcome))
        if effect == "write":
            assert outcome.status == "ok"
        else:
            assert (outcome.failure and outcome.failure.code, outcome.again) == ("breaker_open", True)
            assert any(isinstance(event, VerdictRecorded) for event in await events(known, result.run))
        await check_replay(known, result.run, desk)


async def test_an_intent_that_the_trip_overtakes_is_not_written() -> None:
    """Another process trips it and this one has not heard: the append says so, and the gate asks again."""
    model = ScriptedModel(["answer"] * 3, "m")
    desk = Agent("desk", model=model, instructions="Answer.")
    async with platform(breaker()) as known:
        assert (await desk.run("hello")).output == "answer"
        known.journal.breakers._listeners.clear()  # type: ignore[attr-defined]
        guard = known.services.breakers
        assert guard is not None
        version = guard.version
        await trip(known, "m")
        assert guard.version == version
        result = await desk.run("hello")
        assert result.code == "breaker_open"
        assert len(model.calls) == 1
        assert not any(isinstance(event, ModelIntent) for event in await events(known, result.run))


async def test_answers_that_drift_trip_it() -> None:
    """A hundred of one kind are learned from; more of that kind pass, and some of another trip it."""
    colours = ["red", "blue", "green", "white", "black"]
    usual = [f"Your order of {n} {colours[n % 5]} shirts was shipped on day {n % 28}." for n in range(160)]
    others = [f"The {colours[n % 5]} dragon ate {n} knights, and sang of the moon." for n in range(60)]
    desk = Agent("desk", model=ScriptedModel(usual + others, "m"), instructions="x")
    async with platform(breaker(conditions=(Condition("drift", baseline=100),))) as known:
        for _ in usual:
            assert (await desk.run("hello")).outcome == "succeeded"
        assert await known.journal.breakers.trips("default", "b", None, 1) == []
        codes = [(await desk.run("hello")).code for _ in others]
        assert "breaker_open" in codes
        (tripped,) = await known.journal.breakers.trips("default", "b", None, 5)
        assert msgspec.json.decode(tripped.evidence)["condition"] == "drift"


async def test_an_open_agent_starts_nothing_and_is_not_started() -> None:
    leaf = Agent("leaf", model=ScriptedModel(["x"], "m"), instructions="x")

    @agent("parent")
    async def parent(run: Run, what: str) -> str:
        try:
            return str(await run.call(leaf, what))
        except BreakerOpen as error:
            return error.code

    async with platform(breaker("agent", "leaf")) as known:
        await trip(known, "leaf")
        assert (await parent.run("hello")).output == "breaker_open"


async def test_a_read_that_a_breaker_covers_is_not_made_before_its_intent_is_durable() -> None:
    made = 0

    @tool(effect="read")
    async def look() -> str:
        nonlocal made
        made += 1
        return "seen"

    script: list[Any] = [tool_call("look"), "bye"]
    desk = Agent("desk", model=ScriptedModel(script, "m", repeat=True), instructions="x", tools=[look])
    async with platform(breaker("tool", "look")) as known:
        assert (await desk.run("hello")).outcome == "succeeded"
        known.journal.breakers._listeners.clear()  # type: ignore[attr-defined]
        await trip(known, "look")
        result = await desk.run("hello")
        assert made == 1
        assert not any(isinstance(event, ToolIntent) for event in await events(known, result.run))
