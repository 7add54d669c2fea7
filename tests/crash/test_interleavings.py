"""Letters, parking, children and stops in every order that chance finds, on two workers that share one PostgreSQL.

Each call of the journal is delayed by a few random milliseconds, before or after it took effect; some workers vanish
in the middle. The seed of a failing pass is in its message.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest
from tests.crash.record import TENANT, check_record, events_of, story

from penstock import IdempotencyKey, Run, agent, tool
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import PostgresJournal, open_journal
from penstock.events import ApprovalRequested, ChildIntent, ChildOutcome, RunEnded, ToolOutcome
from penstock.gates.tool.approval import Decision
from penstock.kernel.errors import ApprovalDecided, JournalUnavailable, RunUnknown
from penstock.kernel.ids import derived_id
from penstock.ports.journal import Journal
from penstock.ports.records import Post, RunFilter, Status, Stop
from penstock.runs.client import Penstock
from penstock.runs.work.lease import LeaseKeeper
from penstock.settings import Settings
from penstock.wiring import assemble

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]

SETTINGS = Settings(
    poll_seconds=0.05,
    wakeup_look_seconds=5.0,
    lease_seconds=0.6,
    loop_block_max_seconds=0.6,
    start_allowance_seconds=0.5,
    doubt_margin_seconds=0.1,
    database_pool_size=4,
)
LONGEST_DELAY_SECONDS = 0.012
DELAYED = ("append", "claim", "letters", "tapes", "deliver", "flags", "stop_run", "put_payloads", "get_payloads")
HAPPENED: Counter[str] = Counter()
KEYS: set[str] = set()


@tool(risk="high", in_doubt="keyed", timeout_seconds=0.5)
async def refund(tag: str, key: IdempotencyKey) -> str:
    """A write that a person approves."""
    return _do("refund", tag, key)


@tool(permission="auto", in_doubt="keyed", timeout_seconds=0.5)
async def book(tag: str, wait_ms: int, key: IdempotencyKey) -> str:
    """A write that takes a while."""
    await asyncio.sleep(wait_ms / 1000)
    return _do("book", tag, key)


def _do(name: str, tag: str, key: str) -> str:
    if key not in KEYS:
        KEYS.add(key)
        HAPPENED[f"{name}:{tag}"] += 1
    return tag


@agent("quick-child")
async def quick_child(run: Run, tag: str) -> str:
    return tag


@agent("working-child")
async def working_child(run: Run, tag: str) -> str:
    await run.call(book, tag, 5)
    return tag


@agent("asking-child")
async def asking_child(run: Run, tag: str) -> str:
    await run.call(refund, tag)
    return tag


@agent("asks")
async def asks(run: Run, tag: str) -> str:
    await run.call(refund, tag)
    return tag


@agent("delegates")
async def delegates(run: Run, tag: str) -> list[str]:
    first: str = await run.call(quick_child, tag)
    rest: list[str] = await run.gather(
        run.call(quick_child, tag), run.call(working_child, tag), run.call(asking_child, tag), _nap(run, tag)
    )
    return [first, *rest]


async def _nap(run: Run, tag: str) -> str:
    await run.sleep(0.01)
    return tag


@agent("family")
async def family(run: Run, tag: str) -> str:
    await run.gather(run.call(asking_child, tag), run.call(delegates, f"{tag}/inner"), run.call(book, tag, 60))
    return tag


AGENTS: list[Any] = [quick_child, working_child, asking_child, asks, delegates, family]


class Wobbly:
    """A journal whose answers come late, and which can vanish together with its worker."""

    def __init__(self, inner: PostgresJournal, chance: random.Random) -> None:
        self.inner = inner
        self.chance = chance
        self.gone = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        return self._delayed(method) if name in DELAYED else method

    def _delayed(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            before, after = (self.chance.choice([0, self.chance.uniform(0, LONGEST_DELAY_SECONDS)]) for _ in "12")
            await self._pass(before)
            answer = await method(*args, **kwargs)
            await self._pass(after)
            return answer

        return call

    async def _pass(self, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        if self.gone.is_set():
            await asyncio.Event().wait()


class Place:
    """A platform with a worker, which can be made to vanish as a killed process does."""

    def __init__(self, dsn: str, name: str, chance: random.Random) -> None:
        self.dsn, self.name, self.chance = dsn, name, chance

    async def open(self) -> "Place":
        self.wobbly = Wobbly(await self._journal(SETTINGS.database_pool_size), self.chance)
        self.penstock = assemble(cast("Journal", self.wobbly), SETTINGS, agents=AGENTS, open_lease=self._open_lease)
        self.worker = self.penstock.start_worker(self.name)
        return self

    async def _journal(self, size: int) -> PostgresJournal:
        return await open_journal(ConnectionSettings(self.dsn, pool_size=size), prepare=False)

    async def _open_lease(self) -> Journal:
        if self.wobbly.gone.is_set():
            raise JournalUnavailable("this worker is gone")
        return await self._journal(1)

    async def vanish(self) -> None:
        """Nothing more comes from this worker, not even a sign of life."""
        self.wobbly.gone.set()
        working, writer = self.penstock._working, self.penstock.writer
        assert working is not None
        writer._journal = self.penstock.services.journal = cast("Journal", _Nowhere())
        tasks = [*self.worker._tasks, *writer._senders, working]
        for execution in self.worker.running.values():
            branches = execution.ctx.schedule.branches if execution.ctx else []
            tasks += [branch.task for branch in branches if branch.task is not None]
        left = set(tasks)
        for _ in range(20):
            for task in left:
                task.cancel()  # again: one that was about to end something may have taken the first for its own
            _, left = await asyncio.wait(left, timeout=1)
            if not left:
                break
        else:
            pytest.fail(f"tasks that do not end when they are cancelled: {left}")
        await self.wobbly.inner.close()


class _Nowhere:
    def __getattr__(self, name: str) -> Any:
        async def nothing(*args: Any, **kwargs: Any) -> Any:
            raise JournalUnavailable("this worker is gone")

        return nothing


@asynccontextmanager
async def places(dsn: str, seed: int, count: int) -> AsyncIterator[list[Place]]:
    async with AsyncExitStack() as stack:
        opened = []
        for number in range(count):
            place = await Place(dsn, f"worker-{seed}-{number}", random.Random(f"{seed}/{number}")).open()
            stack.push_async_callback(place.penstock.close)
            opened.append(place)
        yield opened


@pytest.fixture
async def dsn(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    # The watchdog would end the tests' own process when the machine is slow.
    monkeypatch.setattr(LeaseKeeper, "_die", lambda self, why: None)
    await (await open_journal(database_url)).close()
    return database_url


def approval_of(run: UUID, path: str) -> str:
    return f"approval:{derived_id(run, f'approval:{path}:0')}"


async def send(penstock: Penstock, run: UUID, dedup: str, decision: str) -> None:
    body = msgspec.json.encode(Decision(decision, "clerk"))
    await penstock.journal.deliver(Post(TENANT, run, dedup, "approval", body))


async def all_ended(penstock: Penstock, seed: int, seconds: float = 40.0) -> list[UUID]:
    """Wait until no run is left that has not ended; all of them."""
    rows = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                rows = await penstock.journal.list_runs(TENANT, RunFilter(), 1000)
                if all(row.status is Status.ENDED for row in rows):
                    rescued = await penstock.journal.wakeups.rescued(10)
                    assert not rescued, f"seed {seed}: slept although their wait was over: {rescued}"
                    return [row.id for row in rows]
                await asyncio.sleep(0.05)
    except TimeoutError:
        row = next(row for row in rows if row.status is not Status.ENDED)
        letters = await penstock.journal.letters([(TENANT, row.id)])
        pytest.fail(f"seed {seed}: hangs: {row}\n{letters}\n{story(await penstock.journal.tape(TENANT, row.id))}")


async def approve_everything(penstock: Penstock, chance: random.Random, answers: Counter[str]) -> None:
    """Each decision is sent twice, by two people who do not know of each other."""
    while True:
        for question in await penstock.approvals():
            answer = "approve" if question.question == "may_run" else "did_not_happen"
            await asyncio.sleep(chance.uniform(0, 0.01))
            for actor in ("clerk", "second clerk"):
                with contextlib.suppress(ApprovalDecided, RunUnknown):
                    await penstock.decide(question, answer, actor=actor)
                    answers[question.id] += 1
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("seed", range(3))
async def test_a_decision_before_while_and_after_the_run_parks(dsn: str, seed: int) -> None:
    chance = random.Random(seed)
    async with places(dsn, seed, 2) as opened:
        penstock = opened[0].penstock

        async def one(number: int) -> UUID:
            tag = f"{seed}-{number}"
            run = await penstock.submit(asks, tag)
            await asyncio.sleep(chance.uniform(0, 0.12))
            await send(penstock, run, approval_of(run, "0"), "approve" if number % 3 else "deny")
            return run

        runs = await asyncio.gather(*(one(number) for number in range(30)))
        await all_ended(penstock, seed)
        for number, run in enumerate(runs):
            events = await check_record(penstock, run)
            assert isinstance(events[-1], RunEnded)
            told = story(await penstock.journal.tape(TENANT, run))
            assert events[-1].outcome == ("succeeded" if number % 3 else "refused"), told
            assert HAPPENED[f"refund:{seed}-{number}"] == (1 if number % 3 else 0), told
            assert sum(isinstance(event, ApprovalRequested) for event in events) == 1, told


@pytest.mark.parametrize("seed", range(10, 12))
async def test_children_of_all_speeds(dsn: str, seed: int) -> None:
    chance = random.Random(seed)
    answers: Counter[str] = Counter()
    async with places(dsn, seed, 2) as opened:
        penstock = opened[0].penstock
        clerk = asyncio.create_task(approve_everything(penstock, chance, answers))
        tags = [f"{seed}-{number}" for number in range(12)]
        for tag in tags:
            await penstock.submit(delegates, tag)
            await asyncio.sleep(chance.uniform(0, 0.02))
        runs = await all_ended(penstock, seed)
        clerk.cancel()
        assert len(runs) == 5 * len(tags)
        for run in runs:
            events = await check_record(penstock, run)
            assert isinstance(events[-1], RunEnded)
            assert events[-1].outcome == "succeeded"
            children = [event.child for event in events if isinstance(event, ChildIntent)]
            assert sorted(children) == sorted(event.child for event in events if isinstance(event, ChildOutcome))
        for tag in tags:
            assert (HAPPENED[f"refund:{tag}"], HAPPENED[f"book:{tag}"]) == (1, 1)
        assert set(answers.values()) == {1}


@pytest.mark.parametrize("seed", range(20, 22))
async def test_a_stop_reaches_the_whole_family(dsn: str, seed: int) -> None:
    chance = random.Random(seed)
    answers: Counter[str] = Counter()
    async with places(dsn, seed, 2) as opened:
        penstock = opened[0].penstock
        clerk = asyncio.create_task(approve_everything(penstock, chance, answers)) if seed % 2 else None

        async def one(number: int) -> tuple[UUID, str]:
            run = await penstock.submit(family, f"{seed}-{number}")
            await asyncio.sleep(chance.uniform(0, 0.25))
            stop = chance.choice([penstock.kill, penstock.cancel])
            try:
                sealed = await stop(run, actor="clerk")
            except RunUnknown:
                return run, "unknown"
            assert sealed.sealed, sealed
            return run, {"kill": "killed", "cancel": "cancelled"}[stop.__name__]

        stopped = await asyncio.gather(*(one(number) for number in range(10)))
        await all_ended(penstock, seed)
        if clerk is not None:
            clerk.cancel()
        for run, expected in stopped:
            row = await penstock.journal.get_run(TENANT, run)
            assert row is not None
            assert row.outcome in (expected, "succeeded"), row
            await check_record(penstock, run)
            for child in await penstock.journal.list_runs(TENANT, RunFilter(root=run), 100):
                await check_record(penstock, child.id)
                assert child.outcome in (expected, "succeeded"), child


@tool(effect="read", repeatable=True)
async def peek(tag: str, number: int) -> int:
    """A read, which starts before its intent is durable."""
    if number % 3 == 0:
        await asyncio.sleep(0.001)
    return number


@agent("reader")
async def reader(run: Run, tag: str) -> int:
    total = 0
    for number in range(6):
        noted = await run.record("noted", lambda: number)  # noqa: B023 - awaited at once
        seen = await run.gather(run.call(peek, tag, noted), run.call(peek, tag, noted + 1), _noted_read(run, tag))
        total += sum(seen)
        await run.record("total", lambda: total)  # noqa: B023
    await run.call(book, tag, 1)
    return total


async def _noted_read(run: Run, tag: str) -> int:
    first: int = await run.call(peek, tag, 3)
    await run.record("first", lambda: first)
    second: int = await run.call(peek, tag, first + 1)
    return second


AGENTS.append(reader)


@pytest.mark.parametrize("seed", range(40, 42))
async def test_pauses_in_the_middle_of_reads(dsn: str, seed: int) -> None:
    """A read whose intent was refused has not happened, nor has what the agent did with its answer."""
    chance = random.Random(seed)
    async with places(dsn, seed, 2) as opened:
        penstock = opened[0].penstock

        async def one(number: int) -> UUID:
            run = await penstock.submit(reader, f"{seed}-{number}")
            for _ in range(4):
                await asyncio.sleep(chance.uniform(0, 0.05))
                await penstock.journal.stop_run(TENANT, run, Stop.PAUSE, "clerk", "test")
                await asyncio.sleep(chance.uniform(0, 0.05))
                await penstock.journal.resume_run(TENANT, run, "clerk")
            return run

        runs = await asyncio.gather(*(one(number) for number in range(16)))
        await all_ended(penstock, seed)
        for number, run in enumerate(runs):
            events = await check_record(penstock, run)
            assert isinstance(events[-1], RunEnded)
            told = story(await penstock.journal.tape(TENANT, run))
            assert events[-1].outcome == "succeeded", told
            assert HAPPENED[f"book:{seed}-{number}"] == 1, told


@pytest.mark.parametrize("seed", range(30, 32))
async def test_workers_vanish_while_children_and_decisions_come_and_go(dsn: str, seed: int) -> None:
    chance = random.Random(seed)
    answers: Counter[str] = Counter()
    async with places(dsn, seed, 1) as opened:
        penstock = opened[0].penstock
        clerk = asyncio.create_task(approve_everything(penstock, chance, answers))
        tags = [f"{seed}-{number}" for number in range(16)]

        async def submit_all() -> None:
            for tag in tags:
                await penstock.submit(delegates, tag)
                await asyncio.sleep(0.08)

        submitting = asyncio.create_task(submit_all())
        for number in range(8):
            victim = await Place(dsn, f"victim-{seed}-{number}", random.Random(f"{seed}/v{number}")).open()
            await asyncio.sleep(chance.uniform(0.02, 0.3))
            await victim.vanish()
        await submitting
        runs = await all_ended(penstock, seed)
        clerk.cancel()
        assert len(runs) == 5 * len(tags)
        for run in runs:
            events = await check_record(penstock, run)
            assert isinstance(events[-1], RunEnded)
            told = story(await penstock.journal.tape(TENANT, run))
            assert events[-1].outcome == "succeeded", told
        for tag in tags:
            assert (HAPPENED[f"refund:{tag}"], HAPPENED[f"book:{tag}"]) == (1, 1)


async def test_a_child_that_ends_is_on_its_parents_tape_once(dsn: str) -> None:
    """The letter of a child that ended while its parent's worker was dead waits in the inbox."""
    async with places(dsn, 99, 1) as opened:
        penstock = opened[0].penstock
        run = await penstock.submit(delegates, "once")
        clerk = asyncio.create_task(approve_everything(penstock, random.Random(0), Counter()))
        await all_ended(penstock, 99)
        clerk.cancel()
        events = await events_of(penstock.journal, run)
        outcomes = Counter(event.child for event in events if isinstance(event, ChildOutcome))
        assert set(outcomes.values()) == {1}
        assert len(outcomes) == 4


