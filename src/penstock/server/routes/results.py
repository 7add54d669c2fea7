"""What came of runs: of one, and of all in the order in which they ended."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from penstock.kernel.clock import wall_seconds
from penstock.kernel.errors import CursorInvalid, RunNotEnded, RunQuarantined
from penstock.ports.lists import Ends
from penstock.ports.records import CONTINUED, Status
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here
from penstock.server.schemas.base import Limit
from penstock.server.schemas.runs import ResultPage, ResultShown
from penstock.server.shapes import result
from penstock.views.results import plain_result, read_ended
from penstock.views.rows import find_row

router = APIRouter(prefix="/v1", tags=["results"])

Reader = Annotated[Caller, needs("runs:read")]
Wait = Annotated[float, Query(ge=0, le=600, description="seconds to wait for it; the server has a bound of its own")]
_DIGITS_MAX = 18


@router.get("/runs/{run}/result")
async def results_show(server: Here, caller: Reader, run: UUID, wait: Wait = 0) -> ResultShown:
    """A run's result; 409 ``run_not_ended`` when it has none yet. Of a run that went on in others, that of the last."""
    row = await find_row(server.journal, caller.tenant, run)
    ended = row if row.status is Status.ENDED and row.code != CONTINUED else None
    if ended is None:
        ended = await server.waiters.wait(server.platform, caller.tenant, run, wait)
    if ended is None:
        row = await find_row(server.journal, caller.tenant, run)
        if row.status is Status.QUARANTINED:
            raise RunQuarantined(f"run {run} was set aside: {row.code}", run=str(run), run_code=row.code)
        raise RunNotEnded(f"run {run} has not ended; it is {row.status.value}", status=row.status.value)
    found = await plain_result(
        server.platform.services.reader,
        await read_ended(server.journal, ended),
        contents=caller.may("payloads:read"),
    )
    return result(found)


@router.get("/results")
async def results_list(
    server: Here,
    caller: Reader,
    cursor: Annotated[str, Query(max_length=40)] = "",
    limit: Annotated[Limit, Query()] = 100,
    wait: Wait = 0,
    children: bool = False,
) -> ResultPage:
    """Results in the order in which runs ended, each once. Ask again with ``next`` for those that come; with ``wait``
    the answer waits for the first. Without a cursor it begins at the beginning. ``children``: also of runs that others
    delegated to, and of each run that went on in another."""
    after = _place(cursor)
    until = wall_seconds() + min(wait, server.settings.http_wait_seconds)
    while True:
        ends = await server.journal.lists.ends(caller.tenant, after, limit, children=children)
        left = until - wall_seconds()
        if ends.items or left <= 0 or server.stopping.is_set():
            break
        after = ends.next
        await server.platform.services.clock.sleep(min(left, server.settings.poll_seconds))
    return await _page(server, caller, ends)


async def _page(server: Here, caller: Caller, ends: Ends) -> ResultPage:
    reader, contents = server.platform.services.reader, caller.may("payloads:read")
    items = [result(await plain_result(reader, ended, contents=contents)) for ended in ends.items]
    return ResultPage(items=items, next=str(ends.next))


def _place(cursor: str) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _DIGITS_MAX):
        raise CursorInvalid(f"{cursor[:40]!r} is no cursor of results")
    return int(cursor)
