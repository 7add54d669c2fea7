"""Models that answer nothing, nonsense, or for ever."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel
from tests.crash.record import check_record

from penstock import Agent, Budget, Run, Settings, agent, tool
from penstock.events import Amount, Failure, ModelOutcome
from penstock.events.messages import Message, Text, ToolCall, say
from penstock.ports.controls import of_all
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, Price
from penstock.runs.client import Penstock
from penstock.runs.result import Result
from penstock.testing import ScriptedModel, tool_call
from penstock.wiring import open_in_memory

pytestmark = pytest.mark.timeout(120)

PRICE = Price(100.0, 400.0, source="test")


class Reply(BaseModel):
    text: str
    certainty: float


@tool(effect="read")
async def look(page: int) -> str:
    """Look at a page."""
    return f"page {page}"


@pytest.fixture
async def penstock() -> AsyncIterator[Penstock]:
    async with open_in_memory(Settings(poll_seconds=0.02, history_max_events=300)) as opened:
        yield opened


async def finish(penstock: Penstock, what: Any, value: Any, **options: Any) -> Result:
    run = await penstock.submit(what, value, **options)
    return await penstock.result(run, timeout_seconds=60)


def answering(*script: Any, **options: Any) -> Agent:
    model = ScriptedModel(script, price=PRICE, repeat=True)
    return Agent("reader", model=model, instructions="Read.", tools=[look], **options)


@pytest.mark.parametrize(
    "message",
    [Message("assistant", []), Message("assistant", [Text("")]), Message("assistant", [Text("  \n")])],
    ids=["no-parts", "empty", "blank"],
)
async def test_empty_answers(penstock: Penstock, message: Message) -> None:
    result = await finish(penstock, answering(ModelResponse(message, Amount(10, 0)), repairs=2), "go")
    assert (result.outcome, result.code) == ("failed", "output_invalid")
    assert result.totals.model_calls == 3
    await check_record(penstock, result.run)


BROKEN_OUTPUTS = {
    "prose": "I think so.",
    "broken-json": '{"text": "a", ',
    "nan": '{"text": "a", "certainty": NaN}',
    "infinite": '{"text": "a", "certainty": 1e999}',
    "surrogate": '{"text": "\\ud800", "certainty": 1}',
    "raw-surrogate": '{"text": "\ud800", "certainty": 1}',
    "nul": '{"text": "\\u0000", "certainty": 1}',
    "list": "[]",
    "deep": "[" * 100_000,
    "long": '{"text": "' + "x" * 3_000_000 + '", "certainty": "high"}',
}


@pytest.mark.parametrize("by_tool", [True, False])
@pytest.mark.parametrize("name", BROKEN_OUTPUTS)
async def test_outputs_that_do_not_fit(penstock: Penstock, name: str, by_tool: bool) -> None:
    text = BROKEN_OUTPUTS[name]
    answer = ToolCall("c1", "final_answer", text) if by_tool else text
    # The model may write as much as it likes: it is the answer that is tested.
    broken = answering(answer, output=Reply, repairs=1, max_tokens=1_000_000)
    result = await finish(penstock, broken, "go")
    assert (result.outcome, result.code) == ("failed", "output_invalid"), result
    assert result.totals.model_calls == 2
    await check_record(penstock, result.run)


@pytest.mark.parametrize("name", BROKEN_OUTPUTS)
async def test_a_repaired_output_succeeds(penstock: Penstock, name: str) -> None:
    good = tool_call("final_answer", text="a", certainty=0.5)
    broken = answering(BROKEN_OUTPUTS[name], good, output=Reply, max_tokens=1_000_000)
    result = await finish(penstock, broken, "go")
    assert (result.outcome, result.output) == ("succeeded", Reply(text="a", certainty=0.5)), result
    await check_record(penstock, result.run)


async def test_an_answer_over_the_payload_bound_is_paid_for_and_fails(penstock: Penstock) -> None:
    result = await finish(penstock, answering("x" * 5_000_000, max_tokens=2_000_000), "go")
    assert (result.outcome, result.code) == ("failed", "model_failed")
    assert "PENSTOCK_PAYLOAD_MAX_BYTES" in result.reason
    assert result.totals.nano > 0
    events = await check_record(penstock, result.run)
    (outcome,) = [event for event in events if isinstance(event, ModelOutcome)]
    assert outcome.at_maximum
    assert outcome.failure is not None
    assert outcome.failure.code == "answer_too_large"


async def test_texts_that_cannot_be_stored_are_escaped(penstock: Penstock) -> None:
    answer = Message("assistant", [Text("a\ud800b\x00c", {"odd\ud800": ["\ud800"]})])
    result = await finish(
        penstock, answering(ModelResponse(answer, Amount(5, 5), provider_id="\ud800\x00" * 500)), "go"
    )
    assert (result.outcome, result.code) == ("failed", "output_invalid")  # NUL is not part of a text
    await check_record(penstock, result.run)
    answer = Message("assistant", [Text("a\ud800b")])
    result = await finish(penstock, answering(ModelResponse(answer, Amount(5, 5))), "go")
    assert (result.outcome, result.output) == ("succeeded", "a\\ud800b")


@pytest.mark.parametrize("calls", [1, 3, 40])
async def test_the_same_calls_for_ever_are_a_loop(penstock: Penstock, calls: int) -> None:
    result = await finish(penstock, answering([tool_call("look", page=n) for n in range(calls)]), "go")
    # It must answer when nothing new comes back, and this one does not.
    assert (result.outcome, result.code) in (("exhausted", "loop"), ("failed", "output_invalid")), result
    assert result.totals.model_calls < 12
    await check_record(penstock, result.run)


def other_page(numbers: "itertools.count[int]") -> Any:
    return lambda request: tool_call("look", page=next(numbers))


@pytest.mark.parametrize(
    "budget",
    [
        Budget(steps=5),
        Budget(calls=5),
        Budget(tokens=3000),
        Budget(usd="0.0004"),
        Budget(seconds=0.3),
        Budget(steps=5, usd="1", tokens=10**6),
    ],
    ids=str,
)
async def test_other_calls_for_ever_meet_a_limit(penstock: Penstock, budget: Budget) -> None:
    result = await finish(penstock, answering(other_page(itertools.count())), "go", budget=budget)
    # A model that is told to answer and calls a tool all the same gives an empty answer.
    assert (result.outcome, result.code) in (
        ("failed", "output_invalid"),
        ("exhausted", "over_calls"),
        ("exhausted", "over_seconds"),
        ("exhausted", "over_history"),
    ), result
    limits = budget.record()
    assert not limits.nano or result.totals.nano <= limits.nano
    assert not limits.tokens or result.totals.tokens <= limits.tokens
    assert not limits.steps or result.totals.steps <= limits.steps
    await check_record(penstock, result.run)


async def test_without_any_budget_the_history_is_the_limit(penstock: Penstock) -> None:
    result = await finish(penstock, answering(other_page(itertools.count())), "go")
    assert result.outcome == "exhausted", result
    assert "PENSTOCK_HISTORY_MAX" in " ".join([result.reason, *result.needed])
    row = await penstock.journal.get_run("default", result.run)
    assert row is not None
    assert row.last_seq < 400


class Odd(ScriptedModel):
    """Does what ``how`` says instead of answering."""

    def __init__(self, how: Any) -> None:
        super().__init__(["never"], price=PRICE)
        self.how = how

    async def request(self, request: ModelRequest) -> ModelResponse:
        answer: ModelResponse = await self.how()
        return answer


async def give_none() -> Any:
    return None


async def give_text() -> Any:
    return "hello"


async def give_user_message() -> Any:
    return ModelResponse(say("user", "hello"), Amount(1, 1))


async def give_no_message() -> Any:
    return ModelResponse(None, Amount(1, 1))  # type: ignore[arg-type]


async def raise_plain() -> Any:
    raise ValueError("\ud800\x00")


async def fail_badly() -> Any:
    raise ModelError(Failure("odd", "permanent", "\ud800\x00" * 100_000))


@pytest.mark.parametrize("how", [give_none, give_text, give_user_message, give_no_message, raise_plain, fail_badly])
async def test_adapters_that_break(penstock: Penstock, how: Any) -> None:
    odd = Agent("odd", model=Odd(how), instructions="Answer.", budget=Budget(usd="1"))
    result = await finish(penstock, odd, "go")
    assert (result.outcome, result.code) == ("failed", "model_failed"), result
    assert result.totals.nano > 0, "a lost answer is charged at its maximum"
    await check_record(penstock, result.run)
    assert await penstock.journal.open_intents(of_all("default")) == []


async def test_a_model_that_hangs_is_given_up(penstock: Penstock) -> None:
    async def hang() -> Any:
        await asyncio.Event().wait()

    odd = Agent("odd", model=Odd(hang), instructions="Answer.", timeout_seconds=0.05, attempts=1)
    result = await finish(penstock, odd, "go")
    assert (result.outcome, result.code) == ("failed", "model_failed")
    assert "no answer within" in result.reason
    await check_record(penstock, result.run)


async def test_negative_usage_gives_no_money_back(penstock: Penstock) -> None:
    async def refund() -> Any:
        return ModelResponse(say("assistant", "hello"), Amount(-1000, -1000))

    @agent("asker", budget=Budget(usd="1"))
    async def asker(run: Run, value: int) -> str:
        return await run.ask(Odd(refund), "hello")

    result = await finish(penstock, asker, 1)
    assert result.outcome == "succeeded"
    assert result.totals.nano > 0
    assert result.totals.nano_at_maximum == result.totals.nano
