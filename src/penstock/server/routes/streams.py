"""Streams: one run as it goes, or several topics at once."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request

from penstock.kernel.errors import PenstockError, RequestInvalid
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.stream.hub import RUNS_A_STREAM, read_cursor
from penstock.server.stream.sse import EventStream

router = APIRouter(prefix="/v1", tags=["streams"])

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "server-sent events"}
}
LastSeen = Annotated[str, Header(alias="Last-Event-ID", max_length=2_000)]


@router.get("/runs/{run}/stream", status_code=200, response_class=EventStream, responses=_STREAM)
async def runs_stream(
    run: UUID,
    request: Request,
    server: Here,
    caller: Annotated[Caller, needs("runs:read")],
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="events after this; Last-Event-ID comes first")] = 0,
    last_event_id: LastSeen = "",
) -> EventStream:
    """A run as it goes: ``event`` for each event of the journal, ``status``, ``tokens`` while a model speaks (with the
    permission payloads:read), ``answer`` when the caller has one, and ``end``."""
    seen = {run: read_cursor(last_event_id).get(run, after)}
    return await _stream(request, server, caller, [], seen, until_end=True)


@router.get("/stream", status_code=200, response_class=EventStream, responses=_STREAM)
async def stream_topics(
    request: Request,
    server: Here,
    caller: Annotated[Caller, needs("runs:read")],
    topics: Annotated[str, Query(max_length=2_000, description="comma-separated: overview, runs, run:ID, …")],
    last_event_id: LastSeen = "",
) -> EventStream:
    """Several topics over one connection. ``run:ID`` is a run as above; the others tell how things stand, and what has
    changed since."""
    names = list(dict.fromkeys(filter(None, topics.split(","))))
    runs = [_run_of(name) for name in names if name.startswith("run:")]
    others = [name for name in names if not name.startswith("run:")]
    unknown = [name for name in others if name not in server.hub.topics]
    if unknown or not names:
        known = ", ".join([*server.hub.topics, "run:ID"])
        raise RequestInvalid(f"there is no topic {unknown[0][:60]!r}" if unknown else "no topic is named", hint=known)
    if len(runs) > RUNS_A_STREAM:
        raise RequestInvalid(f"{len(runs)} runs in one stream; {RUNS_A_STREAM} are allowed")
    before = read_cursor(last_event_id)
    return await _stream(request, server, caller, others, {run: before.get(run, 0) for run in runs})


async def _stream(
    request: Request,
    server: Server,
    caller: Caller,
    topics: list[str],
    runs: Mapping[UUID, int],
    *,
    until_end: bool = False,
) -> EventStream:
    async def may_go_on() -> bool:
        """Whether the key or session that opened the stream is still good, and the server is not about to end."""
        if server.stopping.is_set():
            return False
        try:
            return (await server.doorkeeper.caller(request)).tenant == caller.tenant
        except PenstockError:
            return False

    words = caller.may("payloads:read")
    frames = await server.hub.stream(caller.tenant, topics, runs, words=words, may_go_on=may_go_on, until_end=until_end)
    return EventStream(frames, write_seconds=server.settings.stream_write_seconds)


def _run_of(topic: str) -> UUID:
    try:
        return UUID(topic.removeprefix("run:"))
    except ValueError:
        raise RequestInvalid(f"{topic[:60]!r} names no run", hint="write run: and the run's id") from None
