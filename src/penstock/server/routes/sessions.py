"""Sessions: runs that go one at a time, and what they leave for the next."""

from typing import Annotated

from fastapi import APIRouter, Path

from penstock.ports.documents import Document
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here
from penstock.server.schemas.platform import DocumentShown, SessionShown
from penstock.server.shapes import run_line
from penstock.views.session_page import read_session

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])


@router.get("/{session:path}")
async def sessions_show(
    server: Here,
    caller: Annotated[Caller, needs("runs:read")],
    session: Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")],
) -> SessionShown:
    """A session: its newest 200 runs in order, the run that holds it, and the document that it remembers things in."""
    page = await read_session(server.journal, caller.tenant, session)
    return SessionShown(
        session=page.session,
        holder=page.holder,
        waiting=page.waiting,
        runs=[run_line(row) for row in page.runs],
        documents=[] if page.document is None else [_document(page.document)],
    )


def _document(document: Document) -> DocumentShown:
    latest = document.latest
    return DocumentShown(
        name=document.name,
        version=latest.version,
        size=latest.content.size if latest.content else 0,
        updated_at=latest.at,
        run=latest.run,
        quarantined=document.reason or "quarantined" if document.state == "quarantined" else "",
    )
