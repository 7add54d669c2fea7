"""A person's decision on one question: who may, what counts, and what is left to others."""

from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.events import ApprovalEdited, RunSubmitted, decode
from penstock.gates.tool.approval import Decision, approval_digest
from penstock.gates.tool.approvers import Standing, standing_of
from penstock.gates.tool.edited import read_edited
from penstock.journal.decisions import DecisionKeys, DecisionStatement, said_of, statement_of, words_commitment
from penstock.journal.payloads import address, ref_address
from penstock.kernel.canonical import check_plain
from penstock.kernel.errors import (
    AnswerInvalid,
    ApprovalChanged,
    ApprovalDecided,
    ApprovalExpired,
    ApprovalMismatch,
    ApprovalOwn,
    ApprovalTwice,
    ApproverUnfit,
    CaseHeld,
    InputInvalid,
)
from penstock.kernel.ids import derived_id
from penstock.ports.journal import Journal
from penstock.ports.people import default_person
from penstock.ports.questions import EXPIRED, Ballot, Decided, Verdict, Vote, Voter
from penstock.ports.records import Post, RunRow
from penstock.ports.tools import ToolDef
from penstock.runs.approvals import ANSWERS, Approval
from penstock.settings import Settings

REASON_MAX_CHARS = 2000
ARGS_MAX_BYTES = 256 * 1024
"""Of edited arguments, as JSON."""
ALLOW = ("approve", "edit")


@dataclass(slots=True, frozen=True)
class Taken:
    """A decision that the store holds.

    Attributes:
        decision: the answer; ``at``: when it was stored, microseconds, 0 while others are needed.
        counts: it decides; otherwise ``missing`` more people are needed.
        allowed: who has allowed it by now, where several are needed.
    """

    decision: str
    actor: str
    at: int
    counts: bool = True
    missing: int = 0
    allowed: tuple[str, ...] = ()


async def decide(
    journal: Journal,
    approval: Approval,
    answer: str,
    voter: Voter,
    *,
    reason: str = "",
    digest: str = "",
    version: int | None = None,
    seen_seconds: float = 0.0,
    args: dict[str, Any] | None = None,
    tool: ToolDef | None = None,
    own: bool = False,
    keys: DecisionKeys | None = None,
) -> Taken:
    """Answer a question, or be one of those who have to. ``digest``, ``version``: what the person saw; it must be what
    waits.

    Args:
        voter: who, and by which right.
        args: with ``edit``: what to call it with in place of what was asked.
        tool: as this process knows it: edited arguments are held against its schema at once, and not only by the
            worker.
        own: they may decide on what they asked for.
        keys: sign it, where decisions have to be signed.

    Raises:
        DecisionKeyMissing: it has to be signed, and cannot be here.
        AnswerInvalid: not an answer to this question, or arguments that the tool does not take.
        ApprovalMismatch: the person saw other arguments.
        ApprovalChanged: the question was changed since the person saw it.
        ApprovalExpired: its time is over.
        ApprovalDecided: somebody answered before; the error says who, what and when.
        ApprovalOwn: they asked for it, or it is done for them.
        ApproverUnfit: they may not decide this.
        ApprovalTwice: they have allowed it already, and others are needed.
        CaseHeld: somebody else has taken the case over.
    """
    _check_seen(approval, answer, digest, version)
    now = await journal.now()
    if approval.expires and now >= approval.expires:
        raise ApprovalExpired(f"approval {approval.id} has expired", expired_at=approval.expires)
    edited = await _edited(journal, approval, answer, args, tool)
    standing = await standing_of(journal, approval.tenant, voter, approval.terms if answer in ALLOW else None, now)
    if standing.why_not:
        raise ApproverUnfit(standing.why_not)
    if not own and approval.question != "help":
        row = await journal.get_run(approval.tenant, approval.run)
        if row is not None and await own_names(journal, row) & set(standing.people):
            raise ApprovalOwn(f"{voter.actor} asked for the run {approval.run}, and cannot decide on what it does")
    voter = msgspec.structs.replace(voter, roles=standing.roles)
    needed = approval.terms.count if approval.terms is not None and answer == "approve" else 1
    void = await _void(journal, approval, now, keys) if needed > 1 else []
    words = reason[:REASON_MAX_CHARS]
    if keys is not None and keys.trusted:
        voter = await _signed(journal, approval, voter, answer, edited, words, keys)
    decision = Decision(answer, voter.actor, words, approval.digest, voter, edited, approval.policy)
    ballot = await _cast(journal, approval, decision, standing, seen_seconds, needed, void)
    return _taken(approval, answer, voter, ballot, needed)


