"""What the journal's conformance suite works with: runs, holders of runs, and the passing of time."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from penstock.events import Event, NoteRecorded, RunSubmitted, ToolIntent, ToolOutcome, encode
from penstock.journal.chain import genesis, link, verify
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import token_bytes
from penstock.ports.journal import Journal
from penstock.ports.records import Answer, Applied, Batch, Claim, Move, NewRun, Payload, Post, Row, Status, Summary

CLOCK = SystemClock()
LEASE = 60.0
SECOND = 1_000_000


def new_run(tenant: str = "acme", **fields: Any) -> NewRun:
    """A run of agent ``clerk``, release ``r1``, with its first event."""
    run = fields.pop("id", None) or new_id(CLOCK)
    body = encode(RunSubmitted(tenant=tenant, run=run, agent="clerk", seq=1))
    named = fields.pop("subject", None)
    settings: dict[str, Any] = {"agent": "clerk", "release": "r1", "subject_key": token_bytes(32), **fields}
    row = Row(1, body, link(genesis(tenant, run), body))
    return NewRun(tenant=tenant, id=run, event=row, subject=named or str(run), **settings)


class Holder:
    """A worker's hold on one run: makes batches whose chain is right, and follows those that were applied."""

    def __init__(self, journal: Journal, claim: Claim) -> None:
        self.journal = journal
        self.claim = claim
        self.tenant, self.run = claim.tenant, claim.run
        self.last_seq, self.head = claim.last_seq, claim.head

    @property
    def key(self) -> tuple[str, UUID]:
        return self.tenant, self.run

    def note(self, name: str = "n") -> NoteRecorded:
        return NoteRecorded(tenant=self.tenant, run=self.run, agent="clerk", name=name)

    def intent(self, path: str = "1", **fields: Any) -> ToolIntent:
        return ToolIntent(
            tenant=self.tenant, run=self.run, agent="clerk", tool="refund", digest="d", path=path, **fields
        )

    def outcome(self, path: str = "1", **fields: Any) -> ToolOutcome:
        return ToolOutcome(tenant=self.tenant, run=self.run, agent="clerk", path=path, **fields)

    def batch(self, *events: Event, **fields: Any) -> Batch:
        """The events, or ``count`` notes, as the next batch."""
        count = fields.pop("count", 0 if events else 1)
        seq, head, rows = self.last_seq, self.head, []
        for event in events or [self.note() for _ in range(count)]:
            seq += 1
            event.seq, event.epoch = seq, self.claim.epoch
            body = encode(event)
            head = link(head, body)
            rows.append(Row(seq, body, head))
        summary = fields.pop("summary", Summary())
        return Batch(self.tenant, self.run, self.claim.epoch, self.last_seq, rows, summary, **fields)

    def follow(self, batch: Batch) -> None:
        """The batch was applied."""
        if batch.rows:
            self.last_seq, self.head = batch.rows[-1].seq, batch.rows[-1].hash

    async def append(self, *events: Event, **fields: Any) -> Applied:
        """Append one batch, alone; again while its row is locked by somebody."""
        batch = self.batch(*events, **fields)
        answer = (await self.journal.append([batch]))[0]
        while answer.answer is Answer.SKIPPED:
            answer = (await self.journal.append([batch]))[0]
        if answer.answer is Answer.APPLIED:
            self.follow(batch)
        return answer

    async def move(self, status: Status, **fields: Any) -> Applied:
        """Append a note and give the claim up."""
        return await self.append(move=Move(status, **fields))


class World:
    """A journal, and control over its time. Subclasses know the store."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    async def advance(self, seconds: float) -> None:
        """Let the store's leases and due times come that much nearer."""
        raise NotImplementedError

    async def worker(self, name: str = "w", lease: float = LEASE) -> UUID:
        """An enlisted worker."""
        worker = new_id(CLOCK)
        await self.journal.enlist(worker, f"{name}-{worker}", lease)
        return worker

    async def claimed(self, count: int = 1, worker: UUID | None = None, **fields: Any) -> list[Holder]:
        """Newly submitted runs, claimed."""
        runs = [new_run(**fields) for _ in range(count)]
        await self.journal.submit(runs)
        worker = worker or await self.worker()
        claims = await self.journal.claim(worker, ["r1"], 1000)
        wanted = {run.id for run in runs}
        holders = [Holder(self.journal, claim) for claim in claims if claim.run in wanted]
        assert len(holders) == count
        return holders

    async def held(self, **fields: Any) -> Holder:
        """One newly submitted run, claimed."""
        return (await self.claimed(1, **fields))[0]

    async def claim(self, limit: int = 1000, worker: UUID | None = None) -> list[Claim]:
        """What a worker that offers ``r1`` gets."""
        return await self.journal.claim(worker or await self.worker(), ["r1"], limit)

    async def reclaim(self, run: UUID, worker: UUID | None = None) -> Holder:
        """The run, which must be due, in new hands."""
        claims = await self.claim(worker=worker)
        return next(Holder(self.journal, claim) for claim in claims if claim.run == run)

    async def status(self, holder: Holder) -> Status:
        row = await self.journal.get_run(*holder.key)
        assert row is not None
        return row.status

    async def check_chain(self, tenant: str, run: UUID) -> Sequence[Row]:
        """The run's tape, which must fit its row."""
        row = await self.journal.get_run(tenant, run)
        assert row is not None
        tape = (await self.journal.tapes([(tenant, run)]))[tenant, run]
        verify(tenant, run, tape, row.head, row.last_seq)
        return tape


def letter(holder: Holder, dedup: str = "a", kind: str = "message", body: bytes = b"{}") -> Post:
    """A letter to a held run."""
    return Post(holder.tenant, holder.run, dedup, kind, body)


def payload(subject: str, data: bytes = b"hello", tenant: str = "acme", address: bytes = b"a" * 32) -> Payload:
    """A stored payload with a given address."""
    return Payload(tenant, subject, address, data, "raw", len(data))


class Recorder:
    """Passes everything on, and knows what was called."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self.journal, name)
