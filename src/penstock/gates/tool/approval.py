"""Waiting for a person: one question, bound to exact arguments and to a policy, answered once."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from penstock.events import (
    ApprovalDecided,
    ApprovalEdited,
    ApprovalRequested,
    ApprovalTerms,
    ApprovalVoted,
    Filtered,
    RuleVerdict,
    ToolIntent,
    Waiting,
)
from penstock.gates.filters.incoming import released_words
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.ledger import first_ref
from penstock.gates.run.mailbox import WaitCut
from penstock.gates.tool.approvers import still_counts
from penstock.gates.tool.edited import covers, read_edited
from penstock.gates.tool.preview import preview_data
from penstock.gates.tool.signed import allowed_by_key, unsigned, votes_of
from penstock.journal.payloads import ref_address
from penstock.kernel.canonical import canonical_digest, stable_json
from penstock.kernel.errors import JournalError
from penstock.kernel.ids import derived_id
from penstock.ports.questions import EXPIRED, Decided, Voter
from penstock.ports.records import Letter
from penstock.ports.tools import ToolDef

WITHDRAWN = "withdrawn"
"""What became of a question that a time-out took back."""


class Decision(msgspec.Struct, omit_defaults=True, frozen=True):
    """Body of the letter that answers a question, and of those of the people before, where several are needed."""

    decision: str  # approve | deny | happened | did_not_happen | edit | answer
    actor: str
    reason: str = ""
    digest: str = ""  # what the person saw; "" = not checked
    voter: Voter | None = None  # by which right; None = an older process delivered it
    args: dict[str, Any] | None = None  # with ``edit``: what to call it with
    policy: str | None = None  # the version that the question was asked under; None = not checked


def approval_digest(tool: str, args: Any) -> str:
    """SHA-256 of the RFC 8785 form of what is asked: what the decision is bound to.

    What a preview said is not in it. A person allows a call, and the call is what is held against the digest before it
    is made; what it finds there may have changed since it was asked about, and no sender could hold that against
    anything. Which preview was on the screen is known all the same: it belongs to the question, and a decision names
    that (see `penstock.runs.approvals.decide`, ``version``).
    """
    return canonical_digest({"args": args, "tool": tool})


def standing_request(call: Call) -> ApprovalRequested | None:
    """The question that waits for its answer; None when none does.

    A question about an attempt that was settled without its answer is over: what is said of it later says nothing of
    the attempts after it.
    """
    kinds = ApprovalRequested | ApprovalDecided | ApprovalEdited | ToolIntent
    turns = [event for event in call.recorded if isinstance(event, kinds)]
    last = turns[-1] if turns else None
    return last if isinstance(last, ApprovalRequested) else None


def withdraw(ctx: RunContext, call: Call) -> ApprovalDecided | None:
    """A time-out has cut the call short while the gate waited for something else: the question that stands is over, and
    the tape says so. None when none stands, or it was not a time-out."""
    request = standing_request(call)
    if request is None or request.question == "did_it_happen" or not call.branch.cut:
        return None
    ctx.cancelled(call)
    event = _record(ctx, call, request, Decision(WITHDRAWN, "penstock"), [])
    assert isinstance(event, ApprovalDecided)
    return event


def is_approved(ctx: RunContext, call: Call, tool: str, args: Any, policy: str, terms: ApprovalTerms | None) -> bool:
    """Whether a person has allowed exactly this, under the policy that is in force; who edited a call has allowed what
    they made of it, where they alone may."""
    asked: ApprovalRequested | None = None
    said: ApprovalDecided | ApprovalEdited | None = None
    for event in call.recorded:
        if isinstance(event, ApprovalRequested) and event.question == "may_run":
            asked, said = event, None
        elif isinstance(event, ApprovalDecided | ApprovalEdited) and asked and event.approval == asked.approval:
            said = event
    if asked is None or said is None or asked.policy != policy or not allowed_by_key(ctx, call, asked, said, terms):
        return False
    if isinstance(said, ApprovalEdited):
        return said.edited == approval_digest(tool, args) and covers(said, terms)
    return said.decision == "approve" and asked.digest == approval_digest(tool, args)


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
    terms: ApprovalTerms | None = None,
    refresh: Callable[[], Awaitable[None]] | None = None,
    said: list[str] | None = None,
) -> ApprovalDecided | ApprovalEdited:
    """The person's decision on this call; asks only if the tape does not say that it was asked already.

    ``seconds``: how long there is to decide; 0 = no end. Nobody's answer in time is ``expired``. ``refresh`` lets
    the run's facts say which policy is in force when the decision takes effect. The words of an answer, and edited
    arguments as JSON, are added to ``said``: they cannot be loaded yet.
    """
    request = standing_request(call)
    if request is None:
        asked = sum(isinstance(event, ApprovalRequested) for event in call.recorded)
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
            policy=ctx.facts.policy,
            expires=ctx.now() + int(seconds * 1e6) if seconds else 0,
            verdicts=verdicts,
            terms=terms,
            again=_why_again(call),
            payloads=about,
        )
        ctx.record(call, request)
    letter, lapsed = await _answer(ctx, call, request)
    if letter is None:
        if lapsed == EXPIRED:
            ctx.errand(_remember_expired(ctx, request))
        return _record(ctx, call, request, Decision(lapsed, "penstock"), [])
    read = _read(letter)
    problem = unsigned(ctx, request, read)
    if problem or read is None:
        ctx.log.consume(letter.dedup)
        return _record(ctx, call, request, Decision("void", "penstock"), [], problem=problem)
    decision, people = await _judged(ctx, call, request, tool, read, refresh)
    words, found = released_words(ctx, decision.reason)
    decision = msgspec.structs.replace(decision, reason=words)
    if said is not None and decision.decision == "answer":
        said.append(decision.reason)
    elif said is not None and decision.decision == "edit":
        said.append(stable_json(decision.args).decode())
    # Nothing is awaited from here on: what another branch records must not take the letter away without a trace.
    ctx.log.consume(letter.dedup)
    return _record(ctx, call, request, decision, people, found)


async def _judged(
    ctx: RunContext,
    call: Call,
    request: ApprovalRequested,
    tool: ToolDef,
    decision: Decision,
    refresh: Callable[[], Awaitable[None]] | None,
) -> tuple[Decision, list[str]]:
    """What a decision is worth now that it takes effect, and the people whose allowing counts."""
    if decision.digest and decision.digest != request.digest:
        refused = "deny" if request.question == "may_run" else "mismatch"
        return Decision(refused, decision.actor, "the decision was bound to other arguments"), []
    if decision.decision == "deny":
        return decision, []
    if refresh is not None:
        await refresh()
    voters = [decision.voter, *(_voter(event) for event in votes_of(call.recorded, request))]
    people = await still_counts(ctx, request, [voter for voter in voters if voter is not None])
    if not _are_enough(request, decision, people, ctx):
        return Decision("void", decision.actor, decision.reason), []
    if decision.decision not in ("approve", "edit"):
        return decision, []
    if request.policy != ctx.facts.policy or decision.policy not in (None, request.policy):
        return Decision("stale", decision.actor, decision.reason), []
    if decision.decision == "edit" and ApprovalEdited.since > ctx.tape.format:
        return Decision("deny", decision.actor, "calls of a run of this format cannot be edited"), []
    if decision.decision == "edit":
        decision = msgspec.structs.replace(decision, args=read_edited(tool, decision.args)[0])
    return decision, people


def _are_enough(request: ApprovalRequested, decision: Decision, people: Sequence[str], ctx: RunContext) -> bool:
    """Whether those who may still decide are as many as it needs. One edit makes another question: one person will do.

    In a run of the first format the votes before the last are not on the tape: the store, which counted them, is
    believed.
    """
    if decision.voter is None:  # an older process, which checked no terms, delivered it
        return request.terms is None or decision.decision not in ("approve", "edit")
    needed = request.terms.count if request.terms is not None and decision.decision == "approve" else 1
    if ApprovalVoted.since > ctx.tape.format:
        needed = 1
    return len(people) >= needed


async def _answer(ctx: RunContext, call: Call, request: ApprovalRequested) -> tuple[Letter | None, str]:
    """The letter that decides, with the votes before it put on the tape; None and why, when there is none."""
    is_call = request.question != "did_it_happen"
    kind = "approval" if is_call else "doubt"
    waiting = Waiting(kind, call.path, request.tool, request.approval, request.expires)
    final, vote = f"approval:{request.approval}", f"vote:{request.approval}:"

    def is_vote(letter: Letter) -> bool:
        return letter.dedup.startswith(vote)

    def fits(letter: Letter) -> bool:
        return letter.dedup == final or is_vote(letter)

    several = request.terms is not None and request.terms.count > 1
    while True:
        try:
            if call.branch.cut and is_call:
                raise WaitCut
            if several:
                letter = await ctx.mail.wait_for(waiting, is_vote if ctx.mail.holds(is_vote) else fits)
            else:
                letter = await ctx.mail.wait(waiting, final)
        except WaitCut:
            return None, WITHDRAWN
        if letter is None:
            return None, EXPIRED
        if letter.dedup == final:
            return letter, ""
        ctx.log.consume(letter.dedup)
        _record_vote(ctx, call, request, letter)


def _read(letter: Letter) -> Decision | None:
    """What a letter says; None when it says nothing that can be read."""
    try:
        return msgspec.json.decode(letter.body, type=Decision)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _why_again(call: Call) -> str:
    """Why the question before was not answered by what was delivered."""
    before = next((event for event in reversed(call.recorded) if isinstance(event, ApprovalDecided)), None)
    return before.problem if before is not None else ""


def _record_vote(ctx: RunContext, call: Call, request: ApprovalRequested, letter: Letter) -> None:
    decision = _read(letter)
    problem = unsigned(ctx, request, decision)
    voter = decision.voter if decision is not None else None
    if decision is None or voter is None or ApprovalVoted.since > ctx.tape.format:
        return
    decision = msgspec.structs.replace(decision, reason=released_words(ctx, decision.reason)[0])
    vote = ctx.event(
        ApprovalVoted,
        call.path,
        approval=request.approval,
        digest=decision.digest,
        roles=list(voter.roles),
        actor=decision.actor,
        behalf=voter.behalf,
        key=voter.key,
        delegation=voter.delegation,
        signed=voter.signed if not problem else None,
        problem=problem,
        payloads=_words(ctx, decision) if not problem else {},
    )
    ctx.record(call, vote)


def _voter(event: ApprovalVoted) -> Voter:
    return Voter(event.actor, tuple(event.roles), event.key, event.behalf, event.delegation)


def _words(ctx: RunContext, decision: Decision) -> dict[str, list[str]]:
    return {"reason": [ctx.log.payload(decision.reason.encode())]} if decision.reason else {}


def _record(
    ctx: RunContext,
    call: Call,
    request: ApprovalRequested,
    decision: Decision,
    people: list[str],
    found: Sequence[Filtered] = (),
    problem: str = "",
) -> ApprovalDecided | ApprovalEdited:
    event: ApprovalDecided | ApprovalEdited
    signed = decision.voter.signed if decision.voter is not None else None
    if decision.decision == "edit":
        args = decision.args or {}
        event = ctx.event(
            ApprovalEdited,
            call.path,
            approval=request.approval,
            digest=request.digest,
            edited=approval_digest(request.tool, args),
            roles=list(decision.voter.roles) if decision.voter is not None else [],
            signed=signed,
            actor=decision.actor,
            payloads=_words(ctx, decision) | {"args": [ctx.args_ref(args)]},
        )
    else:
        words = _words(ctx, decision)
        if decision.decision == "answer":
            words = {"answer": words.get("reason", [])}
        several = len(people) if request.terms is not None and request.terms.count > 1 else 0
        event = ctx.event(
            ApprovalDecided,
            call.path,
            approval=request.approval,
            decision=decision.decision,
            digest=request.digest,
            actor=decision.actor,
            people=people if several else [],
            filtered=list(found),
            signed=signed,
            problem=problem,
            payloads=words,
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
