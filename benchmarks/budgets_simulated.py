"""Calls against budgets in simulated time: the processes' own `Shares` and `Charging`, the journal's own append, the
store in memory. Processes may die or stall, and what is asked of the store, or its answer, may be lost.
"""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any, Final, cast
from uuid import UUID

from benchmarks.budgets_books import CALL_NANO, CALL_TOKENS, MEAN_USED, TENANT, Counts, Plan, Truth
from benchmarks.budgets_calls import AGENT, work
from benchmarks.virtual_time import VirtualClock, VirtualLoop
from penstock import Settings
from penstock.adapters.memory.appending import append
from penstock.adapters.memory.budgets import MemoryBudgets
from penstock.adapters.memory.records import Run, Store
from penstock.events import Event
from penstock.gates.budgets.share import Refusal
from penstock.gates.budgets.shares import Shares
from penstock.kernel.errors import JournalError
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import GENERATOR
from penstock.ports.budgets import AccountKey, Ask, Budget, Budgets, Exchange, Triple
from penstock.ports.records import Answer, Applied, Batch, NewRun, Row, Status

TICK_SECONDS: Final = 0.005
TRAVEL_SECONDS: Final = (0.001, 0.004)
LEASE_SECONDS: Final = 1.0
"""Where processes die."""
LOST: Final = 0.2
"""How often an append, its answer, a turn with the store or its answer is lost, where that happens at all."""
RAISED: Final = 0.95
"""Where budgets are raised every second, by so much of what calls want."""


class _Line:
    """The store as one process reaches it."""

    def __init__(self, world: "World", process: "Process") -> None:
        self._world, self._process = world, process

    async def change(self) -> int:
        return await self._world.store.change()

    async def budgets(self, tenant: str | None) -> list[Budget]:
        return await self._world.store.budgets(tenant)

    async def open(self, keys: Sequence[AccountKey]) -> list[tuple[int, tuple[str, ...]]]:
        await self._process.travel()
        return await self._world.store.open(keys)

    async def exchange(self, holder: UUID, lease_seconds: float, asks: Sequence[Ask], *, fresh: bool) -> Exchange:
        world = self._world
        await self._process.travel(turn=True)
        if world.loses():
            world.counts.lost_turns += 1
            raise JournalError("what was asked is lost")
        answer = await world.store.exchange(holder, lease_seconds, asks, fresh=fresh)
        if world.loses():
            world.counts.lost_turns += 1
            raise JournalError("the answer is lost")
        return answer

    async def forget(self, before: int, limit: int) -> int:
        return await self._world.store.forget(before, limit)


class Process:
    """One that makes calls.

    Attributes:
        work: its tasks and their runs; two of one run, when that was lost and has come back.
        deaf: while it is stalled, calls go on, and only its turns with the store do not.
    """

    def __init__(self, world: "World") -> None:
        self.world = world
        self.shares = Shares(cast(Budgets, _Line(world, self)), world.clock, world.settings)
        self.work: dict[asyncio.Task[None], UUID] = {}
        self.stalled_until, self.deaf = 0.0, False

    async def travel(self, *, turn: bool = False) -> None:
        await asyncio.sleep(self.world.chance.uniform(*TRAVEL_SECONDS))
        left = self.stalled_until - self.world.loop.seconds
        if left > 0 and (turn or not self.deaf):
            await asyncio.sleep(left)

    def start(self, run: Run) -> None:
        task = self.world.started(work(self, run))
        self.work[task] = run.new.id
        task.add_done_callback(self.work.pop)

    async def die(self) -> None:
        """Everything in it is gone, and nobody is told."""
        work = list(self.work)
        for task in work:
            task.cancel()
        if work:
            await asyncio.wait(work)
        pump, self.shares._pump = self.shares._pump, None  # noqa: SLF001 - nobody dies through a public interface
        if pump is not None:
            pump.cancel()
        await self.shares.listing.close()


