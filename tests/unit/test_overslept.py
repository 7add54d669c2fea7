"""A run that sleeps although its wait is over is woken, said to be a defect, and ends as it would have."""

import asyncio
import logging

import pytest

from penstock import Run, Settings, agent
from penstock.events import ChildOutcome, RunParked, decode
from penstock.ports.records import Status
from penstock.runs.replaying.replay import replay
from penstock.runs.work import executor
from penstock.wiring import open_in_memory

SOON = Settings(poll_seconds=0.02, wakeup_look_seconds=0.05)


@agent("told-nothing-child", version="1")
async def child(run: Run, value: int) -> str:
    if value > 0:
        await run.continue_as(value - 1)
    return "what the child says"


@agent("told-nothing", version="1")
async def parent(run: Run, value: int) -> str:
    return f"{await run.call(child, value)}, as heard"


@pytest.mark.parametrize("value", [0, 2], ids=["a child", "a child that went on in others"])
async def test_a_parent_that_was_never_told_of_its_childs_end(
    value: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(executor, "told_to_parent", lambda *args: None)
    async with open_in_memory(SOON, agents=[parent, child]) as platform:
        with caplog.at_level(logging.ERROR, logger="penstock.runs"):
            result = await asyncio.wait_for(parent.run(value), 20)
        assert result.output == "what the child says, as heard"
        [rescue] = await platform.journal.wakeups.rescued(10)
        assert (rescue.tenant, rescue.run, rescue.why) == (platform.tenant, result.run, "child")
        assert sum(str(result.run) in record.getMessage() for record in caplog.records) >= 1
        row = await platform.journal.get_run(platform.tenant, result.run)
        assert row is not None
        assert row.status is Status.ENDED
        events = [decode(stored.body) for stored in await platform.journal.tape(platform.tenant, result.run)]
        assert sum(isinstance(event, RunParked) for event in events) == 1
        [outcome] = [event for event in events if isinstance(event, ChildOutcome)]
        assert outcome.outcome == "succeeded"
        assert (await replay(platform.services, row, [parent, child])).same


async def test_what_goes_well_is_not_rescued() -> None:
    async with open_in_memory(SOON, agents=[parent, child]) as platform:
        await asyncio.gather(*(parent.run(0) for _ in range(5)))
        await asyncio.sleep(0)
        assert await platform.journal.wakeups.look(0, 10) == []
        assert await platform.journal.wakeups.rescued(10) == []
