"""The two modes without Penstock."""

import asyncio
from collections.abc import Callable

from penstock.demo.bank import Bank
from penstock.demo.meter import MeteredModel
from penstock.demo.plain_loop import PlainEnd, work
from penstock.demo.result import ModeResult
from penstock.demo.support import SupportDesk
from penstock.demo.support_tools import BankTools
from penstock.demo.world import World, measure
from penstock.kernel.clock import wall_seconds
from penstock.ports.model import Model, ModelError

SAFETY_STEPS = 100  # what even "no limits" stops at, so that a demo ends
STEP_LIMIT = 25  # a usual default of agent frameworks


async def work_plainly(
    bank: Bank, world: World, model: Model, *, max_steps: int, concurrency: int, advance: Callable[[int], None]
) -> ModeResult:
    """Work all tickets of a world in the plain loop, ``concurrency`` at a time. A ticket whose model fails is lost."""
    tools, metered = BankTools(bank), MeteredModel(model)
    desk = SupportDesk(tools, metered)
    ends: dict[int, PlainEnd | None] = {}
    places = asyncio.Semaphore(concurrency)

    async def one(number: int) -> None:
        async with places:
            try:
                ends[number] = await work(desk, metered, world.text(number), max_steps=max_steps)
            except ModelError:
                ends[number] = None
            advance(len(ends))

    began = wall_seconds()
    async with asyncio.TaskGroup() as group:
        for number in range(len(world.tickets)):
            group.create_task(one(number))
    return await measure(
        bank,
        world,
        metered.readings,
        waiting={number for number, end in ends.items() if end and end.reason == "escalated"},
        approvals=0,
        tool_calls=tools.calls,
        stopped={number for number, end in ends.items() if end and end.reason == "step_limit"},
        wall_seconds=wall_seconds() - began,
    )
