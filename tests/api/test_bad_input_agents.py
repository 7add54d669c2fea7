"""Agent code that does what the documentation says not to do."""

import asyncio
import contextlib
import math
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.crash.record import check_record, events_of

from penstock import Agent, Budget, IdempotencyKey, Run, Settings, Tool, agent, escalate, tool
from penstock.events import RunEnded, ToolIntent
from penstock.kernel.errors import GateMisused, PenstockError
from penstock.runs.client import Penstock
from penstock.runs.result import Result
from penstock.testing import ScriptedModel
from penstock.wiring import open_in_memory

pytestmark = pytest.mark.timeout(120)

CALLS: dict[str, int] = {}


@tool(effect="read")
async def look(page: int) -> str:
    """Look at a page."""
    await asyncio.sleep(0.02)
    return f"page {page}"


@tool(permission="auto", in_doubt="keyed", timeout_seconds=0.5)
async def pay(amount: int, key: IdempotencyKey) -> str:
    """Pay."""
    await asyncio.sleep(0.02)
    CALLS[key] = CALLS.get(key, 0) + 1
    return "paid"


@tool(risk="high", in_doubt="keyed")
async def refund(amount: int, key: IdempotencyKey) -> str:
    """Pay back."""
    CALLS[key] = CALLS.get(key, 0) + 1
    return "refunded"


@agent("slow-child")
async def slow_child(run: Run, value: int) -> int:
    await run.sleep(0.2)
    return value


class Slow(ScriptedModel):
    """Takes a moment."""

    async def request(self, request: Any) -> Any:
        await asyncio.sleep(0.02)
        return await super().request(request)


SLOW = Slow(["hello"], repeat=True)

GATES = {
    "read": lambda run: run.call(look, 1),
    "write": lambda run: run.call(pay, 1),
    "approval": lambda run: run.call(refund, 1),
    "child": lambda run: run.call(slow_child, 1),
    "model": lambda run: run.ask(SLOW, "hello"),
    "sleep": lambda run: run.sleep(0.1),
    "record": lambda run: run.record("it", lambda: asyncio.sleep(0.02)),
    "gather": lambda run: run.gather(run.call(look, 1), run.call(refund, 2)),
}


PARKING = ("approval", "child", "sleep")
"""Gates at which a run is put away before a time-out can come."""


@pytest.fixture
async def penstock() -> AsyncIterator[Penstock]:
    settings = Settings(poll_seconds=0.02, start_allowance_seconds=0.2, doubt_margin_seconds=0.1)
    async with open_in_memory(settings, models=[SLOW]) as opened:
        yield opened


async def finish(penstock: Penstock, what: Any, value: Any = 1, **options: Any) -> Result:
    """Run to the end; whatever asks for a person is approved."""
    run = await penstock.submit(what, value, **options)
    clerk = asyncio.create_task(approve_all(penstock))
    try:
        result = await penstock.result(run, timeout_seconds=60)
    finally:
        clerk.cancel()
    await check_record(penstock, run)
    return result


async def approve_all(penstock: Penstock) -> None:
    while True:
        for question in await penstock.approvals():
            with contextlib.suppress(PenstockError):
                await penstock.decide(question, "approve", actor="clerk")
        await asyncio.sleep(0.03)


@pytest.mark.parametrize("gate", GATES)
async def test_a_bare_timeout_around_a_gate(penstock: Penstock, gate: str) -> None:
    @agent("impatient")
    async def impatient(run: Run, value: int) -> str:
        try:
            async with asyncio.timeout(0.005):
                await GATES[gate](run)
        except TimeoutError:
            return "gave up"
        return "done"

    result = await finish(penstock, impatient)
    if result.outcome == "succeeded":
        assert gate in PARKING, "a call in flight was cancelled, and nobody said so"
        return
    assert (result.outcome, result.code) == ("failed", "gate_cancelled"), result
    assert any("time-out of its own" in words for words in result.needed)


@pytest.mark.parametrize("gate", GATES)
async def test_wait_for_around_a_gate(penstock: Penstock, gate: str) -> None:
    @agent("impatient")
    async def impatient(run: Run, value: int) -> str:
        await asyncio.wait_for(GATES[gate](run), 0.005)
        return "done"

    result = await finish(penstock, impatient)
    assert (result.outcome, result.code) == ("failed", "gate_misused"), result


