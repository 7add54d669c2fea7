"""The skeleton: the same spans as the tree of `runs show`, in columns; and sentences for strangers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from penstock import Agent, Budget, Run, TransientToolError, agent, tool
from penstock.events import Amount, NoteRecorded, RunClaimed, RunSubmitted, encode
from penstock.events.messages import Message, Part, Text, ToolCall
from penstock.kernel.errors import EventUnreadable, RunUnknown
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.ports.records import Row, Status
from penstock.runs.client import Penstock
from penstock.server.schemas.trace import Trace as TraceSchema
from penstock.settings import Settings
from penstock.testing import ScriptedModel
from penstock.views.sentences import run_sentence, span_sentence
from penstock.views.skeleton import Skeleton
from penstock.views.skeleton_builder import SkeletonBuilder
from penstock.views.skeleton_reading import Skeletons, read_skeleton, unpack_skeleton
from penstock.views.spans import Span
from penstock.views.standing import UNFINISHED
from penstock.views.trace import read_trace

TENANT = "default"


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    from penstock.wiring import open_in_memory

    settings = Settings(poll_seconds=0.01, start_allowance_seconds=0.1, doubt_margin_seconds=0.1)
    async with open_in_memory(settings) as opened:
        yield opened


def tree(spans: list[Span], parent: str = "") -> dict[str, tuple[Any, ...]]:
    """Spans of a trace by path: what both views say of each."""
    found: dict[str, tuple[Any, ...]] = {}
    for span in spans:
        used = 0 if span.kind == "gather" else span.used.nano
        found[span.path] = (parent, span.kind, span.name, span.status, span.seq, used, len(span.attempts), span.child)
        found |= tree(span.spans, span.path)
    return found


def columns_of(skeleton: Skeleton) -> dict[str, tuple[Any, ...]]:
    """The same of a skeleton."""
    spans = skeleton.spans
    return {
        path: (
            spans.path[spans.parent[index]] if spans.parent[index] >= 0 else "",
            skeleton.kinds[spans.kind[index]],
            skeleton.names[spans.name[index]],
            skeleton.statuses[spans.status[index]],
            spans.seq[index],
            spans.nano[index],
            spans.attempts[index] if skeleton.kinds[spans.kind[index]] != "child" else 0,
            spans.child.get(index),
        )
        for index, path in enumerate(spans.path)
    }


async def check(platform: Penstock, run: UUID) -> Skeleton:
    """The skeleton, after it was held against the trace and the API's schema."""
    trace = await read_trace(platform.journal, TENANT, run, children=False)
    skeleton = await read_skeleton(platform.journal, TENANT, run)
    assert columns_of(skeleton) == tree(trace.spans)
    assert sum(part.duration for part in skeleton.critical) == skeleton.total
    TraceSchema.model_validate_json(msgspec.json.encode(skeleton))
    for index, status in enumerate(skeleton.spans.status):
        goes_on = skeleton.statuses[status] in UNFINISHED
        assert (skeleton.spans.duration[index] == -1) is goes_on
        assert skeleton.spans.end_seq[index] >= skeleton.spans.seq[index]
    assert skeleton.spans.seq == sorted(skeleton.spans.seq)
    return skeleton


async def parked_on(platform: Penstock, run: UUID, kind: str) -> None:
    async with asyncio.timeout(10):
        while True:
            row = await platform.journal.get_run(TENANT, run)
            if row is not None and row.status is Status.PARKED and kind.encode() in row.waiting:
                return
            await asyncio.sleep(0.005)


@tool(effect="read")
async def look(order: str) -> str:
    """Look."""
    return f"order {order}"


@tool(effect="write", risk="high")
async def refund(order: str) -> str:
    """Pay back."""
    return "paid back"


@agent("helper", version="1")
async def helper(run: Run, value: int) -> int:
    return value * 2


async def test_branches_stages_notes_and_children(platform: Penstock) -> None:
    @agent("inner", version="1")
    async def inner(run: Run, value: int) -> object:
        async def pair(n: int) -> object:
            return await run.gather(run.call(look, str(n)), run.record("dice", lambda: n))

        first = await run.map(pair, [1, 2, 3])
        await run.patched("new-way")
        await run.sleep(0.05)
        double = await run.call(helper, 4)
        return [first, double]

    result = await platform.run(inner, 1)
    skeleton = await check(platform, result.run)
    kinds = [skeleton.kinds[kind] for kind in skeleton.spans.kind]
    assert kinds.count("gather") == 4
    assert kinds.count("tool") == 3
    assert [child.agent for child in skeleton.children] == ["helper"]
    assert skeleton.critical_share["wait"] > 0.3
    assert skeleton.critical_share["queue"] >= 0


async def test_a_call_that_is_attempted_again_waits_in_between(platform: Penstock) -> None:
    tries = []

    @tool(effect="read", attempts=3)
    async def flaky(n: int) -> str:
        """Fails once."""
        tries.append(n)
        if len(tries) == 1:
            raise TransientToolError("not now")
        return "ok"

    @agent("again", version="1")
    async def again(run: Run, value: int) -> object:
        return await run.call(flaky, value)

    result = await platform.run(again, 1)
    skeleton = await check(platform, result.run)
    index = skeleton.kinds.index("tool")
    at = skeleton.spans.kind.index(index)
    assert skeleton.spans.attempts[at] == 2
    parts = [stretch.part for stretch in skeleton.critical if stretch.span == at]
    assert "wait" in parts
    trace = await read_trace(platform.journal, TENANT, result.run)
    assert "it took 2 attempts" in span_sentence(trace.spans[0])