SIGNED: dict[str, asyncio.Event] = {}


@tool(permission="auto", in_doubt="keyed", timeout_seconds=20)
async def sign(tag: str, key: IdempotencyKey) -> str:
    """A write that happens when the test says so."""
    await SIGNED[tag].wait()
    return _do("sign", tag, key)


@agent("reporting-child")
async def reporting_child(run: Run, tag: str) -> str:
    return f"a report on {tag}"


@agent("signs-beside")
async def signs_beside(run: Run, tag: str) -> list[str]:
    signed, told = await run.gather(run.call(sign, tag), run.call(reporting_child, tag))
    return [signed, told]


AGENTS += [reporting_child, signs_beside]


class HeldAtTheOutput(Wobbly):
    """Does not answer who reads what a run that has ended left behind."""

    def __init__(self, inner: PostgresJournal) -> None:
        super().__init__(inner, random.Random(0))
        self.reached = asyncio.Event()

    async def fetch_payloads(self, wanted: Any) -> Any:
        rows = [await self.inner.get_run(tenant, UUID(subject)) for tenant, subject, _ in wanted]
        if any(row is not None and row.parent is not None and row.status is Status.ENDED for row in rows):
            self.reached.set()
            await asyncio.Event().wait()
        return await self.inner.fetch_payloads(wanted)


