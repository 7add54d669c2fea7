"""Two writers on one database, with rows locked by others, connections cut and claims lost: no gap, no double, and what
was acknowledged is there. And a kill among appends that are under way: nothing it should have stopped commits later.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import pytest

from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import PostgresJournal, open_journal
from penstock.events import NoteRecorded, ToolIntent, decode
from penstock.journal.chain import genesis, link, verify
from penstock.journal.log import RunLog
from penstock.journal.writer import GroupWriter, WriterSettings
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import ClaimLost, IntentRefused, JournalUnavailable
from penstock.kernel.ids import new_id
from penstock.ports.controls import Scope, of_all
from penstock.ports.records import Claim, Move, NewRun, Row, Status, Stop

pytestmark = pytest.mark.crash

CLOCK = SystemClock()
RESTLESS = WriterSettings(backoff_seconds=0.002, backoff_max_seconds=0.01, linger_seconds=0, skips_before_blocking=2)

Cut = Literal["request", "reply", "midway"]


class Proxy:
    """Stands between a writer and the database, and cuts connections.

    ``request``: before what was sent arrives. ``midway``: after it was passed on, without waiting. ``reply``: when the
    answer has come, instead of passing it on; the transaction has committed by then.
    """

    def __init__(self, dsn: str, rng: random.Random) -> None:
        self.rng = rng
        self.rate = 0.0
        self.cuts: dict[Cut, int] = {"request": 0, "reply": 0, "midway": 0}
        self._target = urlsplit(dsn)
        self._query = {name: values[0] for name, values in parse_qs(self._target.query).items()}
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """The address to connect to."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = self._target.netloc.rpartition("@")[0] or self._query.get("user", "")
        netloc = f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}"
        return urlunsplit(self._target._replace(netloc=netloc, query="sslmode=disable"))

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for pipe in list(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pipes.add(task)
        task.add_done_callback(self._pipes.discard)
        server_in, server_out = await self._connect()
        doomed = asyncio.Event()
        answers = asyncio.create_task(self._answers(server_in, client_out, doomed))
        try:
            while data := await client_in.read(65536):
                cut = self._choose()
                if cut == "request":
                    break
                if cut == "reply":
                    doomed.set()
                server_out.write(data)
                await server_out.drain()
                if cut == "midway":
                    break
                if cut == "reply":
                    await answers
                    break
        except ConnectionError:
            pass
        finally:
            answers.cancel()
            for writer in (client_out, server_out):
                writer.close()

    async def _answers(
        self, server_in: asyncio.StreamReader, client_out: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        try:
            while data := await server_in.read(65536):
                if doomed.is_set():
                    return
                client_out.write(data)
                await client_out.drain()
        finally:
            client_out.close()

    def _choose(self) -> Cut | None:
        if self.rng.random() >= self.rate:
            return None
        cut: Cut = self.rng.choice(("request", "reply", "midway"))
        self.cuts[cut] += 1
        return cut

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._query.get("host", ""), self._query.get("port") or self._target.port or 5432
        if host.startswith("/"):
            return await asyncio.open_unix_connection(str(Path(host) / f".s.PGSQL.{port}"))
        return await asyncio.open_connection(host or self._target.hostname, int(port))


@asynccontextmanager
async def locks_at_random(dsn: str, rng: random.Random) -> AsyncIterator[None]:
    """Meanwhile somebody else locks rows of runs for a few milliseconds at a time."""
    connection = await asyncpg.connect(dsn)

    async def disturb() -> None:
        while True:
            async with connection.transaction():
                await connection.fetch(
                    "SELECT FROM penstock.runs WHERE random() < 0.4 ORDER BY id FOR UPDATE SKIP LOCKED"
                )
                await asyncio.sleep(rng.uniform(0, 0.006))

    disturbing = asyncio.create_task(disturb())
    try:
        yield
    finally:
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
        connection.terminate()


async def submit(journal: PostgresJournal, count: int) -> list[UUID]:
    runs = []
    for _ in range(count):
        run = new_id(CLOCK)
        row = Row(1, b"{}", link(genesis("t", run), b"{}"))
        runs.append(NewRun("t", run, "a", "r", row, str(run), b"k" * 32, tags={"customer": "ada"}))
    await journal.submit(runs)
    return [run.id for run in runs]


async def claim_all(journal: PostgresJournal, worker: UUID, count: int, writer: GroupWriter) -> list[RunLog]:
    """All runs, which are due or will be as soon as their rows are not locked."""
    claims: list[Claim] = []
    async with asyncio.timeout(20):
        while len(claims) < count:
            claims += await journal.claim(worker, ["r"], count)
            await asyncio.sleep(0.002)
    return [RunLog(claim, writer) for claim in claims]


class Writer:
    """One process's worth: a journal through a proxy of its own, a group writer, a worker."""

    def __init__(self, name: str, proxy: Proxy, journal: PostgresJournal) -> None:
        self.name = name
        self.proxy = proxy
        self.journal = journal
        self.group = GroupWriter(journal, RESTLESS)
        self.worker = new_id(CLOCK)
        self.acknowledged: dict[UUID, list[str]] = {}
        self.refused: dict[UUID, list[str]] = {}

    async def work(self, log: RunLog, steps: int, *, end: bool) -> None:
        """Add events one after the other and several at a time; note what became of each."""
        run = log.claim.run
        yes, no = self.acknowledged.setdefault(run, []), self.refused.setdefault(run, [])
        for step in range(steps):
            names = [f"{self.name}.{step}.{part}" for part in range(1 + step % 3)]
            futures = [log.add(self._note(log, name), waiter=True) for name in names]
            results = await asyncio.gather(*(future for future in futures if future), return_exceptions=True)
            for name, result in zip(names, results, strict=True):
                assert result is None or isinstance(result, ClaimLost), result
                (no if result else yes).append(name)
            if log.lost is not None:
                return
        if end:
            yes.append(f"{self.name}.end")
            await log.end(Move(Status.ENDED, outcome="succeeded"), self._note(log, f"{self.name}.end"))

    def _note(self, log: RunLog, name: str) -> NoteRecorded:
        return NoteRecorded(tenant="t", run=log.claim.run, agent="a", name=name)


@asynccontextmanager
async def writer(name: str, dsn: str, rng: random.Random) -> AsyncIterator[Writer]:
    proxy = Proxy(dsn, rng)
    journal = await open_journal(ConnectionSettings(await proxy.start(), pool_size=6, application_name=name))
    made = Writer(name, proxy, journal)
    try:
        yield made
    finally:
        proxy.rate = 0
        await made.group.close(5)
        await journal.close()
        await proxy.close()


@pytest.mark.parametrize("seed", range(3))
async def test_skips_lost_answers_and_a_zombie_leave_a_gapless_chain(journal_dsn: str, seed: int) -> None:
    rng = random.Random(seed)
    quiet = await open_journal(journal_dsn)
    count = 12
    async with writer("zombie", journal_dsn, rng) as old, writer("heir", journal_dsn, rng) as new:
        await submit(quiet, count)
        await quiet.enlist(old.worker, "zombie", 1000)
        await quiet.enlist(new.worker, "heir", 1000)
        old_logs = await claim_all(quiet, old.worker, count, old.group)
        async with locks_at_random(journal_dsn, rng):
            old.proxy.rate = new.proxy.rate = 0.1
            working = asyncio.gather(*(old.work(log, 60, end=False) for log in old_logs))
            async with asyncio.timeout(60):
                while min(log.last_seq for log in old_logs) < 15:
                    await asyncio.sleep(0.005)
            await quiet.retire(old.worker)  # the lease is over, and the zombie goes on writing
            new_logs = await claim_all(quiet, new.worker, count, new.group)
            await asyncio.gather(*(new.work(log, 25, end=True) for log in new_logs))
            await working
        assert all(log.lost is not None for log in old_logs), "each run was taken while the zombie was writing"
        assert all(old.proxy.cuts[kind] + new.proxy.cuts[kind] > 0 for kind in old.proxy.cuts)

    for log in new_logs:
        run = log.claim.run
        row = await quiet.get_run("t", run)
        assert row is not None
        assert (row.status, row.outcome) == (Status.ENDED, "succeeded")
        tape = (await quiet.tapes([("t", run)]))["t", run]
        verify("t", run, tape, row.head, row.last_seq)
        events = [decode(item.body) for item in tape[1:]]
        names = [event.name for event in events if isinstance(event, NoteRecorded)]
        assert len(names) == len(set(names)) == len(events), "nothing twice"
        assert names == old.acknowledged[run] + new.acknowledged[run], "all that was acknowledged, in order, no more"
        assert not set(names) & set(old.refused[run])
        assert [event.epoch for event in events] == sorted(event.epoch for event in events)
    await quiet.close()


async def test_no_intent_commits_after_a_kill_is_sealed(journal_dsn: str) -> None:
    """Whatever was under way when the kill came is in its acknowledgement; after it there is nothing."""
    rng = random.Random(7)
    quiet = await open_journal(journal_dsn)
    journals = [await open_journal(journal_dsn) for _ in range(4)]
    writers = [GroupWriter(journal, WriterSettings(linger_seconds=0, max_events=4)) for journal in journals]
    workers = [new_id(CLOCK) for _ in writers]
    logs: list[RunLog] = []
    for worker, group in zip(workers, writers, strict=True):
        await quiet.enlist(worker, str(worker), 1000)
        await submit(quiet, 8)
        logs += await claim_all(quiet, worker, 8, group)
    over = asyncio.Event()
    refused = 0

    async def work(log: RunLog) -> None:
        nonlocal refused
        number = 0
        while not over.is_set():
            number += 1
            intent = ToolIntent(
                tenant="t", run=log.claim.run, agent="a", tool="pay", digest="d", path=f"{log.claim.run}.{number}"
            )
            try:
                await log.intent(intent)
            except IntentRefused:
                refused += 1  # for good, as far as this log is concerned: another one asks the journal again
                log = RunLog(replace(log.claim, last_seq=log.last_seq, head=log.head), log._writer)

    async def intents() -> set[str]:
        tapes = await quiet.tapes([("t", log.claim.run) for log in logs])
        events = [decode(row.body) for tape in tapes.values() for row in tape[1:]]
        return {event.path for event in events if isinstance(event, ToolIntent)}

    working = [asyncio.create_task(work(log)) for log in logs]
    scopes = [of_all("t"), Scope("agent", "t", "a"), of_all(None), Scope("customer", "t", "ada")]
    for round_number in range(8):
        before = len(await intents())
        while len(await intents()) < before + 100:
            await asyncio.sleep(rng.uniform(0, 0.01))
        scope = scopes[round_number % len(scopes)]
        sealed = await quiet.stop_scope(scope, Stop.PAUSE if round_number % 4 > 1 else Stop.KILL, "eve", "drill")
        assert sealed.sealed
        at_seal = await intents()
        assert {item.path for item in sealed.open_intents} == at_seal, "the acknowledgement lists all of them"
        tried = refused
        while refused < tried + 200:
            await asyncio.sleep(0.002)
        assert await intents() == at_seal, "nothing committed later, though all went on trying"
        assert await quiet.resume_scope(scope, "eve") == 1
    over.set()
    await asyncio.gather(*working)
    for group, journal in zip(writers, journals, strict=True):
        await group.close()
        await journal.close()
    await quiet.close()


async def test_a_database_that_goes_and_comes_back_costs_nothing_but_time(journal_dsn: str) -> None:
    quiet = await open_journal(journal_dsn)
    async with writer("patient", journal_dsn, random.Random(1)) as patient:
        await submit(quiet, 5)
        await quiet.enlist(patient.worker, "patient", 1000)
        logs = await claim_all(quiet, patient.worker, 5, patient.group)
        patient.proxy.rate = 1.0
        working = asyncio.gather(*(patient.work(log, 5, end=True) for log in logs))
        while sum(patient.proxy.cuts.values()) < 10:
            await asyncio.sleep(0.005)
        with pytest.raises(JournalUnavailable):
            await patient.journal.now()
        assert not working.done()
        patient.proxy.rate = 0.0
        await working
    for log in logs:
        row = await quiet.get_run("t", log.claim.run)
        assert row is not None
        assert row.status is Status.ENDED
    await quiet.close()
