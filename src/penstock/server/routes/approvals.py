"""Questions to people, and their decisions."""

import binascii
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from penstock.kernel.canonical import canonical_json
from penstock.kernel.errors import CursorInvalid, RunUnknown
from penstock.ports.tools import ToolDef
from penstock.runs import approvals as questions
from penstock.runs.approvals import Approval
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.schemas.approvals import (
    ApprovalLine,
    ApprovalPage,
    ApprovalShown,
    Change,
    DecisionGiven,
    DecisionTaken,
    LikeDecisions,
    NumberAmong,
    PastDecision,
)
from penstock.server.schemas.base import Limit
from penstock.server.shapes import rules
from penstock.views.approval_context import Like, read_context
from penstock.views.summary import summary_of

router = APIRouter(prefix="/v1/approvals", tags=["approvals"])

Reader = Annotated[Caller, needs("runs:read")]
Decider = Annotated[Caller, needs("approvals:decide")]
Id = Annotated[str, Path(min_length=1, max_length=100, pattern="^[A-Za-z0-9._:-]+$")]


@router.get("")
async def approvals_list(
    server: Here,
    caller: Reader,
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str, Query(max_length=60)] = "",
) -> ApprovalPage:
    """What waits for people, those that end first before the others. A page holds the questions of so many runs."""
    after = _place(cursor) if cursor else None
    found = await questions.page(server.journal, server.platform.services.reader, caller.tenant, after, limit)
    items = [await _line(server, caller, item) for item in found.items]
    following = None if found.next is None else f"{found.next[0]:x}.{found.next[1].hex}"
    return ApprovalPage(items=items, mine=sum(item.mine for item in items), next=following)


@router.get("/{id}")
async def approvals_show(server: Here, caller: Reader, id: Id) -> ApprovalShown:  # noqa: A002 - as the path has it
    """One question with its exact arguments and what a person needs to answer it. 409 ``approval_decided`` says who
    has answered it and when."""
    contents = caller.may("payloads:read")
    approval = await questions.get(server.journal, server.platform.services.reader, caller.tenant, id)
    row = await server.journal.get_run(caller.tenant, approval.run)
    if row is None:
        raise RunUnknown(f"there is no run {approval.run} for tenant {caller.tenant!r}")
    server.presence.look(caller.tenant, id, caller.actor)
    context = await read_context(
        server.journal,
        row,
        id,
        approval.tool,
        approval.question,
        approval.args,
        approval.digest,
        contents=contents,
    )
    preview = None
    if contents:
        preview = await questions.read_preview(server.journal, approval)
    line = await _line(server, caller, approval)
    tool = _tool(server, approval)
    return ApprovalShown(
        **line.model_dump(),
        args=canonical_json(approval.args).decode() if contents else "",
        hidden="" if contents else "forbidden",
        effect=tool.effect if tool else "",
        reversible=tool.labels.get("undo", "") if tool else "",
        policy=approval.policy,
        why=rules(approval.verdicts),
        previewed=preview is not None,
        changes=[]
        if preview is None
        else [Change(what=change.what, before=change.before, after=change.after) for change in preview.changes],
        changes_unknown="" if preview is None else preview.unknown,
        agent_says=context.agent_says,
        goal=context.goal,
        so_far=context.so_far,
        spent_nano=context.spent_nano,
        budget_nano=context.budget_nano,
        like=_like(context.like),
        conflicts=context.conflicts,
    )


@router.post("/{id}/decision")
async def approvals_decide(
    server: Here,
    caller: Decider,
    id: Id,  # noqa: A002 - as the path has it
    body: DecisionGiven,
) -> DecisionTaken:
    """Answer a question, once: of several decisions at a time exactly one counts, and the others are told whose.

    The decision is bound to what was on the screen: its digest, and its version, which whatever changes it raises.
    """
    journal = server.journal
    approval = await questions.get(journal, server.platform.services.reader, caller.tenant, id)
    if not server.settings.approvals_own:
        await questions.check_not_own(journal, caller.tenant, approval.run, caller.actor)
    detail = {
        "approval": id,
        "decision": body.decision,
        "digest": body.digest,
        "version": body.version,
        "seen_seconds": body.seen_seconds,
    }
    verdict = await questions.decide(
        journal,
        approval,
        body.decision,
        actor=caller.actor,
        reason=body.reason,
        digest=body.digest,
        version=body.version,
        seen_seconds=body.seen_seconds,
    )
    await server.actions.record(caller, "approval.decide", str(approval.run), detail)
    return DecisionTaken(id=id, run=approval.run, decision=verdict.decision, actor=verdict.actor, at=verdict.at)


async def _line(server: Server, caller: Caller, approval: Approval) -> ApprovalLine:
    why_not = ""
    if not caller.may("approvals:decide"):
        why_not = "you do not have the permission approvals:decide"
    elif not server.settings.approvals_own:
        row = await server.journal.get_run(caller.tenant, approval.run)
        if row is not None and caller.actor in await questions.requesters(server.journal, row):
            why_not = "you asked for this run yourself"
    contents = caller.may("payloads:read")
    return ApprovalLine(
        id=approval.id,
        run=approval.run,
        agent=approval.agent,
        tool=approval.tool,
        path=approval.path,
        question="may_run" if approval.question == "may_run" else "did_it_happen",
        risk=approval.risk,
        summary=summary_of(approval.tool, approval.args if contents else {}),
        customer=approval.customer,
        digest=approval.digest,
        version=approval.version,
        asked_at=approval.asked_at,
        expires=approval.expires,
        mine=not why_not,
        why_not=why_not,
        seen_by=server.presence.others(caller.tenant, approval.id, caller.actor),
    )


def _tool(server: Server, approval: Approval) -> ToolDef | None:
    """The tool as this process knows it; None when its agent is not offered here."""
    agent = server.platform.registry.find(approval.agent)
    found = getattr(agent, "tools", {}).get(approval.tool)
    definition = getattr(found, "definition", None)
    return definition if isinstance(definition, ToolDef) else None


def _like(found: Like) -> LikeDecisions:
    return LikeDecisions(
        approved=found.approved,
        denied=found.denied,
        expired=found.expired,
        median_seconds=found.median_seconds,
        recent=[
            PastDecision(
                run=past.decided.run,
                at=past.decided.at,
                decision=past.decided.decision,
                actor=past.decided.actor,
                reason=past.reason,
                summary=past.summary,
            )
            for past in found.recent
        ],
        numbers={
            name: NumberAmong(value=among.value, median=among.median, percentile=among.percentile, count=among.count)
            for name, among in found.numbers.items()
        },
    )


def _place(cursor: str) -> tuple[int, UUID]:
    ends, _, run = cursor.partition(".")
    try:
        return int(ends, 16) & (2**63 - 1), UUID(bytes=binascii.unhexlify(run))
    except ValueError:
        raise CursorInvalid(f"{cursor[:60]!r} is no cursor of approvals") from None
