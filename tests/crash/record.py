"""What must be true of every run's record, whatever its workers went through."""

import asyncio
import contextvars
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from penstock.events import (
    ApprovalRequested,
    Event,
    ModelIntent,
    ModelOutcome,
    RunClaimed,
    RunEnded,
    ToolDoubted,
    ToolIntent,
    ToolOutcome,
    decode,
)
from penstock.gates.run.services import Services
from penstock.journal.chain import verify
from penstock.journal.writer import GroupWriter, WriterSettings
from penstock.ports.journal import Journal
from penstock.ports.records import Answer, Applied, Batch, Claim, Payload, Row, RunRow
from penstock.runs.client import Penstock
from penstock.runs.work.executor import Execution

TENANT = "default"
IMPOSED = ("over_seconds", "over_history", "gate_cancelled")


class Sealed:
    """A journal that can be read; what is appended is kept aside, and acting on others is an error."""

    def __init__(self, inner: Journal) -> None:
        self._inner = inner
        self.appended: list[Row] = []
        self.snapshots = inner.snapshots

    async def append(
        self, batches: Sequence[Batch], payloads: Sequence[Payload] = (), *, blocking: bool = False
    ) -> list[Applied]:
        for batch in batches:
            assert not batch.intent or batch.move is not None, "a replay intends something"
            assert not batch.children, "a replay starts a child"
            self.appended += batch.rows
        return [Applied(Answer.APPLIED) for _ in batches]

    async def put_payloads(self, payloads: Sequence[Payload]) -> None:
        return None

    async def get_payloads(self, *args: Any) -> Any:
        return await self._inner.get_payloads(*args)

    async def fetch_payloads(self, *args: Any) -> Any:
        return await self._inner.fetch_payloads(*args)


async def events_of(journal: Journal, run: UUID) -> list[Event]:
    """A run's events."""
    return [decode(row.body) for row in await journal.tape(TENANT, run)]


async def check_record(penstock: Penstock, run: UUID) -> list[Event]:
    """Assert that a run that has ended has a whole record, and that replaying it does nothing and ends the same."""
    row = await penstock.journal.get_run(TENANT, run)
    assert row is not None
    rows = await penstock.journal.tape(TENANT, run)
    events = [decode(item.body) for item in rows]
    assert [item.seq for item in rows] == list(range(1, row.last_seq + 1))
    assert [event.seq for event in events] == [item.seq for item in rows]
    epochs = [event.epoch for event in events]
    assert epochs == sorted(epochs), "an overtaken worker appended"
    verify(TENANT, run, rows, row.head, row.last_seq)
    assert isinstance(events[-1], RunEnded)
    assert sum(isinstance(event, RunEnded) for event in events) == 1
    _check_calls(events, story(rows))
    await _check_replay(penstock, row, rows, events[-1])
    return events


def _check_calls(events: list[Event], where: str) -> None:
    """Every outcome follows its intent, once; nothing is attempted again before the last attempt was settled."""
    open_calls: dict[str, int] = {}
    for event in events:
        if isinstance(event, ToolIntent | ModelIntent):
            assert event.path not in open_calls, f"{event.path} is attempted again while in doubt\n{where}"
            open_calls[event.path] = event.attempt
        elif isinstance(event, ToolOutcome | ModelOutcome):
            attempt = open_calls.pop(event.path, None)
            assert attempt == event.attempt, f"an outcome without its intent at {event.path}\n{where}"
        elif isinstance(event, ToolDoubted):
            assert open_calls.get(event.path) == event.attempt


async def _check_replay(penstock: Penstock, row: RunRow, rows: list[Row], end: RunEnded) -> None:
    if end.outcome in ("killed", "cancelled") or end.code in IMPOSED:
        return  # ended from outside: the tape stops where the stop met it
    sealed = Sealed(penstock.journal)
    journal = cast("Journal", sealed)
    services: Services = replace(penstock.services, journal=journal)
    writer = GroupWriter(journal, WriterSettings(), services.clock)
    before = rows[-2]
    claim = Claim(
        TENANT,
        row.id,
        row.epoch + 1,
        before.seq,
        before.hash,
        row.agent,
        row.release,
        row.subject,
        await penstock.journal.subject_key(TENANT, row.subject) or b"",
        row.parent,
        row.parent_path,
        row.root,
        1,
        None,
        services.clock.now_us(),
    )
    execution = Execution(claim, rows[:-1], [], services, writer, "replay")
    context = contextvars.copy_context()
    how = await asyncio.get_running_loop().create_task(execution.run(row.id, context), context=context)
    await writer.close()
    assert how == "ended", f"replay of {row.agent} was {how}: {[decode(item.body) for item in sealed.appended]}"
    made = [decode(item.body) for item in sealed.appended]
    assert [type(event) for event in made] == [RunClaimed, RunEnded], made
    again = made[-1]
    assert isinstance(again, RunEnded)
    same = ("outcome", "code", "reason", "missing", "needed", "payloads", "totals", "simulated")
    assert [getattr(again, name) for name in same] == [getattr(end, name) for name in same]


def story(rows: Sequence[Row]) -> str:
    """A tape in one line an event, for the message of a failed test."""
    lines = []
    for row in rows:
        event = decode(row.body)
        told = ("tool", "topic", "dedup", "status", "again", "cause", "way", "decision", "reason", "failure")
        words = [getattr(event, name, "") for name in told]
        lines.append(
            f"{row.seq:3} epoch {event.epoch} {row.at / 1e6 % 1000:8.3f} {type(event).__name__:18} {event.path:6} "
            + " ".join(str(word) for word in words if word)
        )
    return "\n".join(lines)


def asked_whether_it_happened(events: list[Event], name: str) -> int:
    """How often a person was asked about a tool's call in doubt."""
    return sum(
        isinstance(event, ApprovalRequested) and event.question == "did_it_happen" and event.tool == name
        for event in events
    )


def doubts(events: list[Event], name: str) -> int:
    """How often a tool's call was in doubt."""
    return sum(isinstance(event, ToolDoubted) and event.tool == name for event in events)


def spent_nano(events: list[Event]) -> int:
    """Nano-dollars that the run's own model calls were charged."""
    return sum(event.used.nano for event in events if isinstance(event, ModelOutcome))
