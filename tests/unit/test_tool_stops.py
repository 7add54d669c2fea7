"""What the gate does when a tool is stopped: deny, wait, keep a doubt open; and what an intent on its way becomes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from penstock import Run, agent, tool
from penstock.events import ToolIntent, ToolOutcome, VerdictRecorded, decode
from penstock.kernel.errors import CallDenied
from penstock.ports.controls import Scope
from penstock.ports.records import Status, Stop
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.settings import Settings
from penstock.testing import in_memory

REFUND = Scope("tool", "default", "refund")
SOON = Settings(poll_seconds=0.05, doubt_margin_seconds=0.1, start_allowance_seconds=0.5)


class Desk:
    """What the tools did, and what they wait for."""

    def __init__(self) -> None:
        self.refunds = 0
        self.mails = 0
        self.looked = 0
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()


desk = Desk()


@tool(effect="write", risk="low", permission="auto", in_doubt="idempotent")
async def refund(order: str) -> str:
    """Refund."""
    desk.refunds += 1
    return "done"


@tool(effect="write", risk="low", permission="auto", in_doubt="idempotent")
async def mail(to: str) -> str:
    """Send."""
    desk.mails += 1
    return "sent"


@tool(effect="read")
async def look(order: str) -> str:
    """Look."""
    desk.looked += 1
    desk.entered.set()
    await desk.go_on.wait()
    return "open"


@agent("clerk")
async def clerk(run: Run, orders: list[str]) -> list[str]:
    said = []
    for order in orders:
        try:
            said.append(await run.call(refund, order=order))
        except CallDenied as denied:
            said.append(str(denied.fields["rule"]))
    said.append(await run.call(mail, to="ada"))
    return said


@pytest.fixture(autouse=True)
def _desk() -> None:
    desk.__init__()  # type: ignore[misc]


@contextlib.asynccontextmanager
async def platform(*agents: Any) -> AsyncIterator[Penstock]:
    async with in_memory(SOON, agents=list(agents)) as known:
        yield known


async def events(known: Penstock, run: UUID) -> list[Any]:
    return [decode(row.body) for row in await known.journal.tape("default", run)]


async def parked(known: Penstock, run: UUID) -> None:
    async with asyncio.timeout(10):
        while True:
            row = await known.journal.get_run("default", run)
            if row is not None and row.status is Status.PARKED:
                return
            await asyncio.sleep(0.005)


async def check_replay(known: Penstock, run: UUID, code: Any) -> None:
    row = await known.journal.get_run("default", run)
    assert row is not None
    found = await replay(known.services, row, [code])
    assert found.same, found.divergence


async def test_a_killed_tool_is_denied_and_the_run_goes_on() -> None:
    async with platform(clerk) as known:
        sealed = await known.stop(REFUND, Stop.KILL, actor="ops", reason="wrong amounts")
        run = await known.submit(clerk, ["o-1"])
        result = await known.result(run, timeout_seconds=10)
        assert result.output == ["tool_stopped", "sent"]
        assert (desk.refunds, desk.mails) == (0, 1)
        tape = await events(known, run)
        (verdict,) = [event for event in tape if isinstance(event, VerdictRecorded)]
        assert [(item.rule, item.code) for item in verdict.verdicts] == [("tool_stop", "tool_stopped")]
        assert str(sealed.control) in verdict.verdicts[0].reason
        await known.resume(REFUND, actor="ops")
        await check_replay(known, run, clerk)
        again = await known.submit(clerk, ["o-1"])
        assert (await known.result(again, timeout_seconds=10)).output == ["done", "sent"]


async def test_a_paused_tool_waits_and_goes_on_when_it_is_resumed() -> None:
    async with platform(clerk) as known:
        await known.stop(REFUND, Stop.PAUSE, actor="ops", reason="look at it")
        run = await known.submit(clerk, ["o-1", "o-2"])
        await parked(known, run)
        assert (desk.refunds, desk.mails) == (0, 0)
        row = await known.journal.get_run("default", run)
        assert row is not None
        assert b'"kind":"stop","name":"refund"' in row.waiting
        await known.resume(REFUND, actor="ops")
        result = await known.result(run, timeout_seconds=10)
        assert result.output == ["done", "done", "sent"]
        await check_replay(known, run, clerk)


async def test_another_tenants_tool_of_that_name_is_not_stopped() -> None:
    async with platform(clerk) as known:
        await known.stop(Scope("tool", "zeta", "refund"), Stop.KILL, actor="ops", reason="x")
        run = await known.submit(clerk, ["o-1"])
        assert (await known.result(run, timeout_seconds=10)).output == ["done", "sent"]


async def test_a_stop_while_the_intent_is_on_its_way_refuses_it() -> None:
    """The gate had let it through; the append finds that it was checked against what holds no more."""
    async with platform(clerk) as known:
        warm = await known.submit(clerk, ["o-0"])
        await known.result(warm, timeout_seconds=10)
        journal = known.journal
        append = journal.append
        met: list[int] = []

        async def late(batches: Any, payloads: Any = (), **options: Any) -> Any:
            if not met and any(batch.intent and b"refund" in row.body for batch in batches for row in batch.rows):
                met.append((await journal.stop_scope(REFUND, Stop.KILL, "ops", "now")).at)
            return await append(batches, payloads, **options)

        journal.append = late  # type: ignore[method-assign]
        run = await known.submit(clerk, ["o-1"])
        result = await known.result(run, timeout_seconds=10)
        assert met
        assert result.output == ["tool_stopped", "sent"]
        assert desk.refunds == 1, "of the first run"
        intents = [event for event in await events(known, run) if isinstance(event, ToolIntent)]
        assert [event.tool for event in intents] == ["mail"]
        await check_replay(known, run, clerk)


async def test_a_read_that_began_before_its_intent_was_written_is_as_if_it_had_not() -> None:
    """What followed from it is not written either: the run is taken up again, and then the call is denied."""

    @agent("reader")
    async def reader(run: Run, order: str) -> str:
        try:
            found = await run.call(look, order=order)
        except CallDenied as denied:
            found = str(denied.fields["rule"])
        await run.call(mail, to=found)
        return str(found)

    async with platform(reader) as known:
        desk.go_on.set()
        warm = await known.submit(reader, "o-0")
        await known.result(warm, timeout_seconds=10)
        journal = known.journal
        append = journal.append
        met: list[int] = []

        async def late(batches: Any, payloads: Any = (), **options: Any) -> Any:
            if not met and any(b'"tool":"look"' in row.body for batch in batches for row in batch.rows):
                met.append((await journal.stop_scope(Scope("tool", "default", "look"), Stop.KILL, "ops", "now")).at)
            return await append(batches, payloads, **options)

        journal.append = late  # type: ignore[method-assign]
        run = await known.submit(reader, "o-1")
        result = await known.result(run, timeout_seconds=10)
        assert met
        assert result.output == "tool_stopped"
        tape = await events(known, run)
        assert not [event for event in tape if isinstance(event, ToolIntent) and event.tool == "look"]
        assert len([event for event in tape if isinstance(event, ToolOutcome)]) == 1
        assert desk.mails == 2, "the mail that followed from what was read was not sent"
        await check_replay(known, run, reader)


async def test_a_write_in_doubt_of_a_killed_tool_waits_instead_of_being_repeated_or_denied() -> None:
    hangs = asyncio.Event()

    @tool(effect="write", risk="low", permission="auto", in_doubt="idempotent", timeout_seconds=0.2, name="refund")
    async def slow(order: str) -> str:
        """Refund."""
        desk.refunds += 1
        if desk.refunds == 1:
            desk.entered.set()
            await hangs.wait()
        return "done"

    @agent("payer")
    async def payer(run: Run, order: str) -> str:
        return str(await run.call(slow, order=order))

    async with platform(payer) as known:
        run = await known.submit(payer, "o-1")
        await desk.entered.wait()
        await known.stop(REFUND, Stop.KILL, actor="ops", reason="now")

        async def waits_for_the_stop() -> bool:
            row = await known.journal.get_run("default", run)
            return row is not None and row.status is Status.PARKED and len(await events(known, run)) >= 5

        async with asyncio.timeout(10):
            while not await waits_for_the_stop():
                await asyncio.sleep(0.01)
        assert desk.refunds == 1
        await known.resume(REFUND, actor="ops")
        result = await known.result(run, timeout_seconds=10)
        assert (result.output, desk.refunds) == ("done", 2)
        await check_replay(known, run, payer)
