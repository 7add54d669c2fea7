"""A worker: claims runs, executes them side by side, and lets go of them when it is told to stop."""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from penstock.gates.context import Services
from penstock.journal.writer import GroupWriter
from penstock.kernel.clock import wall_seconds
from penstock.kernel.errors import JournalError, JournalUnavailable
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import jitter
from penstock.ports.journal import Journal
from penstock.ports.records import Claim, RunKey
from penstock.runs.executor import Execution
from penstock.runs.lease import LeaseKeeper

ADRIFT_SECONDS = 30.0  # how long after trouble the journal is asked for runs of ours that we do not know
ABANDON_SECONDS = 0.5  # for runs to be put away in order when the worker must end

_logger = logging.getLogger("penstock.runs")


class Worker:
    """Executes the runs of the agents it offers: ``releases`` says at every claim which those are.

    A worker whose lease has run out (the database was away for longer, the machine was suspended) lets go of all it
    holds, since others may have it by now, and enlists again.

    ``open_lease`` opens a journal connection of its own for the lease thread; None (the in-memory journal) renews in
    the main loop. With ``drain_when_tainted`` the worker ends after agent code has refused to be closed, for its
    process to be replaced; without, it says so and goes on.
    """

    def __init__(
        self,
        services: Services,
        writer: GroupWriter,
        name: str,
        releases: Callable[[], Sequence[str]],
        open_lease: Callable[[], Awaitable[Journal]] | None,
        *,
        drain_when_tainted: bool = False,
    ) -> None:
        self.services = services
        self.writer = writer
        self.name = name
        self.releases = releases
        self.open_lease = open_lease
        self.drain_when_tainted = drain_when_tainted
        self.id = new_id(services.clock)
        self.on_ended: Callable[[UUID], None] = lambda run: None
        self.running: dict[RunKey, Execution] = {}
        self.tainted = 0
        self.enlisted = asyncio.Event()  # the journal has accepted the name
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = asyncio.Event()
        self._freed = asyncio.Event()
        self._lease_lost = False
        self._adrift_until = 0.0

    async def run(self) -> None:
        """Work until `drain` is called.

        Raises:
            WorkerNameTaken: another live worker has this name.
        """
        await self._work_one_lease()
        while self._lease_lost and not self._draining.is_set():
            _logger.warning("worker %s had lost its lease and enlists again", self.name)
            self.id = new_id(self.services.clock)
            self._lease_lost = False
            await self._enlist_again()

    async def _enlist_again(self) -> None:
        try:
            await self._work_one_lease()
        except JournalUnavailable as error:
            self._lease_lost = True
            await self._pause_after(error)

    async def _work_one_lease(self) -> None:
        settings = self.services.settings
        await self.services.journal.enlist(self.id, self.name, settings.lease_seconds)
        self.enlisted.set()
        keeper = self._keeper()
        watchers = [asyncio.create_task(self._watch_flags())]
        if keeper is None:
            watchers.append(asyncio.create_task(self._renew_here()))
        try:
            await self._claim_until_drained()
            if not self._lease_lost:
                await self._finish_running()
        finally:
            for watcher in watchers:
                watcher.cancel()
            if keeper is not None:
                await keeper.stop()
            if self._lease_lost:
                self._let_go()
            else:
                await self._abandon_running()
                with contextlib.suppress(JournalError):
                    await self.services.journal.retire(self.id)

    def drain(self) -> None:
        """Claim nothing more, finish what runs, then return from `run`."""
        self._draining.set()
        self._freed.set()

    def wake(self) -> None:
        """Something may be due now."""
        self._freed.set()

    def _keeper(self) -> LeaseKeeper | None:
        settings = self.services.settings
        if self.open_lease is None:
            return None
        keeper = LeaseKeeper(
            self.id, settings.lease_seconds, settings.loop_block_max_seconds, self.open_lease, self._lose_lease
        )
        keeper.start()
        return keeper

    async def _renew_here(self) -> None:
        settings = self.services.settings
        while await self.services.journal.renew(self.id, settings.lease_seconds):
            await self.services.clock.sleep(settings.lease_seconds / 3)
        self._lose_lease()

    def _lose_lease(self) -> None:
        """Others may hold our runs already: every append will say so; take on nothing more under this lease."""
        self._lease_lost = True
        self._freed.set()

    def _let_go(self) -> None:
        """Put all runs away as lost, without waiting: a write in flight leaves its outcome to the next holder."""
        for execution in list(self.running.values()):
            execution.lose()
        self.running.clear()

    async def _claim_until_drained(self) -> None:
        settings = self.services.settings
        while not self._draining.is_set() and not self._lease_lost:
            free = settings.worker_concurrency - len(self.running)
            claimed = 0
            if free > 0:
                try:
                    if self._adrift_until > wall_seconds():
                        await self.services.journal.put_back(self.id, list(self.running))
                    claimed = await self._claim(min(free, settings.claim_batch))
                except JournalError as error:
                    self._go_adrift()
                    await self._pause_after(error)
                    continue
            if claimed == 0 or free <= 0:
                await self._wait(free > 0)

    def _go_adrift(self) -> None:
        """An answer of the journal was lost: it may think that we hold runs which we know nothing of. The session that
        was cut off may commit later than we ask, so for a while we ask at each claim."""
        self._adrift_until = wall_seconds() + ADRIFT_SECONDS

    async def _pause_after(self, error: JournalError) -> None:
        if not isinstance(error, JournalUnavailable):
            await asyncio.sleep(self.services.settings.poll_seconds)
        await asyncio.sleep(jitter(0.05, 0.5))

    async def _wait(self, may_claim: bool) -> None:
        """Until a place is free, or something may be due."""
        self._freed.clear()
        freed = asyncio.create_task(self._freed.wait())
        waits: set[asyncio.Task[Any]] = {freed}
        if may_claim:
            waits.add(asyncio.create_task(self._work()))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _work(self) -> None:
        try:
            await self.services.journal.wait_for_work(self.services.settings.poll_seconds)
        except JournalError:
            await asyncio.sleep(self.services.settings.poll_seconds)

    async def _claim(self, limit: int) -> int:
        journal = self.services.journal
        claims = await journal.claim(self.id, self.releases(), limit)
        if not claims:
            return 0
        claimed_ns = self.services.clock.boot_ns()
        keys: list[RunKey] = [(claim.tenant, claim.run) for claim in claims]
        tapes = await journal.tapes(keys)
        letters = await journal.letters(keys) if any(claim.last_seq > 1 for claim in claims) else {}
        for claim, key in zip(claims, keys, strict=True):
            # Reading the tapes took time: one that took the claim's time for now would park again.
            now = claim.now + (self.services.clock.boot_ns() - claimed_ns) // 1000
            execution = Execution(
                replace(claim, now=now), tapes.get(key, []), letters.get(key, []), self.services, self.writer, self.name
            )
            self._start(claim, execution)
        return len(claims)

    def _start(self, claim: Claim, execution: Execution) -> None:
        key = (claim.tenant, claim.run)
        self.running[key] = execution
        context = contextvars.copy_context()
        task = asyncio.get_running_loop().create_task(self._execute(key, execution, context), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _execute(self, key: RunKey, execution: Execution, context: contextvars.Context) -> None:
        how = "lost"
        try:
            how = await execution.run(self.id, context)
        except JournalError as error:
            _logger.warning("run %s could not be put away: %s", key[1], error)
        finally:
            if self.running.get(key) is execution:
                del self.running[key]
            self._freed.set()
        if execution.tainted:
            self.tainted += len(execution.tainted)
            _logger.warning("the code of run %s refused to be closed: %r", key[1], execution.tainted[0])
            if self.drain_when_tainted:
                self.drain()
        if how in ("ended", "quarantined"):
            self.on_ended(key[1])
        elif how == "lost":
            self._go_adrift()

    async def _watch_flags(self) -> None:
        """Stops, letters and lost claims of runs that append nothing at the moment."""
        while True:
            await asyncio.sleep(self.services.settings.poll_seconds)
            held = dict(self.running)
            if not held:
                continue
            try:
                flags = await self.services.journal.flags(self.id, list(held))
            except JournalError:
                continue
            for flag in flags:
                execution = held[(flag.tenant, flag.run)]
                if flag.epoch != execution.claim.epoch:
                    execution.lose()
                else:
                    execution.notice(flag.letters, flag.stop)

    async def _finish_running(self) -> None:
        """Wait for what runs; what has not ended or parked within the grace time is claimed by others later."""
        tasks = {task for task in self._tasks if not task.done()}
        if tasks:
            await asyncio.wait(tasks, timeout=self.services.settings.drain_seconds)

    async def _abandon_running(self) -> None:
        """What is still running is treated as lost: nothing more is recorded of it here, and others go on with it."""
        for execution in list(self.running.values()):
            execution.lose()
        tasks = {task for task in self._tasks if not task.done()}
        if tasks:
            await asyncio.wait(tasks, timeout=ABANDON_SECONDS)
        for task in tasks:
            task.cancel()
