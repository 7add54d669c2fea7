"""One writer a process: it commits the events of many runs together, every few milliseconds."""

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Self

import msgspec

from penstock.journal.checks import IntentChecks
from penstock.journal.log import RunLog
from penstock.kernel.backoff import Backoff, until_answered
from penstock.kernel.clock import Clock, SystemClock
from penstock.kernel.errors import JournalError, JournalFull, JournalUnavailable
from penstock.ports.journal import Journal
from penstock.ports.records import Answer, Applied, Batch, Payload
from penstock.settings import Settings

BLOCKING_AT_A_TIME = 2
"""Appends that wait for a locked row at a time; each takes a connection of the pool."""


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """Bounds and times of the writer."""

    max_events: int = 900
    """Events in one append."""
    max_bytes: int = 4 * 1024 * 1024
    """Bytes of events in one append."""
    linger_seconds: float = 0.001
    """How long an append waits for company when there has been company lately; a lone run is never kept waiting."""
    in_flight: int = 2
    """Appends under way at a time, of different runs: one is planned and inserted while the other is flushed."""
    skips_before_blocking: int = 5
    """How often a run whose row is locked is put off before its append waits for it, alone."""
    event_max_bytes: int = 64 * 1024
    payload_max_bytes: int = 4 * 1024 * 1024
    queue_max_events: int = 50_000
    """Events of all runs that may wait; `RunLog.room` waits above it."""
    queue_max_bytes: int = 64 * 1024 * 1024
    """Bytes of payloads that may wait, likewise."""
    log_max_events: int = 2_000
    """Events of one run that may wait, likewise."""
    backoff_seconds: float = 0.05
    """First pause after the journal could not be reached; doubles up to ``backoff_max_seconds``, with jitter."""
    backoff_max_seconds: float = 2.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those that the process's settings name."""
        return cls(
            max_events=settings.batch_max_events,
            max_bytes=settings.batch_max_bytes,
            linger_seconds=settings.batch_linger_ms / 1000,
            skips_before_blocking=settings.append_skips_before_blocking,
            event_max_bytes=settings.event_max_bytes,
            payload_max_bytes=settings.payload_max_bytes,
        )


class _Part(msgspec.Struct, frozen=True):
    """One run's share of a group."""

    log: RunLog
    batch: Batch
    payloads: list[Payload]


