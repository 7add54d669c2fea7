"""The person who approves, and who says truthfully whether something happened."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.crash.world import World

from penstock.kernel.errors import ApprovalDecided, RunUnknown
from penstock.runs.approvals import Approval
from penstock.runs.client import Penstock


@asynccontextmanager
async def at_the_desk(penstock: Penstock, world: World, every_seconds: float = 0.1) -> AsyncIterator[list[Approval]]:
    """Answers all questions while the block runs; gives those that were answered."""
    answered: list[Approval] = []
    task = asyncio.create_task(_answer(penstock, world, every_seconds, answered))
    try:
        yield answered
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _answer(penstock: Penstock, world: World, every_seconds: float, answered: list[Approval]) -> None:
    while True:
        for question in await penstock.approvals():
            answer = "approve"
            if question.question == "did_it_happen":
                happened = await world.counter(question.args["tag"], question.tool) > 0
                answer = "happened" if happened else "did_not_happen"
            try:
                await penstock.decide(question, answer, actor="clerk")
            except (ApprovalDecided, RunUnknown):
                continue
            answered.append(question)
        await asyncio.sleep(every_seconds)
