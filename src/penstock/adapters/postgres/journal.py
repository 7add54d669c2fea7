"""The journal in PostgreSQL 15 or newer."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import asyncpg

from penstock.adapters.postgres import appending, queries, rows, stops
from penstock.adapters.postgres.access import PostgresAccess
from penstock.adapters.postgres.actions import PostgresActions
from penstock.adapters.postgres.audit import PostgresAudit
from penstock.adapters.postgres.breakers import CHANNEL as BREAKERS_CHANNEL
from penstock.adapters.postgres.breakers import PostgresBreakers
from penstock.adapters.postgres.budgets import PostgresBudgets, refusal
from penstock.adapters.postgres.cache import PostgresCache
from penstock.adapters.postgres.circles import PostgresCircles
from penstock.adapters.postgres.controls import PostgresControls
from penstock.adapters.postgres.database import ConnectionSettings, Database, is_refusal
from penstock.adapters.postgres.documents import PostgresDocuments
from penstock.adapters.postgres.gateway import PostgresGateway
from penstock.adapters.postgres.lists import PostgresLists
from penstock.adapters.postgres.live import PostgresLive
from penstock.adapters.postgres.migrate import add_partitions, check_schema, check_server, migrate
from penstock.adapters.postgres.overview import PostgresOverview
from penstock.adapters.postgres.questions import PostgresQuestions
from penstock.adapters.postgres.queue import PostgresQueue
from penstock.adapters.postgres.rates import PostgresRates
from penstock.adapters.postgres.releases import PostgresReleases
from penstock.adapters.postgres.retention import PostgresRetention
from penstock.adapters.postgres.rollouts import PostgresRollouts
from penstock.adapters.postgres.schedules import PostgresSchedules
from penstock.adapters.postgres.signals import Signals
from penstock.adapters.postgres.snapshots import PostgresSnapshots
from penstock.adapters.postgres.triggers import PostgresTriggers
from penstock.adapters.postgres.usage import PostgresUsage
from penstock.adapters.postgres.waits import PostgresWaits
from penstock.adapters.postgres.wakeups import PostgresWakeups
from penstock.adapters.postgres.webhooks import PostgresWebhooks
from penstock.events import FORMAT
from penstock.kernel.clock import Clock, SystemClock
from penstock.kernel.errors import InputInvalid, JournalError, RunUnknown, WorkerNameTaken
from penstock.kernel.ids import new_id
from penstock.ports.controls import Scope
from penstock.ports.documents import Documents
from penstock.ports.lists import Lists, listed
from penstock.ports.queue import Queue
from penstock.ports.records import (
    Answer,
    Applied,
    Batch,
    Claim,
    Flags,
    Letter,
    NewRun,
    OpenIntent,
    Payload,
    PayloadKey,
    Post,
    Row,
    RunFilter,
    RunKey,
    RunRow,
    Sealed,
    Status,
    Stop,
    Submitted,
)
from penstock.ports.releases import Releases
from penstock.ports.retention import Retention
from penstock.ports.snapshots import Snapshots
from penstock.ports.waits import Waits

MAX_LIST = 1000
SUBMIT_CHUNK = 1000
ERASE_TRIES = 20


class PostgresJournal:
    """Implements `penstock.ports.journal.Journal`; see there. Made by `open_journal`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.queue: Queue = PostgresQueue(database)
        self.lists: Lists = PostgresLists(database)
        self.releases: Releases = PostgresReleases(database)
        self.schedules = PostgresSchedules(database)
        self.retention: Retention = PostgresRetention(database)
        self.rates = PostgresRates(database)
        self.documents: Documents = PostgresDocuments(database)
        self.snapshots: Snapshots = PostgresSnapshots(database)
        settings = database.settings
        self._signals = Signals(settings.listen_dsn or settings.dsn, database.fetch)
        self.live = PostgresLive(self._signals, database.fetch)
        self.waits: Waits = PostgresWaits(database, self._signals.tell)
        self.circles = PostgresCircles(database, self._signals.tell)
        self.questions = PostgresQuestions(database, self._signals.tell)
        self.controls = PostgresControls(database)
        self.wakeups = PostgresWakeups(database, self._signals.tell)
        self.triggers = PostgresTriggers(database)
        self.access = PostgresAccess(database)
        self.actions = PostgresActions(database)
        self.audit = PostgresAudit(database)
        self.usage = PostgresUsage(database)
        self.overview = PostgresOverview(database)
        self.cache = PostgresCache(database)
        self.webhooks = PostgresWebhooks(database)
        self.budgets = PostgresBudgets(database, self._signals.tell)
        self.breakers = PostgresBreakers(database)
        self._signals.hear(BREAKERS_CHANNEL, self.breakers.heard)
        self.gateway = PostgresGateway(database)
        self.rollouts = PostgresRollouts(database)

    async def now(self) -> int:
        at: int = await self._database.value(queries.NOW)
        return at

    async def submit(self, runs: Sequence[NewRun], payloads: Sequence[Payload] = ()) -> list[Submitted]:
        submitted: list[Submitted] = []
        for start in range(0, len(runs), SUBMIT_CHUNK):
            chunk = runs[start : start + SUBMIT_CHUNK]
            subjects = {(run.tenant, run.subject) for run in chunk}
            theirs = [payload for payload in payloads if (payload.tenant, payload.subject) in subjects]
            submitted += await self._submit(chunk, theirs)
        if submitted:
            self._signals.tell()
        return submitted

    async def _submit(self, runs: Sequence[NewRun], payloads: Sequence[Payload]) -> list[Submitted]:
        ranks = [run.rank for run in runs]
        arguments = [*rows.new_run_columns(runs), ranks, *(rows.payload_arguments(payloads) if payloads else ())]
        created = await self._database.value(queries.CREATE_RUNS_WITH if payloads else queries.CREATE_RUNS, *arguments)
        if created == len(runs):
            return [Submitted(run.id, created=True) for run in runs]
        found = await self._database.fetch(
            queries.SUBMITTED, [run.tenant for run in runs], [run.id for run in runs], [run.key for run in runs]
        )
        by_number = {number: (run_id, digest) for number, run_id, digest in found}
        answers = []
        for number, run in enumerate(runs, 1):
            if number not in by_number:
                raise InputInvalid(f"run id {run.id} is in use with another idempotency key")
            run_id, digest = by_number[number]
            answers.append(
                Submitted(run_id, created=run_id == run.id, conflict=run_id != run.id and digest != run.request_digest)
            )
        return answers

    async def enlist(self, worker: UUID, name: str, lease_seconds: float, environment: str | None = None) -> None:
        if not await self._database.value(queries.ENLIST, worker, name, lease_seconds, environment):
            raise WorkerNameTaken(f"a live worker is named {name!r}")

    async def renew(self, worker: UUID, lease_seconds: float) -> bool:
        return bool(await self._database.value(queries.RENEW, worker, lease_seconds))

    async def retire(self, worker: UUID) -> None:
        await self._database.fetch(queries.RETIRE, worker)
        self._signals.tell()

    async def claim(self, worker: UUID, releases: Sequence[str], limit: int) -> list[Claim]:
        found = await self._database.fetch(queries.CLAIM, worker, list(releases), limit, FORMAT)
        return [rows.claim(record) for record in found]

    async def take_over(self, worker: UUID, tenant: str, run: UUID, holder: UUID, epoch: int) -> Claim | None:
        record = await self._database.row(queries.TAKE_OVER, worker, tenant, run, holder, epoch)
        return None if record is None else rows.claim(record)

    async def put_back(self, worker: UUID, held: Sequence[RunKey], tried: Sequence[RunKey] = ()) -> int:
        columns = [[key[part] for key in keys] for keys in (held, tried) for part in (0, 1)]
        found = await self._database.fetch(queries.PUT_BACK, worker, *columns)
        return len(found)

    async def append(
        self, batches: Sequence[Batch], payloads: Sequence[Payload] = (), *, blocking: bool = False
    ) -> list[Applied]:
        if not batches:
            return []
        try:
            answers = await appending.append(self._database, batches, payloads, blocking=blocking)
        except (JournalError, ValueError) as error:
            if isinstance(error, JournalError) and not is_refusal(error.__cause__):
                raise
            if len(batches) == 1:
                return [Applied(Answer.REFUSED, error=refusal(error))]
            middle = len(batches) // 2
            return [
                *await self.append(batches[:middle], payloads, blocking=blocking),
                *await self.append(batches[middle:], payloads, blocking=blocking),
            ]
        if any(_makes_work(batch, answer) for batch, answer in zip(batches, answers, strict=True)):
            self._signals.tell()
        return answers

    async def tapes(self, runs: Sequence[RunKey]) -> dict[RunKey, list[Row]]:
        keys = list(dict.fromkeys(runs))
        tapes: dict[RunKey, list[Row]] = {key: [] for key in keys}
        found = await self._database.fetch(queries.TAPES, [key[0] for key in keys], [key[1] for key in keys])
        for number, seq, body, digest, at in found:
            tapes[keys[number - 1]].append(Row(seq, body, digest, at))
        return tapes

    async def tape(self, tenant: str, run: UUID, after: int = 0, limit: int = 10_000) -> list[Row]:
        return [Row(*record) for record in await self._database.fetch(queries.TAPE, tenant, run, after, limit)]

    async def put_payloads(self, payloads: Sequence[Payload]) -> None:
        if not payloads:
            return
        await self._database.fetch(queries.PUT_PAYLOADS_DURABLY, *rows.payload_arguments(payloads))

    async def get_payloads(self, tenant: str, subject: str, addresses: Sequence[bytes]) -> dict[bytes, Payload]:
        found = await self._database.fetch(queries.GET_PAYLOADS, tenant, subject, list(addresses))
        return {address: Payload(tenant, subject, address, data, codec, size) for address, data, codec, size in found}

    async def fetch_payloads(self, wanted: Sequence[PayloadKey]) -> dict[PayloadKey, Payload]:
        keys = list(dict.fromkeys(wanted))
        found = await self._database.fetch(
            queries.FETCH_PAYLOADS, [key[0] for key in keys], [key[1] for key in keys], [key[2] for key in keys]
        )
        payloads: dict[PayloadKey, Payload] = {}
        for number, data, codec, size in found:
            key = tenant, subject, where = keys[number - 1]
            payloads[key] = Payload(tenant, subject, where, data, codec, size)
        return payloads

    async def ensure_subject(self, tenant: str, subject: str, key: bytes) -> bytes:
        stored = await self.subject_key(tenant, subject)
        if stored is not None:
            return stored
        await self._database.fetch(queries.ENSURE_SUBJECT, [tenant], [subject], [key])
        stored = await self.subject_key(tenant, subject)
        if stored is None:
            raise JournalError(f"subject {subject!r} was erased while its key was being made", hint="try again")
        return stored

    async def subject_key(self, tenant: str, subject: str) -> bytes | None:
        key: bytes | None = await self._database.value(queries.SUBJECT_KEY, tenant, subject, _as_run(subject))
        return key

    async def erase_subject(self, tenant: str, subject: str) -> int:
        for attempt in range(ERASE_TRIES):
            try:
                erased: int = await self._database.value(queries.ERASE_SUBJECT, tenant, subject, _as_run(subject))
            except JournalError as error:
                if not isinstance(error.__cause__, asyncpg.LockNotAvailableError) or attempt == ERASE_TRIES - 1:
                    raise
                await asyncio.sleep(0.05 * (attempt + 1))
            else:
                return erased
        raise AssertionError("unreachable")

    async def letters(self, runs: Sequence[RunKey]) -> dict[RunKey, list[Letter]]:
        keys = list(dict.fromkeys(runs))
        letters: dict[RunKey, list[Letter]] = {key: [] for key in keys}
        found = await self._database.fetch(queries.LETTERS, [key[0] for key in keys], [key[1] for key in keys])
        for number, dedup, kind, body, at in found:
            letters[keys[number - 1]].append(Letter(dedup, kind, body, at))
        return letters

    async def deliver(self, post: Post) -> bool:
        answer = await self._database.value(queries.DELIVER, post.tenant, post.run, post.dedup, post.kind, post.body)
        if answer < 0:
            raise RunUnknown(f"there is no run {post.run} for tenant {post.tenant!r}, or it has ended")
        self._signals.tell()
        return bool(answer)

    async def flags(self, worker: UUID, held: Sequence[RunKey]) -> list[Flags]:
        found = await self._database.fetch(queries.FLAGS, worker, [key[0] for key in held], [key[1] for key in held])
        return [rows.flags(record) for record in found]

    async def stop_run(
        self, tenant: str, run: UUID, stop: Stop, actor: str, reason: str, control: UUID | None = None
    ) -> Sealed:
        database, clock = self._database, self._clock
        sealed = await stops.stop_run(database, clock, tenant, run, stop, actor=actor, reason=reason, control=control)
        self._signals.tell()
        return sealed

    async def resume_run(self, tenant: str, run: UUID, actor: str) -> bool:
        resumed = bool(await self._database.value(queries.RESUME_RUN, tenant, run, actor))
        self._signals.tell()
        return resumed

    async def stop_scope(
        self, scope: Scope, stop: Stop, actor: str, reason: str, control: UUID | None = None
    ) -> Sealed:
        database, clock = self._database, self._clock
        return await stops.stop_scope(database, clock, scope, stop, actor=actor, reason=reason, control=control)

    async def resume_scope(self, scope: Scope, actor: str) -> int:
        lifted = await self._database.fetch(queries.RESUME_SCOPE, scope.tenant, scope.kind, scope.name, actor)
        if scope.kind == "tool":
            await stops.wake_for_tool(self._database, scope.tenant, scope.name)
        self._signals.tell()
        return len(lifted)

    async def stopped(self, tenant: str | None) -> list[UUID]:
        return [record[0] for record in await self._database.fetch(queries.STOPPED, tenant)]

    async def open_intents(self, scope: Scope) -> list[OpenIntent]:
        return await stops.open_intents(self._database, scope)

    async def get_run(self, tenant: str, run: UUID) -> RunRow | None:
        record = await self._database.row(queries.GET_RUN, tenant, run)
        return None if record is None else rows.run_row(record)

    async def find_runs(self, tenant: str, prefix: str) -> list[UUID]:
        digits = prefix.replace("-", "").lower()
        if not 4 <= len(digits) <= 32 or any(digit not in "0123456789abcdef" for digit in digits):
            raise InputInvalid(f"{prefix!r} is not the beginning of a run id: at least 4 hexadecimal digits")
        low, high = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
        return [record[0] for record in await self._database.fetch(queries.FIND_RUNS, tenant, low, high)]

    async def list_runs(self, tenant: str, where: RunFilter, limit: int) -> list[RunRow]:
        return await listed(self.lists, tenant, where, min(limit, MAX_LIST))

    async def tenants(self) -> list[str]:
        return [record[0] for record in await self._database.fetch(queries.TENANTS)]

    async def release_quarantine(self, tenant: str, run: UUID, release: str | None, actor: str) -> bool:
        released = bool(await self._database.value(queries.RELEASE_QUARANTINE, tenant, run, release))
        if released:
            await self._database.fetch(
                queries.ADD_CONTROL, new_id(self._clock), tenant, run, "release", actor, release or "", "", "", actor
            )
            self._signals.tell()
        return released

    async def wait_for_work(self, timeout_seconds: float) -> None:
        await self._signals.wait(timeout_seconds)

    def connection(self) -> AbstractAsyncContextManager[asyncpg.Connection]:
        """A connection of the pool, for what the port does not offer: checks of the server, maintenance, tests."""
        return self._database.connection()

    async def close(self) -> None:
        await self.live.close()
        await self._signals.close()
        await self._database.close()


