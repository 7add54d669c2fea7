"""A worker: claims runs, executes them side by side, and lets go of them when it is told to stop."""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from penstock.events import FORMAT
from penstock.gates.run.services import Services
from penstock.journal.writer import GroupWriter
from penstock.kernel.errors import JournalError, JournalUnavailable
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import jitter
from penstock.ports.journal import Journal
from penstock.ports.records import Claim, RunKey
from penstock.runs.duties import Duties
from penstock.runs.work.concurrency import ConcurrencyLimit
from penstock.runs.work.executor import Execution
from penstock.runs.work.follow_up import Follower
from penstock.runs.work.lease import LeaseKeeper
from penstock.runs.work.loading import Loaded, Loader
from penstock.runs.work.poison import Death, Launch, LoneRun, is_suspect

CLAIM_PACE_SECONDS = 0.01
"""From one claim that did not find all it asked for to the next: each is a transaction, and runs come together."""
LAG_SECONDS = 0.25  # between two looks at how late the event loop is
ADRIFT_SECONDS = 30.0  # how long after trouble the journal is asked for runs of ours that we do not know
ABANDON_SECONDS = 0.5  # for runs to be put away in order when the worker must end
HAND_BACK_SECONDS = 2.0  # for the events of runs that are handed back after the grace time to become durable

_logger = logging.getLogger("penstock.runs")


