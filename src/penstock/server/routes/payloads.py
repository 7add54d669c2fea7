"""Content of runs, by right, piece by piece."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from penstock.journal.payloads import ref_address
from penstock.kernel.errors import EventUnreadable, PayloadMissing
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here
from penstock.views.rows import find_row

router = APIRouter(prefix="/v1/runs", tags=["runs"])

PIECE_MAX = 64 * 1024
"""Bytes of one answer."""


@router.get(
    "/{run}/payloads/{ref}",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}, "application/octet-stream": {}}}},
)
async def payloads_read(
    server: Here,
    caller: Annotated[Caller, needs("payloads:read")],
    run: UUID,
    ref: Annotated[str, Path(max_length=100)],
    offset: Annotated[int, Query(ge=0, le=2**40)] = 0,
    limit: Annotated[int, Query(ge=1, le=PIECE_MAX)] = PIECE_MAX,
) -> Response:
    """Bytes of one payload of the run's data subject. The header ``X-Payload-Size`` says how many there are in all.

    A browser is told to save them and never to guess what they are: agents, tools and customers wrote them.
    """
    row = await find_row(server.journal, caller.tenant, run)
    try:
        where = ref_address(ref)
    except EventUnreadable as error:
        raise PayloadMissing(f"run {run} has no payload {ref!r}", hint="") from error
    data = await server.platform.services.reader.read(row.tenant, row.subject, where)
    await server.actions.record_reading(caller, str(run))
    piece = data[offset : offset + limit]
    headers = {
        "X-Payload-Size": str(len(data)),
        "Content-Disposition": f'attachment; filename="{ref[:12]}.txt"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
    return Response(piece, media_type=_media_type(data), headers=headers)


def _media_type(data: bytes) -> str:
    """Of the whole, so that all pieces of one payload have the same: a piece may begin inside a character."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain; charset=utf-8"