def desk_that_refunds() -> Agent:
    def answer(request: ModelRequest) -> ModelResponse:
        turn = sum(message.role == "assistant" for message in request.messages)
        said: list[Part] = [
            ToolCall("c1", "look", '{"order": "1"}'),
            ToolCall("c2", "refund", '{"order": "1"}'),
            Text("Done."),
        ]
        message = Message("assistant", [said[min(turn, 2)]])
        return ModelResponse(message, Amount(1_000, 50), "stop" if turn > 1 else "tool_calls")

    model = ScriptedModel([answer], price=Price(1000.0, 4000.0), repeat=True)
    return Agent("desk", model=model, instructions="Help.", tools=[look, refund], budget=Budget(usd="1.00"))


async def test_an_approval_is_told_in_a_sentence(platform: Penstock) -> None:
    run = await platform.submit(desk_that_refunds(), "charged twice")
    await parked_on(platform, run, "approval")
    waiting = await check(platform, run)
    assert "refund waits" in run_sentence(waiting, status="parked")
    assert 2 in waiting.spans.verdict
    [question] = await platform.approvals()
    await asyncio.sleep(0.1)
    await platform.decide(question, "approve", actor="approver-b", reason="right")
    result = await platform.result(run)
    skeleton = await check(platform, run)
    words = run_sentence(skeleton, result.outcome)
    assert words.startswith("It succeeded; refund waited for ")
    assert words.endswith("waiting for a person.") or "for a person" in words
    trace = await read_trace(platform.journal, TENANT, run)
    held = next(span for span in trace.spans if span.name == "refund")
    said = span_sentence(held)
    assert said.startswith("Called refund; held by rule permission; approver-b decided after ")
    assert "approved" in said
    assert skeleton.critical_share["approval"] > 0.3
    levels = [mark.level for mark in skeleton.marks]
    assert levels == sorted(levels)


async def test_a_loop_of_the_simulated_model_is_bracketed(platform: Penstock) -> None:
    """The demo's spirals: the model asks the same again and again until the rules stop it."""

    def stubborn(request: ModelRequest) -> ModelResponse:
        turn = sum(message.role == "assistant" for message in request.messages)
        asked: list[Part] = [ToolCall(f"c{turn}", "look", '{"order": "1"}')]
        sorry: list[Part] = [Text("Sorry.")]
        message = Message("assistant", asked if request.tools else sorry)
        return ModelResponse(message, Amount(1_000 + 500 * turn, 50), "tool_calls")

    model = ScriptedModel([stubborn], price=Price(1000.0, 4000.0), repeat=True)
    desk = Agent("desk", model=model, instructions="Help.", tools=[look], budget=Budget(usd="1.00"))
    result = await platform.run(desk, "x")
    skeleton = await check(platform, result.run)
    [loop] = skeleton.loops
    assert loop.name == "look"
    assert len(loop.spans) >= 5
    assert len({skeleton.spans.same[index] for index in loop.spans}) == 1
    assert loop.nano > 0
    assert loop.tokens_growth > 1.5
    assert 3 in skeleton.spans.verdict
    assert "look ×" in run_sentence(skeleton, result.outcome, result.reason)


async def test_a_run_that_is_not_there(platform: Penstock) -> None:
    with pytest.raises(RunUnknown):
        await read_skeleton(platform.journal, TENANT, uuid4())
    result = await platform.run(helper, 1)
    with pytest.raises(RunUnknown):
        await read_skeleton(platform.journal, "strangers", result.run)


def rows_of(*events: Any) -> list[Row]:
    rows = []
    for seq, event in enumerate(events, 1):
        event.seq = seq
        rows.append(Row(seq, encode(event), b""))
    return rows


def builder_of(rows: list[Row], sizes: Callable[[int], int] = lambda left: left) -> SkeletonBuilder:
    builder = SkeletonBuilder()
    while rows:
        size = sizes(len(rows))
        builder.add(rows[:size])
        rows = rows[size:]
    return builder


def test_fed_piece_by_piece_it_is_the_same() -> None:
    said: dict[str, Any] = {"tenant": TENANT, "run": UUID(int=1), "agent": "desk"}
    events = [RunSubmitted(**said, at=1_000), RunClaimed(**said, at=1_500, worker=UUID(int=2))]
    events += [NoteRecorded(**said, at=2_000 + n, path=f"{n // 3}.{n % 3}.0", name="n") for n in range(30)]
    rows = rows_of(*events)
    whole = builder_of(rows).build(UUID(int=1), "desk", 9_000)
    assert whole == builder_of(rows, lambda left: 1).build(UUID(int=1), "desk", 9_000)
    assert (whole.total, whole.ended, len(whole.spans.path)) == (8_000, False, 40)
    assert whole.critical[0].part == "queue"
    with pytest.raises(EventUnreadable):
        builder_of(rows[1:])
    with pytest.raises(EventUnreadable):
        SkeletonBuilder().build(UUID(int=1), "desk", 0)


async def test_what_is_kept_has_a_bound(platform: Penstock) -> None:
    runs = [(await platform.run(helper, n)).run for n in range(4)]
    one = len(await Skeletons(platform.journal).packed(TENANT, runs[0]))
    skeletons = Skeletons(platform.journal, capacity=int(2.5 * one))
    for run in runs:
        packed = await skeletons.packed(TENANT, run)
        assert msgspec.json.decode(unpack_skeleton(packed))["run"] == str(run)
        assert skeletons.size <= 2.5 * one
    assert skeletons.size > 0
    with pytest.raises(RunUnknown):
        await skeletons.packed("strangers", runs[-1])
