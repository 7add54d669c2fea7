"""Approvals: what waits for a person. What they say to it is in `penstock.runs.approving`."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import msgspec

from penstock.events import ApprovalRequested, ApprovalTerms, Preview, RuleVerdict, Waiting, decode
from penstock.gates.run.ledger import first_ref
from penstock.journal.payloads import PayloadReader, ref_address, unpack
from penstock.kernel.errors import (
    ApprovalDecided,
    ApprovalExpired,
    ApprovalUnknown,
    ApprovalWithdrawn,
    EventUnreadable,
)
from penstock.ports.journal import Journal
from penstock.ports.questions import EXPIRED, Asking, Vote
from penstock.ports.records import Row, RunRow, Stop

ANSWERS = {
    "may_run": ("approve", "deny", "edit"),
    "did_it_happen": ("happened", "did_not_happen"),
    "help": ("answer",),
}
PREFIX_MIN = 4  # characters of an id that a person must give
BACKWARDS = 200
"""Events read at a time from the end of a tape, where its questions mostly are."""
_waiting = msgspec.json.Decoder(list[Waiting])


@dataclass(slots=True, frozen=True)
class Approval:
    """One question that waits for a person.

    ``version`` is the number of the last event of the run that is about this question: what changes the question raises
    it. ``args_ref`` and ``subject`` say where the arguments are kept, ``preview_ref`` where what the tool said that it
    will change ('' = it was not asked): see `read_preview`. ``terms``: who must allow it, where that is more than
    anybody who may decide; ``votes``: those who have. ``again``: why what was delivered before is no decision.
    """

    id: str
    run: UUID
    tenant: str
    agent: str
    path: str
    tool: str
    question: str  # may_run | did_it_happen | help
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
    terms: ApprovalTerms | None = None
    votes: tuple[Vote, ...] = ()
    again: str = ""
    environment: str = ""


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
    if known.decision == EXPIRED:
        raise ApprovalExpired(f"approval {approval} has expired", expired_at=known.at)
    raise ApprovalDecided(
        f"approval {approval} was decided before by {known.actor}: {known.decision}",
        decision=known.decision,
        actor=known.actor,
        at=known.at,
    )


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
                event.terms,
                again=event.again,
                environment=row.env,
            )
        )
    several = [item.id for item in found if item.terms is not None and item.terms.count > 1]
    votes = await journal.questions.votes(row.tenant, several) if several else {}
    return [replace(item, votes=tuple(votes.get(item.id, ()))) for item in reversed(found)]


async def _backwards(journal: Journal, row: RunRow) -> AsyncIterator[Row]:
    """All events of a run from its last, page by page: a question may stand anywhere in a long history."""
    after = row.last_seq
    while after > 0:
        start = max(0, after - BACKWARDS)
        for stored in reversed(await journal.tape(row.tenant, row.id, start, after - start)):
            yield stored
        after = start
