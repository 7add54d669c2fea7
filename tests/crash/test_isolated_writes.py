"""A worker dies at each boundary of a synchronous write, which runs in a process of its own; or that process does.

No write outlives its worker or its time-out, and each happens once.
"""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import psutil
import pytest
from tests.crash.isolated_agents import DOOM, FOLDER, WAYS, make_writer
from tests.crash.ledger import Ledger
from tests.crash.processes import FatedJournal, ended, platform, spawn, until
from tests.crash.record import TENANT, asked_whether_it_happened, check_record, doubts, story
from tests.crash.world import Doom, Fate, Stage, World

from penstock.adapters.isolation.frames import ANSWERS, STARTING
from penstock.adapters.isolation.process import Process
from penstock.events import Event
from penstock.kernel.errors import ApprovalDecided
from penstock.ports.journal import Journal
from penstock.runs.client import Penstock
from penstock.runs.submit import Request, submit
from penstock.runs.work.lease import LeaseKeeper
from penstock.settings import Settings

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

AT_A_TIME = 4
SETTINGS: dict[str, Any] = {
    "poll_seconds": 0.1,
    "start_allowance_seconds": 2.0,
    "doubt_margin_seconds": 0.1,
    "database_pool_size": 2,
    "lease_seconds": 1.0,
    "loop_block_max_seconds": 1.0,
    "tool_processes": 2,
}
APPENDS: tuple[Stage, ...] = ("before", "after")


@dataclass(frozen=True, slots=True)
class Case:
    """One run, whose worker or whose writing process meets its end at one place.

    ``where``: ``append.N.before`` and ``.after``; ``frame.starting`` and ``.answer``: when the worker is told that the
    call starts, and how it ended; ``HOW@entry`` and ``HOW@effect``: in the call itself, see `isolated_agents.reach`.
    """

    way: str
    where: str

    @property
    def tag(self) -> str:
        return f"{self.way}.{self.where}".replace("@", "-at-")

    @property
    def is_in_the_call(self) -> bool:
        return "@" in self.where

    @property
    def first_has_effect(self) -> bool | None:
        """Whether the first call has its effect before it ends, in doubt; None when either may be."""
        if self.where.endswith("@effect") or self.where == "frame.answer":
            return True
        return False if self.where in ("kill-self@entry", "kill-worker-and-hang@entry", "hang@entry") else None


CASES = [
    *[Case("keyed", f"append.{n}.{stage}") for n in range(1, 4) for stage in APPENDS],
    *[Case(way, where) for way in WAYS for where in ("kill-worker-and-hang@entry", "kill-worker-and-hang@effect")],
    *[Case("escalated", where) for where in ("frame.starting", "frame.answer", "kill-worker@entry", "hang@effect")],
    *[Case("confirmed", where) for where in ("kill-self@entry", "kill-self@effect", "hang@entry", "stop-worker@entry")],
]


def doomed_writer(dsn: str, case: Case, folder: str) -> None:
    """Work on the case's run until the doom."""
    os.environ[FOLDER] = folder
    if case.is_in_the_call:
        os.environ[DOOM] = case.where
    LeaseKeeper._die = lambda self, why: None  # type: ignore[method-assign]
    asyncio.run(_doomed_writer(dsn, case))


async def _doomed_writer(dsn: str, case: Case) -> None:
    kind, _, rest = case.where.partition(".")
    doom = None
    if kind == "append":
        n, _, stage = rest.partition(".")
        doom = Doom("append", int(n), cast("Stage", stage))
    elif kind == "frame":
        _die_at_frame(rest)

    def wrap(inner: Journal) -> Journal:
        return cast("Journal", FatedJournal(inner, Fate(doom)))

    writer = make_writer(case.tag, case.way)
    async with platform(dsn, Settings(**SETTINGS, batch_max_events=1), World(dsn), wrap=wrap) as penstock:
        penstock.registry.add(writer)
        penstock.start_worker(f"doomed-{case.tag}")
        rows = await World(dsn).all("SELECT id FROM penstock.runs WHERE agent = $1", writer.name)
        await penstock.result(rows[0][0])


