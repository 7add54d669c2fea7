"""A provider on this machine counts what it bills. It is never more than the budget, whatever agents and faults do."""

import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock import Agent, Budget, Run, agent, tool
from penstock.adapters.prices import PriceList
from penstock.adapters.providers import model_by_name
from penstock.adapters.providers.adapter import ProviderModel
from penstock.kernel.errors import PenstockError
from penstock.ports.model import Price
from penstock.settings import Settings
from penstock.testing import WireAnswer, WireCall, WireServer
from penstock.wiring import open_in_memory

NAME = "openai-chat:gpt-4o"
NANO_IN, NANO_OUT = 2500, 10_000  # a token


class Provider:
    """Answers and bills by dice: short and long answers, tool calls, refusals, failures and broken connections."""

    def __init__(self) -> None:
        self.chance = random.Random(0)
        self.nano = 0
        self.tokens = 0
        self.calls = 0

    def reset(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.nano = self.tokens = self.calls = 0

    def answer(self, call: WireCall) -> WireAnswer:
        self.calls += 1
        body = call.json
        dice = self.chance.random()
        if dice < 0.1:
            return WireAnswer.json({"error": {"message": "slow down", "type": "requests"}}, 429, retry_after="0")
        tokens_in, tokens_out = self._prompt_tokens(body), self._answer_tokens(body)
        self.nano += tokens_in * NANO_IN + tokens_out * NANO_OUT
        self.tokens += tokens_in + tokens_out
        if dice < 0.2:
            return WireAnswer.json({"error": {"message": "oops", "type": "server_error"}}, 500)
        whole = WireAnswer.json(self._completion(body, tokens_in, tokens_out, with_usage=dice < 0.9))
        return whole if dice > 0.3 else WireAnswer(whole.chunks, 200, whole.headers, "cut")

    def _prompt_tokens(self, body: dict[str, Any]) -> int:
        """No tokenizer makes more tokens of a text than it has bytes; this one may come near."""
        text = "".join(str(message.get("content") or "") for message in body["messages"])
        size = len(text.encode()) + len(json.dumps(body.get("tools", [])))
        return self.chance.randint(size // 4, size)

    def _answer_tokens(self, body: dict[str, Any]) -> int:
        most: int = body["max_completion_tokens"]
        return self.chance.choice([self.chance.randint(1, most), most])

    def _completion(self, body: dict[str, Any], tokens_in: int, tokens_out: int, *, with_usage: bool) -> Any:
        message: dict[str, Any] = {"role": "assistant", "content": "Done." if self.chance.random() < 0.4 else None}
        if message["content"] is None and body.get("tools") and body.get("tool_choice") != "none":
            calls = [
                {
                    "id": f"call-{self.calls}-{n}",
                    "type": "function",
                    "function": {"name": "look", "arguments": json.dumps({"page": self.chance.randint(1, 10**6)})},
                }
                for n in range(self.chance.randint(1, 3))
            ]
            message["tool_calls"] = calls
        else:
            message["content"] = "Done."
        usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
        return {
            "id": f"chatcmpl-{self.calls}",
            "object": "chat.completion",
            "created": 1760000000,
            "model": "gpt-4o",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            **({"usage": usage} if with_usage else {}),
        }


@tool(effect="read", repeatable=True)
async def look(page: int) -> str:
    """A page."""
    return "All work and no play. " * (page % 40)


looper = Agent("looper", model=NAME, instructions="Read the pages.", tools=[look], max_tokens=300)


@agent("many-askers")
async def many_askers(run: Run, prompt: str) -> int:
    answered = 0

    async def ask(number: int) -> int:
        try:
            await run.ask(NAME, f"{number}: {prompt}", max_tokens=50 + 40 * number)
        except PenstockError:
            return 0
        return 1

    for _ in range(3):
        answered += sum(await run.gather(*(ask(number) for number in range(5))))
    return answered


@agent("delegating-asker")
async def delegating_asker(run: Run, prompt: str) -> list[str]:
    async def delegate(number: int) -> str:
        try:
            return str(await run.call(looper, f"{number}: {prompt}"))
        except PenstockError as error:
            return error.code

    return await run.gather(*(delegate(number) for number in range(3)), run.ask(NAME, prompt, max_tokens=100))


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture
async def model(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProviderModel]:
    async with WireServer(provider.answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "key-for-tests")
        made = model_by_name(NAME, PriceList({NAME: Price(NANO_IN, NANO_OUT, source="test")}))
        yield made
        await made.aclose()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("kind", [looper, many_askers, delegating_asker], ids=lambda kind: kind.name)
async def test_what_is_billed_fits_the_budget(
    provider: Provider, model: ProviderModel, seed: int, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.gates.limits.retry.BASE_SECONDS", 0.001)
    chance = random.Random(seed)
    provider.reset(seed)
    tokens = chance.choice([None, chance.randint(500, 20_000)])
    nano = chance.randint(10**6, 60 * 10**6) if tokens is None or chance.random() < 0.5 else None
    usd = None if nano is None else f"{nano / 10**9:.9f}"
    async with open_in_memory(Settings(poll_seconds=0.02), models=[model]) as penstock:
        result = await penstock.run(
            kind, "What is on the pages? " * chance.randint(1, 20), budget=Budget(tokens=tokens, usd=usd, attempts=3)
        )
    told = f"{result}; billed {provider.nano} nano, {provider.tokens} tokens in {provider.calls} calls"
    assert nano is None or provider.nano <= nano, told
    assert tokens is None or provider.tokens <= tokens, told
    assert result.totals.nano >= provider.nano, told
    assert result.totals.tokens >= provider.tokens, told
    assert nano is None or result.totals.nano <= nano, told
