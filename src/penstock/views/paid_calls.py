"""Every call that was paid in a stretch of time, from the tapes: for what sums by the hour cannot tell."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from penstock.journal.calls import CallReader, PaidCall
from penstock.kernel.errors import EventUnreadable
from penstock.kernel.groups import in_groups
from penstock.ports.journal import Journal
from penstock.ports.records import Row, RunFilter, RunKey, RunRow, Status
from penstock.ports.usage import HOUR

BEFORE = 7 * 24 * HOUR
"""Runs that were submitted as long before the stretch may have made calls in it; older ones are not looked for."""
RUNS_MAX = 200_000
"""Runs that one read goes through, the newest."""
PAGE = 500
TAPE_EVENTS = 2_000


@dataclass(slots=True)
class Looked:
    """What a read left out. ``pruned``: runs whose records are gone; ``damaged``: whose records cannot be read."""

    runs: int = 0
    calls: int = 0
    pruned: int = 0
    pruned_nano: int = 0
    damaged: int = 0
    too_many: bool = False

    @property
    def partial(self) -> bool:
        """Whether something is missing."""
        return bool(self.pruned or self.damaged or self.too_many)


@dataclass(slots=True)
class RunCalls:
    """The calls of one run that were settled in the stretch."""

    run: RunRow
    calls: list[PaidCall] = field(default_factory=list)


async def paid_calls(
    journal: Journal, tenant: str, since: int, until: int, looked: Looked, tags: Mapping[str, str] | None = None
) -> AsyncIterator[RunCalls]:
    """Runs with their calls that were settled in ``[since, until)``, newest run first; ``looked`` is filled on the way.

    Args:
        tags: only runs that have all of these.

    Raises:
        JournalError: the store cannot be reached.
    """
    where = RunFilter(since=max(1, since - BEFORE), until=until, tags=dict(tags or {}))
    while True:
        rows = await journal.list_runs(tenant, where, PAGE)
        looked.runs += len(rows)
        wanted = []
        for row in rows:
            if row.pruned_at is not None:
                looked.pruned += 1
                looked.pruned_nano += row.summary.nano
            elif row.status is not Status.ENDED or (row.ended_at or 0) >= since:
                wanted.append(row)
        for batch in in_groups(wanted, lambda row: row.last_seq, TAPE_EVENTS):
            for found in await _read(journal, tenant, batch, looked):
                found.calls = [call for call in found.calls if since <= call.at < until]
                looked.calls += len(found.calls)
                if found.calls:
                    yield found
        if len(rows) < PAGE:
            return
        if looked.runs >= RUNS_MAX:
            looked.too_many = True
            return
        where = replace(where, before=rows[-1].id)


async def calls_of(journal: Journal, row: RunRow) -> list[PaidCall]:
    """All settled calls of one run.

    Raises:
        EventUnreadable: its record cannot be read.
    """
    reader, calls, after = CallReader(), list[PaidCall](), 0
    while events := await journal.tape(row.tenant, row.id, after=after, limit=TAPE_EVENTS):
        calls += reader.take(events)
        after = events[-1].seq
    return calls


async def _read(journal: Journal, tenant: str, runs: list[RunRow], looked: Looked) -> list[RunCalls]:
    found = []
    tapes: dict[RunKey, list[Row]] = {}
    if len(runs) > 1:
        tapes = await journal.tapes([(tenant, row.id) for row in runs])
    for row in runs:
        try:
            if len(runs) > 1:
                calls = CallReader().take(tapes.get((tenant, row.id), []))
            else:
                calls = await calls_of(journal, row)
        except EventUnreadable:
            looked.damaged += 1
            continue
        found.append(RunCalls(row, calls))
    return found
