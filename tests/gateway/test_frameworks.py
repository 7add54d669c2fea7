"""Agents of other frameworks through the gateway, unchanged but for their base URL and key."""

from typing import Any

import anthropic
import openai
import pytest
from agents import Agent as OpenAIAgent
from agents import OpenAIChatCompletionsModel, OpenAIResponsesModel, RunConfig, Runner, function_tool
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool as langchain_tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.openai import OpenAIResponsesModel as PydanticResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from tests.gateway.world import World, world

ORDER = "find it [[tool=look_up]]"
ANSWER = "word " * 4


def openai_client(it: World) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{it.url}/openai/v1", api_key=it.key, max_retries=0, default_headers={"Penstock-Run": "task"}
    )


def anthropic_client(it: World) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url=f"{it.url}/anthropic", api_key=it.key, max_retries=0, default_headers={"Penstock-Run": "task"}
    )


async def settled(it: World, calls: int) -> None:
    """The calls are one run, and its account is what the provider would bill."""
    (row,) = await it.runs()
    assert row.summary.model_calls == calls
    if row.summary.nano != it.provider.nano:
        assert row.agent == "support"
        assert {path for path, _, _ in it.provider.requests} == {"/v1/messages"}  # at other prices


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ["chat", "responses", "anthropic"])
async def test_pydantic_ai(api: str, stream: bool) -> None:
    async with world() as it, openai_client(it) as client, anthropic_client(it) as other:
        model: Any
        if api == "anthropic":
            model = AnthropicModel("claude-haiku", provider=AnthropicProvider(anthropic_client=other))
        else:
            kind = OpenAIChatModel if api == "chat" else PydanticResponsesModel
            model = kind("gpt-4o-mini", provider=OpenAIProvider(openai_client=client))
        agent = PydanticAgent(model)
        asked: list[str] = []

        @agent.tool_plain
        def look_up(q: str) -> str:
            """Look something up."""
            asked.append(q)
            return "found"

        if stream:
            async with agent.run_stream(ORDER) as running:
                output = await running.get_output()
        else:
            output = (await agent.run(ORDER)).output
        assert output == ANSWER
        assert asked == ["x"]
        await settled(it, 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_langchain(stream: bool) -> None:
    @langchain_tool
    def look_up(q: str) -> str:
        """Look something up."""
        return f"found {q}"

    async with world() as it, openai_client(it) as client:
        model = ChatOpenAI(
            model="gpt-4o-mini",
            async_client=client.chat.completions,
            api_key="unused",  # type: ignore[arg-type]
            streaming=stream,
            stream_usage=True,
            max_tokens=100,  # type: ignore[call-arg]
        )
        tools = model.bind_tools([look_up])
        first = await tools.ainvoke([HumanMessage(ORDER)])
        assert first.tool_calls[0]["args"] == {"q": "x"}
        result = await look_up.ainvoke(first.tool_calls[0])
        last = await tools.ainvoke([HumanMessage(ORDER), first, result])
        assert last.content == ANSWER
        assert last.usage_metadata is not None
        await settled(it, 2)
        embeddings = OpenAIEmbeddings(
            model="embed",
            async_client=client.embeddings,
            api_key="unused",  # type: ignore[arg-type]
            check_embedding_ctx_length=False,
        )
        assert await embeddings.aembed_query("some text") == [0.5, 0.25]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_openai_agents(api: str, stream: bool) -> None:
    asked: list[str] = []

    @function_tool
    def look_up(q: str) -> str:
        """Look something up."""
        asked.append(q)
        return "found"

    async with world() as it, openai_client(it) as client:
        kind: Any = OpenAIChatCompletionsModel if api == "chat" else OpenAIResponsesModel
        agent = OpenAIAgent(name="desk", tools=[look_up], model=kind("gpt-4o-mini", openai_client=client))
        config = RunConfig(tracing_disabled=True)
        if stream:
            running = Runner.run_streamed(agent, ORDER, run_config=config)
            async for _ in running.stream_events():
                pass
            output = running.final_output
        else:
            output = (await Runner.run(agent, ORDER, run_config=config)).final_output
        assert output == ANSWER
        assert asked == ["x"]
        await settled(it, 2)
