"""Spending never exceeds a budget, whatever the interleaving: counted at the wire, with all that is in flight taken at
the most it can still cost."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.sim.tapes import Tape, go_on, open_on

from penstock import Agent, Budget, Run, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import Amount, Failure, ModelIntent, ModelOutcome, RunEnded
from penstock.events.messages import Message, Part, Text, ToolCall, encode_message
from penstock.gates.limits import retry
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import CallDenied, ChildFailed, ModelFailed
from penstock.kernel.money import NANO
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, Price, ToolSpec
from penstock.ports.records import Status
from penstock.runs.result import Result

PRICE = Price(input=40_000.0, output=120_000.0, source="test")
Mode = tuple[str, int, int]  # what happens, output tokens wished for, turns of the loop it takes
Plan = dict[str, Any]


@dataclass
class Meter:
    """The provider's own count."""

    tokens: int = 0
    nano: int = 0
    open_tokens: int = 0
    open_nano: int = 0
    peak_tokens: int = 0
    peak_nano: int = 0

    def begin(self, tokens: int, nano: int) -> None:
        self.open_tokens += tokens
        self.open_nano += nano
        self.peak_tokens = max(self.peak_tokens, self.tokens + self.open_tokens)
        self.peak_nano = max(self.peak_nano, self.nano + self.open_nano)

    def end(self, most: Amount, used: Amount) -> None:
        self.open_tokens -= most.tokens
        self.open_nano -= most.nano
        self.tokens += used.tokens
        self.nano += used.nano


def size(message: Message) -> int:
    return len(encode_message(message))


class MeteredModel:
    """Counts a token for two bytes and says so, says nothing, or fails, billed or not; the bound is a token a byte."""

    name = "metered:model"
    simulated = True

    def __init__(self) -> None:
        self.meter = Meter()
        self.modes: list[Mode] = [("ok", 4, 0)]
        self.calls = 0

    def price(self) -> Price:
        return PRICE

    def prompt_bound(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        return sum(map(size, messages)) + sum(len(stable_json(tool.schema)) + 50 for tool in tools)

    async def request(self, request: ModelRequest) -> ModelResponse:
        mode, wish, turns = self.modes[self.calls % len(self.modes)]
        self.calls += 1
        tools = [*request.tools, *([request.output_tool] if request.output_tool else [])]
        room = request.settings.max_tokens
        tokens_in = sum(size(message) // 2 for message in request.messages) + 25 * len(tools)
        most = Amount(tokens_in, room, PRICE.at_most(tokens_in, room))
        self.meter.begin(most.tokens, most.nano)
        used = Amount()
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
            if mode == "hang" and request.settings.timeout_seconds < 1:
                used = most
                await asyncio.sleep(60)
            if mode in ("refused", "limited"):
                raise ModelError(Failure(mode, "rate_limited" if mode == "limited" else "permanent"), billed=False)
            used = most
            if mode == "billed":
                raise ModelError(Failure("overloaded", "transient", "cut off"), billed=None)
            message = self._answer(request, mode, min(wish, room))
            tokens_out = room if mode == "silent" else min(room, size(message) // 2)
            used = Amount(tokens_in, tokens_out)
            used = Amount(tokens_in, tokens_out, PRICE.of(used))
            return ModelResponse(message, None if mode == "silent" else used)
        finally:
            self.meter.end(most, used)

    def _answer(self, request: ModelRequest, mode: str, tokens: int) -> Message:
        empty = Message("assistant", [Text("")])
        parts: list[Part] = [Text("a" * max(0, 2 * tokens - size(empty)))]
        if mode == "tool" and request.tools and request.tool_choice == "auto":
            asked = Message("assistant", [ToolCall(f"c{self.calls}", "look", f'{{"x":{self.calls}}}')])
            if size(asked) <= 2 * tokens:
                return asked
        return Message("assistant", parts)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | ModelResponse, None]:
        yield await self.request(request)


model = MeteredModel()


@tool(effect="read")
async def look(x: int) -> str:
    """Something to read that makes the prompt longer."""
    return "b" * (20 * (x % 7))


helper = Agent(
    "helper", model=model, instructions="Help.", tools=[look], max_tokens=90, attempts=2, timeout_seconds=0.02
)


@agent("spender", version="1")
async def spender(run: Run, plan: Plan) -> str:
    return await spend(run, plan)


async def spend(run: Run, plan: Plan) -> str:
    """Spend as the plan says; what is refused is refused."""
    do, words = plan["do"], plan["words"]
    steps = plan.get("steps", [])
    try:
        if do == "ask":
            return await run.ask(model, "c" * words, max_tokens=60)
        if do == "chat":
            chat = run.chat(model, instructions="Talk.", tools=[look], max_tokens=70)
            return "".join([await chat.reply("d" * words), await chat.reply("e")])
        if do == "helper":
            return str(await run.call(helper, "f" * words))
        if do == "child":
            small = Budget(tokens=900, usd="0.1") if words % 2 else None
            return "".join([str(await run.call(spender, step, budget=small)) for step in steps])
        if do == "gather":
            return "".join(await run.gather(*(spend(run, step) for step in steps)))
        return "".join([await spend(run, step) for step in steps])
    except (CallDenied, ModelFailed, ChildFailed):
        return "-"


_leaf = st.builds(
    lambda do, words: {"do": do, "words": words}, st.sampled_from(["ask", "chat", "helper"]), st.integers(1, 90)
)
plans = st.recursive(
    _leaf,
    lambda inner: st.builds(
        lambda do, words, steps: {"do": do, "words": words, "steps": steps},
        st.sampled_from(["gather", "gather", "seq", "child"]),
        st.integers(1, 90),
        st.lists(inner, min_size=1, max_size=4),
    ),
    max_leaves=10,
)
kinds = st.sampled_from(["ok", "ok", "tool", "tool", "silent", "billed", "refused", "limited", "hang"])
modes = st.lists(st.tuples(kinds, st.integers(1, 90), st.integers(0, 5)), min_size=1, max_size=8)
budgets = st.builds(
    lambda tokens, money: Budget(tokens=tokens or None, usd=str(money * 0.01) if money else None),
    st.sampled_from([0, 300, 700, 1500, 3000, 6000]),
    st.sampled_from([1, 3, 6, 12, 25]),
)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.001)


async def spend_in_memory(plan: Plan, budget: Budget, behaviour: list[Mode]) -> tuple[Result, Tape]:
    model.meter, model.modes, model.calls = Meter(), behaviour, 0
    journal = MemoryJournal()
    async with open_on(journal, [spender, helper]) as platform:
        run = await platform.submit(spender, plan, budget=budget)
        return await platform.result(run, timeout_seconds=20), Tape(run, journal)


def check(budget: Budget, result: Result, meter: Meter) -> None:
    """All examples limit money, some also tokens. Not less is charged than the provider counted, not more than allowed;
    of an abandoned child only what was reserved for it is known, so only limited things are compared."""
    record = budget.record()
    if record.tokens:
        assert meter.peak_tokens <= record.tokens
        assert meter.tokens <= result.totals.tokens <= record.tokens
    assert meter.peak_nano <= record.nano
    assert meter.nano <= result.totals.nano <= record.nano


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans, budgets, modes)
def test_spending_never_exceeds_the_budget(plan: Plan, budget: Budget, behaviour: list[Mode]) -> None:
    async def run() -> None:
        result, tape = await spend_in_memory(plan, budget, behaviour)
        assert result.outcome in ("succeeded", "exhausted", "failed"), result
        assert result.code in ("", "budget_invalid") or result.code.startswith("over_"), result
        check(budget, result, model.meter)
        ended = [stored for stored in tape.journal._store.runs.values() if stored.status is Status.ENDED]
        assert all(stored.summary.reserved_nano == 0 for stored in ended)

    asyncio.run(run())


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans.filter(lambda plan: "child" not in str(plan) and "helper" not in str(plan)), budgets, modes, st.data())
def test_nor_after_a_crash(plan: Plan, budget: Budget, behaviour: list[Mode], data: st.DataObject) -> None:
    """A call whose outcome was lost counts at the most it could cost, and what comes after fits beside it."""

    async def run() -> None:
        _, tape = await spend_in_memory(
            plan, budget, [mode for mode in behaviour if mode[0] != "hang"] or [("ok", 5, 1)]
        )
        count = data.draw(st.integers(1, len(tape.rows) - 1))
        lost, used = charged_before(tape, count)
        model.meter = Meter(tokens=used.tokens + lost.tokens, nano=used.nano + lost.nano)
        model.meter.begin(0, 0)
        again = await go_on(tape, count, [spender])
        end = again.end
        assert end.totals.nano_at_maximum >= lost.nano
        result = Result(tape.run, "spender", end.outcome, totals=end.totals)
        check(budget, result, model.meter)

    asyncio.run(run())


