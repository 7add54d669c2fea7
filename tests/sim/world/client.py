"""The journal as one simulated process sees it: statements that travel, fail, get lost, or commit after all."""

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from tests.sim.world.store import (
    SEAL_PAUSE_SECONDS,
    SEAL_TRIES,
    TERMINATE_WAIT_SECONDS,
    Database,
    LockNotAvailable,
    Session,
)

from penstock.adapters.memory.records import Control
from penstock.kernel.clock import Clock
from penstock.kernel.errors import JournalUnavailable, RunUnknown
from penstock.kernel.ids import new_id
from penstock.ports.controls import Control as ControlRecord
from penstock.ports.controls import Scope, of_run
from penstock.ports.records import (
    Answer,
    Applied,
    Batch,
    Claim,
    NewRun,
    OpenIntent,
    Payload,
    Post,
    RunKey,
    RunRow,
    Sealed,
    Status,
    Stop,
    Submitted,
)

T = TypeVar("T")


@dataclass(slots=True)
class Line:
    """The connections of one process. Chances are of each statement; seconds."""

    latency: float = 0.0
    spread: float = 0.0
    refused: float = 0.0  # chance that it never reaches the server
    unanswered: float = 0.0  # chance that it is executed and its answer is lost
    late: float = 0.0  # chance that the line breaks and the server goes on with it afterwards
    late_by: float = 0.0
    down: bool = False
    deaf: float = 0.0  # chance that a notification is not heard


class Exchange:
    """Where processes hear that there is work."""

    def __init__(self) -> None:
        self.listeners: list[SimulatedJournal] = []

    def tell(self) -> None:
        """NOTIFY."""
        for listener in self.listeners:
            listener.hear()


