"""Waiting for a person: one question, bound to exact arguments, answered once."""

import contextlib
from typing import Any

import msgspec

from penstock.events import ApprovalDecided, ApprovalRequested, RuleVerdict, ToolIntent, Waiting
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.ledger import first_ref
from penstock.gates.run.mailbox import WaitCut
from penstock.gates.tool.preview import preview_data
from penstock.journal.payloads import ref_address
from penstock.kernel.canonical import canonical_digest
from penstock.kernel.errors import JournalError
from penstock.kernel.ids import derived_id
from penstock.ports.questions import EXPIRED, Decided
from penstock.ports.tools import ToolDef


class Decision(msgspec.Struct, omit_defaults=True, frozen=True):
    """Body of an approval letter."""

    decision: str  # approve | deny | happened | did_not_happen
    actor: str
    reason: str = ""
    digest: str = ""  # what the person saw; "" = not checked


def approval_digest(tool: str, args: Any) -> str:
    """SHA-256 of the RFC 8785 form of what is asked: what the decision is bound to.

    What a preview said is not in it. A person allows a call, and the call is what is held against the digest before it
    is made; what it finds there may have changed since it was asked about, and no sender could hold that against
    anything. Which preview was on the screen is known all the same: it belongs to the question, and a decision names
    that (see `penstock.runs.approvals.decide`, ``version``).
    """
    return canonical_digest({"args": args, "tool": tool})


async def ask(
    ctx: RunContext,
    call: Call,
    tool: ToolDef,
    args: dict[str, Any],
    *,
    question: str,
    verdicts: list[RuleVerdict],
    call_id: str = "",
    seconds: float,
) -> ApprovalDecided:
    """The person's decision on this call; asks only if the tape does not say that it was asked already.

    ``seconds``: how long there is to decide; 0 = no end. Nobody's answer in time is ``expired``.
    """
    asked = sum(isinstance(event, ApprovalRequested) for event in call.recorded)
    # A question about an attempt that was settled without its answer is over: what is said of it later says nothing of
    # the attempts after it.
    turns = [event for event in call.recorded if isinstance(event, ApprovalRequested | ApprovalDecided | ToolIntent)]
    request = turns[-1] if turns else None
    if not isinstance(request, ApprovalRequested):
        about = {"args": [ctx.args_ref(args)]}
        if question == "may_run" and tool.preview is not None:
            about["preview"] = [ctx.log.payload(await preview_data(ctx, call, tool, args))]
        request = ctx.event(
            ApprovalRequested,
            call.path,
            approval=str(derived_id(ctx.run_id, f"approval:{call.path}:{asked}")),
            tool=tool.name,
            digest=approval_digest(tool.name, args),
            call_digest=call.identity.digest,
            call_id=call_id,
            risk=tool.risk,
            question=question,
            expires=ctx.now() + int(seconds * 1e6) if seconds else 0,
            verdicts=verdicts,
            payloads=about,
        )
        ctx.record(call, request)
    waiting = Waiting(
        "approval" if question == "may_run" else "doubt", call.path, tool.name, request.approval, request.expires
    )
    letter, lapsed = None, EXPIRED
    try:
        if call.branch.cut and question == "may_run":
            raise WaitCut
        letter = await ctx.mail.wait(waiting, f"approval:{request.approval}")
    except WaitCut:
        lapsed = "withdrawn"
    if letter is None:
        decision = Decision(lapsed, "penstock")
        if lapsed == EXPIRED:
            ctx.errand(_remember_expired(ctx, request))
    else:
        ctx.log.consume(letter.dedup)
        decision = msgspec.json.decode(letter.body, type=Decision)
        if decision.digest and decision.digest != request.digest:
            refused = "deny" if question == "may_run" else "mismatch"
            decision = Decision(refused, decision.actor, "the decision was bound to other arguments")
    event = ctx.event(
        ApprovalDecided,
        call.path,
        approval=request.approval,
        decision=decision.decision,
        digest=request.digest,
        actor=decision.actor,
        payloads={"reason": [ctx.log.payload(decision.reason.encode())]} if decision.reason else {},
    )
    ctx.record(call, event)
    return event


async def _remember_expired(ctx: RunContext, request: ApprovalRequested) -> None:
    """For those who decide on the like later. It only counts there, so nothing waits for it, nor tries again."""
    decided = Decided(
        ctx.claim.tenant,
        request.approval,
        ctx.run_id,
        request.agent,
        request.tool,
        request.question,
        EXPIRED,
        "penstock",
        ctx.claim.subject,
        ref_address(first_ref(request, "args")),
        asked_at=request.at,
    )
    with contextlib.suppress(JournalError):
        await ctx.services.journal.questions.expired(decided)
