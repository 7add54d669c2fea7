"""A database with the semantics that the SQL of the journal relies on, over what the journal in memory holds.

A statement that writes is a session: it takes its locks, looks at what is committed, and some time later commits, or
does not. In between others find its rows locked: an append answers SKIPPED, a claim passes them over, the rest waits.
The functions of the journal in memory decide and write; here it is settled when they do, and what they see.

Sources: migrations 0003 and 0004, adapters/postgres/{queries,stops}.py, and PostgreSQL's documentation of explicit
locking and of READ COMMITTED.
"""

import asyncio
import contextlib
import contextvars
from collections import Counter
from collections.abc import Callable, Container, Coroutine, ItemsView, Iterator, Sequence, ValuesView
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from penstock.adapters.memory import MemoryJournal
from penstock.adapters.memory.appending import append as append_one
from penstock.adapters.memory.records import Control, Run
from penstock.kernel.clock import Clock
from penstock.kernel.errors import JournalFull, JournalUnavailable
from penstock.ports.records import Answer, Applied, Batch, Claim, Payload, Post, RunKey, Status, Stop

T = TypeVar("T")

SEAL_WAIT_SECONDS = 0.05
SEAL_TRIES = 6
SEAL_PAUSE_SECONDS = 0.02
TERMINATE_WAIT_SECONDS = 0.2


class LockNotAvailable(JournalUnavailable):
    """A lock was not had within the statement's ``lock_timeout``."""


@dataclass(slots=True, eq=False)
class Session:
    """One statement being executed, and what it holds."""

    number: int
    began: float
    rows: set[RunKey] = field(default_factory=set)
    shares: bool = False
    task: "asyncio.Task[Any] | None" = None
    ended: bool = False


@dataclass(slots=True, frozen=True)
class Commit:
    """One batch that was committed, in the order of commits."""

    at: float  # the loop's time
    order: int
    key: RunKey
    epoch: int
    first_seq: int
    last_seq: int
    row_epoch: int  # what the row said at that moment
    row_seq: int


@dataclass(slots=True)
class Weather:
    """How the database feels today. Seconds; all zero: at its best."""

    snapshot: float = 0.0  # between taking the shared lock and reading the controls
    flush: float = 0.0  # between taking the row locks and the commit
    spread: float = 0.0  # the times above are multiplied by up to 1 + this
    stuck_chance: float = 0.0  # of a commit that takes ``stuck`` seconds while its locks are held
    stuck: float = 0.0
    full: bool = False