class SimulatedJournal:
    """Implements `penstock.ports.journal.Journal` over a `Database`; see there.

    What is not written out here is one statement of the journal in memory.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        exchange: Exchange | None = None,
        line: Line | None = None,
        draw: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self.database = database
        self.line = line or Line()
        self.counts: dict[str, int] = {}
        self.on_answer: Callable[[Sequence[Batch], Sequence[Applied]], None] = lambda batches, answers: None
        self._clock = clock
        self._exchange = exchange or Exchange()
        self._exchange.listeners.append(self)
        self._draw = draw
        self._heard = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        """A statement that reads, or writes without being waited for; or a store of its own beside the runs."""
        if name.startswith("_"):
            raise AttributeError(name)
        known = getattr(self.database.memory, name)
        if not inspect.iscoroutinefunction(known):
            return known if callable(known) or known is None else _Beside(self, known)

        async def statement(*args: Any, **kwargs: Any) -> Any:
            return await self.ask(lambda: self.database.at_once(known(*args, **kwargs)))

        self.__dict__[name] = statement
        return statement

    @property
    def breakers(self) -> "_Breakers":
        """A store beside the runs, one of whose statements takes the lock of the appends."""
        return _Breakers(self, self.database.memory.breakers)

    async def ask(self, work: Callable[[], T]) -> T:
        """Have a statement executed that needs no locks; fails like `execute`."""
        return await self._send(lambda: self._answer_with(work), lambda answered: _answer_now(work, answered))

    async def execute(self, body: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """Have a statement executed.

        Raises:
            JournalUnavailable: the line broke; whether it was, or still will be, executed is not known.
        """
        return await self._send(
            lambda: self.database.execute(body), lambda answered: _answer_later(self.database.execute(body), answered)
        )

    async def _send(
        self, execute: Callable[[], "asyncio.Future[T]"], answer: Callable[["asyncio.Future[T]"], None]
    ) -> T:
        """Let a statement travel: ``answer`` executes it and tells what came of it, ``execute`` does the former."""
        loop = asyncio.get_running_loop()
        line, context = self.line, self.database.context
        travel = line.latency * (1 + line.spread * self._draw()) if line.latency else 0.0
        answered: asyncio.Future[T] = loop.create_future()
        fate = self._draw()
        if line.down or fate < line.refused:
            self._count("refused")
            loop.call_later(travel, _cut, answered, "connection refused", context=context)
        elif fate < line.refused + line.unanswered:
            self._count("unanswered")
            loop.call_later(travel, _cut_after, answered, execute, context=context)
        elif fate < line.refused + line.unanswered + line.late:
            self._count("late")
            loop.call_later(travel, _cut, answered, "connection reset by peer", context=context)
            loop.call_later(travel + line.late_by * self._draw(), _forget, execute, context=context)
        else:
            loop.call_later(travel, answer, answered, context=context)
        return await answered

    def _answer_with(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        answered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        _answer_now(work, answered)
        return answered

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def tell(self) -> None:
        """Wake everybody who waits for work."""
        self._heard.set()
        self._exchange.tell()

    def hear(self) -> None:
        """A notification comes in."""
        if not (self.line.deaf and self._draw() < self.line.deaf):
            self._heard.set()

    async def submit(self, runs: Sequence[NewRun], payloads: Sequence[Payload] = ()) -> list[Submitted]:
        memory = self.database.memory
        submitted = await self.ask(lambda: self.database.write(lambda: memory.submit(runs, payloads)))
        self.tell()
        return submitted

    async def retire(self, worker: UUID) -> None:
        await self.ask(lambda: self.database.at_once(self.database.memory.retire(worker)))
        self.tell()

    async def claim(self, worker: UUID, releases: Sequence[str], limit: int) -> list[Claim]:
        claims = await self.ask(lambda: self.database.claim(worker, releases, limit))
        self.database.received.update((claim.tenant, claim.run, claim.epoch) for claim in claims)
        return claims

    async def put_back(self, worker: UUID, held: Sequence[RunKey], tried: Sequence[RunKey] = ()) -> int:
        return await self.execute(lambda session: self.database.put_back(session, worker, held, tried))

    async def append(
        self, batches: Sequence[Batch], payloads: Sequence[Payload] = (), *, blocking: bool = False
    ) -> list[Applied]:
        if not batches:
            return []
        answers = await self.execute(
            lambda session: self.database.append(session, batches, payloads, blocking=blocking)
        )
        if any(_makes_work(batch, answer) for batch, answer in zip(batches, answers, strict=True)):
            self.tell()
        self.on_answer(batches, answers)
        return answers

    async def put_payloads(self, payloads: Sequence[Payload]) -> None:
        if payloads:
            memory = self.database.memory
            await self.ask(lambda: self.database.write(lambda: memory.put_payloads(payloads)))

    async def deliver(self, post: Post) -> bool:
        delivered = await self.execute(lambda session: self.database.deliver(session, post))
        self.tell()
        return delivered

    async def resume_run(self, tenant: str, run: UUID, actor: str) -> bool:
        memory = self.database.memory
        resumed = await self.execute(
            lambda session: self.database.on_row(session, (tenant, run), lambda: memory.resume_run(tenant, run, actor))
        )
        self.tell()
        return resumed

    async def resume_scope(self, scope: Scope, actor: str) -> int:
        lifted = await self.ask(lambda: self.database.write(lambda: self.database.memory.resume_scope(scope, actor)))
        self.tell()
        return lifted

    async def release_quarantine(self, tenant: str, run: UUID, release: str | None, actor: str) -> bool:
        memory = self.database.memory
        released = await self.execute(
            lambda session: self.database.on_row(
                session, (tenant, run), lambda: memory.release_quarantine(tenant, run, release, actor)
            )
        )
        if released:
            self.tell()
        return released

    async def stop_run(
        self, tenant: str, run: UUID, stop: Stop, actor: str, reason: str, control: UUID | None = None
    ) -> Sealed:
        scope: list[UUID] = []
        blockers: list[str] = []
        generation = [run]
        while generation:

            async def stop_generation(session: Session, runs: Sequence[UUID] = tuple(generation)) -> list[UUID]:
                return await self.database.stop_runs(session, tenant, runs, stop)

            found, blockers = await self._insist(stop_generation, rows_too=True)
            if found is None:
                break
            if not found and not scope:
                raise RunUnknown(f"there is no run {run} for tenant {tenant!r}")
            scope += found
            if stop is Stop.PAUSE:
                break
            rows = await self.ask(functools.partial(self._children, tuple(found)))
            generation = [child for child in rows if child not in scope]
        self.tell()
        at = await self.now()
        intents: list[OpenIntent] = []
        for item in dict.fromkeys([*scope, run]):
            known = await self.open_intents(of_run(tenant, item))
            intents += [intent for intent in known if intent not in intents]
        return Sealed(
            control or new_id(self._clock), sealed=not blockers, at=at, open_intents=intents, blockers=blockers
        )

    def _children(self, parents: Sequence[UUID]) -> list[UUID]:
        return [item.new.id for item in self.database.stored.runs.values() if item.new.parent in parents]

    async def stop_scope(
        self, scope: Scope, stop: Stop, actor: str, reason: str, control: UUID | None = None
    ) -> Sealed:
        del actor, reason
        ordered = Control(control or new_id(self._clock), scope, stop)

        async def put_in_force() -> None:
            if scope.kind == "tool":
                noted = ControlRecord(ordered.id, scope, stop.value, "stopper", "", self.database.clock.now_us())
                self.database.memory.controls.note(noted)
            elif ordered not in self.database.stored.controls:
                self.database.stored.controls.append(ordered)

        await self.ask(lambda: self.database.write(put_in_force))
        at, blockers = await self._insist(self.database.seal, rows_too=False)
        intents = await self.open_intents(scope)
        if at is None:
            now = await self.now()
            return Sealed(ordered.id, sealed=False, at=now, open_intents=intents, blockers=blockers)
        return Sealed(ordered.id, sealed=True, at=at, open_intents=intents)

    async def _insist(
        self, body: Callable[[Session], Coroutine[Any, Any, T]], *, rows_too: bool
    ) -> tuple[T | None, list[str]]:
        """As adapters/postgres/stops.py does: try, then end the sessions in the way, then try again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for round_ in range(2):
            for _ in range(SEAL_TRIES):
                with contextlib.suppress(LockNotAvailable):
                    return await self.execute(body), []
                await asyncio.sleep(SEAL_PAUSE_SECONDS)
            if round_ == 0:
                await self.ask(lambda: self._end_blockers(began, rows_too=rows_too))
                await asyncio.sleep(TERMINATE_WAIT_SECONDS)
        return None, ["a session that could not be moved"]

    def _end_blockers(self, began: float, *, rows_too: bool) -> None:
        self._count("terminated")
        for session in self.database.blockers(began, rows_too=rows_too):
            self.database.terminate(session)

    async def wait_for_work(self, timeout_seconds: float) -> None:
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._heard.wait()
        except TimeoutError:
            return
        self._heard.clear()

    async def get_run(self, tenant: str, run: UUID) -> RunRow | None:
        return await self.ask(lambda: self.database.at_once(self.database.memory.get_run(tenant, run)))

    async def close(self) -> None:
        """Nothing to give back."""


