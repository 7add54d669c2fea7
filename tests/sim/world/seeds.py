"""One seed from beginning to end: chaos, calm, and the questions afterwards."""

import asyncio
import contextlib
import gc
import hashlib
import logging
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.sim.world import invariants, promises
from tests.sim.world.actors import Node, Person, Submitter, Wanted, WorkerNode
from tests.sim.world.client import Exchange
from tests.sim.world.faults import Faults, draw_chaos
from tests.sim.world.loop import Process, ProcessClock, SimulatedLoop, Stuck
from tests.sim.world.outside import Outside, Place
from tests.sim.world.programs import AGENTS, NEXT_AGENTS, Author, simulated
from tests.sim.world.shared_breakers import CHANCE as BREAKERS_CHANCE
from tests.sim.world.shared_breakers import SharedBreakers
from tests.sim.world.shared_budgets import CHANCE, SharedBudgets
from tests.sim.world.stops import Stopper, Stops, in_scope
from tests.sim.world.store import Database
from tests.sim.world.tool_stops import CHANCE as TOOL_STOPS_CHANCE
from tests.sim.world.tool_stops import ToolStopping

from penstock.adapters.memory.intents import intents_of
from penstock.adapters.memory.records import Run
from penstock.events import ToolIntent, decode
from penstock.kernel.errors import AdoptionRefused, UsageError
from penstock.kernel.randomness import seeded
from penstock.ports.controls import Scope
from penstock.ports.rates import Limit
from penstock.ports.records import Status
from penstock.runs.replaying.adopt import adopt
from penstock.runs.work import loading

CALM_SECONDS = 90.0
"""How long everything may take to come to its end once nothing goes wrong any more."""
LIMITED_SECONDS = 600.0
"""How much longer where calls of the model have to wait for each other."""
MODEL_LIMIT = Limit("*", "model", "sim:model", requests=promises.REQUESTS, burst=promises.REQUESTS)
LONG_EVENTS = 10
"""From how many events on a run is long here, so that it goes on from a snapshot."""
LOOK_EVERY = 0.5
TAIL_SECONDS = 2.5
"""Longer than any effect is on its way."""
TRACE_LINES = 4000
TRACE_KEPT = 60
"""Lines that are kept of a failing seed among many."""


@dataclass(slots=True)
class Report:
    """What came of one seed."""

    seed: int
    violations: list[tuple[str, str]]
    counts: Counter[str]
    trace: list[str]
    digest: str

    def summary(self) -> str:
        """What broke first, and how to see it again."""
        invariant, what = self.violations[0]
        return f"seed {self.seed} breaks {invariant}: {what[:600]}\n  replay it: make sim SEED={self.seed}"


