"""Who takes part: workers, one who submits, a person who decides, one who stops things."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from tests.sim.world.client import Line, SimulatedJournal
from tests.sim.world.loop import Process, ProcessClock
from tests.sim.world.outside import LoopModel, RefusingModel, SimulatedIsolation, SimulatedModel
from tests.sim.world.programs import Program

from penstock import Budget
from penstock.kernel.errors import (
    ApprovalDecided,
    JournalError,
    RunUnknown,
    ScheduleExists,
    TriggerExists,
    WorkerNameTaken,
)
from penstock.kernel.randomness import GENERATOR, seeded
from penstock.ports.journal import Journal
from penstock.ports.records import Answer, Applied, Batch
from penstock.runs.approvals import Approval
from penstock.runs.client import Penstock
from penstock.runs.schedules.firing import Firing
from penstock.runs.triggers.triggering import Triggering
from penstock.runs.work.worker import Worker
from penstock.settings import Settings
from penstock.wiring import assemble

if TYPE_CHECKING:
    from tests.sim.world.seeds import World

T = TypeVar("T")

SETTINGS = Settings(
    lease_seconds=2,
    loop_block_max_seconds=2,
    poll_seconds=1,
    drain_seconds=1,
    start_allowance_seconds=0.5,
    doubt_margin_seconds=0.3,
    approval_expiry_seconds=40,
    append_skips_before_blocking=2,
    claim_batch=4,
    worker_concurrency=8,
    schedule_poll_seconds=1,
    snapshot_every_events=8,
    budget_wait_seconds=3,
)


class Node:
    """A process of the simulation with a platform in it."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.rng = seeded(world.seed, "node", name)
        self.process = Process(name, world.loop)
        self.process.context.run(GENERATOR.set, seeded(world.seed, "drawn", name))
        self.clock = ProcessClock(world.loop)
        self.line = Line()
        self.journal: SimulatedJournal = None  # type: ignore[assignment]
        self.platform: Penstock = None  # type: ignore[assignment]
        self.process.context.run(self._open)

    def _open(self) -> None:
        world = self.world
        self.journal = SimulatedJournal(world.database, self.clock, world.exchange, self.line, self.rng.random)
        journal: Journal = self.journal
        models = [model(world.outside) for model in (SimulatedModel, RefusingModel, LoopModel)]
        self.agents = world.agents
        self.platform = assemble(journal, SETTINGS, agents=self.agents, models=models, clock=self.clock)
        self.platform.services.isolation = SimulatedIsolation(world.outside, self.clock)

    def gone(self) -> None:
        """The process is dead, and hears nothing more."""
        if self.journal in self.world.exchange.listeners:
            self.world.exchange.listeners.remove(self.journal)


