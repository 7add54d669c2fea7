"""A run that was put away is gone from its worker's memory at once, without the garbage collector."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from penstock import Agent, Run, agent, tool
from penstock.gates.order.branches import Branch
from penstock.gates.order.tape import Tape
from penstock.gates.run.context import RunContext
from penstock.runs.work.executor import Execution
from penstock.testing import ScriptedModel, in_memory, tool_call

LEFT = (Branch, Execution, RunContext, Tape)


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@tool(effect="read")
async def look(name: str) -> str:
    """Look something up."""
    return f"about {name}"


def asked() -> Agent:
    return Agent(
        "asked", model=ScriptedModel([tool_call("look", name="x"), "done"] * 3), instructions="Look.", tools=[look]
    )


@agent("side-by-side")
async def side_by_side(run: Run, text: str) -> Any:
    return await run.gather(*(run.call(look, name) for name in "abcd"), limit=2)


@agent("sleeper")
async def sleeper(run: Run, text: str) -> str:
    await run.gather(run.sleep(0.02), run.sleep(0.04))
    return text


@agent("hurried")
async def hurried(run: Run, text: str) -> str:
    return await run.timeout(5, run.call(look, text))


@agent("failing")
async def failing(run: Run, text: str) -> str:
    await run.call(look, text)
    raise ValueError(text)


@pytest.mark.parametrize(
    "make",
    [asked, lambda: side_by_side, lambda: sleeper, lambda: hurried, lambda: failing],
    ids=["standard loop", "side by side", "parked", "within a time-out", "failed"],
)
async def test_nothing_of_a_run_waits_for_the_collector(make: Callable[[], Any]) -> None:
    one = make()
    before = {id(item) for item in gc.get_objects()}  # what other tests have left
    async with in_memory():
        for _ in range(3):
            await one.run("x")
        for _ in range(20):  # what the loop still has to call
            await asyncio.sleep(0)
        left = [type(item).__name__ for item in gc.get_objects() if isinstance(item, LEFT) and id(item) not in before]
    assert not left