class World:
    """Everything that takes part in one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.loop = SimulatedLoop(seeded(seed, "loop"))
        self.counts: Counter[str] = Counter()
        self.violations: list[tuple[str, str]] = []
        self._trace: deque[tuple[float, str, str]] = deque(maxlen=TRACE_LINES)
        self._digest = hashlib.sha256()
        self.chaos = draw_chaos(seed)
        self.calm = False
        store = Process("database", self.loop)
        self.store_clock = ProcessClock(self.loop)
        self.database = Database(self.store_clock, store.context, seeded(seed, "store").random)
        self.exchange = Exchange()
        self.outside = Outside(Process("outside", self.loop), seeded(seed, "outside").random, self.note)
        self.stops = Stops()
        shared = seeded(seed, "shared").random
        self.limited, self.scheduled, self.deploys = shared() < 0.06, shared() < 0.08, shared() < 0.12
        self.triggered = shared() < 0.1
        self.budgets = SharedBudgets(self, seeded(seed, "budgets")) if shared() < CHANCE else None
        breakers = seeded(seed, "breakers")
        self.breakers = SharedBreakers(self, breakers) if breakers.random() < BREAKERS_CHANCE else None
        tools = seeded(seed, "stops of tools")
        self.tool_stops = ToolStopping(self, tools) if tools.random() < TOOL_STOPS_CHANCE else None
        self.agents = AGENTS
        self.mail: set[tuple[str, str, object]] = set()
        """Events that are published: tenant, key, value."""
        self.orders: set[str] = set()
        """Keys of events for triggers that were acknowledged; ``ordered``: how many there are to be."""
        self.ordered = 0
        self.workers: dict[str, WorkerNode] = {}
        self._started = 0
        self.faults = Faults(self, seeded(seed, "faults"))
        self.wanted: list[Wanted] = []
        self.outside.peers = lambda: [wanted.id for wanted in self.wanted]
        self.loop.set_exception_handler(self._unhandled)

    # What the others use.

    def note(self, who: str, what: str) -> None:
        """A line of the trace."""
        at = self.loop.time()
        self._trace.append((at, who, what))
        self._digest.update(f"{at:.9f}{who}{what}".encode())

    def count(self, what: str) -> None:
        """Something was exercised."""
        self.counts[what] += 1

    def fail(self, invariant: str, what: str) -> None:
        """An invariant does not hold."""
        if self.loop.over:
            return  # its processes are being put away
        self.violations.append((invariant, what))
        self.note("!!!", f"{invariant}: {what}")

    def nodes(self) -> list[Node]:
        """All that live."""
        return [*(node for node in self.workers.values() if not node.process.dead), *self.others]

    def crash(self, node: WorkerNode) -> None:
        """Kill a worker process; its supervisor starts another."""
        self.note(node.name, "KILLED")
        node.process.kill()
        node.gone()
        self._restart_later(node)

    def stall(self, node: WorkerNode, seconds: float) -> None:
        """Stop a worker process for a while."""
        if node.process.stopped or node.process.dead:
            return
        self.note(node.name, f"STOPPED for {seconds:.2f} s")
        node.process.stop()
        self.loop.main.soon(seconds, self._resume, node)

    def open_writes(self, scope: Scope) -> list[tuple[UUID, str]]:
        """Writes whose intents are committed and whose outcomes are not, in a stop's scope."""
        stored = self.database.stored
        if scope.run is None:
            reached = [item for item in stored.runs.values() if in_scope(scope, item)]
        else:
            tenant = scope.tenant or ""
            reached = [stored.runs[tenant, scope.run], *stored.descendants(tenant, scope.run)]
        found = []
        for item in reached:
            if item.status is Status.ENDED:
                continue
            events = map(decode, (row.body for row in item.tape))
            writes = {event.path for event in events if isinstance(event, ToolIntent) and event.effect == "write"}
            found += [
                (item.new.id, intent.path) for intent in intents_of(*item.key, item.tape) if intent.path in writes
            ]
        return found

    # The course of things.

    async def run(self) -> None:
        """Chaos, then calm, then the questions."""
        rng = seeded(self.seed, "world")
        self.submitter = Submitter(self, "submitter")
        self.person = Person(self, "person")
        self.stopper = Stopper(self, "stopper")
        self.others: list[Node] = [self.submitter, self.person, self.stopper]
        for node in self.others:
            self.faults.line_of(node)
        for number in range(rng.choice((1, 2, 2, 3, 3, 4))):
            self._start_worker(f"w{number}")
        author = Author(rng)
        for number in range(rng.choice((2, 2, 3, 3, 4, 5))):
            self._want(author, rng, number)
        if self.limited:
            self.database.at_once(self.database.memory.rates.set_limit(MODEL_LIMIT, "operator"))
        if self.budgets is not None:
            self.budgets.begin()
        if self.breakers is not None:
            self.breakers.begin()
        if self.tool_stops is not None:
            self.tool_stops.begin()
        if self.scheduled:
            self._schedule(author, rng)
        if self.triggered:
            self._trigger(author, rng)
        if self.deploys:
            self.loop.create_task(self._deploy(rng.uniform(0.2, 0.9) * self.chaos.seconds, rng))
        self.note("world", f"{len(self.workers)} workers, {len(self.wanted)} runs; {sorted(self.chaos.kinds)}")
        self.faults.begin()
        await asyncio.sleep(self.chaos.seconds)
        self.note("world", "CALM from here on")
        self.calm = True
        self.faults.end()
        await self._come_to_rest()
        self.counts["virtual seconds"] += int(self.loop.time())
        await invariants.check(self)

    def _want(self, author: Author, rng: random.Random, number: int) -> None:
        """One more run, and what it will wait for."""
        tenant = "other" if rng.random() < 0.15 else "default"
        session = f"s{rng.randrange(2)}" if rng.random() < 0.2 else ""
        customer = f"c{number % 3}" if self.chaos.has("scopes") else ""
        wanted = Wanted(f"run {number}", author.program(), author.limits(), tenant, session, customer, number=number)
        self.wanted.append(wanted)
        delay = rng.random() * self.chaos.seconds * 0.5
        for _ in range(2 if rng.random() < 0.15 else 1):
            self.submitter.process.spawn(self.submitter.submit(wanted, delay), "submit")
        self._publish(author, rng, tenant)

    def _publish(self, author: Author, rng: random.Random, tenant: str, times: int = 1) -> None:
        """As many events as the programs written last wait for."""
        submitter = self.submitter
        for key, value in [(key, x + 10_000 * time) for key, x in author.mail for time in range(times)]:
            self.mail.add((tenant, key, value))
            delay = rng.random() * self.chaos.seconds
            for _ in range(2 if rng.random() < 0.2 else 1):
                submitter.process.spawn(submitter.publish(tenant, key, value, delay), "publish")
        author.mail.clear()

    def _schedule(self, author: Author, rng: random.Random) -> None:
        """A schedule that somebody declares."""
        plan: dict[str, Any] = {
            "every": rng.choice((1.0, 2.0)),
            "max_runs": promises.SCHEDULED_RUNS,
            "overlap": rng.choice(("allow", "skip", "queue", "cancel_previous")),
            "missed": rng.choice(("once", "skip", "all")),
        }
        program, delay = author.small(), rng.random() * self.chaos.seconds * 0.5
        self._publish(author, rng, "default", promises.SCHEDULED_RUNS)
        self.submitter.process.spawn(self.submitter.schedule("often", program, delay, **plan), "schedule")

    def _trigger(self, author: Author, rng: random.Random) -> None:
        """Triggers that somebody declares, and the events that become runs by them."""
        orders = {}
        for number in range(rng.choice((2, 3, 5))):
            orders[f"{rng.choice('ab')}{number}"] = author.small()
            self._publish(author, rng, "default", len(promises.TRIGGERS))
        self.ordered = len(orders)
        delay = rng.random() * self.chaos.seconds * 0.5
        self.submitter.process.spawn(self.submitter.trigger(promises.TRIGGERS, orders, delay), "trigger")

    async def _deploy(self, after: float, rng: random.Random) -> None:
        """A new release: each worker is drained, and started anew with it."""
        await asyncio.sleep(after)
        self.count("deployed")
        self.note("operator", "deploys the next release")
        self.agents = NEXT_AGENTS
        for name in list(self.workers):
            await asyncio.sleep(rng.random())
            node = self.workers[name]
            if node.agents is AGENTS and not node.process.dead:
                node.process.context.run(node.worker.drain)

    async def _adopt(self) -> None:
        """What only the former release could go on with goes on under the next."""
        if self.agents is AGENTS or any(node.agents is AGENTS and not node.ended for node in self.workers.values()):
            return
        for run in list(self.database.stored.runs.values()):
            if run.release != simulated.release or run.status is Status.ENDED:
                continue
            try:
                await adopt(self.submitter.platform.services, run.row(), NEXT_AGENTS, actor="operator")
            except AdoptionRefused as error:
                self.fail("adopts", f"{run.new.id.hex[-6:]}: {error.what}")
                raise
            except UsageError as error:
                self.note("operator", f"adopted {run.new.id.hex[-6:]} not yet: {error.what}")
            else:
                self.count("adopted")
                self.note("operator", f"adopted {run.new.id.hex[-6:]}")

    async def _come_to_rest(self) -> None:
        until = self.loop.time() + CALM_SECONDS + (LIMITED_SECONDS if self.limited else 0)
        quiet_since = None
        while self.loop.time() < until:
            await asyncio.sleep(LOOK_EVERY)
            runs = self.database.stored.runs.values()
            for run in runs:
                if run.status is Status.QUARANTINED and run.code in invariants.QUARANTINE_REASONS:
                    self._release(run)
            await self._adopt()
            if self.scheduled and not promises.over(promises.scheduled(self)):
                continue
            if self.triggered and not promises.all_fired(self):
                continue
            at_rest = all(item.id is not None for item in self.wanted) and all(
                run.status in (Status.ENDED, Status.QUARANTINED) for run in runs
            )
            if not at_rest:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = self.loop.time()
            elif self.loop.time() - quiet_since > TAIL_SECONDS:
                return

    def _release(self, run: Run) -> None:
        """An operator lets a run go on that was set aside for a reason that is over now."""
        self.count(f"set aside: {run.code}")
        invariants.rightly_set_aside(self, run)
        self.note("operator", f"released {run.new.id.hex[-6:]}")
        self.database.at_once(self.database.memory.release_quarantine(*run.key, None, "operator"))
        self.exchange.tell()

    def worker_ended(self, node: WorkerNode) -> None:
        """A worker's process has ended by itself; its supervisor starts another."""
        self.loop.main.soon(0.1 + 0.4 * self.faults.rng.random(), self._start_again, node)

    def _start_again(self, node: WorkerNode) -> None:
        if not node.process.dead:
            node.process.kill()
            self._start_worker(node.worker_name)

    def _start_worker(self, name: str) -> None:
        self._started += 1
        node = WorkerNode(self, f"{name}.{self._started}", name)
        self.faults.line_of(node)
        self.workers[name] = node

    def _restart_later(self, node: WorkerNode) -> None:
        self.loop.main.soon(0.1 + self.faults.rng.random() * 3, self._start_worker, node.worker_name)

    def _resume(self, node: WorkerNode) -> None:
        if node.process.stopped and not node.process.dead:
            self.note(node.name, "CONTINUED")
            node.process.resume()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if self.loop.over:
            return
        error = context.get("exception")
        self.fail("no_stray_errors", f"{context.get('message')}: {error!r}")

    def report(self) -> Report:
        """What came of it."""
        self.counts.update({f"line: {kind}": n for node in self.nodes() for kind, n in node.journal.counts.items()})
        self.counts.update({f"outside: {way}": n for way, n in self.outside.manners.items()})
        self.counts.update({f"append: {answer}": n for answer, n in self.database.answers.items()})
        self.counts.update({f"store: {name}": n for name, n in self.database.beside.items()})
        self.counts["model calls"] += self.outside.models_asked
        for run in self.database.stored.runs.values():
            self._digest.update(run.head)
        trace = [f"{at:9.4f}  {who:<12} {what}" for at, who, what in self._trace]
        return Report(self.seed, self.violations, self.counts, trace, self._digest.hexdigest())


def run_seed(seed: int) -> Report:
    """Simulate one seed."""
    logger = logging.getLogger("penstock")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    collecting = gc.isenabled()
    gc.disable()
    world = World(seed)
    Place.now = world.outside
    usual, loading.LONG_EVENTS = loading.LONG_EVENTS, LONG_EVENTS
    try:
        world.loop.run_until_complete(world.loop.main.spawn(world.run(), "world"))
    except Stuck as stuck:
        world.fail("comes_to_rest", str(stuck))
    finally:
        loading.LONG_EVENTS = usual
        logger.setLevel(level)
        with contextlib.suppress(Exception):
            world.loop.finish()
        if collecting:
            gc.enable()
    return world.report()


@dataclass(slots=True)
class Tally:
    """Many seeds together."""

    seeds: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Report] = field(default_factory=list)

    def add(self, report: Report) -> None:
        """One more."""
        self.seeds += 1
        self.counts.update(report.counts)
        if report.violations:
            report.trace = report.trace[-TRACE_KEPT:]
            self.failed.append(report)

    def merge(self, other: "Tally") -> None:
        """Those of another tally too."""
        self.seeds += other.seeds
        self.counts.update(other.counts)
        self.failed += other.failed
