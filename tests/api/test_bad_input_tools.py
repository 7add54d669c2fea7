"""Arguments and results that nobody should send, from models and from code, and tools that misbehave."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.crash.record import check_record, events_of

from penstock import Agent, OutcomeUnknown, Run, Settings, Tool, TransientToolError, agent, tool
from penstock.events import RunEnded, ToolIntent, ToolOutcome, VerdictRecorded
from penstock.events.messages import ToolCall, ToolResult
from penstock.kernel.errors import CallDenied, PenstockError, ToolFailed
from penstock.ports.controls import of_all
from penstock.ports.model import ModelRequest
from penstock.runs.client import Penstock
from penstock.runs.result import Result
from penstock.testing import ScriptedModel, tool_call
from penstock.wiring import open_in_memory

pytestmark = pytest.mark.timeout(120)

SETTINGS = Settings(poll_seconds=0.02, start_allowance_seconds=0.1, doubt_margin_seconds=0.1)
SECRET = "do not repeat me"


@tool(effect="read", repeatable=True)
async def look(page: int, where: Any = None) -> str:
    """Look at a page."""
    return f"page {page}"


@pytest.fixture
async def penstock() -> AsyncIterator[Penstock]:
    async with open_in_memory(SETTINGS) as opened:
        yield opened


async def finish(penstock: Penstock, what: Any, value: Any) -> Result:
    """Run to the end, which must come soon."""
    run = await penstock.submit(what, value)
    return await penstock.result(run, timeout_seconds=60)


def deep(depth: int) -> str:
    return '{"page": 1, "where": ' + "[" * depth + "]" * depth + "}"


BAD_ARGUMENTS = {
    "nothing-to-read": "{",
    "not-json": "page=1",
    "not-an-object": "[1]",
    "missing": "{}",
    "extra": '{"page": 1, "colour": "red"}',
    "wrong-type": '{"page": "one"}',
    "nul": '{"page": 1, "where": "a\\u0000b"}',
    "raw-nul": '{"page": 1, "where": "a\x00b"}',
    "escaped-surrogate": '{"page": 1, "where": "\\ud800"}',
    "raw-surrogate": '{"page": 1, "where": "\ud800"}',
    "nan": '{"page": 1, "where": NaN}',
    "infinity": '{"page": 1, "where": -Infinity}',
    "overflow": '{"page": 1, "where": 1e999}',
    "huge-integer": '{"page": 1, "where": 9007199254740993}',
    "enormous-integer": '{"page": ' + "9" * 5000 + "}",
    "deep": deep(70),
    "very-deep": deep(200_000),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
async def test_arguments_of_a_model(penstock: Penstock, name: str) -> None:
    seen: list[ToolResult] = []

    def last(request: ModelRequest) -> str:
        seen.extend(part for part in request.messages[-1].parts if isinstance(part, ToolResult))
        return "sorry"

    model = ScriptedModel([ToolCall("c1", "look", BAD_ARGUMENTS[name]), last])
    result = await finish(penstock, Agent("reader", model=model, instructions="Read.", tools=[look]), "go")
    assert (result.outcome, result.output) == ("succeeded", "sorry"), result
    events = await check_record(penstock, result.run)
    (verdict,) = [event for event in events if isinstance(event, VerdictRecorded)]
    assert verdict.verdicts[-1].code == "arguments_invalid"
    assert not any(isinstance(event, ToolIntent) for event in events)
    assert [part.status for part in seen] == ["denied"]
    assert len(seen[0].text) < 1000


@pytest.mark.parametrize("name", ["nothing", "a\x00b", "\ud800", "x" * 100_000, ""])
async def test_tools_that_are_none(penstock: Penstock, name: str) -> None:
    model = ScriptedModel([ToolCall("c1", name, "{}"), "sorry"])
    result = await finish(penstock, Agent("reader", model=model, instructions="Read.", tools=[look]), "go")
    assert (result.outcome, result.output) == ("succeeded", "sorry"), result
    events = await check_record(penstock, result.run)
    (verdict,) = [event for event in events if isinstance(event, VerdictRecorded)]
    assert verdict.verdicts[-1].code == "tool_unknown"


@pytest.mark.parametrize("call_id", ["", "a\x00b", "\ud800", "x" * 100_000])
async def test_call_ids_that_cannot_be_stored(penstock: Penstock, call_id: str) -> None:
    call = ToolCall(call_id, "look", '{"page": 1}')
    model = ScriptedModel([[call, ToolCall(call_id, "look", '{"page": 2}')], "done"])
    result = await finish(penstock, Agent("reader", model=model, instructions="Read.", tools=[look]), "go")
    assert (result.outcome, result.output) == ("succeeded", "done"), result
    await check_record(penstock, result.run)
    assert await penstock.journal.open_intents(of_all("default")) == []


BAD_VALUES = {
    "nul": "a\x00b",
    "surrogate": "\ud800",
    "nan": math.nan,
    "infinity": [math.inf],
    "huge-integer": 2**60,
    "deep": json.loads("[" * 70 + "]" * 70),
    "object": object(),
    "function": print,
    "set-of-objects": {object()},
}


@pytest.mark.parametrize("name", BAD_VALUES)
async def test_arguments_of_code(penstock: Penstock, name: str) -> None:
    @agent("caller")
    async def caller(run: Run, name: str) -> str:
        try:
            await run.call(look, 1, where=BAD_VALUES[name])
        except (CallDenied, ToolFailed) as error:
            return error.code
        return "called"

    result = await finish(penstock, caller, name)
    assert (result.outcome, result.output) == ("succeeded", "call_denied"), result
    await check_record(penstock, result.run)


async def test_too_many_arguments_of_code(penstock: Penstock) -> None:
    @agent("caller")
    async def caller(run: Run, value: int) -> str:
        await run.call(look, 1, 2, 3)
        return "called"

    result = await finish(penstock, caller, 1)
    assert (result.outcome, result.code) == ("failed", "tool_failed")


def circular() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def bottomless() -> Any:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    return value


RESULTS: dict[str, Any] = {
    **BAD_VALUES,
    "circular": circular,
    "bottomless": bottomless,
    "broken-bytes": b"\xff",
    "long-text": lambda: "x" * 100_000_000,
    "many-texts": lambda: ["x" * 1_000_000] * 100,
    "long-bytes": lambda: b"x" * 100_000_000,
    "coroutine-function": lambda: asyncio.sleep,
}


def misbehaving(name: str, effect: Any) -> Tool[..., Any]:
    @tool(effect=effect, permission="auto")
    async def misbehave() -> Any:
        """Returns what cannot be kept."""
        value = RESULTS[name]
        return value() if callable(value) and value is not print else value

    return misbehave


@pytest.mark.parametrize("effect", ["read", "write"])
@pytest.mark.parametrize("name", RESULTS)
async def test_results_that_cannot_be_kept(penstock: Penstock, name: str, effect: str) -> None:
    model = ScriptedModel([tool_call("misbehave"), "sorry"])
    reader = Agent("reader", model=model, instructions="Read.", tools=[misbehaving(name, effect)])
    result = await finish(penstock, reader, "go")
    assert (result.outcome, result.output) == ("succeeded", "sorry"), result
    events = await check_record(penstock, result.run)
    (outcome,) = [event for event in events if isinstance(event, ToolOutcome)]
    assert outcome.failure is not None
    assert (outcome.status, outcome.failure.code) == ("error", "tool_result_invalid")
    assert outcome.failure.words.startswith("the tool ran")


class Odd(BaseException):
    """Not even an Exception."""


ERRORS: dict[str, BaseException] = {
    "plain": ValueError("no such page"),
    "nul": ValueError("a\x00b"),
    "surrogate": ValueError("\ud800"),
    "long": ValueError("x" * 10_000_000),
    "base": Odd("odd"),
    "exit": SystemExit(3),
    "stop-iteration": StopIteration(),
    "generator-exit": GeneratorExit(),
    "recursion": RecursionError("deep"),
    "memory": MemoryError(),
    "group": ExceptionGroup("several", [ValueError("a"), TypeError("b")]),
}


@pytest.mark.parametrize("effect", ["read", "write"])
@pytest.mark.parametrize("name", ERRORS)
async def test_tools_that_raise(penstock: Penstock, name: str, effect: Any) -> None:
    @tool(effect=effect, permission="auto")
    async def misbehave() -> str:
        """Raises."""
        raise ERRORS[name]

    model = ScriptedModel([tool_call("misbehave"), "sorry"])
    result = await finish(penstock, Agent("reader", model=model, instructions="Read.", tools=[misbehave]), "go")
    assert (result.outcome, result.output) == ("succeeded", "sorry"), result
    events = await check_record(penstock, result.run)
    (outcome,) = [event for event in events if isinstance(event, ToolOutcome)]
    assert outcome.failure is not None
    assert (outcome.status, outcome.failure.code) == ("error", "tool_failed")
    assert len(outcome.failure.words) <= 400
    assert await penstock.journal.open_intents(of_all("default")) == []


async def test_an_error_whose_words_raise(penstock: Penstock) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    @tool(effect="read")
    async def misbehave() -> str:
        """Raises."""
        raise Mute

    model = ScriptedModel([tool_call("misbehave"), "sorry"])
    result = await finish(penstock, Agent("reader", model=model, instructions="Read.", tools=[misbehave]), "go")
    assert (result.outcome, result.output) == ("succeeded", "sorry"), result


async def hang() -> str:
    await asyncio.Event().wait()
    return "never"


async def swallow() -> str:
    for _ in range(2):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    return "too late"


async def cancel_itself() -> str:
    raise asyncio.CancelledError


async def lose_connection() -> str:
    raise ConnectionResetError("gone")


async def say_unknown() -> str:
    raise OutcomeUnknown("the receiver did not answer")


DOUBTFUL = [hang, cancel_itself, lose_connection, say_unknown]


@pytest.mark.parametrize("how", [*DOUBTFUL, swallow])
async def test_a_read_without_an_answer_fails(penstock: Penstock, how: Any) -> None:
    misbehave = tool(effect="read", name="misbehave", timeout_seconds=0.05)(how)
    model = ScriptedModel([tool_call("misbehave"), "sorry"])
    result = await finish(penstock, Agent("reader", model=model, instructions="Read.", tools=[misbehave]), "go")
    assert (result.outcome, result.output) == ("succeeded", "sorry"), result
    await check_record(penstock, result.run)


@pytest.mark.parametrize("happened", [True, False])
@pytest.mark.parametrize("how", DOUBTFUL)
async def test_a_write_without_an_answer_asks_a_person(penstock: Penstock, how: Any, happened: bool) -> None:
    calls: list[int] = []

    async def once() -> str:
        calls.append(1)
        return await how() if len(calls) == 1 else "done"

    misbehave = tool(effect="write", permission="auto", name="misbehave", timeout_seconds=0.05)(once)

    @agent("writer")
    async def writer(run: Run, value: int) -> Any:
        return await run.call(misbehave)

    run = await penstock.submit(writer, 1)
    async with asyncio.timeout(30):
        while not (questions := [item for item in await penstock.approvals() if item.id]):
            await asyncio.sleep(0.02)
    assert [question.question for question in questions] == ["did_it_happen"]
    await penstock.decide(questions[0], "happened" if happened else "did_not_happen", actor="clerk")
    result = await penstock.result(run, timeout_seconds=60)
    assert (result.outcome, result.output) == ("succeeded", None if happened else "done")
    assert len(calls) == (1 if happened else 2)
    await check_record(penstock, run)


async def test_a_transient_failure_is_tried_again_as_often_as_declared(penstock: Penstock) -> None:
    @tool(effect="write", permission="auto", attempts=3)
    async def misbehave() -> str:
        """Fails."""
        raise TransientToolError("busy", retry_after_seconds=0.01)

    @agent("writer")
    async def writer(run: Run, value: int) -> Any:
        return await run.call(misbehave)

    result = await finish(penstock, writer, 1)
    assert (result.outcome, result.code) == ("failed", "tool_failed")
    events = await check_record(penstock, result.run)
    assert sum(isinstance(event, ToolIntent) for event in events) == 3


@pytest.mark.parametrize("how", ["raises", "answers-nonsense"])
async def test_a_validator_that_breaks_denies(penstock: Penstock, how: str) -> None:
    def broken(args: dict[str, Any]) -> Any:
        if how == "raises":
            raise ValueError(SECRET)
        return 7

    @tool(effect="read", validate=[broken])
    async def guarded() -> str:
        """Guarded."""
        return "done"

    @agent("reader")
    async def reader(run: Run, value: int) -> Any:
        return await run.call(guarded)

    result = await finish(penstock, reader, 1)
    assert (result.outcome, result.code) == ("refused", "call_denied")
    events = await events_of(penstock.journal, result.run)
    assert isinstance(events[-1], RunEnded)
    assert SECRET not in str(events)


async def test_recorded_functions_that_misbehave(penstock: Penstock) -> None:
    def fail() -> None:
        raise ValueError("\ud800\x00")

    @agent("recorder")
    async def recorder(run: Run, value: int) -> list[str]:
        codes = []
        for function in (fail, object, lambda: math.nan, lambda: "\x00", lambda: 2**60, lambda: "x" * 5_000_000):
            try:
                await run.record("it", function)
            except PenstockError as error:
                codes.append(error.code)
        return codes

    result = await finish(penstock, recorder, 1)
    assert (result.outcome, result.output) == ("succeeded", ["tool_failed"] * 6), result
    await check_record(penstock, result.run)
