"""Running a program in memory, and copying a run as if its worker had died at a given event."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import msgspec

from penstock.adapters.memory import MemoryJournal
from penstock.events import ChildIntent, ChildOutcome, Event, RunClaimed, RunEnded, RunHandedBack, RunParked, decode
from penstock.journal.chain import verify
from penstock.journal.payloads import ref_address, unpack
from penstock.kernel.errors import ApprovalDecided, RunUnknown
from penstock.ports.agents import AgentDef
from penstock.ports.journal import Journal
from penstock.ports.records import NewRun, Row, Status
from penstock.runs.approvals import Approval
from penstock.runs.client import Penstock
from penstock.settings import Settings
from penstock.wiring import assemble

TENANT = "default"
SETTINGS = Settings(poll_seconds=0.01, drain_seconds=0.1)
LONG_AGO = 60_000_000  # microseconds: a copied tape is so old that every doubt may be settled at once


@dataclass(slots=True)
class Tape:
    """A run as its journal holds it, with everything needed to continue it elsewhere."""

    run: UUID
    journal: MemoryJournal

    @property
    def rows(self) -> list[Row]:
        return self.journal._store.runs[TENANT, self.run].tape

    @property
    def events(self) -> list[Event]:
        return [decode(row.body) for row in self.rows]

    @property
    def end(self) -> RunEnded:
        last = self.events[-1]
        assert isinstance(last, RunEnded), last
        return last

    def output(self) -> Any:
        """The plain output, or what stands in its place."""
        refs = self.end.payloads.get("output", [])
        return [self.end.outcome, self.end.code, self.end.reason, self.payload(refs[0]) if refs else None]

    def payload(self, ref: str) -> Any:
        return msgspec.json.decode(self.payload_bytes(ref))

    def payload_bytes(self, ref: str) -> bytes:
        run = self.journal._store.runs[TENANT, self.run]
        return unpack(self.journal._store.payloads[TENANT, run.new.subject][ref_address(ref)])

    def verify(self) -> int:
        """Check the chain of every run of the journal; how many there are."""
        for (tenant, run), stored in self.journal._store.runs.items():
            verify(tenant, run, stored.tape, stored.head, stored.last_seq)
        return len(self.journal._store.runs)


Person = Callable[[Approval], str]
"""Who decides: given a question, the answer."""


def every_third_no(approval: Approval) -> str:
    """No to every third thing, yes to the rest."""
    assert approval.question == "may_run", "nobody in these tests can tell whether something happened"
    return "deny" if approval.args["x"] % 3 == 0 else "approve"


@contextlib.asynccontextmanager
async def open_on(
    journal: MemoryJournal,
    agents: Iterable[AgentDef] = (),
    *,
    settings: Settings = SETTINGS,
    person: Person | None = every_third_no,
) -> AsyncIterator[Penstock]:
    """A platform with a worker, and a person who decides at once, on a journal."""
    async with assemble(journal, settings, agents=agents) as platform:
        platform.start_worker("w")
        deciding = asyncio.create_task(decide_all(platform, person) if person else asyncio.sleep(0))
        try:
            yield platform
        finally:
            deciding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await deciding


async def decide_all(platform: Penstock, person: Person, pause: float = 0.002) -> None:
    """Answer every question as it comes, until cancelled; ``pause``: seconds between two looks."""
    while True:
        for approval in await platform.approvals():
            with contextlib.suppress(ApprovalDecided, RunUnknown):  # answered a moment ago, or the run has ended
                await platform.decide(approval, person(approval), actor="person")
        await asyncio.sleep(pause)


async def run_live(agent: AgentDef, value: Any, **options: Any) -> Tape:
    """Run an agent to its end in a journal of its own."""
    journal = MemoryJournal()
    async with open_on(journal, [agent]) as platform:
        run = await platform.submit(agent, value, **options)
        await platform.result(run, timeout_seconds=20)
    return Tape(run, journal)


def cut(tape: Tape, count: int) -> MemoryJournal:
    """A copy that holds only the first ``count`` events of the run, as after a crash; its children begin anew.

    Only children that its tape waits for can run.
    """
    source = tape.journal._store
    copy = MemoryJournal()
    copy._store.payloads = {key: dict(known) for key, known in source.payloads.items()}
    copy._store.subjects = dict(source.subjects)
    kept = tape.rows[:count]
    children: set[UUID] = set()
    ended: set[UUID] = set()
    for event in (decode(row.body) for row in kept):
        if isinstance(event, ChildIntent):
            children.add(event.child)
        elif isinstance(event, ChildOutcome):
            ended.add(event.child)
    for (tenant, run), stored in source.runs.items():
        if run == tape.run:
            rows = kept
        elif run in ended:  # nobody can claim it; a later cut may need it
            copy._store.runs[tenant, run] = replace(stored, status=Status.ENDED)
            continue
        elif run in children:
            rows = stored.tape[:1]
        else:
            continue
        again = replace(
            stored,
            tape=[msgspec.structs.replace(row, at=row.at - LONG_AGO) for row in rows],
            status=Status.QUEUED,
            epoch=max(decode(row.body).epoch for row in rows),
            wake_at=0,
            claims=0,
            worker=None,
            inbox={},
            consumed=set(),
            stop=None,
            outcome=None,
            code="",
            ended_at=None,
            waiting=b"[]",
        )
        copy._store.runs[tenant, run] = again
    return copy


async def go_on(tape: Tape, count: int, agents: Iterable[AgentDef], **options: Any) -> Tape:
    """Continue a copy of the run from its first ``count`` events to its end."""
    journal = cut(tape, count)
    async with open_on(journal, agents, **options) as platform:
        await platform.result(tape.run, timeout_seconds=20)
    return Tape(tape.run, journal)


async def copy_of(journal: Journal, run: UUID) -> Tape:
    """A run of any journal, copied into memory with its payloads."""
    row = await journal.get_run(TENANT, run)
    assert row is not None
    rows = await journal.tape(TENANT, run)
    key = await journal.subject_key(TENANT, row.subject)
    assert key is not None
    first = NewRun(TENANT, run, row.agent, row.release, rows[0], row.subject, key, tags=row.tags)
    copy = MemoryJournal()
    await copy.submit([first])
    stored = copy._store.runs[TENANT, run]
    stored.tape, stored.epoch = rows, row.epoch
    refs = {
        ref for event in map(decode, (row.body for row in rows)) for part in event.payloads.values() for ref in part
    }
    found = await journal.get_payloads(TENANT, row.subject, [ref_address(ref) for ref in refs])
    await copy.put_payloads(list(found.values()))
    return Tape(run, copy)


def comings_and_goings(events: Iterable[Event]) -> list[Event]:
    """Events without those that only say which worker had the run when."""
    return [event for event in events if not isinstance(event, RunClaimed | RunParked | RunHandedBack)]


def same_end(one: RunEnded, other: RunEnded) -> bool:
    """Whether two last events say the same."""
    return msgspec.structs.replace(one, at=0, seq=0, epoch=0) == msgspec.structs.replace(other, at=0, seq=0, epoch=0)