@pytest.mark.parametrize("gate", GATES)
async def test_a_task_of_its_own_around_a_gate(penstock: Penstock, gate: str) -> None:
    @agent("parallel")
    async def parallel(run: Run, value: int) -> str:
        await asyncio.create_task(_as_coroutine(GATES[gate](run)))
        return "done"

    result = await finish(penstock, parallel)
    assert (result.outcome, result.code) == ("failed", "gate_misused"), result
    assert any("run.gather" in words for words in result.needed)


async def _as_coroutine(awaitable: Any) -> Any:
    return await awaitable


async def test_gather_of_asyncio_around_gates(penstock: Penstock) -> None:
    @agent("parallel")
    async def parallel(run: Run, value: int) -> Any:
        return await asyncio.gather(run.call(look, 1), run.call(look, 2), return_exceptions=False)

    result = await finish(penstock, parallel)
    assert (result.outcome, result.code) == ("failed", "gate_misused"), result


async def test_a_task_group_around_gates(penstock: Penstock) -> None:
    @agent("parallel")
    async def parallel(run: Run, value: int) -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(run.call(look, 1))
            group.create_task(run.call(pay, 2))
        return "done"

    result = await finish(penstock, parallel)
    assert (result.outcome, result.code) == ("failed", "agent_raised"), result
    assert not any(isinstance(event, ToolIntent) for event in await events_of(penstock.journal, result.run))


async def test_a_thread_that_calls_a_gate(penstock: Penstock) -> None:
    caught: list[BaseException] = []

    @agent("threaded")
    async def threaded(run: Run, value: int) -> str:
        def work() -> None:
            try:
                asyncio.run(_as_coroutine(run.call(look, 1)))
            except BaseException as error:  # noqa: BLE001 - looked at below
                caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        await asyncio.to_thread(thread.join)
        return "done"

    result = await finish(penstock, threaded)
    assert result.outcome == "succeeded"
    assert {type(error) for error in caught} == {GateMisused}


@pytest.mark.parametrize("gate", [*PARKING, "gather"])
@pytest.mark.parametrize("then", ["return", "raise", "go-on", "await"])
async def test_catching_everything_around_a_parked_call(penstock: Penstock, gate: str, then: str) -> None:
    closed: list[str] = []

    @agent("greedy")
    async def greedy(run: Run, value: int) -> str:
        try:
            await GATES[gate](run)
        except BaseException as error:
            closed.append(type(error).__name__)
            if then == "return":
                return "swallowed"
            if then == "raise":
                raise ValueError("swallowed") from error
            if then == "go-on":
                await run.call(pay, 7)
            await asyncio.sleep(0)
        return "done"

    CALLS.clear()
    run = await penstock.submit(greedy, 1)
    clerk = asyncio.create_task(approve_all(penstock))
    result = None
    with contextlib.suppress(TimeoutError):
        result = await penstock.result(run, timeout_seconds=3 if then == "await" else 30)
    clerk.cancel()
    assert "GeneratorExit" in closed, "it never parked"
    if then == "await":
        # It refused to be closed: the worker gives itself up, and the run waits for another one.
        assert penstock.worker is not None
        assert penstock.worker.tainted
    else:
        assert result is not None
        assert (result.outcome, result.output) == ("succeeded", "done"), result
        await check_record(penstock, run)
    assert set(CALLS.values()) <= {1}


async def test_gates_in_finally_blocks_of_a_run_that_is_put_away(penstock: Penstock) -> None:
    @agent("tidy")
    async def tidy(run: Run, value: int) -> str:
        try:
            await run.call(refund, 1)
        finally:
            await run.call(pay, 3)
        return "done"

    CALLS.clear()
    result = await finish(penstock, tidy)
    assert (result.outcome, result.output) == ("succeeded", "done")
    assert sorted(CALLS.values()) == [1, 1]


async def test_swallowing_a_stop(penstock: Penstock) -> None:
    started = asyncio.Event()

    @agent("stubborn")
    async def stubborn(run: Run, value: int) -> str:
        for page in range(1000):
            with contextlib.suppress(BaseException):
                started.set()
                await run.call(look, page)
        return "succeeded all the same"

    run = await penstock.submit(stubborn, 1)
    await started.wait()
    await penstock.kill(run, actor="clerk")
    result = await penstock.result(run, timeout_seconds=60)
    assert result.outcome == "killed"