def charged_before(tape: Tape, count: int) -> tuple[Amount, Amount]:
    """Of the first ``count`` events: reservations without an outcome, and what was charged for the others."""
    held: dict[str, Amount] = {}
    tokens = nano = 0
    for event in tape.events[:count]:
        if isinstance(event, ModelIntent):
            held[event.path] = event.reserved
        elif isinstance(event, ModelOutcome):
            held.pop(event.path)
            tokens += event.used.tokens
            nano += event.used.nano
    lost = Amount(sum(amount.tokens for amount in held.values()), 0, sum(amount.nano for amount in held.values()))
    return lost, Amount(tokens, 0, nano)


async def test_the_remaining_room_is_shared_by_parallel_children() -> None:
    """Children without budgets of their own get what is free, and none is left without a limit."""
    steps = [{"do": "child", "words": 2, "steps": [{"do": "ask", "words": 80}]} for _ in range(4)]
    plan = {"do": "gather", "words": 1, "steps": steps}
    result, tape = await spend_in_memory(plan, Budget(tokens=400), [("ok", 60, 3)])
    assert result.ok
    assert model.meter.peak_tokens <= 400
    budgets = [stored.tape[0].body for key, stored in tape.journal._store.runs.items() if key[1] != tape.run]
    assert budgets
    assert all(b'"tokens":' in body for body in budgets)


def test_the_price_is_such_that_both_limits_bind() -> None:
    """A guard of the strategies above: money runs out first in some examples and tokens in others."""
    assert PRICE.at_most(1500, 0) > 0.03 * NANO
    assert PRICE.at_most(0, 300) < 0.25 * NANO
    assert RunEnded.__struct_config__.tag == "run.ended"