class _Beside:
    """A store of its own beside the runs (``journal.rates``): each of its methods is one statement."""

    def __init__(self, journal: SimulatedJournal, store: Any) -> None:
        self._journal = journal
        self._store = store

    def __getattr__(self, name: str) -> Any:
        known = getattr(self._store, name)
        if not inspect.iscoroutinefunction(known):
            return known

        async def statement(*args: Any, **kwargs: Any) -> Any:
            journal, database = self._journal, self._journal.database
            database.beside[f"{type(self._store).__name__}.{name}"] += 1
            value = await journal.ask(lambda: database.write(lambda: known(*args, **kwargs)))
            if database.memory._news.is_set():
                database.memory._news.clear()
                journal.tell()
            return value

        return statement


class _Breakers(_Beside):
    """The circuit breakers. Nobody hears of changes: what must be known is looked at."""

    def listen(self, listener: Callable[[], None]) -> None:
        """See the port."""

    async def trip(self, *said: Any) -> bool:
        """As adapters/postgres/breakers.py does: try for the lock, then go without."""
        journal, database = self._journal, self._journal.database
        for _ in range(SEAL_TRIES):
            with contextlib.suppress(LockNotAvailable):
                return await journal.execute(lambda session: database.trip_breaker(session, *said))
            await asyncio.sleep(SEAL_PAUSE_SECONDS)
        database.unsealed_trips.add(said[2])
        done: bool = await journal.ask(lambda: database.write(lambda: self._store.trip(*said)))
        return done


def _makes_work(batch: Batch, answer: Applied) -> bool:
    if answer.answer is not Answer.APPLIED:
        return False
    move = batch.move
    if move is None:
        return bool(batch.children)
    parked_with_letters = move.status is Status.PARKED and answer.letters > 0
    return bool(batch.children) or move.post is not None or move.status is Status.QUEUED or parked_with_letters


def _answer_now(work: Callable[[], T], answered: "asyncio.Future[T]") -> None:
    try:
        value = work()
    except Exception as error:  # noqa: BLE001 - it is the client's
        _fail(answered, error)
    else:
        if not answered.done():
            answered.set_result(value)


def _answer_later(session: "asyncio.Future[T]", answered: "asyncio.Future[T]") -> None:
    def tell(done: "asyncio.Future[T]") -> None:
        error = done.exception()
        if error is not None:
            _fail(answered, error)
        elif not answered.done():
            answered.set_result(done.result())

    session.add_done_callback(tell)


def _cut(answered: "asyncio.Future[Any]", words: str) -> None:
    _fail(answered, JournalUnavailable(f"the database cannot be reached: {words}"))


def _cut_after(answered: "asyncio.Future[T]", execute: Callable[[], "asyncio.Future[T]"]) -> None:
    """The statement is executed, and its answer lost."""

    def tell(done: "asyncio.Future[T]") -> None:
        done.exception()
        _cut(answered, "connection was closed in the middle of operation")

    execute().add_done_callback(tell)


def _forget(execute: Callable[[], "asyncio.Future[T]"]) -> None:
    """Nobody hears any more what comes of it."""
    execute().add_done_callback(lambda done: done.exception() and None)


def _fail(answered: "asyncio.Future[Any]", error: BaseException) -> None:
    if not answered.done():
        answered.set_exception(error)
        answered.exception()  # whoever asked may be dead by now, which is no stray error
