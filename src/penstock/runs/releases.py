"""From one run to the next: successors of those that continued, and runs whose code nobody offers."""

from dataclasses import dataclass
from uuid import UUID

from penstock.events import RunContinued, RunSubmitted, Totals, decode
from penstock.kernel.errors import EventUnreadable
from penstock.ports.journal import Journal
from penstock.ports.records import RunRow
from penstock.ports.releases import StrandedRun

PAGE = 500


@dataclass(slots=True, frozen=True)
class Stranded:
    """Runs that wait for a worker of their release; ``silent``: live workers that do not say what they offer."""

    runs: list[StrandedRun]
    more: bool  # there are further ones
    silent: list[str]


async def successor(journal: Journal, row: RunRow) -> UUID:
    """The run in which a run that ended as ``continued`` goes on.

    Raises:
        EventUnreadable: the record does not say.
    """
    after = row.last_seq
    while after > 0:
        start = max(0, after - PAGE)
        for stored in reversed(await journal.tape(row.tenant, row.id, start, after - start)):
            event = decode(stored.body)
            if isinstance(event, RunContinued):
                return event.next_run
        after = start
    raise EventUnreadable(f"run {row.id} ended as continued, but no event says in which run")


async def carried(journal: Journal, row: RunRow) -> Totals:
    """What the runs that went on in this one have used."""
    first = decode((await journal.tape(row.tenant, row.id, limit=1))[0].body)
    return first.carried if isinstance(first, RunSubmitted) else Totals()


async def stranded(journal: Journal, tenant: str, limit: int) -> Stranded:
    """Unended runs of a tenant whose release no live worker says it offers, oldest first, at most ``limit``."""
    found: list[StrandedRun] = []
    after: UUID | None = None
    while len(found) <= limit:
        page = await journal.releases.stranded(tenant, min(PAGE, limit + 1 - len(found)), after)
        found += page
        if not page:
            break
        after = page[-1].run
    silent = [worker.name for worker in await journal.releases.workers() if worker.format == 1]
    return Stranded(found[:limit], len(found) > limit, silent)
