"""A pydantic-ai agent whose worker is killed where its input says; the world outside is a folder."""

import os
import signal
from pathlib import Path

from pydantic import BaseModel
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from penstock import Run
from penstock.integrations.pydantic_ai import govern, tool_context


class Case(BaseModel):
    """``doom``: the place at which the first process to reach it is killed."""

    folder: str
    doom: str


def reach(folder: str, place: str) -> None:
    """Leave a line, so that every coming is counted, and die if this is the place and the first time."""
    world = Path(folder)
    with (world / "log").open("a") as log:
        log.write(f"{place}\n")
    doom = world / place
    if doom.exists():
        doom.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


async def _answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    turn = sum(isinstance(message, ModelResponse) for message in messages)
    folder = (info.instructions or "").removeprefix("folder: ")
    reach(folder, f"model-{turn}")
    if turn == 0:
        return ModelResponse([ToolCallPart("look", {"number": n}, f"look-{n}") for n in (1, 2)])
    if turn == 1:
        return ModelResponse([ToolCallPart("book", {"item": "chair"}, "book-1")])
    return ModelResponse([TextPart("booked")])


_agent = Agent(FunctionModel(_answer, model_name="scripted"), deps_type=str)


@_agent.instructions
async def where(ctx: RunContext[str]) -> str:
    return f"folder: {ctx.deps}"


@_agent.tool
async def look(ctx: RunContext[str], number: int) -> int:
    reach(ctx.deps, f"look-{number}")
    return number


@_agent.tool
async def book(ctx: RunContext[str], item: str) -> str:
    """Books once for each key, as a receiver that knows keys does."""
    reach(ctx.deps, "book-entry")
    (Path(ctx.deps) / f"booking-{tool_context().key}").write_text(item)
    reach(ctx.deps, "book-effect")
    return "booked"


def _deps(_: Run, case: Case) -> str:
    return case.folder


booker = govern(
    _agent,
    name="booker",
    input=Case,
    prompt=lambda case: f"book a chair, {case.doom}",
    effects={
        "look": {"effect": "read"},
        "book": {"effect": "write", "permission": "auto", "in_doubt": "keyed", "timeout_seconds": 1.0},
    },
    deps=_deps,
)
