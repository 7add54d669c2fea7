"""Runs: submitted, listed, looked at."""

import re
from collections import Counter
from collections.abc import Sequence
from inspect import signature
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.datastructures import QueryParams

from penstock.agents.budget import Budget
from penstock.events import decode
from penstock.kernel.canonical import NAME_MAX_CHARS
from penstock.kernel.errors import AgentUnknown, InputInvalid, PenstockError, RequestInvalid
from penstock.kernel.ids import id_time_us
from penstock.ports.lists import SHOWN_OPEN
from penstock.ports.records import RunFilter, Status, Submitted
from penstock.ports.words import OUTCOMES, WAITED_FOR
from penstock.runs.submit import Request as RunRequest
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.schemas.base import Limit
from penstock.server.schemas.runs import (
    AnswerShown,
    BatchAccepted,
    EventPage,
    EventShown,
    Facets,
    ResultShown,
    RunAccepted,
    RunBatch,
    RunPage,
    RunShown,
    RunSubmit,
)
from penstock.server.shapes import amounts, budget, content, facets, result, run_line
from penstock.views.lines import event_line
from penstock.views.results import plain_result, read_ended
from penstock.views.rows import find_row
from penstock.views.run_list import read_list, read_sharing
from penstock.views.run_page import read_run_page

router = APIRouter(prefix="/v1/runs", tags=["runs"])

Reader = Annotated[Caller, needs("runs:read")]
Submitter = Annotated[Caller, needs("runs:submit")]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=NAME_MAX_CHARS)]
Word = Annotated[str | None, Query(min_length=1, max_length=200)]
Moment = Annotated[int, Query(ge=0, le=2**53, description="microseconds since the epoch")]
_WAIT = re.compile(r"(?:^|,)\s*wait=(\d{1,6})\s*(?:$|[,;])")
_TAG = "tag."
EVENTS_MAX = 1000


def filter_of(
    request: Request,
    *,
    status: Annotated[Status | None, Query()] = None,
    outcome: Word = None,
    shown: Word = None,
    agent: Word = None,
    release: Word = None,
    customer: Word = None,
    feature: Word = None,
    task_type: Word = None,
    session: Word = None,
    code: Word = None,
    waiting_for: Annotated[str | None, Query(pattern="^[a-z_]{1,30}$")] = None,
    since: Moment = 0,
    until: Moment = 0,
    min_nano: Annotated[int, Query(ge=0, le=2**53)] = 0,
    root: UUID | None = None,
    parent: UUID | None = None,
) -> RunFilter:
    """Which runs are meant. ``tag.NAME=VALUE`` stands for any tag: ``tag.x_team=red``."""
    _check_filters(request.query_params)
    _check_word("outcome", outcome, OUTCOMES)
    _check_word("shown", shown, (*SHOWN_OPEN, *OUTCOMES))
    _check_word("waiting_for", waiting_for, WAITED_FOR)
    tags = {"customer": customer, "feature": feature, "task_type": task_type}
    tags |= {name[len(_TAG) :]: value for name, value in request.query_params.items() if name.startswith(_TAG)}
    given = {name: value for name, value in tags.items() if value}
    for text in (outcome, shown, agent, release, session, code, *given, *given.values()):
        if text is not None and not text.isprintable():
            raise InputInvalid("a filter contains control characters")
    return RunFilter(
        status=status,
        outcome=outcome,
        shown=shown,
        agent=agent,
        release=release,
        tags=given,
        session=session,
        code=code,
        waiting_for=waiting_for,
        since=since,
        until=until,
        min_nano=min_nano,
        root=root,
        parent=parent,
    )


def _check_filters(given: QueryParams) -> None:
    """Refuse filters that do not exist, or are given twice: what they should have left out would be shown.

    Raises:
        InputInvalid: there is one.
    """
    for name, count in Counter(name for name, _ in given.multi_items()).items():
        if name not in _FILTERS and not name.startswith(_TAG):
            raise InputInvalid(f"there is no filter {name[:50]!r}", hint=f"one of {', '.join(_FILTERS)}, tag.NAME")
        if count > 1:
            raise InputInvalid(f"the filter {name[:50]!r} is given {count} times")


def _check_word(name: str, word: str | None, words: Sequence[str]) -> None:
    if word is not None and word not in words:
        raise InputInvalid(f"{name} is never {word[:50]!r}", hint=f"one of {', '.join(words)}")


_FILTERS = (*(name for name in signature(filter_of).parameters if name != "request"), "q", "limit", "cursor")
Filter = Annotated[RunFilter, Depends(filter_of)]
Search = Annotated[
    str,
    Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="beginning of an id; a session; a tag's value"),
]


@router.post(
    "", status_code=202, response_model=None, responses={200: {"model": ResultShown}, 202: {"model": RunAccepted}}
)
async def runs_submit(
    server: Here,
    caller: Submitter,
    request: Request,
    response: Response,
    body: RunSubmit,
    key: Key = None,
    prefer: Annotated[str, Header(max_length=1000)] = "",
) -> RunAccepted | ResultShown:
    """Submit a run: 202 and where to look. With ``Prefer: wait=SECONDS`` 200 and its result, if it ends in time.

    The same ``Idempotency-Key`` with the same agent and input gives the same run, however often it is sent.
    """
    if key is not None and body.key is not None and key != body.key:
        raise RequestInvalid("the header Idempotency-Key and the body's key differ")
    done = await server.submitter.submit(server.platform, _request(server, caller, body, key or body.key))
    response.headers["Location"] = _location(request, done.id)
    asked = _WAIT.search(prefer)
    if asked is not None:
        seconds = min(float(asked[1]), server.settings.http_wait_seconds)
        response.headers["Preference-Applied"] = f"wait={seconds:g}"
        row = await server.waiters.wait(server.platform, caller.tenant, done.id, seconds)
        if row is not None:
            response.status_code = 200
            ended = await read_ended(server.journal, row)
            reader = server.platform.services.reader
            return result(await plain_result(reader, ended, contents=caller.may("payloads:read")))
    return (await _accepted(server, caller, request, [done]))[0]


