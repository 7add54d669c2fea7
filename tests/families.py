"""Families of agents that fail in different ways, for the tests of views."""

import asyncio
from typing import Any
from uuid import UUID

from penstock import Budget, Run, Settings, agent, tool
from penstock.kernel.errors import ChildFailed, ToolFailed, WaitCycle

SOON = Settings(poll_seconds=0.02)


@tool(effect="read", attempts=1)
async def lookup(what: str) -> str:
    """Look a customer up."""
    if "fails" in what:
        raise LookupError("no such customer")
    return what


@tool(effect="write", risk="prohibited")
async def forbidden(what: str) -> str:
    """What nobody may."""
    return what


@tool(effect="read", attempts=1)
async def hang(what: str) -> str:
    """Never answers."""
    await asyncio.sleep(60)
    return what


@agent("hung", version="1")
async def hung(run: Run, what: str) -> str:
    return str(await run.call(hang, what))


@agent("clerk", version="1")
async def clerk(run: Run, what: str) -> str:
    if what == "denied":
        return str(await run.call(forbidden, what))
    return str(await run.call(lookup, what))


@agent("manager", version="1")
async def manager(run: Run, what: str) -> str:
    if what == "denied":
        return str(await run.call(forbidden, what))
    return str(await run.call(clerk, what))


@agent("boss", version="1")
async def boss(run: Run, what: str) -> str:
    return str(await run.call(manager, what))


@agent("worker", version="1")
async def worker(run: Run, seconds: float) -> str:
    """Fails after so many seconds; 0 = not at all."""
    await run.sleep(seconds)
    return str(await run.call(lookup, "fails" if seconds else "fine"))


@agent("crew", version="1")
async def crew(run: Run, seconds: list[float]) -> list[Any]:
    return await run.gather(*(run.call(worker, each) for each in seconds))


@agent("mixed", version="1")
async def mixed(run: Run, what: str) -> str:
    try:
        await run.call(lookup, what)
    except ToolFailed:
        await asyncio.sleep(0)
    return str(await run.call(lookup, "fails too"))


@agent("misbehaved", version="1")
async def misbehaved(run: Run, what: str) -> str:
    await run.call(lookup, "fine")
    return {"a": "b"}[what]


@agent("stubborn", version="1", budget=Budget(calls=3))
async def stubborn(run: Run, times: int) -> str:
    for n in range(times):
        try:
            return str(await run.call(clerk, f"fails {n}"))
        except ChildFailed:
            continue
    return "gave up"


@agent("sleeper", version="1")
async def sleeper(run: Run, seconds: float) -> str:
    await run.sleep(seconds or 3600)
    return "slept"


@agent("patient", version="1")
async def patient(run: Run, seconds: float) -> str:
    return str(await run.call(sleeper, seconds))


@agent("hurried", version="1")
async def hurried(run: Run, seconds: float) -> str:
    return str(await run.call(hung, "x", budget=Budget(seconds=seconds)))


@agent("busy", version="1", budget=Budget(seconds=0.3))
async def busy(run: Run, seconds: float) -> list[Any]:
    """Its time is over while a child sleeps and a tool hangs."""
    return await run.gather(run.call(sleeper, 3600.0), run.call(hang, "x"))


@agent("waits-on", version="1")
async def waits_on(run: Run, target: str) -> str:
    ended = await run.wait_run(UUID(target))
    if not ended.succeeded:
        raise ValueError(ended.reason)
    return str(ended.output)


@agent("meets", version="1")
async def meets(run: Run, seconds: float) -> str:
    """Waits for the run that it is told of; with a time-out unless it is 0."""
    other = UUID(await run.wait_event("other"))
    try:
        return (await run.wait_run(other, timeout_seconds=seconds or None)).outcome
    except WaitCycle as circle:
        return circle.code


@agent("hang-on", version="1")
async def hang_on(run: Run, seconds: float) -> str:
    return str(await run.wait_event("word", timeout_seconds=seconds))


AGENTS = [
    meets,
    busy,
    hung,
    hurried,
    clerk,
    manager,
    boss,
    worker,
    crew,
    mixed,
    misbehaved,
    stubborn,
    sleeper,
    patient,
    waits_on,
    hang_on,
]
