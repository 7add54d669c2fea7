"""From one provider to another in mid-conversation, over real HTTP: what each of them gets to see."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.sim.tapes import Tape, open_on

from penstock import Agent, Budget, tool
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.providers import model_by_name
from penstock.events import ModelIntent, ModelOutcome
from penstock.gates.limits import retry
from penstock.ports.model import Model
from penstock.testing import WireAnswer, WireServer

BODIES = Path(__file__).parent / "wire"
OPENAI, ANTHROPIC = "openai:gpt-5-mini", "anthropic:claude-sonnet-4-6"


def answer(name: str, status: int = 200, **headers: str) -> WireAnswer:
    return WireAnswer.json(json.loads((BODIES / f"{name}.json").read_text()), status, **headers)


class Providers:
    """Two providers on this machine."""

    def __init__(self, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stack, self._monkeypatch = stack, monkeypatch

    async def serve(
        self, openai: list[WireAnswer], anthropic: list[WireAnswer]
    ) -> tuple[list[Model], list[WireServer]]:
        servers = [await self._stack.enter_async_context(WireServer(*answers)) for answers in (openai, anthropic)]
        self._monkeypatch.setenv("OPENAI_BASE_URL", f"{servers[0].url}/v1")
        self._monkeypatch.setenv("OPENAI_API_KEY", "key-for-tests")
        self._monkeypatch.setenv("ANTHROPIC_BASE_URL", servers[1].url)
        self._monkeypatch.setenv("ANTHROPIC_API_KEY", "key-for-tests")
        models = [model_by_name(name) for name in (OPENAI, ANTHROPIC)]
        for model in models:
            self._stack.push_async_callback(model.aclose)
        return list(models), servers


@pytest.fixture
async def providers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Providers]:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.001)
    async with AsyncExitStack() as stack:
        yield Providers(stack, monkeypatch)


@tool(effect="read", repeatable=True)
async def get_account(customer_id: str) -> str:
    """The account of a customer."""
    return f"account of {customer_id}"


@tool(effect="read", repeatable=True)
async def list_transactions(customer_id: str, limit: int = 10) -> str:
    """The latest transactions of a customer."""
    return "none"


async def run(models: list[Model], **options: Any) -> Tape:
    desk = Agent(
        "desk",
        model=models,
        instructions="You work at a bank's support desk.",
        tools=[get_account, list_transactions],
        budget=Budget(usd="5.00"),
        **options,
    )
    journal = MemoryJournal()
    async with open_on(journal, [desk]) as platform:
        submitted = await platform.submit(desk, "Where is my card?")
        await asyncio.wait_for(platform.result(submitted), 60)
    return Tape(submitted, journal)


def intents(tape: Tape) -> list[tuple[str, str]]:
    return [(event.model, event.because) for event in tape.events if isinstance(event, ModelIntent)]


async def test_an_overloaded_provider_gives_way_to_the_next_one(providers: Providers) -> None:
    models, (openai, anthropic) = await providers.serve([answer("openai/500", 500)], [answer("anthropic/plain")])
    tape = await run(models, attempts=2)
    assert tape.end.outcome == "succeeded"
    assert intents(tape) == [(OPENAI, ""), (OPENAI, "retry"), (ANTHROPIC, "fallback")]
    assert (len(openai.calls), len(anthropic.calls)) == (2, 1)
    assert anthropic.calls[0].json["messages"][0]["content"] != []


async def test_a_key_that_is_not_accepted_costs_one_call(providers: Providers) -> None:
    models, servers = await providers.serve([answer("openai/401", 401)], [answer("anthropic/plain")])
    tape = await run(models)
    assert intents(tape) == [(OPENAI, ""), (ANTHROPIC, "fallback")]
    outcomes = [event for event in tape.events if isinstance(event, ModelOutcome)]
    assert outcomes[0].used.nano == 0, "a call that was turned away is not billed"
    assert [len(server.calls) for server in servers] == [1, 1]


@pytest.mark.parametrize("place", [(0, 1), (1, 0)])
async def test_the_other_provider_takes_over_a_conversation_in_its_middle(
    providers: Providers, place: tuple[int, int]
) -> None:
    """The first answer, with tool calls and reasoning, is one provider's; the second call goes to the other."""
    openai = [answer("openai/responses_tools"), answer("openai/500", 500)]
    anthropic = [answer("anthropic/tools"), answer("anthropic/529", 529)]
    first, second = place
    scripts = [openai, anthropic]
    scripts[second] = [answer(("openai/responses_plain", "anthropic/plain")[second])]
    models, servers = await providers.serve(*scripts)
    tape = await run([models[first], models[second]], attempts=1)
    assert tape.end.outcome == "succeeded", tape.end.reason
    names = (OPENAI, ANTHROPIC)
    assert intents(tape) == [(names[first], ""), (names[first], ""), (names[second], "fallback")]
    taken_over = servers[second].calls[0].body.decode()
    assert "get_account" in taken_over
    assert "account of" in taken_over, "the tool's result goes along"
    bags = [str(value) for message in scripts[first][:1] for value in _opaque(json.loads(bytes(message.chunks[0])))]
    assert bags
    for opaque in bags:
        assert opaque not in taken_over, "what one provider wants back means nothing to the other"


def _opaque(body: Any) -> list[str]:
    """Signatures, reasoning and the ids of reasoning in a provider's answer."""
    found: list[str] = []
    for part in body.get("output", body.get("content", [])):
        if part.get("type") in ("reasoning", "thinking"):
            found += [part[name] for name in ("id", "signature", "thinking", "encrypted_content") if part.get(name)]
    return found


async def test_a_conversation_stays_with_the_model_that_answered(providers: Providers) -> None:
    plain = answer("anthropic/plain")
    models, (openai, anthropic) = await providers.serve([answer("openai/500", 500)], [answer("anthropic/tools"), plain])
    tape = await run(models, attempts=1)
    assert tape.end.outcome == "succeeded", tape.end.reason
    assert intents(tape) == [(OPENAI, ""), (ANTHROPIC, "fallback"), (ANTHROPIC, "")]
    assert (len(openai.calls), len(anthropic.calls)) == (1, 2)
    assert "signature" in anthropic.calls[1].body.decode(), "its own reasoning goes back to it"
