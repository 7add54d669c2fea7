"""The standard loop: model, tools, model, until there is an answer."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import Agent, Budget, Penstock, Run, Settings, agent, tool
from penstock.agents.loop import MAX_CALLS_A_TURN
from penstock.events import Amount, Failure
from penstock.events.messages import Message, Text, ToolCall, ToolResult
from penstock.ports.model import ModelError, ModelResponse, Price
from penstock.runs.result import Result
from penstock.testing import ScriptedModel, tool_call
from penstock.wiring import open_in_memory

numbers = itertools.count()


class Reply(BaseModel):
    text: str
    sure: bool


@tool(effect="read")
async def look(x: int) -> dict[str, int]:
    """Look something up."""
    return {"found": 10 * x}


@tool(effect="read")
async def fails(x: int) -> int:
    """Always fails."""
    raise ValueError("out of order")


@tool(effect="write", risk="prohibited")
async def drop(x: int) -> None:
    """Is never called."""
    raise AssertionError


@agent("helper", version="1")
async def helper(run: Run, value: str) -> str:
    if value == "break":
        raise LookupError("no help")
    return f"helped {value}"


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(Settings(poll_seconds=0.01), agents=[helper]) as opened:
        yield opened


async def run(script: list[Any], **how: Any) -> tuple[Result, ScriptedModel]:
    """Run an agent on a script."""
    model = ScriptedModel(script, price=how.pop("price", None))
    tools = how.pop("tools", [look, fails, drop])
    budget = how.pop("budget", None)
    name = f"desk-{next(numbers)}"
    result = await Agent(name, model=model, instructions="Help.", tools=tools, budget=budget, **how).run("Well?")
    return result, model


def results(model: ScriptedModel) -> list[ToolResult]:
    """What the model was last told of its tool calls."""
    return [part for message in model.calls[-1].messages for part in message.parts if isinstance(part, ToolResult)]


async def test_an_answer_without_tools(platform: Penstock) -> None:
    result, model = await run(["So."])
    assert (result.outcome, result.output) == ("succeeded", "So.")
    assert [(message.role, message.text) for message in model.calls[0].messages] == [
        ("system", "Help."),
        ("user", "Well?"),
    ]
    assert [spec.name for spec in model.calls[0].tools] == ["look", "fails", "drop"]


async def test_every_call_gets_exactly_one_result_in_its_order(platform: Penstock) -> None:
    calls = [
        tool_call("look", x=1),
        tool_call("fails", x=2),
        tool_call("made_up", x=3),
        tool_call("look", x="three"),
        tool_call("drop", x=4),
    ]
    result, model = await run([calls, "So."])
    assert result.ok
    got = results(model)
    assert [(part.name, part.status) for part in got] == [
        ("look", "ok"),
        ("fails", "error"),
        ("made_up", "denied"),
        ("look", "denied"),
        ("drop", "denied"),
    ]
    assert got[0].text == '{"found":10}'
    assert got[1].text == "ValueError: out of order"
    assert "there is no tool named 'made_up'" in got[2].text
    assert "x: Input should be a valid integer" in got[3].text
    assert "drop is prohibited" in got[4].text
    asked = [part.id for part in model.calls[-1].messages[2].parts if isinstance(part, ToolCall)]
    assert [part.id for part in got] == asked


async def test_more_calls_at_once_than_allowed_are_refused_in_words(platform: Penstock) -> None:
    result, model = await run([[tool_call("look", x=n) for n in range(MAX_CALLS_A_TURN + 2)], "So."])
    assert result.totals.tool_calls == MAX_CALLS_A_TURN
    got = results(model)
    assert len(got) == MAX_CALLS_A_TURN + 2
    assert [part.status for part in got[-3:]] == ["ok", "error", "error"]


async def test_a_tool_name_that_cannot_be_stored_does_no_harm(platform: Penstock) -> None:
    odd = [ToolCall("a", "x" * 500, "{}"), ToolCall("b", "nul\x00\ud800", "{}"), ToolCall("c", "look", '{"x": NaN}')]
    result, model = await run([odd, "So."])
    assert result.ok
    assert [part.status for part in results(model)] == ["denied"] * 3


async def test_a_typed_answer_comes_by_its_tool_and_is_repaired(platform: Penstock) -> None:
    script = [tool_call("final_answer", text="a"), "no tool at all", tool_call("final_answer", text="a", sure=True)]
    result, model = await run(script, output=Reply)
    assert result.output == Reply(text="a", sure=True)
    assert model.calls[0].output_tool is not None
    told = results(model)[0]
    assert told.status == "error"
    assert "sure: Field required" in told.text
    assert model.calls[2].messages[-1].role == "user"
    assert "was not accepted" in model.calls[2].messages[-1].text


async def test_repairs_are_bounded(platform: Penstock) -> None:
    result, model = await run([tool_call("final_answer", text="a")] * 5, output=Reply, repairs=2)
    assert (result.outcome, result.code, len(model.calls)) == ("failed", "output_invalid", 3)


async def test_an_empty_answer_is_asked_for_again(platform: Penstock) -> None:
    result, model = await run(["", "So."])
    assert result.output == "So."
    assert "the answer was empty" in model.calls[1].messages[-1].text


async def test_handing_over_to_a_person_ends_the_run_as_escalated(platform: Penstock) -> None:
    result, model = await run([tool_call("escalate", reason="not sure")], can_escalate=True)
    assert (result.outcome, result.reason) == ("escalated", "not sure")
    assert "escalate" in [spec.name for spec in model.calls[0].tools]
    result, _ = await run([ToolCall("", "escalate", "not json")], can_escalate=True)
    assert (result.outcome, result.reason) == ("escalated", "the agent is not confident")
    result, model = await run([tool_call("escalate", reason="not sure"), "So."])
    assert result.ok, "who was not offered it cannot use it"
    assert results(model)[0].status == "denied"


async def test_delegating_is_a_tool_call_whose_tool_is_a_run(platform: Penstock) -> None:
    inner = Agent("inner", model=ScriptedModel(["inner answer"]), instructions="Be brief.")
    calls = [
        tool_call("inner", input="a question"),
        ToolCall("", "inner", "{"),
        tool_call("inner", wrong=1),
        tool_call("inner", input=["no text"]),
    ]
    result, model = await run([calls, "So."], tools=[inner.as_tool()])
    assert result.ok
    got = results(model)
    assert [part.status for part in got] == ["ok", "error", "error", "error"]
    assert got[0].text == "inner answer"
    assert result.totals.tool_calls == 1


async def test_a_child_that_fails_is_told_to_the_model(platform: Penstock) -> None:
    inner = Agent("inner", model=ScriptedModel([ModelError(Failure("down", "permanent"))]), instructions="Be brief.")
    result, model = await run([tool_call("inner", input="a"), "So."], tools=[inner.as_tool()])
    assert result.ok
    assert results(model)[0].status == "error"
    assert "ended as failed" in results(model)[0].text


async def test_the_model_is_told_what_remains(platform: Penstock) -> None:
    budget = Budget(tokens=9_000, steps=9)
    _, model = await run([tool_call("look", x=1), "So."], budget=budget)
    told = [part.text for part in model.calls[1].messages[-1].parts if isinstance(part, Text)]
    [line] = told
    assert line.startswith("[budget left: ")
    assert "of 9,000 tokens" in line
    assert "8 of 9 steps" in line
    _, model = await run([tool_call("look", x=1), "So."], budget=budget, show_budget=False)
    assert not [part for part in model.calls[1].messages[-1].parts if isinstance(part, Text)]


async def test_at_the_last_step_tools_are_kept_but_forbidden(platform: Penstock) -> None:
    """Their definitions stay, since leaving them out breaks some providers."""
    script = [tool_call("look", x=1), tool_call("look", x=2), [tool_call("look", x=3)], "never asked"]
    result, model = await run(script, budget=Budget(steps=3))
    assert [call.tool_choice for call in model.calls] == ["auto", "auto", "none"]
    assert all(len(call.tools) == 3 for call in model.calls)
    assert len(model.calls) == 3
    assert result.code == "output_invalid", "an answer of tool calls alone is no answer"


async def test_at_the_last_step_a_typed_answer_is_required(platform: Penstock) -> None:
    script = [tool_call("look", x=1), tool_call("final_answer", text="a", sure=False)]
    result, model = await run(script, output=Reply, budget=Budget(steps=2))
    assert result.ok
    assert [call.tool_choice for call in model.calls] == ["auto", "required"]


async def test_a_run_stopped_by_a_limit_hands_over_its_last_words(platform: Penstock) -> None:
    calls = [ToolCall(f"c{x}", "look", f'{{"x":{x}}}') for x in (1, 2)]
    said = ModelResponse(Message("assistant", [Text("I found 10 so far."), *calls]), Amount(1, 1), "tool_calls")
    result, _ = await run([said, "never asked"], budget=Budget(calls=1))
    assert (result.outcome, result.code) == ("exhausted", "over_calls")
    assert result.output == "I found 10 so far."
    assert result.partial
    assert result.needed


async def test_a_fallback_answers_when_the_agent_fails(platform: Penstock) -> None:
    down = ModelError(Failure("down", "permanent", "no such model"))
    result, _ = await run([down], fallback=helper)
    assert (result.outcome, result.output) == ("succeeded", "helped Well?")
    result, _ = await run([down])
    assert (result.outcome, result.code) == ("failed", "model_failed")
    assert "no such model" in result.reason


async def test_money_is_counted_and_labelled(platform: Penstock) -> None:
    result, _ = await run(["So."], price=Price(1_000.0, 2_000.0), budget=Budget(usd="0.10"))
    totals = result.totals
    assert totals.nano == totals.tokens_in * 1_000 + totals.tokens_out * 2_000 > 0
    assert result.cost.endswith("(simulated)")