class SimulatedKeeper:
    """Renews the lease as `penstock.runs.work.lease.LeaseKeeper` does, in the simulated loop instead of a thread."""

    def __init__(self, worker: "SimulatedWorker") -> None:
        self._worker = worker
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin renewing."""
        self._task = asyncio.get_running_loop().create_task(self._renew(self._worker.id))

    async def stop(self) -> None:
        """Stop renewing."""
        if self._task is not None:
            self._task.cancel()

    async def _renew(self, worker: UUID) -> None:
        seconds = SETTINGS.lease_seconds
        clock = self._worker.services.clock
        renewed = clock.boot_ns()
        while True:
            left = seconds / 3 - (clock.boot_ns() - renewed) / 1e9
            await clock.sleep(left if left > 0 else min(0.5, seconds / 6))
            try:
                alive = await self._worker.services.journal.renew(worker, seconds)
            except JournalError:
                continue
            renewed = clock.boot_ns()
            if not alive:
                self._worker._lose_lease()
                return


class SimulatedWorker(Worker):
    """A worker whose lease is kept without a thread."""

    def _keeper(self) -> Any:
        keeper = SimulatedKeeper(self)
        keeper.start()
        return keeper


class WorkerNode(Node):
    """A worker process. It ends when it is drained or cannot enlist; its supervisor starts another then."""

    def __init__(self, world: "World", name: str, worker_name: str) -> None:
        super().__init__(world, name)
        self.worker_name = worker_name
        self.journal.on_answer = self._answered
        self.worker = self.process.context.run(self._make)
        self.ended = False
        self.process.spawn(self._main(), "worker")

    def _make(self) -> SimulatedWorker:
        platform = self.platform
        worker = SimulatedWorker(
            platform.services, platform.writer, self.worker_name, lambda: platform.registry.releases, None
        )
        if self.world.scheduled:
            worker.duties.add(Firing(platform.services, lambda: platform.registry.names).run)
        if self.world.triggered:
            worker.duties.add(Triggering(platform.services, lambda: platform.registry.names).run)
        return worker

    async def _main(self) -> None:
        try:
            await self.worker.run()
            await self.platform.close()
        except WorkerNameTaken:
            pass
        except JournalError as error:
            self.world.note(self.name, f"could not work: {error.code}")
        except Exception as error:  # noqa: BLE001 - a worker must not end so
            self.world.fail("worker_failed", f"{self.name} ended with {error!r}")
        self.ended = True
        self.gone()
        self.world.worker_ended(self)

    def _answered(self, batches: Sequence[Batch], answers: Sequence[Applied]) -> None:
        """Sometimes a process stalls just when it has learned that an intent is durable."""
        world = self.world
        if world.calm or not world.chaos.stall_after_intent:
            return
        told = zip(batches, answers, strict=True)
        durable = any(batch.intent and answer.answer is Answer.APPLIED for batch, answer in told)
        if durable and self.rng.random() < world.chaos.stall_after_intent:
            world.count("stalled between intent and call")
            world.stall(self, self.rng.uniform(0.2, 2) * SETTINGS.lease_seconds)


@dataclass(slots=True)
class Wanted:
    """A run that somebody wants."""

    key: str
    program: Program
    budget: Budget | None
    tenant: str
    session: str
    customer: str = ""
    id: UUID | None = None  # once it was acknowledged
    number: int = 0


async def insist(attempt: Callable[[], Awaitable[T]], rng: random.Random) -> T:
    """Again and again while the journal cannot be reached."""
    while True:
        try:
            return await attempt()
        except JournalError:
            await asyncio.sleep(rng.uniform(0.05, 0.4))


class Submitter(Node):
    """Submits runs, each under a key, until each is acknowledged; some twice at once."""

    async def submit(self, wanted: Wanted, delay: float) -> None:
        """Submit one run after ``delay`` seconds."""
        await asyncio.sleep(delay)
        options: dict[str, Any] = {"key": wanted.key, "budget": wanted.budget, "tenant": wanted.tenant}
        if wanted.session:
            options["session"] = wanted.session
        if wanted.customer:
            options["tags"] = {"customer": wanted.customer}
        run = await insist(lambda: self.platform.submit(self.agents[0], wanted.program, **options), self.rng)
        if wanted.id not in (None, run):
            self.world.fail("one_key_one_run", f"{wanted.key} made {wanted.id} and {run}")
        wanted.id = run
        self.world.note(self.name, f"submitted {wanted.key} = {run.hex[-6:]}")

    async def publish(self, tenant: str, key: str, value: int, delay: float) -> None:
        """Publish one event after ``delay`` seconds, until it is acknowledged."""
        await asyncio.sleep(delay)
        dedup = f"event {value}"
        platform = self.platform
        await insist(lambda: platform.publish_event("mail", key, value, dedup=dedup, tenant=tenant), self.rng)
        self.world.note(self.name, f"published {value} to {key}")

    async def schedule(self, name: str, program: Program, delay: float, **plan: Any) -> None:
        """Declare a schedule after ``delay`` seconds, until it is there."""
        await asyncio.sleep(delay)
        schedules, agent = self.platform.schedules, self.agents[0]
        with contextlib.suppress(ScheduleExists):
            await insist(lambda: schedules.add(name, agent, program, **plan), self.rng)
        self.world.note(self.name, f"scheduled {name}: {plan}")

    async def trigger(self, triggers: Mapping[str, str], orders: Mapping[str, Program], delay: float) -> None:
        """Declare triggers, by name and prefix of keys, after ``delay`` seconds; then publish what they are for."""
        await asyncio.sleep(delay)
        client, agent = self.platform.triggers, self.agents[0]
        for name, prefix in triggers.items():
            with contextlib.suppress(TriggerExists):
                await insist(lambda: client.add(name, "order", agent, key_prefix=prefix), self.rng)  # noqa: B023
        for key, program in orders.items():
            for _ in range(self.rng.choice((1, 1, 2))):
                self.process.spawn(self._order(key, program, self.rng.random() * 3), "order")

    async def _order(self, key: str, program: Program, delay: float) -> None:
        await asyncio.sleep(delay)
        await insist(lambda: self.platform.publish_event("order", key, program, dedup=key), self.rng)
        self.world.orders.add(key)
        self.world.note(self.name, f"published order {key}")


class Person(Node):
    """Answers questions: truthfully what happened, as chance will have it what may be done."""

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        self.decided: dict[str, tuple[str, float]] = {}
        """Answers that were accepted, by question, and when."""
        self._busy: set[str] = set()
        self._deciding: set[asyncio.Task[None]] = set()
        self.process.spawn(self._look(), "person")

    async def _look(self) -> None:
        while True:
            runs = self.world.database.stored.runs.values()
            for tenant in sorted({run.new.tenant for run in runs if run.waiting != b"[]"}):
                with contextlib.suppress(JournalError):
                    for approval in await self.platform.approvals(tenant):
                        if approval.id not in self._busy:
                            self._busy.add(approval.id)
                            task = asyncio.get_running_loop().create_task(self._decide(approval))
                            self._deciding.add(task)
                            task.add_done_callback(self._deciding.discard)
            await asyncio.sleep(0.4)

    async def _decide(self, approval: Approval) -> None:
        world = self.world
        await asyncio.sleep(self.rng.random() * (0.1 if world.calm else 2.0))
        if approval.question == "did_it_happen":
            row = world.database.stored.runs[approval.tenant, approval.run]
            still_asked = approval.id in row.waiting.decode()
            happened = world.outside.look(approval.run, approval.path, "a person" if still_asked else "")
            answers = ["happened" if happened else "did_not_happen"]
        else:
            answers = ["approve" if self.rng.random() < 0.75 else "deny"]
            if not world.calm and self.rng.random() < world.chaos.double_decisions:
                answers.append("deny" if answers[0] == "approve" else "approve")
        await asyncio.gather(*(self._answer(approval, answer) for answer in answers))
        self._busy.discard(approval.id)

    async def _answer(self, approval: Approval, answer: str) -> None:
        sent = False
        while True:
            try:
                await self.platform.decide(approval, answer, actor="person")
            except (ApprovalDecided, RunUnknown):
                if not sent:
                    self.world.count("decision that came second")
                return
            except JournalError:
                sent = True
                await asyncio.sleep(self.rng.uniform(0.05, 0.3))
                continue
            self.decided.setdefault(approval.id, (answer, self.world.loop.time()))
            self.world.count(f"decided: {answer}")
            self.world.note(self.name, f"{answer} {approval.tool} at {approval.path} of {approval.run.hex[-6:]}")
            return
