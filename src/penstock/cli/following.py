"""Following a run's events as they are written."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from penstock.cli.text import safe
from penstock.events import Event, RunEnded, RunSubmitted, decode
from penstock.ports.journal import Journal
from penstock.ports.records import Status
from penstock.views.lines import clock_time, event_line
from penstock.views.rows import known_row

PAUSE_SECONDS = 0.1
SLOWEST_SECONDS = 1.0


async def follow(journal: Journal, tenant: str, run: UUID, *, wait: bool = True) -> AsyncIterator[Event]:
    """The events of a run, those to come too, until it has ended or was set aside; without ``wait`` those there are.

    Raises:
        RunUnknown: no such run for this tenant.
    """
    after, pause = 0, PAUSE_SECONDS
    while True:
        row = await known_row(journal, tenant, run)
        rows = await journal.tape(tenant, run, after=after)
        for stored in rows:
            after = stored.seq
            event = decode(stored.body)
            yield event
            if isinstance(event, RunEnded):
                return
        if rows:
            pause = PAUSE_SECONDS
            continue
        if not wait or row.status is Status.QUARANTINED:
            return
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, SLOWEST_SECONDS)


def follow_line(event: Event) -> str:
    """An event on one line for people."""
    at = clock_time(event.at)[11:19]
    place = event.path or ("run" if not isinstance(event, RunSubmitted | RunEnded) else "●")
    return f"{at}  {event.seq:>4}  {place:<8} {safe(event_line(event))}"
