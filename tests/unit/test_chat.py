"""`run.chat`: a conversation of many turns, with tools."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock import Agent, Budget, Cache, Penstock, Run, Settings, agent, tool
from penstock.agents.chat import ChatStep
from penstock.events.messages import ToolCall
from penstock.runs.result import Result
from penstock.testing import ScriptedModel, tool_call
from penstock.wiring import open_in_memory


@tool(effect="read")
async def look(x: int) -> int:
    """Look."""
    return 10 * x


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(Settings(poll_seconds=0.01)) as opened:
        yield opened


async def talk(model: ScriptedModel, talks: Any, budget: Budget | None = None) -> Result:
    """Run ``talks(chat)`` as an agent."""

    @agent("talker", budget=budget, version="1")
    async def talker(run: Run, value: int) -> Any:
        return await talks(run.chat(model, instructions="Be kind.", tools=[look], max_tokens=200))

    result: Result = await talker.run(0)
    return result


async def test_replies_use_tools_and_remember_what_was_said(platform: Penstock) -> None:
    model = ScriptedModel([[tool_call("look", x=1), tool_call("look", x=2)], "It is 30.", "You are welcome."])

    async def talks(chat: Any) -> list[str]:
        return [
            await chat.reply("How much?"),
            await chat.reply("Thanks."),
            *(message.role for message in chat.messages),
        ]

    result = await talk(model, talks)
    roles = ["system", "user", "assistant", "tool", "assistant", "user", "assistant"]
    assert result.output == ["It is 30.", "You are welcome.", *roles]
    assert [message.text for message in model.calls[-1].messages if message.role == "user"] == ["How much?", "Thanks."]
    assert result.totals.tool_calls == 2


async def test_steps_show_what_came_of_each_call(platform: Penstock) -> None:
    model = ScriptedModel([[tool_call("look", x=1), tool_call("nothing")], "So."])
    steps: list[ChatStep] = []

    async def talks(chat: Any) -> None:
        chat.hear("Well?")
        steps.append(await chat.step())
        steps.append(await chat.step())

    assert (await talk(model, talks)).ok
    assert [(part.name, part.status, part.text) for part in steps[0].results[:1]] == [("look", "ok", "10")]
    assert [part.status for part in steps[0].results] == ["ok", "denied"]
    assert (steps[1].text, steps[1].results, steps[1].last) == ("So.", [], False)


async def test_when_the_budget_ends_calls_are_answered_but_not_made(platform: Penstock) -> None:
    """A model that calls a tool although it must answer gets a result for it, as providers demand."""
    model = ScriptedModel([tool_call("look", x=1), [ToolCall("late", "look", '{"x":2}')], "never asked"])
    results: list[ChatStep] = []

    async def talks(chat: Any) -> str:
        chat.hear("Well?")
        results.extend([await chat.step(), await chat.step()])
        return str(chat.messages[-1].role)

    result = await talk(model, talks, Budget(steps=2))
    assert result.output == "tool"
    assert result.totals.tool_calls == 1
    assert results[1].last
    assert [(part.id, part.status) for part in results[1].results] == [("late", "denied")]
    assert model.calls[1].tool_choice == "none"


async def test_a_reply_ends_where_the_budget_ends(platform: Penstock) -> None:
    model = ScriptedModel([tool_call("look", x=1), [ToolCall("late", "look", '{"x":2}')]])
    result = await talk(model, lambda chat: chat.reply("Well?"), Budget(steps=2))
    assert (result.outcome, result.output) == ("succeeded", "")


async def test_news_from_outside_forgive_a_lack_of_progress(platform: Penstock) -> None:
    """Many turns that each ask for the same thing once are no spiral."""
    script: list[Any] = []
    for number in range(12):
        script += [tool_call("nothing", x=number), "So."]
    model = ScriptedModel(script)

    async def talks(chat: Any) -> int:
        return len([await chat.reply(f"again {number}") for number in range(12)])

    result = await talk(model, talks)
    assert result.output == 12
    assert not any(message.role == "note" for call in model.calls for message in call.messages)


async def test_two_tools_of_one_name_are_refused(platform: Penstock) -> None:
    other = Agent("look", model=ScriptedModel(["-"]), instructions="Look.")

    @agent("double", version="1")
    async def double(run: Run, value: int) -> None:
        run.chat(ScriptedModel(["-"]), tools=[look, other.as_tool()])

    result: Result = await double.run(0)
    assert (result.outcome, result.code) == ("failed", "agent_invalid")


async def test_a_conversation_that_is_the_same_is_given_the_same_answers(platform: Penstock) -> None:
    """But for the one that asks for a call that the tool does not take: that is asked for each time."""
    model = ScriptedModel([[tool_call("look", x=1)], "It is 10.", [tool_call("look", y=1)], "Hm.", "Hm."], repeat=True)

    @agent("keeper", version="1")
    async def keeper(run: Run, text: str) -> str:
        kept = Cache(seconds=60, scope="agent")
        return await run.chat(model, tools=[look], temperature=0, cache=kept).reply(text)

    asked = []
    for text in ("How much?", "How much?", "And now?", "And now?"):
        assert (await keeper.run(text)).output in ("It is 10.", "Hm.")
        asked.append(len(model.calls))
    assert asked == [2, 2, 4, 5]
