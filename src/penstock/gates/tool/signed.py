"""Whether a decision was signed, where that is asked for: of what is delivered, and of what the tape says was allowed.

What was written into the store without a key is no decision. It is put aside where the run can see it, is told to
whoever watches, and the question is asked anew.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from penstock.events import ApprovalDecided, ApprovalEdited, ApprovalRequested, ApprovalTerms, ApprovalVoted, Signed
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.journal.decisions import DecisionStatement, statement_of, words_commitment
from penstock.kernel.canonical import canonical_digest, clean_text
from penstock.kernel.errors import InputInvalid
from penstock.ports.questions import Voter

if TYPE_CHECKING:
    from penstock.gates.tool.approval import Decision

PROBLEM_MAX_CHARS = 300
_logger = logging.getLogger("penstock.approvals")


def unsigned(ctx: RunContext, request: ApprovalRequested, decision: "Decision | None") -> str:
    """Why what was delivered is no decision; "" = it is one. Whoever watches the log is told."""
    why = _why(ctx, request, decision)
    if why:
        why = clean_text(why, PROBLEM_MAX_CHARS)
        _logger.error("a decision on %s in run %s does not count: %s", request.approval, ctx.run_id, why)
    return why


def _why(ctx: RunContext, request: ApprovalRequested, decision: "Decision | None") -> str:
    if decision is None:
        return "it cannot be read"
    keys, voter = ctx.services.decisions, decision.voter
    if not keys.trusted:
        return ""
    if voter is None or voter.actor != decision.actor:
        return "it is not signed"
    try:
        edited = canonical_digest({"args": decision.args, "tool": request.tool}) if decision.decision == "edit" else ""
    except InputInvalid:
        return "its arguments cannot be read"
    key = ctx.claim.subject_key
    words = words_commitment(key, decision.reason) if key else ""
    return keys.objection(voter.signed, _expected(ctx, request, voter, decision.decision, edited, words))


def allowed_by_key(
    ctx: RunContext,
    call: Call,
    request: ApprovalRequested,
    said: ApprovalDecided | ApprovalEdited,
    terms: ApprovalTerms | None,
) -> bool:
    """Whether what the tape says was allowed, and is to be done now, was signed: by as many as were needed. ``terms``:
    those that hold now; under others it was not asked as it should be. An edit has its own (`edited.covers`)."""
    if not ctx.services.decisions.trusted:
        return True
    if isinstance(said, ApprovalDecided) and request.terms != terms:
        return False
    answer, edited = ("edit", said.edited) if isinstance(said, ApprovalEdited) else (said.decision, "")
    if not _is_signed(ctx, request, said.signed, said.actor, answer, edited):
        return False
    people = {said.actor} | {
        vote.actor
        for vote in votes_of(call.recorded, request)
        if _is_signed(ctx, request, vote.signed, vote.actor, "approve", "")
    }
    needed = request.terms.count if request.terms is not None and answer == "approve" else 1
    return len(people) >= (1 if ApprovalVoted.since > ctx.tape.format else needed)


def votes_of(recorded: Sequence[object], request: ApprovalRequested) -> list[ApprovalVoted]:
    """The votes on a question that count."""
    found = [event for event in recorded if isinstance(event, ApprovalVoted) and event.approval == request.approval]
    return [event for event in found if not event.problem]


def told_by_key(ctx: RunContext, call: Call, said: ApprovalDecided) -> bool:
    """Whether what the tape says that a person knows of a call was signed."""
    if not ctx.services.decisions.trusted:
        return True
    asked = [event for event in call.recorded if isinstance(event, ApprovalRequested)]
    request = next((event for event in asked if event.approval == said.approval), None)
    return request is not None and _is_signed(ctx, request, said.signed, said.actor, said.decision, "")


def _is_signed(
    ctx: RunContext, request: ApprovalRequested, signed: Signed | None, actor: str, answer: str, edited: str
) -> bool:
    """Of an event. By which right, and in which words, was held against the letter when it was put on the tape."""
    try:
        said = msgspec.json.decode(signed.statement if signed is not None else "", type=DecisionStatement)
    except msgspec.MsgspecError:
        return False
    voter = Voter(actor, tuple(said.roles), said.key, said.behalf, said.delegation)
    expected = _expected(ctx, request, voter, answer, edited, said.reason)
    return not ctx.services.decisions.objection(signed, expected)


def _expected(
    ctx: RunContext, request: ApprovalRequested, voter: Voter, answer: str, edited: str, reason: str
) -> DecisionStatement:
    return statement_of(
        voter,
        tenant=ctx.claim.tenant,
        run=str(ctx.run_id),
        path=request.path,
        approval=request.approval,
        question=request.question,
        tool=request.tool,
        digest=request.digest,
        policy=request.policy,
        answer=answer,
        edited=edited,
        reason=reason,
    )
