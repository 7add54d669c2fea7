"""What came of a run, as plain values."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from penstock.events import RunEnded, Totals, decode
from penstock.journal.payloads import PayloadReader, ref_address
from penstock.kernel.errors import EventUnreadable, PayloadMissing
from penstock.ports.journal import Journal
from penstock.ports.lists import Ended
from penstock.ports.records import RunRow


@dataclass(slots=True, frozen=True)
class PlainResult:
    """A result. ``hidden``: why the output is not shown: forbidden | archived | missing."""

    run: UUID
    agent: str
    outcome: str
    code: str
    ended_at: int
    reason: str = ""
    output: Any = None
    missing: list[str] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)
    used: Totals = Totals()
    simulated: bool = False
    hidden: str = ""


async def read_ended(journal: Journal, row: RunRow) -> Ended:
    """A run that has ended, with its last event."""
    gone = row.pruned_at is not None
    last = [] if gone else await journal.tape(row.tenant, row.id, after=row.last_seq - 1, limit=1)
    return Ended(row, last[0] if last else None)


async def plain_result(reader: PayloadReader, ended: Ended, *, contents: bool) -> PlainResult:
    """The result of a run. ``contents``: whoever asks may see the output.

    Raises:
        EventUnreadable: its last event is no end.
    """
    row = ended.row
    outcome, at = row.outcome or "", row.ended_at or 0
    if ended.last is None:
        return PlainResult(row.id, row.agent, outcome, row.code, at, hidden="archived")
    event = decode(ended.last.body)
    if not isinstance(event, RunEnded):
        raise EventUnreadable(f"the last event of run {row.id} is not its end")
    output, hidden = None, ""
    if refs := event.payloads.get("output"):
        if contents:
            try:
                output = msgspec.json.decode(await reader.read(row.tenant, row.subject, ref_address(refs[0])))
            except PayloadMissing:
                hidden = "missing"
        else:
            hidden = "forbidden"
    return PlainResult(
        row.id,
        row.agent,
        outcome,
        row.code,
        at,
        event.reason,
        output,
        event.missing,
        event.needed,
        event.totals,
        event.simulated,
        hidden,
    )