class GroupWriter:
    """Collects what the logs of a process add, and appends it in groups.

    A group's payloads go with its events: one commit makes both durable or neither.

    A batch whose answer was lost is sent again, identical, until there is an answer: reading the row instead would not
    tell, since the lost session may commit later.

    Attributes:
        queued_events: added to some log and not yet durable.
        queued_bytes: of payloads not yet sent.
    """

    def __init__(self, journal: Journal, settings: WriterSettings | None = None, clock: Clock | None = None) -> None:
        self.settings = settings or WriterSettings()
        self._journal = journal
        self._clock = clock or SystemClock()
        self.queued_events = 0
        self.queued_bytes = 0
        self.on_answer: Callable[[float, Sequence[Batch], Sequence[Applied]], None] | None = None
        """Told of each append that was answered, and after how many seconds; for metrics, must not raise."""
        self.on_leaving: Callable[[], None] | None = None
        """Told that an append is about to be sent; must not raise."""
        self.checks: IntentChecks | None = None
        """Asked about every intent before it is sent."""
        self._dirty: deque[RunLog] = deque()
        self._held: set[RunLog] = set()
        self._flying = 0
        self._company = False
        self._wake = asyncio.Event()
        self._landed = asyncio.Event()
        self._room_waiters: deque[asyncio.Future[None]] = deque()
        self._loop_task: asyncio.Task[None] | None = None
        self._senders: set[asyncio.Task[None]] = set()
        self._patience = asyncio.Semaphore(BLOCKING_AT_A_TIME)
        self._closed: JournalError | None = None
        self._context = contextvars.copy_context()

    def schedule(self, log: RunLog) -> None:
        """For the logs: there is something to write."""
        if self._closed is not None:
            log.lose(self._closed)
            return
        if log.scheduled:
            return
        log.scheduled = True
        self._held.add(log)
        self._dirty.append(log)
        if self._loop_task is None:
            # Not in the context of the first run that writes, which it would hold for ever.
            self._loop_task = asyncio.create_task(self._run(), name="penstock-writer", context=self._context)
        self._wake.set()

    async def room(self, log: RunLog) -> None:
        """Wait until the queues of the log and of the writer are below their bounds."""
        while not self._has_room(log):
            waiter = asyncio.get_running_loop().create_future()
            self._room_waiters.append(waiter)
            await waiter

    async def close(self, timeout_seconds: float = 30.0) -> None:
        """Write all that was added, then stop. What cannot be written in that time fails with JournalUnavailable."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while self._dirty or self._senders:
                    self._landed.clear()
                    await self._landed.wait()
        self._closed = JournalUnavailable("the journal's writer was closed before this was written")
        tasks = [*self._senders, *([self._loop_task] if self._loop_task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for log in list(self._held):
            if log.queued:
                log.lose(self._closed)
        self._held.clear()
        self._give_room()

    async def _run(self) -> None:
        while True:
            while not self._dirty or self._flying >= self.settings.in_flight:
                self._wake.clear()
                await self._wake.wait()
            if self._company and self.settings.linger_seconds:
                await self._clock.sleep(self.settings.linger_seconds)
            else:
                await asyncio.sleep(0)  # lets everything that can run now add its events
            group = self._form()
            if group:
                self._company = len(group) > 1
                self._flying += 1
                self._launch(self._send(group))
                if self.on_leaving is not None:
                    self.on_leaving()
            elif not self._senders:
                self._landed.set()
            del group  # until there is another, which may be long

    def _form(self) -> list[_Part]:
        group: list[_Part] = []
        events, size = self.settings.max_events, self.settings.max_bytes
        while self._dirty and events > 0 and size > 0:
            log = self._dirty.popleft()
            try:
                batch = log.form(events, size)
            except Exception as error:  # noqa: BLE001 - a log's own mistake must not end the writer of all others
                log.lose(
                    JournalError(f"no batch could be formed for run {log.claim.run}: {error!r}", hint="report this")
                )
                batch = None
            if batch is None:
                log.scheduled = False
                if not log.queued:
                    self._held.discard(log)
                continue
            # It stays scheduled while its batch is in flight: one batch a run at a time.
            size -= log.queued_bytes
            part = _Part(log, batch, log.take_payloads())
            if log.skips > self.settings.skips_before_blocking:
                self._launch(self._send_patiently(part))
                continue
            group.append(part)
            events -= len(batch.rows)
            size -= log.formed_bytes
        return group

    def _launch(self, sending: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(sending)
        self._senders.add(task)
        task.add_done_callback(self._senders.discard)
        task.add_done_callback(lambda _: self._landed.set())

    async def _send(self, group: list[_Part]) -> None:
        try:
            await self._deliver(group)
        finally:
            self._flying -= 1
            self._wake.set()

    async def _send_patiently(self, part: _Part) -> None:
        # Outside the count of appends in flight: somebody holding a row for long must not hold up all other runs.
        async with self._patience:
            await self._deliver([part], blocking=True)

    async def _deliver(self, group: list[_Part], *, blocking: bool = False) -> None:
        try:
            answers = await self._insist(group, blocking=blocking)
        except JournalError as error:
            if len(group) > 1:  # one of them may be the cause: each for itself
                for part in group:
                    await self._deliver([part], blocking=blocking)
                return
            group[0].log.lose(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must be told
            for part in group:
                part.log.lose(JournalError(f"the journal's writer failed: {error!r}", hint="report this"))
        else:
            for part, answer in zip(group, answers, strict=True):
                if part.payloads and answer.answer is Answer.REFUSED:
                    part.log.give_back(part.payloads)  # nothing of the call was committed
                part.log.settle(answer)
        for part in group:
            part.log.scheduled = False
            if part.log.has_work():
                self.schedule(part.log)
            elif not part.log.queued:
                self._held.discard(part.log)
        self._give_room()

    async def _insist(self, group: list[_Part], *, blocking: bool) -> list[Applied]:
        """Send until there is an answer."""
        payloads = [payload for part in group for payload in part.payloads]
        batches = [part.batch for part in group]
        backoff = Backoff(self.settings.backoff_seconds, self.settings.backoff_max_seconds)
        while True:
            begun_ns = self._clock.boot_ns()
            try:
                answers = await self._journal.append(batches, payloads, blocking=blocking)
                if self.on_answer is not None:
                    self.on_answer((self._clock.boot_ns() - begun_ns) / 1e9, batches, answers)
                await self._check_again(batches, answers)
                return answers
            except (JournalUnavailable, JournalFull):
                await self._clock.sleep(backoff.next_seconds())

    async def _check_again(self, batches: Sequence[Batch], answers: Sequence[Applied]) -> None:
        """See to it that batches whose checks were too old are checked against something newer."""
        than: int | None = None
        for batch, answer in zip(batches, answers, strict=True):
            if answer.answer is Answer.STALE and batch.checked is not None:
                than = batch.checked if than is None else max(than, batch.checked)
        checks = self.checks
        if checks is not None and than is not None:
            await until_answered(lambda: checks.look_again(than), self._clock.sleep)

    def _has_room(self, log: RunLog) -> bool:
        if self._closed is not None or log.lost is not None:
            return True
        settings = self.settings
        if log.queued >= settings.log_max_events or log.queued_bytes >= settings.queue_max_bytes:
            return False
        return self.queued_events < settings.queue_max_events and self.queued_bytes < settings.queue_max_bytes

    def _give_room(self) -> None:
        while self._room_waiters:
            waiter = self._room_waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
