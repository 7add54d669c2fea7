"""A run that workers die of is tried once more in a process of its own, where it can take nobody else with it.

Whether it ends well there, parks or fails does not matter: it has shown that it leaves its worker alive. When that
process dies too, the run is set aside for a person, with what happened to the process.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from penstock.events import ChildIntent, ModelIntent, ModelOutcome, RunClaimed, ToolIntent, ToolOutcome, decode
from penstock.kernel.clock import Clock
from penstock.kernel.errors import EventUnreadable, JournalError
from penstock.kernel.ids import new_id
from penstock.ports.journal import Journal
from penstock.ports.records import Claim, Row

START_TRIES = 3
START_PAUSE_SECONDS = 2.0
REPORT_BYTES = 64
PUT_AWAY = b"put away"
"""What the process says when its run ended, parked or was handed back: it dies of something else from here on."""

_logger = logging.getLogger("penstock.runs")


@dataclass(slots=True, frozen=True)
class Handover:
    """What a process needs to know to take the run over; ``worker`` is the name it goes by in the journal."""

    claim: Claim
    holder: UUID  # who holds the run until then
    worker: UUID
    report: int  # descriptor on which it says `PUT_AWAY`


Launch = Callable[[Handover], Sequence[str]]
"""The command line of a process that executes one run."""


@dataclass(slots=True, frozen=True)
class Death:
    """The process ended without having put its run away. ``taken``: it had taken the run over by then."""

    worker: UUID
    words: str
    taken: bool


def is_suspect(claim: Claim, rows: Sequence[Row], most: int) -> bool:
    """Whether ``most`` workers have had this run and lost it without progress.

    The row counts claims that recorded nothing at all. A worker that dies in a call has recorded the call's intent, and
    the next one that the outcome was lost: so the tape is read from its end back to the last thing that came of it.
    """
    if claim.claims > most:
        return True
    lost = 0
    for row in reversed(rows):
        try:
            event = decode(row.body)
        except EventUnreadable:
            return False
        if isinstance(event, RunClaimed):
            lost += 1
        elif isinstance(event, ModelOutcome | ToolOutcome):
            if not event.again:
                break
        elif not isinstance(event, ModelIntent | ToolIntent | ChildIntent):
            break
    return lost >= most


class LoneRun:
    """One run in a process of its own, seen from the worker that claimed it."""

    def __init__(self, claim: Claim, holder: UUID, journal: Journal, clock: Clock, launch: Launch) -> None:
        self.claim = claim
        self.holder = holder
        self._journal = journal
        self._clock = clock
        self._launch = launch
        self._process: asyncio.subprocess.Process | None = None
        self._leaving = False

    async def execute(self) -> Death | None:
        """Run it to where it is put away; how the process died otherwise. None also when the run is no longer ours."""
        death: Death | None = None
        for attempt in range(1, START_TRIES + 1):
            if attempt > 1:
                await self._clock.sleep(START_PAUSE_SECONDS)
            if self._leaving:
                return None
            death = await self._attempt()
            if death is None or death.taken:
                break
            _logger.warning("run %s could not be tried in a process of its own: %s", self.claim.run, death.words)
        return None if self._leaving else death

    async def _attempt(self) -> Death | None:
        worker = new_id(self._clock)
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        try:
            command = self._launch(Handover(self.claim, self.holder, worker, theirs))
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *command, pass_fds=[theirs], stdin=asyncio.subprocess.DEVNULL, start_new_session=True
                )
            except OSError as error:
                return Death(worker, f"it could not be started: {error}", taken=False)
            finally:
                os.close(theirs)
            status = await self._process.wait()
            if _read(ours) == PUT_AWAY:
                return None
        finally:
            self._end()
            os.close(ours)
        return await self._examine(worker, status)

    async def _examine(self, worker: UUID, status: int) -> Death | None:
        """Whether the dead process had the run."""
        words = death_words(status)
        while True:
            with contextlib.suppress(JournalError):
                row = await self._journal.get_run(self.claim.tenant, self.claim.run)
                break
            await self._clock.sleep(START_PAUSE_SECONDS)
        if row is None or row.worker not in (worker, self.holder):
            return None  # others have it, or it needs nobody
        return Death(worker, words, taken=row.worker == worker)

    def leave(self) -> None:
        """The worker is leaving: the process ends its run within its grace time, or loses it; that is no verdict."""
        self._leaving = True
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    def _end(self) -> None:
        """Kill the process and what it started, if it still lives."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, REPORT_BYTES)
    except BlockingIOError:
        return b""


def death_words(status: int) -> str:
    """What an exit status says, in words; negative for a signal."""
    if status >= 0:
        return f"it ended with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"it was killed by {name}"