@router.post("/batch", status_code=202)
async def runs_submit_batch(server: Here, caller: Submitter, request: Request, body: RunBatch) -> BatchAccepted:
    """Submit several runs: all of them, or none when one is not acceptable. A key that was used for another request is
    answered with 409 after those before it were made; send the batch again without it."""
    requests = []
    for index, run in enumerate(body.runs):
        try:
            requests.append(_request(server, caller, run, run.key))
        except PenstockError as error:
            error.what = f"runs.{index}: {error.what}"
            raise
    done = await server.platform.submit_each(requests)
    return BatchAccepted(runs=await _accepted(server, caller, request, done))


@router.get("")
async def runs_list(
    server: Here,
    caller: Reader,
    where: Filter,
    q: Search = "",
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str, Query(max_length=100)] = "",
) -> RunPage:
    """Runs, newest first. No request looks at all of them: a page may end early, then it says so in ``looked_to``."""
    found = await read_list(server.journal, caller.tenant, where, q, cursor, limit)
    edge = found.page.looked_to
    return RunPage(
        items=[run_line(row) for row in found.page.rows],
        next=found.next,
        looked_to=None if edge is None else id_time_us(edge),
        read_as=found.reading,
        as_of=await server.journal.now(),
    )


@router.get("/facets")
async def runs_facets(server: Here, caller: Reader, where: Filter, q: Search = "") -> Facets:
    """What the runs that a filter finds share, and how the other runs of the same time differ."""
    return facets(await read_sharing(server.journal, caller.tenant, where, q))


@router.get("/{run}")
async def runs_show(server: Here, caller: Reader, run: UUID) -> RunShown:
    """One run, whole but for its calls: those are in its trace."""
    page = await read_run_page(server.journal, caller.tenant, run, contents=caller.may("payloads:read"))
    place = await server.journal.lists.place(caller.tenant, run) if page.row.status is Status.QUEUED else None
    return RunShown(
        **run_line(page.row).model_dump(),
        goal=page.goal,
        sentence=page.sentence,
        input=content(page.input),
        output=content(page.output),
        reason=page.reason,
        missing=page.missing,
        needed=page.needed,
        first_cause=page.first_cause,
        budget=budget(page.budget),
        used=amounts(page.used).model_copy(update={} if page.row.outcome else {"nano": page.row.summary.nano}),
        simulated=page.simulated,
        last_seq=page.row.last_seq,
        head=page.row.head.hex(),
        actor=page.actor,
        behalf=page.behalf,
        place=None if place is None else place.before,
        expected_wait=None if place is None else place.expected,
        answers=[
            AnswerShown(at=one.at, kind=one.kind, run=one.run, content=content(one.content)) for one in page.answers
        ],
        command=f"penstock runs show {run}",
    )


@router.get("/{run}/events")
async def runs_events(
    server: Here,
    caller: Reader,
    run: UUID,
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=EVENTS_MAX)] = 200,
) -> EventPage:
    """Events as they are stored, in order. They hold no content, but references to it."""
    row = await find_row(server.journal, caller.tenant, run)
    rows = await server.journal.tape(row.tenant, row.id, after=after, limit=limit)
    items = []
    for stored in rows:
        event = decode(stored.body)
        body: dict[str, Any] = msgspec.json.decode(stored.body)
        items.append(
            EventShown(seq=stored.seq, at=stored.at, hash=stored.hash.hex(), line=event_line(event), body=body)
        )
    more = bool(rows) and rows[-1].seq < row.last_seq
    return EventPage(items=items, next=rows[-1].seq if more else None)


def _request(server: Server, caller: Caller, body: RunSubmit, key: str | None) -> RunRequest:
    registry = server.platform.registry
    agent = registry.find(body.agent)
    if agent is None:
        offered = ", ".join(registry.names) or "none"
        raise AgentUnknown(
            f"no agent {body.agent!r} is offered here; there are: {offered}",
            hint="see GET /v1/agents; start the server with the module that defines it",
            agents=registry.names,
        )
    given = body.budget
    return RunRequest(
        agent,
        body.input,
        key=key,
        tags=body.tags,
        budget=None
        if given is None
        else Budget(
            tokens=given.tokens or None,
            usd=given.usd or None,
            steps=given.steps or None,
            calls=given.calls or None,
            attempts=given.attempts or None,
            seconds=given.seconds or None,
        ),
        tenant=caller.tenant,
        subject=body.subject,
        session=body.session,
        priority=body.priority,
        deadline=body.deadline,
        behalf=body.behalf,
        actor=caller.actor,
        max_wait_seconds=body.max_wait_seconds,
    )


async def _accepted(server: Server, caller: Caller, request: Request, done: Sequence[Submitted]) -> list[RunAccepted]:
    """What was made is queued; how runs of earlier submissions stand has to be looked up."""
    known = {}
    for item in done:
        if not item.created:
            row = await server.journal.get_run(caller.tenant, item.id)
            known[item.id] = row.status.value if row else Status.ENDED.value
    return [
        RunAccepted(
            id=item.id,
            status=known.get(item.id, Status.QUEUED.value),
            created=item.created,
            location=_location(request, item.id),
        )
        for item in done
    ]


def _location(request: Request, run: UUID) -> str:
    return f"{request.scope.get('root_path', '')}/v1/runs/{run}"
