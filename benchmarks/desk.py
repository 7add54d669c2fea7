"""The ticket as a Penstock agent: all guards on, nothing waits for a person."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from benchmarks import ticket
from penstock import Agent, Budget, tool
from penstock.events import Amount
from penstock.events.messages import Message, Text, ToolCall
from penstock.ports.model import ModelRequest, ModelResponse, Price, ToolSpec


class InstantModel:
    """A fake that answers at once. Counts bytes as tokens where it must give a bound, as a real adapter does."""

    name = "fake:instant"
    simulated = True
    _price = Price(250.0, 1000.0, source="benchmark")

    def price(self) -> Price:
        return self._price

    def prompt_bound(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        size = 200 * len(tools)
        for message in messages:
            size += 8
            for part in message.parts:
                size += len(part.args if isinstance(part, ToolCall) else part.text)
        return size

    async def request(self, request: ModelRequest) -> ModelResponse:
        messages = request.messages
        turn = sum(message.role == "assistant" for message in messages)
        said = ticket.answer(turn, ticket.number_of(messages[1].text))
        used = Amount(*ticket.tokens_of(turn))
        if isinstance(said, str):
            return ModelResponse(Message("assistant", [Text(said)]), used, "stop")
        return ModelResponse(Message("assistant", [ToolCall(f"call-{turn}", *said)]), used, "tool_calls")

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | ModelResponse, None]:
        yield await self.request(request)


def short_enough(args: dict[str, Any]) -> str | None:
    """A business rule, so that validation has something to do."""
    return None if len(args["text"]) <= 2000 else "a text has at most 2,000 characters"


AGENT = Agent(
    "bench-desk",
    model=InstantModel(),
    instructions=ticket.INSTRUCTIONS,
    tools=[
        tool(effect="read")(ticket.get_account),
        tool(effect="read")(ticket.list_payments),
        tool(effect="write", permission="auto", in_doubt="idempotent", validate=[short_enough])(ticket.add_note),
        tool(effect="write", permission="auto", in_doubt="idempotent", validate=[short_enough])(ticket.send_reply),
    ],
    budget=Budget(tokens=30_000, usd="0.50", steps=12, calls=12, attempts=3, seconds=600),
)