async def _void(journal: Journal, approval: Approval, now: int, keys: DecisionKeys | None) -> list[str]:
    """Whose votes do not count any more, or never did."""
    kept = (await journal.questions.votes(approval.tenant, [approval.id])).get(approval.id, [])
    standings = [await standing_of(journal, approval.tenant, vote.voter, approval.terms, now) for vote in kept]
    return [
        vote.voter.actor
        for vote, standing in zip(kept, standings, strict=True)
        if standing.why_not or vote_problem(approval, vote, keys)
    ]


def vote_problem(approval: Approval, vote: Vote, keys: DecisionKeys | None) -> str:
    """Why a vote that is kept is none, by its signature; "" = it is one, or none is asked for. Its words, if it has
    any, are with the run."""
    if keys is None or not keys.trusted:
        return ""
    words = said_of(vote.voter.signed)
    return keys.objection(vote.voter.signed, _statement(approval, vote.voter, "approve", None, words))


async def _signed(
    journal: Journal,
    approval: Approval,
    voter: Voter,
    answer: str,
    edited: dict[str, Any] | None,
    words: str,
    keys: DecisionKeys,
) -> Voter:
    """The voter with the signature of their decision. What was shown has to be what is signed.

    Raises:
        DecisionKeyMissing: there is no key here.
        ApprovalMismatch: the arguments that are kept are not those of the question.
    """
    if approval_digest(approval.tool, approval.args) != approval.digest:
        raise ApprovalMismatch(f"the arguments kept for approval {approval.id} are not the ones that it asks about")
    key = await journal.subject_key(approval.tenant, approval.subject) if words else None
    bound = words_commitment(key, words) if key is not None else ""
    said = _statement(approval, voter, answer, edited, bound)
    return msgspec.structs.replace(voter, signed=keys.sign(msgspec.structs.replace(said, at=await journal.now())))


def _statement(
    approval: Approval, voter: Voter, answer: str, edited: dict[str, Any] | None, words: str
) -> DecisionStatement:
    return statement_of(
        voter,
        tenant=approval.tenant,
        run=str(approval.run),
        path=approval.path,
        approval=approval.id,
        question=approval.question,
        tool=approval.tool,
        digest=approval.digest,
        policy=approval.policy,
        answer=answer,
        edited=approval_digest(approval.tool, edited) if edited is not None else "",
        reason=words,
    )


def _check_seen(approval: Approval, answer: str, digest: str, version: int | None) -> None:
    allowed = ANSWERS[approval.question]
    if answer not in allowed:
        raise AnswerInvalid(f"{answer!r} does not answer this question", hint=f"answer {' or '.join(allowed)}")
    if digest and digest != approval.digest:
        raise ApprovalMismatch(f"approval {approval.id} now asks about other arguments than the ones decided on")
    if version is not None and version != approval.version:
        raise ApprovalChanged(f"approval {approval.id} was changed since it was shown", version=approval.version)


async def _edited(
    journal: Journal, approval: Approval, answer: str, args: dict[str, Any] | None, tool: ToolDef | None
) -> dict[str, Any] | None:
    """The arguments to call it with; None when nothing is edited."""
    if answer != "edit":
        if args is not None:
            raise AnswerInvalid("only `edit` takes arguments")
        return None
    if not isinstance(args, dict):
        raise AnswerInvalid("`edit` needs the arguments to call it with", hint="give all of them, as one JSON object")
    try:
        check_plain(args, "arguments")
    except InputInvalid as error:
        raise AnswerInvalid(f"the arguments cannot be used: {error.what}") from None
    if len(msgspec.json.encode(args)) > ARGS_MAX_BYTES:
        raise AnswerInvalid(f"the arguments have more than {ARGS_MAX_BYTES:,} bytes")
    if tool is not None:
        args, problem = read_edited(tool, args)
        if problem is not None:
            raise AnswerInvalid(problem.reason)
    if approval_digest(approval.tool, args) == approval.digest:
        raise AnswerInvalid("these are the arguments that were asked about", hint="approve them as they are")
    first = await _first(journal, approval.tenant, approval.run)
    if first is not None and first.format < ApprovalEdited.since:
        words = f"the run {approval.run} is of a format in which calls cannot be edited"
        raise AnswerInvalid(words, hint="deny it with a reason; newer runs can, after `penstock upgrade finalize`")
    return args


