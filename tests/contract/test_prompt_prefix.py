"""What is sent for one step begins with what was sent for the step before, so that providers' own caches find it."""

import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from penstock import Agent, Budget, Penstock, Settings, tool
from penstock.adapters.providers import model_by_name
from penstock.gates.run.words import NOTE_90
from penstock.testing import WireAnswer, WireServer
from penstock.wiring import open_in_memory

BODIES = Path(__file__).parent / "wire"


@tool(effect="read", repeatable=True)
async def get_account(customer_id: str) -> dict[str, str]:
    """The account of a customer."""
    return {"zeta": "1", "alpha": "2", "customer": customer_id}


@tool(effect="read", repeatable=True)
async def list_transactions(customer_id: str, limit: int) -> list[int]:
    """The latest transactions of a customer."""
    return list(range(limit))


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(Settings(poll_seconds=0.01)) as opened:
        yield opened


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def serve(provider: str, tools: str, plain: str, steps: int) -> WireServer:
            answers = []
            for step in range(steps):
                text = (BODIES / provider / f"{tools}.json").read_text()
                # No two answers of a provider have the same ids.
                for known in ("toolu_01A", "toolu_01B", "call_aTk2pZ", "call_bWq9sL"):
                    text = text.replace(known, f"{known}{step}")
                answers.append(WireAnswer.json(json.loads(text)))
            answers.append(WireAnswer.json(json.loads((BODIES / provider / f"{plain}.json").read_text())))
            server = await stack.enter_async_context(WireServer(*answers))
            monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
            monkeypatch.setenv("ANTHROPIC_API_KEY", "key-for-tests")
            monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
            monkeypatch.setenv("OPENAI_API_KEY", "key-for-tests")
            return server

        yield serve


ANTHROPIC = "anthropic", "tools", "plain", "anthropic:claude-sonnet-4-6"
OPENAI = "openai", "chat_tools", "chat_plain", "openai-chat:gpt-4o"
STEPS = 5


async def bodies(platform: Penstock, served: Any, of: tuple[str, str, str, str], **how: Any) -> list[dict[str, Any]]:
    """What an agent sends in a conversation that its budget brings to an end."""
    provider, tools, plain, name = of
    server = await served(provider, tools, plain, STEPS - 1)
    model = model_by_name(name)
    agent = Agent(
        "desk",
        model=model,
        instructions="You work at a bank's support desk.",
        tools=[list_transactions, get_account],
        budget=Budget(steps=STEPS),
        max_tokens=600,
        **how,
    )
    result = await platform.result(await platform.submit(agent, "Was I charged twice?"), timeout_seconds=30)
    await model.aclose()
    assert result.outcome == "succeeded", result
    return [call.json for call in server.calls]


def without_marks(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_marks(item) for name, item in value.items() if name != "cache_control"}
    return [without_marks(item) for item in value] if isinstance(value, list) else value


def prefix_of(body: dict[str, Any]) -> str:
    """What a provider's cache goes by, in order: tools, the system's words, the messages; without their end."""
    text = json.dumps([body["tools"], body.get("system"), body["messages"]], ensure_ascii=False)
    return text.removesuffix("]]")


@pytest.mark.parametrize("of", [ANTHROPIC, OPENAI], ids=["anthropic", "openai"])
async def test_each_step_begins_with_all_of_the_one_before(platform: Penstock, served: Any, of: Any) -> None:
    sent = [without_marks(body) for body in await bodies(platform, served, of)]
    assert len(sent) == STEPS
    texts = [prefix_of(body) for body in sent]
    for before, after in itertools.pairwise(texts):
        assert after.startswith(before)
        assert len(after) > len(before) + 100
    assert NOTE_90 in texts[-1], "a note goes to the end, and changes nothing before it"
    names = [spec.get("name") or spec["function"]["name"] for spec in sent[0]["tools"]]
    assert names == ["list_transactions", "get_account"], "in the order in which the agent has them"
    if of is OPENAI:
        assert sent[0]["messages"][0]["role"] == "system"


async def test_anthropic_is_told_what_to_keep_when_the_agent_says_so(platform: Penstock, served: Any) -> None:
    mark = {"type": "ephemeral", "ttl": "5m"}
    for body in await bodies(platform, served, ANTHROPIC, prompt_cache=True):
        assert ["cache_control" in spec for spec in body["tools"]] == [False, True]
        assert body["tools"][-1]["cache_control"] == mark
        assert body["system"][-1]["cache_control"] == mark
        marked = [
            (place, block)
            for place, message in enumerate(body["messages"])
            for block in message["content"]
            if isinstance(block, dict) and "cache_control" in block
        ]
        assert [place for place, _ in marked] == [len(body["messages"]) - 1], "the latest message, and no other"


async def test_without_that_nothing_is_marked(platform: Penstock, served: Any) -> None:
    for body in await bodies(platform, served, ANTHROPIC):
        assert "cache_control" not in json.dumps(body)


async def test_other_providers_are_not_bothered(platform: Penstock, served: Any) -> None:
    for body in await bodies(platform, served, OPENAI, prompt_cache=True):
        assert "cache" not in json.dumps({name: item for name, item in body.items() if name != "messages"})
