"""Releases: drafted, reviewed, rolled out, rolled back, and side by side."""

import re
from collections.abc import Awaitable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query

from penstock.kernel.errors import CursorInvalid, ReleaseUnknown
from penstock.ports.rollouts import Release
from penstock.runs.rollouts.comparing import compare
from penstock.runs.rollouts.diff import differences
from penstock.runs.rollouts.releasing import Releasing
from penstock.runs.rollouts.rollback import roll_back
from penstock.runs.rollouts.signing import Keyring
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.routes.release_drafting import agent_named, changes_of
from penstock.server.schemas.base import Limit
from penstock.server.schemas.releases import (
    ReleaseCanary,
    ReleaseComparison,
    ReleaseDiff,
    ReleaseDifference,
    ReleaseDraft,
    ReleaseLine,
    ReleaseNotBack,
    ReleaseNumbers,
    ReleasePage,
    ReleaseReason,
    ReleaseRefusal,
    ReleaseRollback,
    ReleaseRolledBack,
    ReleaseRoute,
    ReleaseShown,
    ReleaseStep,
    ReleaseTool,
    ReleaseToolDone,
)

HOUR_US = 3_600_000_000

router = APIRouter(prefix="/v1/releases", tags=["releases"])

Reader = Annotated[Caller, needs("runs:read")]
Costs = Annotated[Caller, needs("costs:read")]
Contents = Annotated[Caller, needs("payloads:read")]
Manager = Annotated[Caller, needs("releases:manage")]
Approver = Annotated[Caller, needs("releases:approve")]
Id = Annotated[str, Path(min_length=1, max_length=64)]
Agent = Annotated[str, Query(min_length=1, max_length=64)]


@router.get("")
async def releases_list(
    server: Here,
    caller: Reader,
    agent: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str, Query(max_length=90)] = "",
    limit: Annotated[Limit, Query()] = 50,
) -> ReleasePage:
    """The tenant's releases, newest first."""
    releases = _releasing(server, caller)
    found = await releases.page(agent, _place(cursor) if cursor else None, limit)
    more = f"{found[-1].drafted_at:x}.{found[-1].id}" if len(found) == limit else None
    return ReleasePage(items=[_line(releases, release) for release in found], next=more)


@router.post("")
async def releases_draft(server: Here, caller: Manager, body: ReleaseDraft) -> ReleaseLine:
    """Keep a release of an agent that this server offers, signed. You are its author."""
    agent = agent_named(server, body.agent)
    releases = _releasing(server, caller)
    made = await releases.draft(agent, caller.actor, reason=body.reason, **changes_of(body))
    await server.actions.record(caller, "release.draft", f"release:{made.id}", {"agent": made.agent})
    return _line(releases, made)


@router.get("/compare")
async def releases_compare(
    server: Here,
    caller: Costs,
    agent: Agent,
    hours: Annotated[float, Query(ge=0.01, le=8784, allow_inf_nan=False)] = 24.0,
) -> ReleaseComparison:
    """How runs of an agent's releases went that were submitted in the last hours. Nothing is promoted by itself."""
    since = await server.journal.now() - int(hours * HOUR_US)
    found = await compare(server.journal, caller.tenant, agent, since)
    names = ReleaseNumbers.model_fields
    items = [ReleaseNumbers(**{name: getattr(item, name) for name in names}) for item in found]
    return ReleaseComparison(agent=agent, since=since, items=items)


@router.post("/rollback")
async def releases_rollback(server: Here, caller: Manager, body: ReleaseRollback) -> ReleaseRolledBack:
    """Take a release back, at once: no run that is submitted a second after the answer gets it."""
    done = await roll_back(
        _releasing(server, caller),
        server.journal,
        caller.tenant,
        body.agent,
        caller.actor,
        to=body.to,
        reason=body.reason,
        runs=body.runs,
        sessions=body.sessions,
        keep=server.settings.document_versions_kept,
    )
    detail = {"bad": list(done.bad), "live": done.live, "runs": body.runs, "sessions": body.sessions}
    await server.actions.record(caller, "release.rollback", f"agent:{body.agent}", {**detail, "reason": body.reason})
    return ReleaseRolledBack(
        agent=done.agent,
        bad=list(done.bad),
        live=done.live,
        sealed=all(stop.sealed for stop in done.stops) if done.stops else None,
        open_intents=sum(len(stop.open_intents) for stop in done.stops),
        documents=done.sessions.documents,
        versions=done.sessions.versions,
        others=done.sessions.others,
        failed=[ReleaseNotBack(kind=item.kind, name=item.name, why=item.why) for item in done.sessions.failed],
    )


@router.post("/tools")
async def releases_accept_tool(server: Here, caller: Approver, body: ReleaseTool) -> ReleaseToolDone:
    """Accept that a server's tool is another than the one that was approved: its calls go ahead again."""
    made = await _releasing(server, caller).accept_tool(body.tool, body.digest, caller.actor, body.reason)
    detail = {"digest": made.digest, "reason": body.reason}
    await server.actions.record(caller, "release.tool", f"tool:{made.tool}", detail)
    return ReleaseToolDone(tool=made.tool, digest=made.digest)