async def _cast(
    journal: Journal,
    approval: Approval,
    decision: Decision,
    standing: Standing,
    seen_seconds: float,
    needed: int,
    void: list[str],
) -> Ballot:
    body = msgspec.json.encode(decision)
    post = Post(approval.tenant, approval.run, f"approval:{approval.id}", "approval", body)
    # Of its own for each vote: one that was struck may be followed by another of the same person.
    names = "|".join((decision.actor, str(await journal.now())))
    dedup = f"vote:{approval.id}:{derived_id(approval.run, names)}"
    letter = Post(approval.tenant, approval.run, dedup, "approval", body)
    decided = Decided(
        approval.tenant,
        approval.id,
        approval.run,
        approval.agent,
        approval.tool,
        approval.question,
        decision.decision,
        decision.actor,
        approval.subject,
        ref_address(approval.args_ref) if approval.args_ref else b"",
        await _reason_address(journal, approval, decision.reason),
        approval.asked_at,
        seen_seconds,
    )
    assert decision.voter is not None
    vote = Vote(approval.tenant, approval.id, approval.run, decision.voter, standing.people)
    return await journal.questions.vote(post, decided, vote, letter, needed, void)


def _taken(approval: Approval, answer: str, voter: Voter, ballot: Ballot, needed: int) -> Taken:
    allowed = tuple(vote.voter.actor for vote in ballot.votes)
    if ballot.answer == "held":
        words = f"the case {approval.run} is in the hands of {ballot.holder}"
        raise CaseHeld(words, holder=ballot.holder)
    if ballot.answer == "twice":
        words = f"{voter.actor} has allowed {approval.id} already; {needed} different people are needed"
        raise ApprovalTwice(words, needed=needed, allowed=list(allowed))
    if ballot.answer == "late":
        assert ballot.before is not None
        raise decided_before(approval.id, ballot.before)
    if ballot.answer == "kept":
        return Taken(answer, voter.actor, 0, False, max(0, needed - len(allowed)), allowed)
    assert ballot.before is not None
    return Taken(ballot.before.decision, ballot.before.actor, ballot.before.at, allowed=allowed)


def may_decide_own(settings: Settings, approval: Approval) -> bool:
    """Whether who comes without a credential (the command line, a program with the journal open) may decide on what
    they asked for: while developing, so that one person can try everything out; never where a policy says who must
    allow it, and never on a run of another environment."""
    developing = settings.environment == approval.environment == "development"
    return bool(settings.approvals_own) or (developing and approval.terms is None)


async def requesters(journal: Journal, row: RunRow) -> set[str]:
    """Who asked for a run, or for the one at the top of its family, and on whose behalf: actors."""
    named: set[str] = set()
    for run in dict.fromkeys((row.id, row.root)):
        first = await _first(journal, row.tenant, run)
        if first is not None:
            named |= {first.actor, first.behalf} - {""}
    return named


async def own_names(journal: Journal, row: RunRow) -> set[str]:
    """The same as names of people, under which other actors of theirs are found too."""
    actors = await requesters(journal, row)
    return await names_of(journal, row.tenant, actors)


async def names_of(journal: Journal, tenant: str, actors: set[str]) -> set[str]:
    """The people that these actors are."""
    known = await journal.questions.people.known(tenant, sorted(actors)) if actors else {}
    return {known[actor].person if actor in known else default_person(actor) for actor in actors}


async def _first(journal: Journal, tenant: str, run: Any) -> RunSubmitted | None:
    stored = await journal.tape(tenant, run, limit=1)
    event = decode(stored[0].body) if stored else None
    return event if isinstance(event, RunSubmitted) else None


def decided_before(approval: str, verdict: Verdict) -> ApprovalDecided | ApprovalExpired:
    """The error for who comes second."""
    if verdict.decision == EXPIRED:
        return ApprovalExpired(f"approval {approval} has expired", expired_at=verdict.at)
    who = f" by {verdict.actor}" if verdict.actor else ""
    what = f": {verdict.decision}" if verdict.decision else ""
    return ApprovalDecided(
        f"approval {approval} was decided before{who}{what}",
        decision=verdict.decision,
        actor=verdict.actor,
        at=verdict.at,
    )


async def _reason_address(journal: Journal, approval: Approval, words: str) -> bytes | None:
    """Where the words will be kept once the run has journalled them."""
    if not words:
        return None
    key = await journal.subject_key(approval.tenant, approval.subject)
    return None if key is None else address(key, words.encode())
