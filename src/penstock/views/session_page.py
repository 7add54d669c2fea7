"""A session: its runs in order, who holds it, what it remembers."""

from dataclasses import dataclass
from uuid import UUID

from penstock.kernel.errors import SessionUnknown
from penstock.ports.documents import Document
from penstock.ports.journal import Journal
from penstock.ports.records import RunFilter, RunRow, Status

RUNS_MAX = 200
"""The newest runs that are shown."""


@dataclass(slots=True, frozen=True)
class SessionPage:
    """``holder``: the unended run whose turn it is; ``waiting``: those behind it. Among the runs shown."""

    session: str
    holder: UUID | None
    waiting: int
    runs: list[RunRow]
    document: Document | None


async def read_session(journal: Journal, tenant: str, session: str) -> SessionPage:
    """A session as it is now.

    Raises:
        SessionUnknown: no run of the tenant was ever in it, and it holds nothing.
    """
    page = await journal.lists.page(tenant, RunFilter(session=session), RUNS_MAX)
    document = await journal.documents.get(tenant, "session", session)
    if not page.rows and document is None:
        raise SessionUnknown(f"there is no session {session!r} for tenant {tenant!r}")
    runs = page.rows[::-1]
    unended = [row for row in runs if row.status is not Status.ENDED]
    # Only the holder is ever taken up: where one is beyond the queue, it is that one; else the first in line.
    holder = next((row for row in unended if row.status is not Status.QUEUED), unended[0] if unended else None)
    return SessionPage(session, holder.id if holder else None, max(0, len(unended) - 1), runs, document)
