"""Going on in another run, and under another release, on PostgreSQL as in memory."""

import asyncio

from penstock import Budget, Run, Settings, agent, tool
from penstock.adapters.postgres.journal import open_journal
from penstock.events import RunSubmitted, decode
from penstock.journal.chain import verify
from penstock.ports.records import CONTINUED, RunFilter, Status
from penstock.runs.releases import stranded
from penstock.runs.replaying.adopt import adopt
from penstock.runs.replaying.replay import replay
from penstock.wiring import assemble

QUICK = Settings(poll_seconds=0.05)


@tool(effect="read")
async def look(number: int) -> int:
    """Look."""
    return number


@agent("stepper", budget=Budget(calls=10))
async def stepper(run: Run, left: int) -> str:
    await run.call(look, left)
    if left:
        await run.continue_as(left - 1)
    await run.sleep(0.05)
    return "done"


@agent("sender")
async def sender(run: Run, left: int) -> str:
    return str(await run.call(stepper, left))


async def test_a_parent_follows_a_chain_whose_every_run_verifies_and_replays(journal_dsn: str) -> None:
    async with assemble(await open_journal(journal_dsn), QUICK) as platform:
        platform.start_worker("w")
        run = await platform.submit(sender, 3)
        result = await platform.result(run, timeout_seconds=60)
        assert result.output == "done"
        rows = await platform.journal.list_runs("default", RunFilter(root=run), 100)
        assert sorted(row.code for row in rows) == ["", "", CONTINUED, CONTINUED, CONTINUED]
        for row in rows:
            tape = await platform.journal.tape("default", row.id)
            verify("default", row.id, tape, row.head, row.last_seq)
            assert (done := await replay(platform.services, row, [stepper, sender])).same, done.divergence
        last = next(row for row in rows if row.code == "" and row.agent == "stepper")
        first = decode((await platform.journal.tape("default", last.id))[0].body)
        assert isinstance(first, RunSubmitted)
        assert (first.parent, first.budget.calls, first.carried.tool_calls) == (run, 7, 3)
        chain = await platform.journal.list_runs("default", RunFilter(parent=run), 100)
        assert (await platform.result(chain[0].id, timeout_seconds=60)).run == last.id


async def test_a_cancel_reaches_the_run_that_goes_on(journal_dsn: str) -> None:
    waits = asyncio.Event()

    @agent("waiter")
    async def waiter(run: Run, left: int) -> str:
        if left:
            await run.continue_as(left - 1)
        waits.set()
        await run.sleep(600)
        return "never"

    async with assemble(await open_journal(journal_dsn), QUICK) as platform:
        platform.start_worker("w")
        run = await platform.submit(waiter, 2)
        await waits.wait()
        await platform.cancel(run, actor="ben")
        assert (await platform.result(run, timeout_seconds=60)).outcome == "cancelled"


async def test_a_stranded_run_is_listed_adopted_and_goes_on(journal_dsn: str) -> None:
    @agent("clerk", version="1")
    async def before(run: Run, number: int) -> str:
        await run.call(look, number)
        await run.sleep(0.3)
        return "old"

    @agent("clerk", version="2")
    async def after(run: Run, number: int) -> str:
        await run.call(look, number)
        await run.sleep(0.3)
        return "new"

    async with assemble(await open_journal(journal_dsn), QUICK) as old:
        old.start_worker("old")
        run = await old.submit(before, 1)
        async with asyncio.timeout(30):
            while (row := await old.journal.get_run("default", run)) is None or row.status is not Status.PARKED:
                await asyncio.sleep(0.02)
    async with assemble(await open_journal(journal_dsn), QUICK, agents=[after]) as new:
        new.start_worker("new")
        async with asyncio.timeout(30):
            while not (found := await stranded(new.journal, "default", 10)).runs or found.silent:
                await asyncio.sleep(0.05)
        assert [(item.run, item.release) for item in found.runs] == [(run, before.release)]
        row = await new.journal.get_run("default", run)
        assert row is not None
        await adopt(new.services, row, [after], actor="ben")
        assert (await new.result(run, timeout_seconds=60)).output == "new"
        row = await new.journal.get_run("default", run)
        assert row is not None
        verify("default", run, await new.journal.tape("default", run), row.head, row.last_seq)