@router.get("/{id}")
async def releases_show(server: Here, caller: Reader, id: Id) -> ReleaseShown:  # noqa: A002 - as the path has it
    """One release: what became of it, and which live workers cannot run it."""
    releases = _releasing(server, caller)
    shown = await releases.show(id)
    route = await releases.route(shown.release.agent)
    return ReleaseShown(
        **_line(releases, shown.release).model_dump(),
        manifest=msgspec.to_builtins(shown.manifest) if caller.may("payloads:read") else None,
        steps=[
            ReleaseStep(
                number=step.number,
                at=step.at,
                state=step.state,
                percent=step.share / 100,
                actor=step.actor,
                reason=step.reason,
            )
            for step in shown.steps
        ],
        refusals=[ReleaseRefusal(worker=item.worker, why=item.why, at=item.at) for item in shown.refusals],
        route=ReleaseRoute(agent=route.agent, live=route.live, canary=route.canary, percent=route.share / 100),
        problem=shown.problem,
        keys=list(shown.keys),
    )


@router.get("/{id}/diff")
async def releases_diff(
    server: Here,
    caller: Contents,
    id: Id,  # noqa: A002 - as the path has it
    to: Annotated[str, Query(max_length=64)] = "",
) -> ReleaseDiff:
    """What the release ``to`` has otherwise, in words; without it, what the release has otherwise than the live one."""
    releases = _releasing(server, caller)
    shown = await releases.show(id)
    live = "" if to else (await releases.route(shown.release.agent)).live
    if not to and not live:
        raise ReleaseUnknown(f"no release of {shown.release.agent} is live", hint="say which one: ?to=ID")
    old, new = (shown, await releases.show(to)) if to else (await releases.show(live), shown)
    if old.release.agent != new.release.agent:
        raise ReleaseUnknown(f"they are of two agents: {old.release.agent} and {new.release.agent}", hint="")
    found = differences(old.manifest, new.manifest)
    items = [ReleaseDifference(what=item.what, lines=list(item.lines)) for item in found]
    return ReleaseDiff(old=old.release.id, new=new.release.id, differences=items)


@router.post("/{id}/submit")
async def releases_submit(
    server: Here,
    caller: Manager,
    id: Id,  # noqa: A002 - as the path has it
    body: ReleaseReason,
) -> ReleaseLine:
    """Put it up for review."""
    releases = _releasing(server, caller)
    return await _decided(server, caller, "submit", body.reason, releases.submit(id, caller.actor, body.reason))


@router.post("/{id}/approve")
async def releases_approve(
    server: Here,
    caller: Approver,
    id: Id,  # noqa: A002 - as the path has it
    body: ReleaseReason,
) -> ReleaseLine:
    """Approve what somebody else drafted and put up for review."""
    releases = _releasing(server, caller)
    return await _decided(server, caller, "approve", body.reason, releases.approve(id, caller.actor, body.reason))


@router.post("/{id}/reject")
async def releases_reject(
    server: Here,
    caller: Approver,
    id: Id,  # noqa: A002 - as the path has it
    body: ReleaseReason,
) -> ReleaseLine:
    """Reject it, or take its approval back."""
    releases = _releasing(server, caller)
    return await _decided(server, caller, "reject", body.reason, releases.reject(id, caller.actor, body.reason))


@router.post("/{id}/canary")
async def releases_canary(
    server: Here,
    caller: Manager,
    id: Id,  # noqa: A002 - as the path has it
    body: ReleaseCanary,
) -> ReleaseLine:
    """Give it a share of new runs; a session stays on its side."""
    share = round(body.percent * 100)
    work = _releasing(server, caller).canary(id, share, caller.actor, body.reason)
    return await _decided(server, caller, "canary", body.reason, work)


@router.post("/{id}/promote")
async def releases_promote(
    server: Here,
    caller: Manager,
    id: Id,  # noqa: A002 - as the path has it
    body: ReleaseReason,
) -> ReleaseLine:
    """Give it all new runs; what was live is retired."""
    releases = _releasing(server, caller)
    return await _decided(server, caller, "promote", body.reason, releases.promote(id, caller.actor, body.reason))


@router.post("/{id}/retire")
async def releases_retire(
    server: Here,
    caller: Manager,
    id: Id,  # noqa: A002 - as the path has it
    body: ReleaseReason,
) -> ReleaseLine:
    """Take it out of use; where it was live, new runs are as the code says."""
    releases = _releasing(server, caller)
    return await _decided(server, caller, "retire", body.reason, releases.retire(id, caller.actor, body.reason))


async def _decided(server: Server, caller: Caller, what: str, reason: str, work: Awaitable[Release]) -> ReleaseLine:
    made = await work
    detail = {"agent": made.agent, "state": made.state, "percent": made.share / 100, "reason": reason}
    await server.actions.record(caller, f"release.{what}", f"release:{made.id}", detail)
    return _line(_releasing(server, caller), made)


def _releasing(server: Server, caller: Caller) -> Releasing:
    return Releasing(server.journal, caller.tenant, Keyring.of(server.settings))


def _line(releases: Releasing, release: Release) -> ReleaseLine:
    return ReleaseLine(
        id=release.id,
        agent=release.agent,
        state=release.state,
        percent=release.share / 100,
        author=release.author,
        approved_by=release.approved_by,
        key=release.key,
        drafted_at=release.drafted_at,
        at=release.at,
        objection=releases.objection(release),
    )


def _place(cursor: str) -> tuple[int, str]:
    found = re.fullmatch(r"([0-9a-f]{1,14})\.([0-9a-f]{64})", cursor)
    if found is None:
        raise CursorInvalid(f"{cursor[:60]!r} is no cursor of releases")
    return int(found[1], 16), found[2]