def _die_at_frame(name: str) -> None:
    kinds = (STARTING,) if name == "starting" else tuple(ANSWERS)
    take = Process._take

    def take_and_die(self: Process, kind: bytes, body: bytes) -> None:
        if kind in kinds:
            os.kill(os.getpid(), signal.SIGKILL)
        take(self, kind, body)

    Process._take = take_and_die  # type: ignore[method-assign]


class Bench:
    """Runs the cases; a worker in the test's own process finishes what is orphaned."""

    def __init__(self, penstock: Penstock, dsn: str, folder: Path) -> None:
        self.penstock = penstock
        self.dsn = dsn
        self.folder = folder
        self.ledger = Ledger(folder)
        self.places = asyncio.Semaphore(AT_A_TIME)

    async def run(self, case: Case) -> None:
        """One case, from its doom to its end, and all that must be true then."""
        writer = make_writer(case.tag, case.way)
        [run] = await submit(
            self.penstock.journal,
            self.penstock.services.clock,
            self.penstock.services.settings,
            [Request(writer, case.tag)],
        )
        async with self.places:
            process = spawn(doomed_writer, self.dsn, case, str(self.folder))
            if case.where.startswith("stop-worker"):
                await until(lambda: stands(process.pid))
            else:
                code = await ended(process)
                alone = case.where.startswith(("kill-self", "hang"))  # the worker lives, and settles the doubt itself
                assert code == (0 if alone else -signal.SIGKILL), f"{case}: exit code {code}"
        self.penstock.registry.add(writer)
        result = await self.penstock.result(run, timeout_seconds=150)
        told = f"{case}: {result}\n{story(await self.penstock.journal.tape(TENANT, run))}"
        if case.where.startswith("stop-worker"):
            os.kill(process.pid or 0, signal.SIGCONT)
            assert await ended(process) == 0, told
        assert result.outcome == "succeeded", told
        events = await check_record(self.penstock, run)
        self.check(case, run, events, told)

    def check(self, case: Case, run: UUID, events: list[Event], told: str) -> None:
        """Once, never repeated blindly, and nobody was asked who need not be; the writing process is gone."""
        entries, keys = list(self.ledger.of(case.tag)), self.ledger.keys()
        calls = sum(entry.kind == "call" for entry in entries)
        done = f"{case.way}:{run.hex}-0" in keys
        assert done if case.way == "keyed" else self.ledger.happened(case.way, case.tag) == 1, f"{entries}\n{told}"
        doubtful = doubts(events, case.way)
        assert 1 <= calls <= 1 + doubtful, f"called {calls} times\n{told}"
        asked = asked_whether_it_happened(events, case.way)
        assert asked == (doubtful if case.way == "escalated" else 0), told
        if case.first_has_effect is not None:
            repeated = case.way == "keyed" or not case.first_has_effect
            assert (doubtful, calls) == (1, 2 if repeated else 1), f"{doubtful} doubts, {calls} calls\n{told}"
        if case.is_in_the_call:
            writer = int(str((self.folder / "struck" / case.tag).readlink()))
            assert not is_alive(writer), f"process {writer} outlived its call\n{told}"

    async def answer_questions(self) -> None:
        """A person who looks."""
        while True:
            for question in await self.penstock.approvals():
                happened = self.ledger.happened(question.tool, question.args["tag"]) > 0
                with contextlib.suppress(ApprovalDecided):
                    await self.penstock.decide(question, "happened" if happened else "did_not_happen", actor="clerk")
            await asyncio.sleep(0.1)


async def stands(pid: int | None) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


async def test_a_write_in_a_process_of_its_own_happens_once(
    world: World, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(short_tmp))
    (short_tmp / "struck").mkdir()
    settings = Settings(**{**SETTINGS, "database_pool_size": 6, "lease_seconds": 20, "loop_block_max_seconds": 20})
    async with platform(world.dsn, settings, world) as penstock:
        penstock.start_worker("finisher")
        bench = Bench(penstock, world.dsn, short_tmp)
        answering = asyncio.create_task(bench.answer_questions())
        try:
            async with asyncio.TaskGroup() as group:
                for case in CASES:
                    group.create_task(bench.run(case))
            assert not answering.done(), answering
        finally:
            answering.cancel()
