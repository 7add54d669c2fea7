"""Approvals: what waits for a person, and a person's decision."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from penstock.events import ApprovalRequested, Preview, RuleVerdict, RunSubmitted, Waiting, decode
from penstock.gates.run.ledger import first_ref
from penstock.gates.tool.approval import Decision
from penstock.journal.payloads import PayloadReader, address, ref_address, unpack
from penstock.kernel.errors import (
    AnswerInvalid,
    ApprovalChanged,
    ApprovalDecided,
    ApprovalExpired,
    ApprovalMismatch,
    ApprovalOwn,
    ApprovalUnknown,
    ApprovalWithdrawn,
    EventUnreadable,
)
from penstock.ports.journal import Journal
from penstock.ports.questions import EXPIRED, Asking, Decided, Verdict
from penstock.ports.records import Post, Row, RunRow, Stop

ANSWERS = {"may_run": ("approve", "deny"), "did_it_happen": ("happened", "did_not_happen")}
PREFIX_MIN = 4  # characters of an id that a person must give
REASON_MAX_CHARS = 2000
BACKWARDS = 200
"""Events read at a time from the end of a tape, where its questions mostly are."""
_waiting = msgspec.json.Decoder(list[Waiting])


@dataclass(slots=True, frozen=True)
class Approval:
    """One question that waits for a person.

    ``version`` is the number of the last event of the run that is about this question: what changes the question raises
    it. ``args_ref`` and ``subject`` say where the arguments are kept, ``preview_ref`` where what the tool said that it
    will change ('' = it was not asked): see `read_preview`.
    """

    id: str
    run: UUID
    tenant: str
    agent: str
    path: str
    tool: str
    question: str  # may_run | did_it_happen
    risk: str
    digest: str
    expires: int
    args: Any
    verdicts: list[RuleVerdict]
    asked_at: int
    version: int = 0
    policy: str = ""
    subject: str = ""
    args_ref: str = ""
    customer: str = ""
    preview_ref: str = ""


@dataclass(slots=True, frozen=True)
class Pending:
    """Questions that wait, those that end first before the others; ``next`` goes on after them, None = no more do."""

    items: list[Approval]
    next: tuple[int, UUID] | None


async def pending(journal: Journal, reader: PayloadReader, tenant: str, limit: int = 100) -> list[Approval]:
    """Questions that wait, those that end first before the others; of at most ``limit`` runs."""
    return (await page(journal, reader, tenant, None, limit)).items


async def page(
    journal: Journal, reader: PayloadReader, tenant: str, after: tuple[int, UUID] | None, limit: int
) -> Pending:
    """The questions of the next ``limit`` runs that wait for people."""
    asking = await journal.questions.asking(tenant, after, limit)
    found: list[Approval] = []
    for item in asking:
        found += await _of_run(journal, reader, item.row)
    # Within a page by each question's own end: of the runs it is known only when their first one ends.
    found.sort(key=lambda item: (item.expires == 0, item.expires, item.asked_at))
    return Pending(found, _place(asking[-1]) if len(asking) == limit else None)


def _place(asking: Asking) -> tuple[int, UUID]:
    return asking.ends, asking.row.id


async def find(journal: Journal, reader: PayloadReader, tenant: str, prefix: str) -> Approval:
    """The pending approval whose id begins with ``prefix``.

    Raises:
        ApprovalUnknown: none, or several.
    """
    if len(prefix) < PREFIX_MIN:
        raise ApprovalUnknown(f"{prefix!r} is too short for an approval's id", hint="see `penstock approvals ls`")
    matches = [item for item in await pending(journal, reader, tenant, 500) if item.id.startswith(prefix)]
    if len(matches) == 1:
        return matches[0]
    what = "no approval waits" if not matches else f"{len(matches)} approvals wait"
    raise ApprovalUnknown(f"{what} whose id begins with {prefix!r}", hint="see `penstock approvals ls`")


async def get(journal: Journal, reader: PayloadReader, tenant: str, approval: str) -> Approval:
    """The pending approval of that id.

    Raises:
        ApprovalDecided: somebody has decided it; the error says who, what and when.
        ApprovalExpired: nobody did in time.
        ApprovalWithdrawn: its run is being killed or cancelled.
        ApprovalUnknown: no such approval waits for this tenant, or it has been withdrawn.
    """
    row = await journal.questions.asked_by(tenant, approval)
    if row is not None and row.stop in (Stop.CANCEL, Stop.KILL):
        raise ApprovalWithdrawn(f"run {row.id} is being stopped ({row.stop.value}): it asks no more", run=str(row.id))
    if row is not None:
        for item in await _of_run(journal, reader, row):
            if item.id == approval:
                return item
    known = await journal.questions.decided(tenant, approval)
    if known is None:
        raise ApprovalUnknown(f"no approval {approval} waits", hint="it may have expired, or its run was stopped")
    raise _decided_before(approval, Verdict(False, known.decision, known.actor, known.at))


async def read_preview(journal: Journal, approval: Approval) -> Preview | None:
    """What the tool said, when the question was asked, that the call would change; None when it has no preview.

    What was erased, lost or damaged since is unknown, and says so.
    """
    if not approval.preview_ref:
        return None
    where = ref_address(approval.preview_ref)
    payload = (await journal.get_payloads(approval.tenant, approval.subject, [where])).get(where)
    if payload is None:
        return Preview(unknown="what it said was erased with its subject, or lost")
    try:
        return msgspec.json.decode(unpack(payload), type=Preview)
    except (EventUnreadable, msgspec.DecodeError):
        return Preview(unknown="what it said is damaged, or written by a newer penstock")


async def decide(
    journal: Journal,
    approval: Approval,
    answer: str,
    *,
    actor: str,
    reason: str = "",
    digest: str = "",
    version: int | None = None,
    seen_seconds: float = 0.0,
) -> Verdict:
    """Answer a question, once. ``digest``, ``version``: what the person saw; it must be what waits.

    Raises:
        AnswerInvalid: not an answer to this question.
        ApprovalMismatch: the person saw other arguments.
        ApprovalChanged: the question was changed since the person saw it.
        ApprovalExpired: its time is over.
        ApprovalDecided: somebody answered before; the error says who, what and when.
    """
    allowed = ANSWERS[approval.question]
    if answer not in allowed:
        raise AnswerInvalid(f"{answer!r} does not answer this question", hint=f"answer {' or '.join(allowed)}")
    if digest and digest != approval.digest:
        raise ApprovalMismatch(f"approval {approval.id} now asks about other arguments than the ones decided on")
    if version is not None and version != approval.version:
        raise ApprovalChanged(f"approval {approval.id} was changed since it was shown", version=approval.version)
    if approval.expires and await journal.now() >= approval.expires:
        raise ApprovalExpired(f"approval {approval.id} has expired", expired_at=approval.expires)
    words = reason[:REASON_MAX_CHARS]
    body = msgspec.json.encode(Decision(answer, actor, words, approval.digest))
    post = Post(approval.tenant, approval.run, f"approval:{approval.id}", "approval", body)
    decided = Decided(
        approval.tenant,
        approval.id,
        approval.run,
        approval.agent,
        approval.tool,
        approval.question,
        answer,
        actor,
        approval.subject,
        ref_address(approval.args_ref) if approval.args_ref else b"",
        await _reason_address(journal, approval, words),
        approval.asked_at,
        seen_seconds,
    )
    verdict = await journal.questions.decide(post, decided)
    if not verdict.counts:
        raise _decided_before(approval.id, verdict)
    return verdict


async def requesters(journal: Journal, row: RunRow) -> set[str]:
    """Who asked for a run, or for the one at the top of its family, and on whose behalf."""
    named: set[str] = set()
    for run in dict.fromkeys((row.id, row.root)):
        first = await journal.tape(row.tenant, run, limit=1)
        event = decode(first[0].body) if first else None
        if isinstance(event, RunSubmitted):
            named |= {event.actor, event.behalf} - {""}
    return named


async def check_not_own(journal: Journal, tenant: str, run: UUID, actor: str) -> None:
    """Refuse a decision on what the decider asked for.

    Raises:
        ApprovalOwn: the run was submitted by them, or for them.
    """
    row = await journal.get_run(tenant, run)
    if row is not None and actor in await requesters(journal, row):
        raise ApprovalOwn(f"{actor} asked for the run {run}, and cannot decide on what it does")


def _decided_before(approval: str, verdict: Verdict) -> ApprovalDecided | ApprovalExpired:
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


async def _of_run(journal: Journal, reader: PayloadReader, row: RunRow) -> list[Approval]:
    waiting = {item.id for item in _waiting.decode(row.waiting) if item.kind in ("approval", "doubt") and item.id}
    if not waiting:
        return []
    answered = {
        letter.dedup for letter in (await journal.letters([(row.tenant, row.id)])).get((row.tenant, row.id), [])
    }
    waiting = {item for item in waiting if f"approval:{item}" not in answered}
    found: list[Approval] = []
    async for stored in _backwards(journal, row):
        if len(found) == len(waiting):
            break
        event = decode(stored.body)
        if not isinstance(event, ApprovalRequested) or event.approval not in waiting:
            continue
        ref = event.payloads["args"][0]
        data = await reader.read(row.tenant, row.subject, ref_address(ref))
        found.append(
            Approval(
                event.approval,
                row.id,
                row.tenant,
                row.agent,
                event.path,
                event.tool,
                event.question,
                event.risk,
                event.digest,
                event.expires,
                msgspec.json.decode(data),
                event.verdicts,
                event.at,
                event.seq,
                event.policy,
                row.subject,
                ref,
                row.tags.get("customer", ""),
                first_ref(event, "preview"),
            )
        )
    return found[::-1]


async def _backwards(journal: Journal, row: RunRow) -> AsyncIterator[Row]:
    """All events of a run from its last, page by page: a question may stand anywhere in a long history."""
    after = row.last_seq
    while after > 0:
        start = max(0, after - BACKWARDS)
        for stored in reversed(await journal.tape(row.tenant, row.id, start, after - start)):
            yield stored
        after = start