async def open_journal(
    settings: ConnectionSettings | str, *, clock: Clock | None = None, prepare: bool = True
) -> PostgresJournal:
    """Connect, bring the schema up to date (unless ``prepare`` is False) and give the journal.

    Raises:
        JournalUnavailable: the server cannot be reached.
        ServerTooOld: it is older than PostgreSQL 15.
        SchemaTooNew: its schema was made by a newer Penstock.
    """
    if isinstance(settings, str):
        settings = ConnectionSettings(settings)
    database = await Database.connect(settings)
    try:
        async with database.connection() as connection:
            if prepare:
                await migrate(connection)
                await add_partitions(connection, int(await connection.fetchval(queries.NOW)))
            else:
                await check_server(connection)
                await check_schema(connection)
    except BaseException:
        await database.close()
        raise
    return PostgresJournal(database, clock or SystemClock())


def _makes_work(batch: Batch, answer: Applied) -> bool:
    if answer.answer is not Answer.APPLIED:
        return False
    move = batch.move
    return bool(batch.children) or (
        move is not None
        and (
            move.post is not None
            or move.status is Status.QUEUED
            or (move.status is Status.PARKED and answer.letters > 0)
        )
    )


def _as_run(subject: str) -> UUID | None:
    try:
        return UUID(subject)
    except ValueError:
        return None