class Odd(BaseException):
    """Not even an Exception."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("\ud800\x00"),
        ValueError("x" * 10**6),
        Odd("odd"),
        SystemExit(1),
        asyncio.CancelledError(),
        StopIteration(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_code_that_raises(penstock: Penstock, error: BaseException) -> None:
    @agent("raiser")
    async def raiser(run: Run, value: int) -> str:
        await run.call(look, 1)
        raise error

    result = await finish(penstock, raiser)
    assert (result.outcome, result.code) == ("failed", "agent_raised"), result
    assert len(result.reason) <= 500


async def test_code_that_raises_no_exception_in_a_branch(penstock: Penstock) -> None:
    async def branch(run: Run) -> None:
        await run.call(look, 1)
        raise Odd("odd")

    @agent("raiser")
    async def raiser(run: Run, value: int) -> str:
        await run.gather(branch(run), run.call(look, 2))
        return "done"

    result = await finish(penstock, raiser)
    assert (result.outcome, result.code) == ("failed", "agent_raised"), result


@pytest.mark.parametrize(
    "value",
    ["\ud800", "\x00", math.nan, 2**60, object(), b"\xff", "x" * 5_000_000, {1: {2: math.inf}}],
    ids=lambda value: type(value).__name__,
)
async def test_outputs_that_cannot_be_stored(penstock: Penstock, value: Any) -> None:
    @agent("returner")
    async def returner(run: Run, number: int) -> Any:
        run.keep_partial(value)
        return value

    result = await finish(penstock, returner)
    assert result.outcome == "failed", result
    assert result.code == "output_invalid", result


@pytest.mark.parametrize("reason", ["\ud800", "a\x00b", "x" * 10**6])
async def test_escalations_in_odd_words(penstock: Penstock, reason: str) -> None:
    @agent("unsure")
    async def unsure(run: Run, value: int) -> str:
        escalate(reason)

    result = await finish(penstock, unsure)
    assert result.outcome == "escalated"


@pytest.mark.parametrize("name", ["\ud800", "a\x00b", "x" * 10**6, ""])
@pytest.mark.parametrize("what", ["record", "decide", "patched", "purpose"])
async def test_names_that_cannot_be_stored(penstock: Penstock, what: str, name: str) -> None:
    @agent("namer")
    async def namer(run: Run, value: int) -> str:
        if what == "record":
            await run.record(name, lambda: 1)
        elif what == "decide":
            await run.decide(name, ["a", "b"], 0, why=name)
        elif what == "patched":
            await run.patched(name)
        else:
            await run.ask(SLOW, "hello", purpose=name)
        return "done"

    result = await finish(penstock, namer)
    assert (result.outcome, result.code) == ("failed", "input_invalid"), result


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, 10**12])
async def test_sleeps_out_of_range(penstock: Penstock, seconds: float) -> None:
    @agent("sleeper")
    async def sleeper(run: Run, value: int) -> None:
        await run.sleep(seconds)

    result = await finish(penstock, sleeper)
    assert (result.outcome, result.code) == ("failed", "input_invalid"), result


async def test_waiting_for_ever_for_something_of_its_own(penstock: Penstock) -> None:
    @agent("waiter", budget=Budget(seconds=0.2))
    async def waiter(run: Run, value: int) -> None:
        await asyncio.Event().wait()

    result = await finish(penstock, waiter)
    assert (result.outcome, result.code) == ("exhausted", "over_seconds")


async def test_branches_beyond_the_bound(penstock: Penstock) -> None:
    @agent("wide")
    async def wide(run: Run, value: int) -> None:
        await run.map(lambda page: run.call(look, page), range(1001))

    result = await finish(penstock, wide)
    assert (result.outcome, result.code) == ("failed", "gate_misused")


async def test_agents_that_call_themselves_for_ever(penstock: Penstock) -> None:
    @agent("mirror")
    async def mirror(run: Run, depth: int) -> int:
        deeper: int = await run.call(mirror, depth + 1)
        return deeper

    result = await finish(penstock, mirror, 0)
    assert result.outcome == "failed"
    assert result.code == "child_failed"
    events = await events_of(penstock.journal, result.run)
    assert isinstance(events[-1], RunEnded)


def no_tool() -> Tool[..., Any]:
    return None  # type: ignore[return-value]


async def test_calling_what_is_no_tool(penstock: Penstock) -> None:
    @agent("caller")
    async def caller(run: Run, value: int) -> None:
        await run.call(no_tool())

    result = await finish(penstock, caller)
    assert (result.outcome, result.code) == ("failed", "gate_misused")


async def test_two_agents_of_one_name(penstock: Penstock) -> None:
    first = Agent("double", model=SLOW, instructions="One.")
    second = Agent("double", model=SLOW, instructions="Two.")
    await penstock.submit(first, "go")
    with pytest.raises(PenstockError) as caught:
        await penstock.submit(second, "go")
    assert caught.value.code == "agent_invalid"
