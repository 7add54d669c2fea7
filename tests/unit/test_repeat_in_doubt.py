"""A write in doubt is repeated under its key, and the repeat certainly does nothing: the call is still in doubt."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from penstock import IdempotencyKey, OutcomeUnknown, Run, Settings, TransientToolError, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import ToolDoubted, ToolIntent, ToolOutcome, decode
from penstock.ports.records import Applied, Batch
from penstock.wiring import assemble

SOON = Settings(start_allowance_seconds=0.1, doubt_margin_seconds=0.1, poll_seconds=0.02)
paid: set[str] = set()
ways: list[str] = []


@tool(permission="auto", in_doubt="keyed", timeout_seconds=0.2)
async def pay(key: IdempotencyKey) -> str:
    """The first answer is lost; then as the test says."""
    way = ways.pop(0) if ways else "ok"
    if way == "refuse":
        raise TransientToolError("the receiver is busy; nothing was done")
    paid.add(key)
    if way == "lose":
        raise OutcomeUnknown("the answer was lost")
    return "paid"


@agent("payer")
async def payer(run: Run, value: int) -> str:
    answer: str | None = await run.call(pay)
    return answer or "paid, it is said"


class Sluggish(MemoryJournal):
    """Takes longer over some intents than calls may wait."""

    def __init__(self, slow: set[int]) -> None:
        super().__init__()
        self.slow = slow

    async def append(self, batches: Sequence[Batch], *args: Any, **options: Any) -> list[Applied]:
        for row in (row for batch in batches for row in batch.rows):
            event = decode(row.body)
            if isinstance(event, ToolIntent) and event.attempt in self.slow:
                await asyncio.sleep(0.15)
        return await super().append(batches, *args, **options)


@pytest.mark.parametrize(("script", "slow"), [(["lose", "refuse"], set()), (["lose"], {2, 3, 4})])
async def test_a_repeat_that_did_nothing_says_nothing_of_the_first_call(script: list[str], slow: set[int]) -> None:
    """The run may go on asking, or ask a person; it may not report that nothing happened."""
    paid.clear()
    ways[:] = script
    async with assemble(Sluggish(slow), SOON, agents=[payer]) as penstock:
        penstock.start_worker("w")
        run = await penstock.submit(payer, 1)
        result = await penstock.result(run, timeout_seconds=60)
        events = [decode(row.body) for row in await penstock.journal.tape("default", run)]
        told = [event for event in events if isinstance(event, ToolIntent | ToolDoubted | ToolOutcome)]
        assert (result.outcome, result.output) == ("succeeded", "paid"), told
        assert len(paid) == 1
        assert sum(isinstance(event, ToolDoubted) for event in events) == 2, told


async def test_a_call_that_stays_in_doubt_is_a_person_s_to_settle() -> None:
    paid.clear()
    ways[:] = ["lose", *["refuse"] * 20]
    async with assemble(MemoryJournal(), SOON, agents=[payer]) as penstock:
        penstock.start_worker("w")
        run = await penstock.submit(payer, 1)
        give_up_at = time.monotonic() + 20
        while not (questions := await penstock.approvals()):
            assert time.monotonic() < give_up_at
            await asyncio.sleep(0.02)
        assert [question.question for question in questions] == ["did_it_happen"]
        await penstock.decide(questions[0], "happened", actor="clerk")
        result = await penstock.result(run, timeout_seconds=60)
        assert (result.outcome, result.output) == ("succeeded", "paid, it is said")
