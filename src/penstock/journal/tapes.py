"""Tapes a piece at a time, so that no request holds all of a long one."""

from collections.abc import AsyncIterator
from typing import Protocol
from uuid import UUID

from penstock.ports.records import Row

PAGE_EVENTS = 1_000
"""Of one request. Events are a kilobyte each, mostly, and never more than ``event_max_bytes``."""


class Source(Protocol):
    """What tapes are read from: a journal, or an archive."""

    async def tape(self, tenant: str, run: UUID, after: int = 0, limit: int = 10_000) -> list[Row]:
        """Events with ``seq > after``, in order, at most ``limit``."""
        ...


async def pages(source: Source, tenant: str, run: UUID) -> AsyncIterator[list[Row]]:
    """All events of a run, in order, in pieces; also those that are appended meanwhile."""
    after = 0
    while True:
        page = await source.tape(tenant, run, after, PAGE_EVENTS)
        if page:
            yield page
        if len(page) < PAGE_EVENTS:
            return
        after = page[-1].seq


async def whole(source: Source, tenant: str, run: UUID) -> list[Row]:
    """All events of a run, for whoever needs them at once."""
    return [row async for page in pages(source, tenant, run) for row in page]