async def test_a_childs_end_is_not_lost_when_its_parents_worker_dies_while_reading_it(dsn: str) -> None:
    """Its letter is consumed with the outcome that says the same, not with what another branch records meanwhile."""
    tag = "beside"
    SIGNED[tag] = asyncio.Event()
    victim = Place(dsn, "victim", random.Random(1))
    victim.wobbly = held = HeldAtTheOutput(await victim._journal(4))
    victim.penstock = assemble(cast("Journal", held), SETTINGS, agents=AGENTS, open_lease=victim._open_lease)
    victim.worker = victim.penstock.start_worker(victim.name)
    run = await victim.penstock.submit(signs_beside, tag)
    async with asyncio.timeout(30):
        await held.reached.wait()
        SIGNED[tag].set()
        while not any(isinstance(event, ToolOutcome) for event in await events_of(held.inner, run)):
            await asyncio.sleep(0.02)
    tape = await events_of(held.inner, run)
    [child] = [event.child for event in tape if isinstance(event, ChildIntent)]
    assert not any(isinstance(event, ChildOutcome) for event in tape)
    letters = (await held.inner.letters([(TENANT, run)]))[TENANT, run]
    assert [letter.dedup for letter in letters] == [f"child:{child}"], "consumed, and its outcome is nowhere"
    await victim.vanish()
    async with places(dsn, 51, 1) as opened:
        assert set(await all_ended(opened[0].penstock, 51)) == {run, child}
        events = await check_record(opened[0].penstock, run)
        assert isinstance(events[-1], RunEnded)
        assert events[-1].outcome == "succeeded"
        assert HAPPENED[f"sign:{tag}"] == 1