class World:
    """See the module. ``run`` it once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = VirtualLoop()
        self.clock = VirtualClock(self.loop)
        self.chance = random.Random(plan.seed)
        self.store = MemoryBudgets(self.clock.now_us)
        self.journal = Store(charge=self.store.charge)
        self.settings = Settings(budget_wait_seconds=20.0)
        if plan.incidents:
            self.settings = Settings(lease_seconds=LEASE_SECONDS, loop_block_max_seconds=0.5, budget_wait_seconds=2.0)
        self.truth = Truth()
        self.counts = Counts()
        self.used_when_refused: dict[int, float] = {}
        self.quiet = False
        self.leaked = 0
        """Accounts and shares that are not what the journal says of them, at the end."""
        self.apart = 0
        self._budgets: list[tuple[Budget, int, Triple]] = []  # with its account, and what is wanted of it in a second
        self._processes: list[Process] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Simulate it to the end, when every call is over and every process has left."""
        context = GENERATOR.set(random.Random(self.plan.seed))
        try:
            self.loop.run_until_complete(self._go())
        finally:
            GENERATOR.reset(context)
            self.loop.close()

    def loses(self) -> bool:
        """Whether a message is lost."""
        return self.plan.incidents > 0 and not self.quiet and self.chance.random() < LOST

    def started(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _go(self) -> None:
        plan = self.plan
        await self._make()
        self._processes = [Process(self) for _ in range(plan.processes)]
        others = [self.started(work()) for work in (self._crash, self._stall, self._raise)] if plan.incidents else []
        while self.counts.incidents < plan.incidents or self.loop.seconds < plan.seconds:
            for _ in range(int(plan.calls_a_second * TICK_SECONDS)):
                self._arrive()
            await asyncio.sleep(TICK_SECONDS)
        self.quiet = True
        for task in others:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._audit()

    async def _make(self) -> None:
        """One budget of each customer, limited in one of the three ways; those of the features; the organisation's."""
        plan = self.plan
        each = plan.calls_a_second / plan.customers
        for number in range(plan.customers):
            calls = self.chance.randint(plan.limit, plan.limit * 3 // 2)
            part = number % 3
            unit = (CALL_NANO, CALL_TOKENS, 1)[part]
            wanted = int(each * (unit if part == 2 else MEAN_USED * unit))
            limits, rate = [0, 0, 0], [0, 0, 0]
            limits[part], rate[part] = calls * unit, wanted
            await self._put(f"customer{number}", {"customer": f"c{number}"}, limits, rate)
        rate = [int(plan.calls_a_second * CALL_NANO * MEAN_USED), 0, 0]
        for number in range(plan.features):
            part_rate = [rate[0] // plan.features, 0, 0]
            limits = [int(part_rate[0] * plan.shared), 0, 0]
            await self._put(f"feature{number}", {"feature": f"f{number}"}, limits, part_rate)
        await self._put("everything", {}, [int(rate[0] * plan.shared), 0, 0], rate)

    async def _put(self, name: str, match: dict[str, str], limits: Sequence[int], rate: Sequence[int]) -> None:
        nano, tokens, calls = limits
        made = await self.store.put(
            Budget(TENANT, name, match, "total", nano=nano, tokens=tokens, calls=calls), "benchmark"
        )
        [(account, _)] = await self.store.open([AccountKey(TENANT, made.id, ())])
        self.truth.know(account, made.limits)
        self._budgets.append((made, account, (rate[0], rate[1], rate[2])))

    def _arrive(self) -> None:
        self.counts.asked += 1
        customer = self.chance.randrange(self.plan.customers)
        tags = {"customer": f"c{customer}", "feature": f"f{customer % self.plan.features}"}
        new = NewRun(TENANT, new_id(self.clock), AGENT, "r", Row(1, b"", b""), "s", b"", tags=tags)
        run = Run(new, "r", self.clock.now_us(), None, [new.event], status=Status.RUNNING, epoch=1)
        self.journal.runs[run.key] = run
        self._awake().start(run)

    def _awake(self) -> Process:
        """Some process that makes calls; if none does, any."""
        now = self.loop.seconds
        awake = [process for process in self._processes if process.deaf or process.stalled_until <= now]
        return self.chance.choice(awake or self._processes)

    async def appended(self, process: Process, run: Run, batch: Batch, events: Sequence[Event]) -> Applied:
        """The journal's answer to a batch, asked for until it is there."""
        late = self.chance.random() < 0.5  # the way there or the way back, for a process that dies meanwhile
        while True:
            if late:
                await process.travel()
            if self.loses():
                self.counts.lost_appends += 1
                await process.travel()
                continue
            known = run.last_seq
            answer = append(self.journal, batch, self.clock.now_us())
            if run.last_seq != known:
                for event in events:
                    self.truth.written(event)
            if self.loses():
                self.counts.lost_appends += 1
                await process.travel()
                continue
            if not late:
                await process.travel()
            if answer.answer is Answer.APPLIED and batch.move is not None:
                self.journal.runs.pop(run.key, None)
                self.journal.ends.clear()
            return answer

    def refused(self, refusal: Refusal) -> None:
        """A call was."""
        self.counts.refused += 1
        account, part = refusal.share.account, refusal.part
        if account not in self.used_when_refused:
            used = self.truth.charged[account][part] / self.truth.limits[account][part]
            self.used_when_refused[account] = used

    async def _crash(self) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(0, 2 * self.plan.crash_every))
            process = self.chance.choice(self._processes)
            self.counts.crashes += 1
            held = list(process.work.values())
            self._processes.remove(process)
            self._processes.append(Process(self))
            await process.die()
            for run in held:
                self._leave(run)

    async def _stall(self) -> None:
        """A process stands still until after its lease, or only its turns do; others go on with half of its runs."""
        while True:
            await asyncio.sleep(self.chance.uniform(0, 2 * self.plan.stall_every))
            process = self._awake()
            self.counts.stalls += 1
            process.stalled_until = self.loop.seconds + self.chance.uniform(1.1, 2) * LEASE_SECONDS
            process.deaf = self.chance.random() < 0.5
            for run in list(process.work.values())[::2]:
                self._leave(run)

    def _leave(self, run: UUID) -> None:
        """Another goes on with it, after a while."""
        if (TENANT, run) in self.journal.runs:
            self.counts.interrupted += 1
            self.started(self._take_over(run))

    async def _take_over(self, run: UUID) -> None:
        await asyncio.sleep(self.chance.uniform(0, LEASE_SECONDS))
        known = self.journal.runs.get((TENANT, run))
        if known is not None and known.status is Status.RUNNING:
            known.epoch += 1
            self._awake().start(known)

    async def _raise(self) -> None:
        """Every budget, by less than what is wanted: all are near their end all the time."""
        while True:
            await asyncio.sleep(1.0)
            raised, self._budgets = self._budgets, []
            for budget, _, rate in raised:
                more = [limit + int(RAISED * wanted) for limit, wanted in zip(budget.limits, rate, strict=True)]
                await self._put(budget.name, dict(budget.match), more, rate)

    async def _audit(self) -> None:
        """Compare the shares with the store's rows, then the accounts with what was written, then ask for the rest."""
        accounts = self.store._accounts  # noqa: SLF001 - rows are compared with what processes believe of them
        for process in self._processes:
            for (tenant, account), share in process.shares._shares.items():  # noqa: SLF001 - the same
                row = accounts[tenant, account].shares.get(share.holder)
                counted = [0, 0, 0] if row is None else [row.used[part] + row.held[part] for part in range(3)]
                self.leaked += any(taken > known for taken, known in zip(share.taken, counted, strict=True))
            await process.shares.close()
        await asyncio.sleep(20 * LEASE_SECONDS)
        last = new_id(self.clock)
        await self.store.exchange(last, 100.0, [], fresh=True)
        for budget, account, _ in self._budgets:
            [found] = await self.store.accounts(TENANT, budget.name)
            charged = self.truth.charged[account]
            self.apart += abs(found.used[0] - charged[0])
            left: list[int] = [max(0, limit - used) for limit, used in zip(budget.limits, charged, strict=True)]
            ask = Ask(TENANT, account, (left[0], left[1], left[2]))
            standing = (await self.store.exchange(last, 100.0, [ask], fresh=False)).standings[0]
            whole = all(given >= rest for given, rest in zip(standing.granted, left, strict=True))
            self.leaked += list(found.used) != charged or any(found.held) or not whole