class Database:
    """The server. ``context`` is the one its sessions run in; ``draw`` gives numbers in [0, 1)."""

    def __init__(self, clock: Clock, context: contextvars.Context, draw: Callable[[], float] = lambda: 0.5) -> None:
        self.clock = clock
        self.memory = MemoryJournal(clock)
        self.stored = self.memory._store
        self.weather = Weather()
        self.sessions: dict[int, Session] = {}
        self.commits: list[Commit] = []
        self.claimed: list[tuple[float, Claim, UUID]] = []
        self.answers: Counter[Answer] = Counter()
        self.beside: Counter[str] = Counter()
        """Statements of the stores beside the runs."""
        self.received: set[tuple[str, UUID, int]] = set()
        """Claims whose answers reached a worker: tenant, run, epoch."""
        self.unsealed_trips: set[UUID] = set()
        """Of breakers, that were made without the exclusive lock, which could not be had."""
        self.on_append: Callable[[], None] = lambda: None
        """Called after each batch that was answered."""
        self.context = context
        self._draw = draw
        self._numbers = 0
        self._rows: dict[RunKey, Session] = {}
        self._exclusive = False
        self._sealing = 0  # who waits for the exclusive lock; new sharers queue up behind
        self._released = asyncio.Event()

    def execute(self, body: Callable[[Session], Coroutine[Any, Any, T]]) -> "asyncio.Task[T]":
        """Start a statement in a session of its own."""
        self._numbers += 1
        loop = asyncio.get_running_loop()
        session = Session(self._numbers, loop.time())
        self.sessions[session.number] = session
        task = loop.create_task(self._run(session, body), name=f"session {session.number}", context=self.context)
        session.task = task
        return task

    async def _run(self, session: Session, body: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        try:
            return await body(session)
        except asyncio.CancelledError:
            raise JournalUnavailable("the session was terminated") from None
        finally:
            self._release(session)

    def at_once(self, statement: Coroutine[Any, Any, T]) -> T:
        """A method of the journal in memory, as one statement that needs no locks."""
        try:
            statement.send(None)
        except StopIteration as done:
            value: T = done.value
            return value
        raise AssertionError("a statement of the journal in memory waited for something")

    def terminate(self, session: Session) -> None:
        """As pg_terminate_backend does: rolled back, unless it has committed."""
        if session.task is not None:
            session.task.cancel()

    def crash(self) -> None:
        """The server dies and starts again: all sessions end."""
        for session in list(self.sessions.values()):
            self.terminate(session)

    # Statements that need no rows.

    def write(self, statement: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """A flushed statement of the journal in memory."""
        self._check_disk()
        return self.at_once(statement())

    def claim(self, worker: UUID, releases: Sequence[str], limit: int) -> list[Claim]:
        """Rows that are locked are passed over."""
        self._check_disk()
        with self._without_locked_rows():
            claims = self.at_once(self.memory.claim(worker, releases, limit))
        now = asyncio.get_running_loop().time()
        self.claimed += [(now, claim, worker) for claim in claims]
        return claims

    # Statements that lock.

    async def append(
        self, session: Session, batches: Sequence[Batch], payloads: Sequence[Payload], *, blocking: bool
    ) -> list[Applied]:
        """`penstock.append`: shared lock, controls, row locks, judgement; then the commit."""
        controls = await self.begin_append(session)
        version = self.stored.breaker_version  # read with the controls
        keys = sorted({key for batch in batches for key in rows_of(batch) if key in self.stored.runs}, key=_by_id)
        if blocking:
            await self.lock_rows(session, keys)
        else:
            self.try_rows(session, keys)
        at = self.clock.now_us()
        skipped = [self._skips(session, batch) for batch in batches]
        await self._flush()
        self._check_disk()
        self.at_once(self.memory.put_payloads(payloads))
        answers = []
        with self.seeing(controls, version):
            for batch, skip in zip(batches, skipped, strict=True):
                answers.append(Applied(Answer.SKIPPED, at=at) if skip else self._append_one(batch, at))
        for answer in answers:
            self.answers[answer.answer] += 1
        return answers

    async def begin_append(self, session: Session) -> list[Control]:
        """The shared lock first, then a statement of its own that reads the controls."""
        await self.share(session)
        await self._pause(self.weather.snapshot)
        return list(self.stored.controls)

    def _append_one(self, batch: Batch, at: int) -> Applied:
        run = self.stored.runs.get((batch.tenant, batch.run))
        epoch, seq = (run.epoch, run.last_seq) if run is not None else (0, 0)
        answer = append_one(self.stored, batch, at)
        if run is not None and run.last_seq > seq:
            self.committed(batch, epoch, seq)
        self.on_append()
        return answer

    def committed(self, batch: Batch, row_epoch: int, row_seq: int) -> None:
        """Keep in mind what was written, and what the row said before."""
        now, key = asyncio.get_running_loop().time(), (batch.tenant, batch.run)
        first, last = batch.rows[0].seq, batch.rows[-1].seq
        self.commits.append(Commit(now, len(self.commits), key, batch.epoch, first, last, row_epoch, row_seq))

    def _skips(self, session: Session, batch: Batch) -> bool:
        """A run whose row, or whose parent's row when it posts there, is somebody else's."""
        return any(key in self.stored.runs and key not in session.rows for key in rows_of(batch))

    async def on_row(self, session: Session, key: RunKey, statement: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """A statement that waits for one row and writes it."""
        if key in self.stored.runs:
            await self.lock_rows(session, [key])
        await self._flush()
        return self.write(statement)

    async def deliver(self, session: Session, post: Post) -> bool:
        """`penstock.deliver`."""
        return await self.on_row(session, (post.tenant, post.run), lambda: self.memory.deliver(post))

    async def put_back(self, session: Session, worker: UUID, held: Sequence[RunKey], tried: Sequence[RunKey]) -> int:
        """Waits for the rows that are this worker's and not known to it."""
        unknown = [
            run.key
            for run in self.stored.runs.values()
            if run.worker == worker and run.status is Status.RUNNING and run.key not in held
        ]
        await self.lock_rows(session, sorted(unknown, key=_by_id))
        await self._flush()
        return self.write(lambda: self.memory.put_back(worker, held, tried))

    async def stop_runs(self, session: Session, tenant: str, runs: Sequence[UUID], stop: Stop) -> list[UUID]:
        """`penstock.stop_runs`: one generation, under a lock time-out."""
        keys = sorted([(tenant, run) for run in runs if (tenant, run) in self.stored.runs], key=_by_id)
        await self.lock_rows(session, keys, SEAL_WAIT_SECONDS)
        await self._flush()
        self._check_disk()
        for key in keys:
            self._stop_alone(key, stop)
        return [run for _, run in keys]

    def _stop_alone(self, key: RunKey, stop: Stop) -> None:
        """What the journal in memory does to a run and its descendants, to this run only."""
        everything = self.stored.runs
        self.stored.runs = {key: everything[key]}
        try:
            self.at_once(self.memory.stop_run(*key, stop, "", ""))
        finally:
            self.stored.runs = everything

    async def seal(self, session: Session) -> int:
        """`penstock.seal`: until every append that may have read the controls before has ended, or not at all."""
        until = asyncio.get_running_loop().time() + SEAL_WAIT_SECONDS
        self._sealing += 1
        try:
            while self._exclusive or any(other.shares for other in self.sessions.values()):
                await self._wait_for_release(until)
        finally:
            self._sealing -= 1
            self._wake()
        return self.clock.now_us()

    async def trip_breaker(self, session: Session, *said: Any) -> bool:
        """`penstock.trip_breaker`: with the exclusive lock no append is under way that read the version before."""
        await self.seal(session)
        return self.write(lambda: self.memory.breakers.trip(*said))

    def blockers(self, began: float, *, rows_too: bool) -> list[Session]:
        """Sessions that hold what a stop waits for, since before it."""
        return [
            session
            for session in self.sessions.values()
            if session.began <= began and (session.shares or (rows_too and session.rows))
        ]

    # Locks.

    async def share(self, session: Session) -> None:
        """The shared advisory lock; behind those who wait for the exclusive one."""
        while self._sealing:
            await self._wait_for_release(None)
        session.shares = True

    def try_rows(self, session: Session, keys: Sequence[RunKey]) -> None:
        """FOR NO KEY UPDATE SKIP LOCKED."""
        for key in keys:
            if self._rows.setdefault(key, session) is session:
                session.rows.add(key)

    async def lock_rows(self, session: Session, keys: Sequence[RunKey], timeout_seconds: float | None = None) -> None:
        """FOR NO KEY UPDATE, in this order."""
        until = None if timeout_seconds is None else asyncio.get_running_loop().time() + timeout_seconds
        for key in keys:
            while self._rows.setdefault(key, session) is not session:
                await self._wait_for_release(until)
            session.rows.add(key)

    def _release(self, session: Session) -> None:
        session.ended = True
        for key in session.rows:
            if self._rows.get(key) is session:
                del self._rows[key]
        session.rows.clear()
        session.shares = False
        self.sessions.pop(session.number, None)
        self._wake()

    def _wake(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    async def _wait_for_release(self, until: float | None) -> None:
        released = self._released
        if until is None:
            await released.wait()
            return
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            raise LockNotAvailable("canceling statement due to lock timeout")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(released.wait(), left)

    @contextlib.contextmanager
    def seeing(self, controls: list[Control], version: int | None = None) -> Iterator[None]:
        """Within the block the controls, and the version of the breakers, are those of a snapshot."""
        stored = self.stored
        current, stored.controls = stored.controls, controls
        latest, stored.breaker_version = stored.breaker_version, stored.breaker_version if version is None else version
        try:
            yield
        finally:
            stored.controls, stored.breaker_version = current, latest

    @contextlib.contextmanager
    def _without_locked_rows(self) -> Iterator[None]:
        everything = self.stored.runs
        if self._rows:
            self.stored.runs = _Unlocked(everything, self._rows)
        try:
            yield
        finally:
            self.stored.runs = everything

    async def _flush(self) -> None:
        weather = self.weather
        seconds = weather.flush
        if weather.stuck_chance and self._draw() < weather.stuck_chance:
            seconds = weather.stuck
        await self._pause(seconds)

    async def _pause(self, seconds: float) -> None:
        if seconds and self.weather.spread:
            seconds *= 1 + self.weather.spread * self._draw()
        await asyncio.sleep(seconds)

    def _check_disk(self) -> None:
        if self.weather.full:
            raise JournalFull("the database cannot write: no space left on device")


class _Unlocked(dict[RunKey, Run]):
    """All runs; a search passes over those that are locked."""

    def __init__(self, runs: dict[RunKey, Run], locked: Container[RunKey]) -> None:
        super().__init__(runs)
        self._free = {key: run for key, run in runs.items() if key not in locked}

    def __iter__(self) -> Iterator[RunKey]:
        return iter(self._free)

    def values(self) -> ValuesView[Run]:  # type: ignore[override]
        return self._free.values()

    def items(self) -> ItemsView[RunKey, Run]:  # type: ignore[override]
        return self._free.items()


def rows_of(batch: Batch) -> list[RunKey]:
    """The rows that an append of this batch locks: the run's, and its parent's when it posts there."""
    keys = [(batch.tenant, batch.run)]
    if batch.move is not None and batch.move.post is not None:
        keys.append((batch.move.post.tenant, batch.move.post.run))
    return keys


def _by_id(key: RunKey) -> UUID:
    return key[1]