class Worker:
    """Executes the runs of the agents it offers: ``releases`` says at every claim which those are.

    A worker whose lease has run out (the database was away for longer, the machine was suspended) lets go of all it
    holds, since others may have it by now, and enlists again.

    ``open_lease`` opens a journal connection of its own for the lease thread; None (the in-memory journal) renews in
    the main loop. With ``drain_when_tainted`` the worker ends after agent code has refused to be closed, for its
    process to be replaced; without, it says so and goes on. ``launch`` makes the command line of a process for a run
    that several workers were lost over; without one such a run is set aside at once.
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
        launch: Launch | None = None,
    ) -> None:
        self.services = services
        self.writer = writer
        self.name = name
        self.releases = releases
        self.open_lease = open_lease
        self.drain_when_tainted = drain_when_tainted
        self.launch = launch
        self.id = new_id(services.clock)
        self.on_ended: Callable[[UUID], None] = lambda run: None
        self.running: dict[RunKey, Execution] = {}
        self.alone: dict[RunKey, LoneRun] = {}
        """Runs that are tried in processes of their own."""
        settings = services.settings
        self.limit = ConcurrencyLimit(
            settings.worker_concurrency, settings.worker_concurrency_min, settings.step_overhead_target_ms / 1000
        )
        """How many runs may keep it busy at a time, now."""
        services.on_overhead = self._observe
        if services.breakers is not None:
            services.breakers.worker = name
        self._one_alone = asyncio.Semaphore(1)
        self.tainted = 0
        self.enlisted = asyncio.Event()  # the journal has accepted the name
        self.duties = Duties()
        self.loader = Loader(services, self._begin, self._go_adrift)
        self._follower = Follower(services)
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = asyncio.Event()
        self._woken = asyncio.Event()  # look again, or end
        self._lease_lost = False
        self._adrift_until = 0.0
        self._tried: set[RunKey] = set()  # runs that could not be put away: their claims count as attempts
        self._leave_by_ns = 0
        self._offered: Sequence[str] | None = None

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
        await self.services.journal.enlist(self.id, self.name, settings.lease_seconds, settings.environment)
        self._offered = None
        if self.services.throttle is not None:
            await self.services.throttle.prepare()
        self.enlisted.set()
        keeper = self._keeper()
        watchers = [
            asyncio.create_task(watch) for watch in (self._watch_flags(), self._watch_lag(), self._follower.run())
        ]
        if keeper is None:
            watchers.append(asyncio.create_task(self._renew_here()))
        try:
            async with self.duties.going_on():
                await self._claim_until_drained()
            await self.loader.close(None if self._lease_lost else self._put_back)
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
        """Claim nothing more, hand back what runs, then return from `run`.

        A run between calls, or one that waits, is handed back at once. One with a call in flight gets until
        ``drain_seconds`` from now; then reads and model calls are given up, and writes are in doubt.
        """
        if self._draining.is_set():
            return
        self._leave_by_ns = self.services.clock.boot_ns() + int(self.services.settings.drain_seconds * 1e9)
        self._draining.set()
        self.wake()
        for execution in self.running.values():
            execution.drain()
        for lone in self.alone.values():
            lone.leave()

    def wake(self) -> None:
        """Something may be due now."""
        self._woken.set()

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
        self.wake()

    def _let_go(self) -> None:
        """Put all runs away as lost, without waiting: a write in flight leaves its outcome to the next holder."""
        for execution in list(self.running.values()):
            execution.lose()
        self.running.clear()

    async def _claim_until_drained(self) -> None:
        settings = self.services.settings
        while not self._draining.is_set() and not self._lease_lost:
            held = len(self.running) + len(self.alone) + len(self.loader.reading)
            places = min(settings.worker_concurrency - held, self.limit.value - self.busy)
            asked = min(places, settings.claim_batch)
            if asked <= 0:
                await self.services.clock.sleep(CLAIM_PACE_SECONDS)
                continue
            begun_ns = self.services.clock.boot_ns()
            try:
                if self._adrift_until > self.services.clock.boot_ns() / 1e9:
                    await self._put_back()
                    self._tried.clear()
                claimed = await self._claim(asked)
            except JournalError as error:
                self._go_adrift()
                await self._pause_after(error)
                continue
            if claimed < asked:
                await self._wait()
                since = (self.services.clock.boot_ns() - begun_ns) / 1e9
                await self.services.clock.sleep(max(0.0, CLAIM_PACE_SECONDS - since))

    async def _put_back(self) -> None:
        held = [*self.running, *self.alone, *self.loader.reading]
        await self.services.journal.put_back(self.id, held, list(self._tried))

    def _go_adrift(self) -> None:
        """An answer of the journal was lost: it may think that we hold runs which we know nothing of. The session that
        was cut off may commit later than we ask, so for a while we ask at each claim."""
        self._adrift_until = self.services.clock.boot_ns() / 1e9 + ADRIFT_SECONDS

    async def _pause_after(self, error: JournalError) -> None:
        if not isinstance(error, JournalUnavailable):
            await asyncio.sleep(self.services.settings.poll_seconds)
        await asyncio.sleep(jitter(0.05, 0.5))

    async def _wait(self) -> None:
        """Until something may be due, or the worker is to end."""
        waits = {asyncio.create_task(self._work()), asyncio.create_task(self._woken.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._woken.clear()

    async def _work(self) -> None:
        try:
            await self.services.journal.wait_for_work(self.services.settings.poll_seconds)
        except JournalError:
            await asyncio.sleep(self.services.settings.poll_seconds)

    async def _claim(self, limit: int) -> int:
        journal = self.services.journal
        releases = self.releases()
        if releases != self._offered:
            await journal.releases.offer(self.id, releases, FORMAT)
            self._offered = list(releases)
        crowded = self.services.throttle.crowded if self.services.throttle else None
        if crowded is not None and any(map(crowded, releases)):
            releases = [release for release in releases if not crowded(release)]
        claims = await journal.claim(self.id, releases, limit)
        for loaded in await self.loader.load(claims):
            self._begin(loaded)
        return len(claims)

    def _begin(self, loaded: Loaded) -> None:
        claim = loaded.claim
        if self.launch is not None and is_suspect(claim, loaded.since, self.services.settings.poison_claims):
            self.loader.release(loaded.weight)
            self._start_alone(claim, self.launch)
        else:
            self._start(claim, self._execution(loaded))

    def _execution(self, loaded: Loaded) -> Execution:
        execution = Execution(loaded.claim, loaded.rows, loaded.letters, self.services, self.writer, self.name)
        execution.loaded = loaded.begun()
        return execution

    def _start_alone(self, claim: Claim, launch: Launch) -> None:
        lone = LoneRun(claim, self.id, self.services.journal, self.services.clock, launch)
        self.alone[claim.tenant, claim.run] = lone
        task = asyncio.get_running_loop().create_task(self._execute_alone(lone))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _execute_alone(self, lone: LoneRun) -> None:
        claim = lone.claim
        _logger.warning("run %s has cost several workers; it is tried in a process of its own", claim.run)
        try:
            async with self._one_alone:
                death = await lone.execute()
            if death is not None:
                await self._set_aside(claim, death)
        except JournalError as error:
            _logger.warning("run %s could not be set aside: %s", claim.run, error)
        finally:
            self.alone.pop((claim.tenant, claim.run), None)

    async def _set_aside(self, claim: Claim, death: Death) -> None:
        """Take the run back from the process that died of it, and quarantine it."""
        holder, epoch = (death.worker, claim.epoch + 1) if death.taken else (self.id, claim.epoch)
        mine = await self.services.journal.take_over(self.id, claim.tenant, claim.run, holder, epoch)
        if mine is not None:
            execution = self._execution(await self.loader.alone(mine))
            lost = self.services.settings.poison_claims
            execution.condemned = f"{lost} workers lost this run; then it was tried in a process alone: {death.words}"
            self._start(execution.claim, execution)

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
            self._tried.add(key)
            _logger.warning("run %s could not be put away: %s", key[1], error)
        finally:
            if self.running.get(key) is execution:
                del self.running[key]
            if execution.loaded is not None:
                self.loader.put_away(execution.loaded)
        if execution.tainted:
            self.tainted += len(execution.tainted)
            _logger.warning("the code of run %s refused to be closed: %r", key[1], execution.tainted[0])
            if self.drain_when_tainted:
                self.drain()
        self._has_put_away(key, how)

    def _has_put_away(self, key: RunKey, how: str) -> None:
        if how in ("ended", "quarantined"):
            self.on_ended(key[1])
            self._follower.has_ended()
        elif how == "lost":
            self._go_adrift()

    @property
    def busy(self) -> int:
        """Runs that keep the engine busy: those that wait for a model or a tool cost it nothing."""
        return max(0, len(self.running) + len(self.loader.reading) - self.services.outside)

    def _observe(self, overhead_seconds: float) -> None:
        self.limit.observe(overhead_seconds, self.busy, self.services.clock.boot_ns())

    async def _watch_lag(self) -> None:
        """How late the event loop is, which runs that only compute would not show otherwise."""
        clock = self.services.clock
        while True:
            pause = LAG_SECONDS if self.running else max(LAG_SECONDS, self.services.settings.poll_seconds)
            begun_ns = clock.boot_ns()
            await clock.sleep(pause)
            if self.running:
                self._observe((clock.boot_ns() - begun_ns) / 1e9 - pause)

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
        """Let go of what runs, in order of patience: calls in flight may end, then some are cut short, then all are."""
        for execution in self.running.values():
            execution.drain()  # also those of a claim that was answered after the drain had begun
        await self._settle_for(max(0, self._leave_by_ns - self.services.clock.boot_ns()) / 1e9)
        for execution in list(self.running.values()):
            execution.interrupt()
        await self._settle_for(ABANDON_SECONDS)
        for execution in list(self.running.values()):
            execution.cut_off()
        await self._settle_for(HAND_BACK_SECONDS)

    async def _settle_for(self, seconds: float) -> None:
        """Wait until nothing runs any more, at most so long."""
        tasks = {task for task in self._tasks if not task.done()}
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def _abandon_running(self) -> None:
        """What is still running is treated as lost: nothing more is recorded of it here, and others go on with it."""
        for execution in list(self.running.values()):
            execution.lose()
        tasks = {task for task in self._tasks if not task.done()}
        if tasks:
            await asyncio.wait(tasks, timeout=ABANDON_SECONDS)
        for task in tasks:
            task.cancel()
