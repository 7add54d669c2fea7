"""Questions to people, and their decisions."""

import binascii
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from penstock.gates.tool.approvers import standing_of
from penstock.kernel.canonical import canonical_json
from penstock.kernel.errors import CursorInvalid, DelegationUnknown, RunUnknown
from penstock.ports.tools import ToolDef
from penstock.runs import approvals as questions
from penstock.runs.approvals import Approval
from penstock.runs.approving import batch, deciding, delegating
from penstock.runs.approving.cases import cases_of
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.routes.voters import voter_of
from penstock.server.schemas.approvals import (
    AlikePage,
    ApprovalAlike,
    ApprovalLine,
    ApprovalPage,
    ApprovalShown,
    BatchAsked,
    BatchDone,
    BatchItem,
    Change,
    DecisionGiven,
    DecisionTaken,
    LikeDecisions,
    NumberAmong,
    PastDecision,
    TermsShown,
    VoteShown,
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


@router.get("/alike")
async def approvals_alike(
    server: Here, caller: Reader, group: Annotated[str, Query(pattern="^[0-9a-f]{32}$")]
) -> AlikePage:
    """The questions of one group that wait, each with its exact arguments: what one looks at before deciding on several
    for the same reason. Each is decided by itself, with its own digest and version."""
    found = await batch.alike(server.journal, server.platform.services.reader, caller.tenant, group)
    contents = caller.may("payloads:read")
    items = [
        ApprovalAlike(
            **(await _line(server, caller, item)).model_dump(),
            args=canonical_json(item.args).decode() if contents else "",
            hidden="" if contents else "forbidden",
        )
        for item in found
    ]
    first = found[0] if found else None
    return AlikePage(
        items=items,
        why=rules(first.verdicts) if first else [],
        policy=first.policy if first else "",
        more=len(found) == batch.BATCH_MAX,
    )


@router.get("/{id}")
async def approvals_show(
    server: Here,
    caller: Reader,
    id: Id,  # noqa: A002 - as the path has it
    behalf: Annotated[str, Query(max_length=200)] = "",
) -> ApprovalShown:
    """One question with its exact arguments and what a person needs to answer it. 409 ``approval_decided`` says who
    has answered it and when. ``behalf``: whether the caller may decide it by the right that they handed on."""
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
    line = await _line(server, caller, approval, behalf)
    tool = _tool(server, approval)
    return ApprovalShown(
        **line.model_dump(),
        args=canonical_json(approval.args).decode() if contents else "",
        hidden="" if contents else "forbidden",
        effect=tool.effect if tool else "",
        reversible=tool.labels.get("undo", "") if tool else "",
        takes=tool.spec.schema if tool else None,
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
    voter = voter_of(caller)
    if body.behalf:
        voter = await delegating.on_behalf(journal, caller.tenant, voter, body.behalf)
    detail = {
        "approval": id,
        "decision": body.decision,
        "digest": body.digest,
        "version": body.version,
        "seen_seconds": body.seen_seconds,
        **({"behalf": body.behalf} if body.behalf else {}),
        **({"together": body.together} if body.together else {}),
    }
    taken = await deciding.decide(
        journal,
        approval,
        body.decision,
        voter,
        reason=body.reason,
        digest=body.digest,
        version=body.version,
        seen_seconds=body.seen_seconds,
        args=body.args,
        tool=_tool(server, approval),
        own=bool(server.settings.approvals_own),
        keys=server.platform.services.decisions,
    )
    await server.actions.record(caller, "approval.decide", str(approval.run), detail)
    return _taken(approval, taken)


@router.post("/batch")
async def approvals_batch(server: Here, caller: Decider, body: BatchAsked) -> BatchDone:
    """Decide on all questions that one rule matches, each by itself and each on the record. Without ``ids`` it says
    only which they are: decide on those with their ids, as they were shown."""
    journal = server.journal
    bounds = tuple(batch.parse_bound(text) for text in body.where)
    rule = batch.Rule(body.tool, body.rule, body.agent, bounds)
    found = await batch.matching(journal, server.platform.services.reader, caller.tenant, rule, body.most)
    if body.ids is None:
        return BatchDone(items=[BatchItem(id=one.id, run=one.run, digest=one.digest) for one in found])
    wanted = [one for one in found if one.id in body.ids]
    done = await batch.decide_all(
        journal,
        wanted,
        body.decision,
        voter_of(caller),
        reason=body.reason,
        own=bool(server.settings.approvals_own),
        keys=server.platform.services.decisions,
    )
    for one in done:
        if one.taken is not None:
            about = {
                "approval": one.approval.id,
                "decision": body.decision,
                "digest": one.approval.digest,
                "batch": {"tool": body.tool, "rule": body.rule, "where": body.where},
            }
            await server.actions.record(caller, "approval.decide", str(one.approval.run), about)
    return BatchDone(
        items=[
            BatchItem(
                id=one.approval.id,
                run=one.approval.run,
                digest=one.approval.digest,
                decided=one.taken is not None,
                counts=one.taken is not None and one.taken.counts,
                code=one.code,
                words=one.words,
            )
            for one in done
        ]
    )


def _taken(approval: Approval, taken: deciding.Taken) -> DecisionTaken:
    return DecisionTaken(
        id=approval.id,
        run=approval.run,
        decision=taken.decision,
        actor=taken.actor,
        at=taken.at,
        counts=taken.counts,
        missing=taken.missing,
        allowed=list(taken.allowed),
    )


async def _line(server: Server, caller: Caller, approval: Approval, behalf: str = "") -> ApprovalLine:
    why_not = ""
    if not caller.may("approvals:decide"):
        why_not = "you do not have the permission approvals:decide"
    else:
        why_not = await _why_not(server, caller, approval, behalf)
    case = (await cases_of(server.journal, caller.tenant, [approval.run])).get(approval.run)
    contents = caller.may("payloads:read")
    return ApprovalLine(
        id=approval.id,
        run=approval.run,
        agent=approval.agent,
        tool=approval.tool,
        path=approval.path,
        question=approval.question,  # type: ignore[arg-type]
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
        terms=_terms(approval),
        votes=[
            VoteShown(
                actor=vote.voter.actor,
                behalf=vote.voter.behalf,
                at=vote.at,
                problem=deciding.vote_problem(approval, vote, server.platform.services.decisions),
            )
            for vote in approval.votes
        ],
        again=approval.again,
        holder="" if case is None else case.held_by(await server.journal.questions.cases.now()),
        group=batch.group_of(approval),
    )


async def _why_not(server: Server, caller: Caller, approval: Approval, behalf: str) -> str:
    """Why the caller may not decide, as far as it can be said beforehand; '' = they may."""
    journal = server.journal
    voter = voter_of(caller)
    if behalf:
        try:
            voter = await delegating.on_behalf(journal, caller.tenant, voter, behalf)
        except DelegationUnknown as error:
            return error.what
    standing = await standing_of(journal, caller.tenant, voter, approval.terms, await journal.now())
    row = await journal.get_run(caller.tenant, approval.run)
    own = not server.settings.approvals_own and approval.question != "help" and row is not None
    if own and row is not None and await deciding.own_names(journal, row) & set(standing.people):
        return "you asked for this run yourself"
    if standing.why_not:
        return standing.why_not
    people = set(standing.people)
    return "you have allowed it; others are needed" if any(people & set(vote.people) for vote in approval.votes) else ""


def _terms(approval: Approval) -> TermsShown | None:
    terms = approval.terms
    if terms is None:
        return None
    return TermsShown(
        roles=terms.roles,
        count=terms.count,
        escalate_to=terms.escalate_to,
        escalate_after_seconds=terms.escalate_after_seconds,
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
        edited=found.edited,
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
