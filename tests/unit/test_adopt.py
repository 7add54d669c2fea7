"""Two versions of one agent's code: a run goes only where it can be replayed, unless a person lets it be adopted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from penstock import Run, Settings, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.agents.function import FunctionAgent
from penstock.events import FORMAT, RunAdopted, RunEnded, RunPatched, decode
from penstock.journal.chain import verify
from penstock.kernel.errors import AdoptionRefused, NotFinalized, UsageError
from penstock.ports.records import RunRow, Status
from penstock.ports.tools import IdempotencyKey
from penstock.runs.client import Penstock
from penstock.runs.releases import stranded
from penstock.runs.replaying.adopt import AdoptionDone, adopt
from penstock.runs.replaying.replay import replay
from penstock.wiring import assemble

QUICK = Settings(poll_seconds=0.02, lease_seconds=1.0, loop_block_max_seconds=1.0)
looked: list[str] = []


@tool(effect="read")
async def look(what: str) -> str:
    """Look something up."""
    looked.append(what)
    return what


@tool(permission="auto", in_doubt="keyed")
async def pay(cents: int, *, key: IdempotencyKey) -> str:
    """Pay."""
    return f"paid {cents}"


@tool(risk="high", in_doubt="keyed")
async def refund(cents: int, *, key: IdempotencyKey) -> str:
    """Refund."""
    return f"refunded {cents}"


@agent("clerk", version="1")
async def clerk(run: Run, name: str) -> str:
    await run.call(look, name)
    await run.call(pay, 5)
    await run.sleep(0.2)
    return "one"


@agent("clerk", version="2: goes on alike, then more")
async def longer(run: Run, name: str) -> str:
    await run.call(look, name)
    await run.call(pay, 5)
    await run.sleep(0.2)
    return f"two, {await run.call(look, 'more')}"


@agent("clerk", version="3: looks for something else")
async def elsewhere(run: Run, name: str) -> str:
    await run.call(look, name.upper())
    await run.call(pay, 5)
    await run.sleep(0.2)
    return "three"


@agent("clerk", version="4: another call")
async def another(run: Run, name: str) -> str:
    await run.call(pay, 5)
    await run.call(look, name)
    await run.sleep(0.2)
    return "four"


@agent("clerk", version="5: the open timer is another")
async def sooner(run: Run, name: str) -> str:
    await run.call(look, name)
    await run.call(pay, 5)
    await run.sleep(0.1)
    return "five"


@asynccontextmanager
async def deploy(journal: MemoryJournal, name: str, *agents: FunctionAgent) -> AsyncIterator[Penstock]:
    """A worker of one release."""
    async with assemble(journal, QUICK, agents=agents) as platform:
        platform.start_worker(name)
        yield platform


async def row_of(platform: Penstock, run: UUID) -> RunRow:
    row = await platform.journal.get_run("default", run)
    assert row is not None
    return row


async def parked(journal: MemoryJournal, code: FunctionAgent = clerk) -> UUID:
    """A run that its worker has left in its sleep."""
    async with deploy(journal, "old", code) as platform:
        run = await platform.submit(code, "acme")
        async with asyncio.timeout(30):
            while (await row_of(platform, run)).status is not Status.PARKED:
                await asyncio.sleep(0.01)
    return run


async def adopted(platform: Penstock, run: UUID, code: FunctionAgent, *, accept: bool = False) -> AdoptionDone:
    return await adopt(
        platform.services, await row_of(platform, run), [code], actor="ben", reason="deploy", accept_arguments=accept
    )


async def test_a_run_waits_for_its_release_is_listed_and_goes_on_once_adopted() -> None:
    journal = MemoryJournal()
    run = await parked(journal)
    looked.clear()
    async with deploy(journal, "new", longer) as platform:
        await asyncio.sleep(0.4)
        assert (await row_of(platform, run)).status is not Status.ENDED, "a worker of another release took it"
        found = await stranded(journal, "default", 10)
        assert [(item.run, item.release) for item in found.runs] == [(run, clerk.release)]
        done = await adopted(platform, run, longer)
        assert (done.from_release, done.to_release, done.arguments) == (clerk.release, longer.release, False)
        assert (await platform.result(run, timeout_seconds=60)).output == "two, more"
        assert looked == ["more"], "what was recorded was not called again"
        assert (await stranded(journal, "default", 10)).runs == []
        row = await row_of(platform, run)
        tape = await journal.tape("default", run)
        verify("default", run, tape, row.head, row.last_seq)
        events = [decode(item.body) for item in tape]
        event = next(event for event in events if isinstance(event, RunAdopted))
        assert (event.actor, event.reason, event.format) == ("ben", "deploy", FORMAT)
        assert isinstance(events[-1], RunEnded)
        assert events[-1].release == longer.release
        assert (await replay(platform.services, row, [longer])).same


async def test_other_arguments_need_a_persons_word() -> None:
    journal = MemoryJournal()
    run = await parked(journal)
    looked.clear()
    async with deploy(journal, "new", elsewhere) as platform:
        with pytest.raises(AdoptionRefused, match="other arguments") as refused:
            await adopted(platform, run, elsewhere)
        report = refused.value.fields["report"]
        assert (report.recorded_args, report.attempted_args) == ({"what": "acme"}, {"what": "ACME"})
        assert "--accept-arguments" in refused.value.advice
        before = await row_of(platform, run)
        assert before.release == clerk.release
        done = await adopted(platform, run, elsewhere, accept=True)
        assert done.arguments
        assert done.difference is not None
        assert (await platform.result(run, timeout_seconds=60)).output == "three"
        assert looked == []
        assert (await replay(platform.services, await row_of(platform, run), [elsewhere])).same


@pytest.mark.parametrize("code", [another, sooner], ids=lambda code: code.release)
async def test_another_call_or_an_open_one_with_other_arguments_is_refused(code: FunctionAgent) -> None:
    journal = MemoryJournal()
    run = await parked(journal)
    async with deploy(journal, "new", code) as platform:
        with pytest.raises(AdoptionRefused) as refused:
            await adopted(platform, run, code, accept=True)
        assert refused.value.fields["report"].path
        row = await row_of(platform, run)
        assert (row.release, row.status in (Status.PARKED, Status.QUEUED)) == (clerk.release, True)
    async with deploy(journal, "old", clerk) as platform:
        assert (await platform.result(run, timeout_seconds=60)).output == "one", "nothing was changed"


async def test_a_held_question_must_be_asked_as_it_was() -> None:
    @agent("refunder", version="1")
    async def first(run: Run, cents: int) -> str:
        return str(await run.call(refund, cents))

    @agent("refunder", version="2")
    async def more(run: Run, cents: int) -> str:
        return str(await run.call(refund, cents * 2))

    journal = MemoryJournal()
    async with deploy(journal, "old", first) as platform:
        run = await platform.submit(first, 5)
        async with asyncio.timeout(30):
            while not await platform.approvals():
                await asyncio.sleep(0.01)
    async with deploy(journal, "new", more) as platform:
        with pytest.raises(AdoptionRefused):
            await adopted(platform, run, more, accept=True)


async def test_what_cannot_be_adopted_says_why() -> None:
    journal = MemoryJournal()
    run = await parked(journal)
    async with deploy(journal, "same", clerk) as platform:
        with pytest.raises(UsageError, match="already"):
            await adopted(platform, run, clerk)
        await platform.result(run, timeout_seconds=5)
        with pytest.raises(UsageError, match="ended"):
            await adopted(platform, run, longer)


async def test_a_run_in_a_live_workers_hands_is_left_alone() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @tool(effect="read")
    async def wait() -> str:
        """Wait."""
        begun.set()
        await go_on.wait()
        return "waited"

    @agent("waiter", version="1")
    async def waiter(run: Run, name: str) -> str:
        return str(await run.call(wait))

    @agent("waiter", version="2")
    async def waits(run: Run, name: str) -> str:
        return str(await run.call(wait))

    journal = MemoryJournal()
    async with deploy(journal, "old", waiter) as platform:
        run = await platform.submit(waiter, "x")
        await begun.wait()
        with pytest.raises(UsageError, match="live worker"):
            await adopted(platform, run, waits)
        go_on.set()
        assert (await platform.result(run, timeout_seconds=5)).ok


async def test_before_finalize_nothing_is_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = MemoryJournal()
    run = await parked(journal)

    async def older() -> int:
        return 1

    monkeypatch.setattr(journal.releases, "write_format", older)
    async with assemble(journal, QUICK) as platform:
        with pytest.raises(NotFinalized):
            await adopted(platform, run, longer)


async def test_patched_takes_the_old_branch_on_old_runs_and_the_new_one_on_new_runs() -> None:
    @agent("changing", version="one")
    async def before(run: Run, name: str) -> str:
        await run.call(look, name)
        await run.sleep(0.1)
        return str(await run.call(look, "old"))

    @agent("changing", version="two")
    async def after(run: Run, name: str) -> str:
        if await run.patched("greet first"):
            await run.call(pay, 1)
        await run.call(look, name)
        await run.sleep(0.1)
        return str(await run.call(look, "new" if await run.patched("say new") else "old"))

    journal = MemoryJournal()
    run = await parked(journal, before)
    async with deploy(journal, "new", after) as platform:
        await adopted(platform, run, after)
        assert (await platform.result(run, timeout_seconds=60)).output == "new", "the second patch was yet to come"
        fresh = await platform.submit(after, "acme")
        assert (await platform.result(fresh, timeout_seconds=60)).output == "new"
        taken = {}
        for item in (run, fresh):
            events = [decode(row.body) for row in await journal.tape("default", item)]
            taken[item] = [event.patch for event in events if isinstance(event, RunPatched)]
            assert (await replay(platform.services, await row_of(platform, item), [after])).same
        assert taken == {run: ["say new"], fresh: ["greet first", "say new"]}


async def test_what_format_1_cannot_hold_ends_the_run_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async def older() -> int:
        return 1

    journal = MemoryJournal()
    monkeypatch.setattr(journal.releases, "write_format", older)

    @agent("endless")
    async def endless(run: Run, number: int) -> int:
        try:
            await run.continue_as(number + 1)
        except NotFinalized:
            return number  # swallowing it does not help: the run is stopped

    async with deploy(journal, "w", endless) as platform:
        run = await platform.submit(endless, 1)
        result = await platform.result(run, timeout_seconds=60)
        assert (result.outcome, result.code) == ("failed", "not_finalized")
        assert "finalize" in result.needed[0]
