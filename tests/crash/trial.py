"""One scenario: load on a fleet of workers, faults by a seeded schedule, and the wait until all has come to its end."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
from tests.crash.fleet import Fault, Fleet
from tests.crash.fleet_agents import AGENTS, MODEL, parcel
from tests.crash.ledger import Ledger
from tests.crash.record import TENANT, story
from tests.crash.server import Server

from penstock import Settings
from penstock.kernel.errors import ApprovalDecided, JournalError, RunUnknown
from penstock.runs.client import Penstock
from penstock.wiring import open_penstock


@dataclass(slots=True)
class Tally:
    """What one scenario did, for the table at the end."""

    name: str
    seed: int
    seconds: float = 0.0
    runs: int = 0
    events: int = 0
    doubts: int = 0
    late: int = 0
    asked: int = 0
    faults: Counter[str] = field(default_factory=Counter)


TALLIES: list[Tally] = []

AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a schedule."""

    pause: float
    fault: str
    seed: int


def schedule(seed: int, faults: Mapping[str, Fault], pause: tuple[float, float]) -> Iterator[Step]:
    """Which faults come, and how long after the one before; the same for the same seed, without an end.

    Each fault comes once before any comes again, so that a short trial has all of them."""
    rng = random.Random(seed)
    while True:
        round_of = sorted(faults)
        rng.shuffle(round_of)
        for name in round_of:
            yield Step(rng.uniform(*pause), name, rng.getrandbits(32))


class Load:
    """Submits runs at a steady rate, whatever happens, each until it is acknowledged; answers what workers ask."""

    def __init__(self, penstock: Penstock, ledger: Ledger, rate: float) -> None:
        self.penstock = penstock
        self.ledger = ledger
        self.rate = rate
        self.acknowledged: dict[str, UUID] = {}
        self.asked = 0
        self.over = asyncio.Event()
        self._submitting: set[asyncio.Task[None]] = set()

    async def submit_until_over(self) -> None:
        """One run every ``1 / rate`` seconds; returns when all are acknowledged."""
        number = 0
        while not self.over.is_set():
            number += 1
            task = asyncio.create_task(self._insist(f"t{number}"))
            self._submitting.add(task)
            task.add_done_callback(self._submitting.discard)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), 1 / self.rate)
        await asyncio.gather(*self._submitting)

    async def _insist(self, tag: str) -> None:
        while True:
            with contextlib.suppress(JournalError):
                self.acknowledged[tag] = await self.penstock.submit(parcel, tag, key=tag)
                return
            await asyncio.sleep(0.1)

    async def answer_questions(self) -> None:
        """A person, who looks at the world and says truthfully whether something happened."""
        while True:
            with contextlib.suppress(JournalError, ApprovalDecided, RunUnknown):
                for question in await self.penstock.approvals():
                    assert question.question == "did_it_happen", question
                    happened = self.ledger.knows(question.tool, question.args["tag"], question.run, question.path)
                    self.asked += 1
                    await self.penstock.decide(
                        question, "happened" if happened else "did_not_happen", actor="clerk", reason="looked"
                    )
            await asyncio.sleep(0.2)


@asynccontextmanager
async def client(address: str) -> AsyncIterator[Penstock]:
    """A platform that submits and watches, in the test's own process."""
    settings = Settings(
        database_url=address, database_statement_seconds=2, database_connect_seconds=60, poll_seconds=0.2
    )
    async with open_penstock(settings, agents=AGENTS, models=[MODEL]) as penstock:
        yield penstock


