"""The trace: every call in its place, with what it cost, what the rules said, who decided, and how it was settled."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from penstock import Agent, Budget, OutcomeUnknown, Run, TransientToolError, agent, tool
from penstock.cli.drawing import draw
from penstock.events import KINDS, Amount
from penstock.events.messages import Message, Text, Thinking, ToolCall
from penstock.kernel.errors import RunUnknown
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.ports.records import Status
from penstock.runs.client import Penstock
from penstock.settings import Settings
from penstock.testing import ScriptedModel, tool_call
from penstock.views.contents import ERASED
from penstock.views.lines import _WORDS, amount_words, clock_time, duration
from penstock.views.spans import Span
from penstock.views.trace import Trace, read_trace, walk
from penstock.wiring import open_in_memory

TENANT = "default"


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    settings = Settings(poll_seconds=0.01, start_allowance_seconds=0.1, doubt_margin_seconds=0.1)
    async with open_in_memory(settings) as opened:
        yield opened


async def parked_on(platform: Penstock, run: UUID, kind: str) -> None:
    """Wait until a run is parked on such a thing."""
    async with asyncio.timeout(30):
        while True:
            row = await platform.journal.get_run(TENANT, run)
            if row is not None and row.status is Status.PARKED and kind.encode() in row.waiting:
                return
            await asyncio.sleep(0.005)


def drawn(trace: Trace, *, full: bool = False) -> str:
    """The tree as plain text."""
    from rich.console import Console

    console = Console(width=10_000, highlight=False, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(draw(trace, full=full))
    return capture.get()


@tool(effect="read")
async def look(order: str) -> str:
    """Look."""
    return f"order {order}"


async def test_a_model_call_shows_reasoning_words_calls_and_price(platform: Penstock) -> None:
    def answer(request: ModelRequest) -> ModelResponse:
        call = ToolCall("c-1", "look", '{"order": "1"}')
        message = Message("assistant", [Thinking("hm, an order"), Text("Let me see."), call])
        return ModelResponse(message, Amount(1000, 50, cached=200), "tool_calls")

    model = ScriptedModel([answer, "Done."], price=Price(1000.0, 4000.0))
    desk = Agent("desk", model=model, instructions="Help.", tools=[look], budget=Budget(usd="1.00", steps=5))
    result = await platform.run(desk, "where is it?", tags={"customer": "acme"})
    trace = await read_trace(platform.journal, TENANT, result.run)
    assert (trace.input, trace.output, trace.outcome, trace.tags) == (
        "where is it?",
        "Done.",
        "succeeded",
        {"customer": "acme"},
    )
    assert (trace.simulated, trace.budget.steps, trace.workers) == (True, 5, ["in-memory"])
    assert trace.totals == result.totals
    first, looked, last = trace.spans
    assert (first.kind, first.name, first.status, first.simulated) == ("model", "scripted:model", "ok", True)
    assert first.reasoning == ["hm, an order"]
    assert first.output == "Let me see."
    assert first.asks == [{"id": "c-1", "name": "look", "args": '{"order": "1"}'}]
    assert first.used == Amount(1000, 50, 1_200_000, cached=200)
    assert [message.role for message in first.input] == ["system", "user"]
    assert [message.role for message in last.input] == ["assistant", "tool"], "only what is new, not the whole prompt"
    assert (looked.kind, looked.input, looked.output) == ("tool", {"order": "1"}, "order 1")
    assert len(looked.passed) >= 5
    assert first.started_at <= first.ended_at <= looked.started_at
    text = drawn(trace)
    assert "1,000+50 tokens (200 from cache)  $0.00120 (simulated)" in text
    assert "thinks   hm, an order" in text
    assert "goal     where is it?" in text


async def test_an_approval_shows_who_decided_when_and_why(platform: Penstock) -> None:
    @tool(effect="write", risk="high", in_doubt="escalate")
    async def pay(cents: int) -> str:
        """Pay."""
        return "paid"

    model = ScriptedModel([tool_call("pay", cents=5), "Paid."])
    run = await platform.submit(Agent("payer", model=model, instructions="Pay.", tools=[pay]), "pay me")
    await parked_on(platform, run, "approval")
    waiting = await read_trace(platform.journal, TENANT, run)
    assert (waiting.status, waiting.outcome) == ("parked", "")
    assert [item.kind for item in waiting.waiting] == ["approval"]
    assert waiting.spans[-1].status == "waiting"
    assert waiting.spans[-1].ended_at == 0
    [question] = await platform.approvals()
    assert f"penstock approvals approve {question.id}" in drawn(waiting)
    await platform.decide(question, "approve", actor="ann", reason="looks right")
    await platform.result(run)
    paid = (await read_trace(platform.journal, TENANT, run)).spans[1]
    [approval] = paid.approvals
    assert (approval.decision, approval.actor, approval.reason) == ("approve", "ann", "looks right")
    assert approval.waited == approval.decided_at - approval.asked_at > 0
    assert (paid.status, paid.output, len(paid.attempts)) == ("ok", "paid", 1)
    assert [(verdict.rule, verdict.verdict) for verdict in paid.verdicts] == [("permission", "hold")]
    assert any(label.startswith("permission@") for label in paid.passed), "asked again once it was approved"


async def test_attempts_doubts_and_how_they_were_settled(platform: Penstock) -> None:
    tries: list[str] = []

    @tool(effect="write", risk="low", permission="auto", in_doubt="idempotent", attempts=3, timeout_seconds=1)
    async def book(seat: str) -> str:
        """Fails, then may or may not have happened, then works."""
        tries.append(seat)
        if len(tries) == 1:
            raise TransientToolError("busy")
        if len(tries) == 2:
            raise OutcomeUnknown("connection lost")
        return "booked"

    @agent("booking")
    async def booking(run: Run, seat: str) -> str:
        return str(await run.call(book, seat))

    result = await platform.run(booking, "1A")
    assert result.ok
    [span] = (await read_trace(platform.journal, TENANT, result.run)).spans
    assert [attempt.number for attempt in span.attempts] == [1, 2, 3]
    first, second, third = span.attempts
    assert (first.status, first.failure) == ("error", "TransientToolError: busy")
    assert "idempotent" in second.doubt
    assert second.settled_by == "repeat"
    assert (third.status, third.because) == ("ok", "in_doubt")
    assert (span.status, span.output, span.error) == ("ok", "booked", "")
    assert "in doubt after a" in drawn(await read_trace(platform.journal, TENANT, result.run))


async def test_a_denied_call_shows_rule_version_and_reason(platform: Penstock) -> None:
    model = ScriptedModel([tool_call("no_such_tool", a=1), "I cannot."])
    result = await platform.run(Agent("denied", model=model, instructions="Try.", tools=[look]), "do it")
    trace = await read_trace(platform.journal, TENANT, result.run)
    denied = trace.spans[1]
    assert (denied.kind, denied.name, denied.status) == ("tool", "no_such_tool", "denied")
    [verdict] = denied.verdicts
    assert (verdict.rule, verdict.version, verdict.verdict, verdict.code) == ("permission", 1, "deny", "tool_unknown")
    assert f"verdict  permission@1 deny: {verdict.reason} [tool_unknown]" in drawn(trace)


async def test_limits_appear_where_they_were_reached(platform: Penstock) -> None:
    model = ScriptedModel([tool_call("look", order=str(number)) for number in range(20)])
    made = Agent("spiral", model=model, instructions="Go on.", tools=[look], budget=Budget(steps=4))
    result = await platform.run(made, "go")
    trace = await read_trace(platform.journal, TENANT, result.run)
    levels = [mark for mark in trace.marks if mark.kind == "limit.reached"]
    assert levels
    assert all("% mark: " in mark.words and " steps used; " in mark.words for mark in levels)
    lines = [line.lstrip("│├└─— ") for line in drawn(trace).splitlines()]
    place = next(number for number, line in enumerate(lines) if "% mark" in line)
    assert any(line.startswith("0  model") for line in lines[:place])
    assert any(line.startswith("output  ") for line in lines[place:])


async def test_branches_in_branches_are_nested_and_children_hang_in_their_place(platform: Penstock) -> None:
    @agent("leaf")
    async def leaf(run: Run, order: str) -> str:
        return str(await run.call(look, order))

    @agent("forest")
    async def forest(run: Run, order: str) -> list[Any]:
        async def branch(name: str) -> list[Any]:
            return await run.gather(run.call(look, name), run.call(leaf, name))

        return await run.gather(branch("a"), branch("b"))

    result = await platform.run(forest, "x")
    trace = await read_trace(platform.journal, TENANT, result.run)
    [outer] = trace.spans
    assert (outer.path, outer.kind, outer.name) == ("0", "gather", "2 branches")
    assert [(span.path, span.kind) for span in outer.spans] == [("0.0.0", "gather"), ("0.1.0", "gather")]
    assert sorted(span.path for span in outer.spans[0].spans) == ["0.0.0.0.0", "0.0.0.1.0"]  # in the order they began
    children = [span for span in walk(trace.spans) if span.kind == "child"]
    assert len(children) == 2
    for child in children:
        assert child.trace is not None
        assert (child.trace.run, child.trace.parent, child.trace.outcome) == (child.child, result.run, "succeeded")
        assert child.trace.spans[0].name == "look"
    shallow = await read_trace(platform.journal, TENANT, result.run, children=False)
    assert all(span.trace is None for span in walk(shallow.spans))
    assert str(children[0].child) in drawn(shallow)


async def test_erased_content_is_named_not_guessed(platform: Penstock) -> None:
    model = ScriptedModel([tool_call("look", order="secret"), "A secret."])
    desk = Agent("desk", model=model, instructions="Help.", tools=[look])
    run = await platform.submit(desk, "tell me", subject="s-1")
    await platform.result(run)
    await platform.journal.erase_subject(TENANT, "s-1")
    trace = await read_trace(platform.journal, TENANT, run)
    assert trace.input == trace.output == ERASED
    assert trace.absent > 4
    assert trace.spans[1].input == ERASED
    assert trace.totals.model_calls == 2, "what it cost is not content"
    text = drawn(trace)
    assert "secret" not in text
    assert "goal     (not in the store: erased with its subject, or lost)" in text


async def test_whatever_is_recorded_cannot_reach_the_terminal(platform: Penstock) -> None:
    nasty = "\x1b[2J\x07\r\u202eevil\u2028\x9b31m"
    model = ScriptedModel([tool_call("look", order=nasty), nasty])
    desk = Agent("desk", model=model, instructions=nasty, tools=[look])
    result = await platform.run(desk, nasty, tags={"customer": "acme"})
    trace = await read_trace(platform.journal, TENANT, result.run)
    for text in (drawn(trace), drawn(trace, full=True)):
        assert not {character for character in text if ord(character) < 32 or 127 <= ord(character) < 160} - {"\n"}
        assert not {"\u202e", "\u2028"} & set(text)
        assert "\\x1b[2J\\x07\\x0d\\u202eevil\\u2028\\x9b31m" in text


async def test_another_tenants_run_has_no_trace(platform: Penstock) -> None:
    model = ScriptedModel(["hi"])
    result = await platform.run(Agent("desk", model=model, instructions="Help."), "hello")
    with pytest.raises(RunUnknown):
        await read_trace(platform.journal, "another", result.run)


def test_every_kind_of_event_has_its_line() -> None:
    assert set(_WORDS) == set(KINDS)


@pytest.mark.parametrize(
    ("microseconds", "words"),
    [
        (0, "0 µs"),
        (999, "999 µs"),
        (1_500, "1.5 ms"),
        (2_000_000, "2 s"),
        (119_000_000, "119 s"),
        (600_000_000, "10 min"),
        (86_400_000_000, "24 h"),
        (864_000_000_000, "10 days"),
    ],
)
def test_durations_are_shown_in_the_unit_that_suits_them(microseconds: int, words: str) -> None:
    assert duration(microseconds) == words


def test_small_words() -> None:
    assert clock_time(0) == "-"
    assert clock_time(1_700_000_000_000_000) == "2023-11-14 22:13:20 UTC"
    assert amount_words(Amount(1200, 30, 5_000_000)) == "1,200+30 tokens, $0.00500"
    assert Span("0", "tool", "look", "open", 1, 5).duration == 0
