"""The ticket as a pydantic-ai agent, written as people write them, and the same agent governed."""

from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import RequestUsage

from benchmarks import ticket
from penstock import Budget
from penstock.integrations.pydantic_ai import govern


async def instant(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
    """A fake that answers at once."""
    first = messages[0]
    assert isinstance(first, ModelRequest)
    words = next(part.content for part in first.parts if isinstance(part, UserPromptPart))
    turn = sum(isinstance(message, ModelResponse) for message in messages)
    said = ticket.answer(turn, ticket.number_of(str(words)))
    tokens_in, tokens_out = ticket.tokens_of(turn)
    part = TextPart(said) if isinstance(said, str) else ToolCallPart(said[0], said[1], f"call-{turn}")
    return ModelResponse([part], usage=RequestUsage(input_tokens=tokens_in, output_tokens=tokens_out))


BARE = Agent(FunctionModel(instant), instructions=ticket.INSTRUCTIONS, deps_type=str)


@BARE.tool
async def get_account(_: RunContext[str], ticket: str) -> dict[str, object]:
    """The customer's account."""
    return await _ticket.get_account(ticket)


@BARE.tool
async def list_payments(_: RunContext[str], ticket: str, limit: int) -> list[dict[str, object]]:
    """The customer's latest payments."""
    return await _ticket.list_payments(ticket, limit)


@BARE.tool_plain
async def add_note(ticket: str, text: str) -> str:
    """Put a note on the ticket."""
    return await _ticket.add_note(ticket, text)


@BARE.tool_plain
async def send_reply(ticket: str, text: str) -> str:
    """Send the customer a reply."""
    return await _ticket.send_reply(ticket, text)


_ticket = ticket  # the tools' parameter has the name of the module

AGENT = govern(
    BARE,
    name="bench-pydantic-ai",
    budget=Budget(tokens=30_000, usd="0.50", steps=12, calls=12, attempts=3, seconds=600),
    effects={
        "get_account": {"effect": "read"},
        "list_payments": {"effect": "read"},
        "add_note": {"effect": "write", "permission": "auto", "in_doubt": "idempotent"},
        "send_reply": {"effect": "write", "permission": "auto", "in_doubt": "idempotent"},
    },
    deps=lambda run, _: run.tenant,
)