class Trial:
    """One scenario: load, faults by a schedule, and the wait until all has come to its end."""

    def __init__(self, name: str, seed: int, fleet: Fleet, server: Callable[[], Server], load: Load) -> None:
        self.tally = Tally(name, seed)
        self.fleet = fleet
        self.server = server
        self.load = load
        self.done: list[str] = []
        self._began = time.monotonic()
        self._answering: asyncio.Task[None] | None = None

    async def run(
        self,
        faults: Mapping[str, Fault],
        pause: tuple[float, float],
        seconds: float,
        *,
        at_a_time: int = 1,
        drain_seconds: float = 90.0,
    ) -> None:
        """Faults for that long, and until each has come; then all must end, by itself and in time.

        Args:
            faults: by name.
            pause: shortest and longest time between two faults, in seconds.
            seconds: how long.
            at_a_time: how many faults may be under way.
            drain_seconds: how long the runs may take after the last fault.

        Raises:
            AssertionError: with the whole story, when it does not.
        """
        TALLIES.append(self.tally)
        submitting = asyncio.create_task(self.load.submit_until_over())
        self._answering = answering = asyncio.create_task(self.load.answer_questions())
        try:
            await self._warm()
            await self._do_harm(faults, pause, time.monotonic() + seconds, asyncio.Semaphore(at_a_time))
            self.load.over.set()
            async with asyncio.timeout(drain_seconds):
                await submitting
                await self._all_ended()
        except TimeoutError:
            raise AssertionError(f"not all runs have ended\n{await self.story()}") from None
        finally:
            for task in (submitting, answering):
                task.cancel()
            await asyncio.gather(submitting, answering, return_exceptions=True)
            self.tally.seconds = time.monotonic() - self._began
            self.tally.runs, self.tally.asked = len(self.load.acknowledged), self.load.asked

    async def _do_harm(
        self, faults: Mapping[str, Fault], pause: tuple[float, float], until: float, places: asyncio.Semaphore
    ) -> None:
        async def harm(step: Step) -> None:
            try:
                with contextlib.suppress(*AWAY):  # another fault had the server just then
                    if said := await faults[step.fault](random.Random(step.seed)):
                        self.tally.faults[step.fault] += 1
                        self.done.append(f"{time.monotonic() - self._began:6.2f} {said}")
            finally:
                places.release()

        async with asyncio.TaskGroup() as group:
            for step in schedule(self.tally.seed, faults, pause):
                await places.acquire()
                if time.monotonic() > until and set(self.tally.faults) == set(faults):
                    break
                await asyncio.sleep(step.pause)
                group.create_task(harm(step))

    async def _warm(self) -> None:
        async with asyncio.timeout(60):
            while not any(self.fleet.ledger.keys()):
                assert all(slot.starts < 5 for slot in self.fleet.slots), self.fleet.last_words()
                await asyncio.sleep(0.05)

    async def _all_ended(self) -> None:
        while True:
            with contextlib.suppress(*AWAY):
                rows = await self.server().ask(
                    "SELECT count(*) FILTER (WHERE status NOT IN ('ended', 'quarantined')) FROM penstock.runs"
                )
                if rows[0][0] == 0:
                    return
            await asyncio.sleep(0.1)

    async def story(self) -> str:
        """What was done, and how things stand: for the message of a failed test."""
        lines = [f"seed {self.tally.seed} of {self.tally.name}", *self.done]
        if self._answering is not None and self._answering.done() and not self._answering.cancelled():
            lines.append(f"the clerk has left: {self._answering.exception()!r}")
        try:
            lines += await self._stuck()
        except Exception as error:  # noqa: BLE001 - the story of a failure must not fail
            lines.append(f"the server does not answer: {error!r}")
        return "\n".join([*lines, self.fleet.last_words(), self.server().last_words()])

    async def _stuck(self) -> list[str]:
        """Runs that have not ended: their rows, tapes and letters."""
        lines = []
        rows = await self.server().ask(
            "SELECT id, agent, parent, status, code, stop, epoch, last_seq, letters, wake_at, worker, claims, waiting "
            "FROM penstock.runs WHERE status <> 'ended' LIMIT 6"
        )
        for row in rows:
            lines.append(str(dict(row)))
            tape = await self.load.penstock.journal.tape(TENANT, row["id"])
            letters = await self.server().ask(
                "SELECT dedup, kind, consumed, body FROM penstock.inbox WHERE run_id = $1", row["id"]
            )
            lines += [story(tape), *(str(dict(letter)) for letter in letters)]
        return lines


def table() -> list[str]:
    """The scenarios of this session, one line each."""
    lines = [
        f"{'scenario':24}{'seed':>6}{'seconds':>9}{'runs':>7}{'events':>9}{'doubts':>8}{'asked':>7}{'late':>6}  faults"
    ]
    for tally in TALLIES:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(tally.faults.items()))
        lines.append(
            f"{tally.name:24}{tally.seed:6}{tally.seconds:9.1f}{tally.runs:7}{tally.events:9}{tally.doubts:8}"
            f"{tally.asked:7}{tally.late:6}  {faults}"
        )
    return lines
