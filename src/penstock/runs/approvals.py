"""Approvals: what waits for a person, and a person's decision."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from penstock.events import ApprovalRequested, RuleVerdict, Waiting, decode
from penstock.gates.tool.approval import Decision
from penstock.journal.payloads import PayloadReader, ref_address
from penstock.kernel.errors import AnswerInvalid, ApprovalDecided, ApprovalMismatch, ApprovalUnknown
from penstock.ports.journal import Journal
from penstock.ports.records import Post, Row, RunFilter, RunRow

ANSWERS = {"may_run": ("approve", "deny"), "did_it_happen": ("happened", "did_not_happen")}
PREFIX_MIN = 4  # characters of an id that a person must give
_waiting = msgspec.json.Decoder(list[Waiting])


@dataclass(slots=True, frozen=True)
class Approval:
    """One question that waits for a person."""

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


async def pending(journal: Journal, reader: PayloadReader, tenant: str, limit: int = 100) -> list[Approval]:
    """Questions that wait, newest run first; at most ``limit`` runs are looked at."""
    rows = {}
    for kind in ("approval", "doubt"):
        for row in await journal.list_runs(tenant, RunFilter(waiting_for=kind), limit):
            rows[row.id] = row
    found: list[Approval] = []
    for row in rows.values():
        found.extend(await _of_run(journal, reader, row))
    return found


async def find(journal: Journal, reader: PayloadReader, tenant: str, prefix: str) -> Approval:
    """The pending approval whose id begins with ``prefix``.

    Raises:
        ApprovalUnknown: none, or several.
    """
    if len(prefix) < PREFIX_MIN:
        raise ApprovalUnknown(f"{prefix!r} is too short for an approval's id", hint="see `penstock approvals ls`")
    matches = [item for item in await pending(journal, reader, tenant, 1000) if item.id.startswith(prefix)]
    if len(matches) == 1:
        return matches[0]
    what = "no approval waits" if not matches else f"{len(matches)} approvals wait"
    raise ApprovalUnknown(f"{what} whose id begins with {prefix!r}", hint="see `penstock approvals ls`")


async def decide(
    journal: Journal, approval: Approval, answer: str, *, actor: str, reason: str = "", digest: str = ""
) -> None:
    """Answer a question, once. ``digest``: what the person saw; it must be what waits.

    Raises:
        AnswerInvalid: not an answer to this question.
        ApprovalMismatch: the person saw other arguments.
        ApprovalDecided: somebody answered before.
    """
    allowed = ANSWERS[approval.question]
    if answer not in allowed:
        raise AnswerInvalid(f"{answer!r} does not answer this question", hint=f"answer {' or '.join(allowed)}")
    if digest and digest != approval.digest:
        raise ApprovalMismatch(f"approval {approval.id} now asks about other arguments than the ones decided on")
    body = msgspec.json.encode(Decision(answer, actor, reason[:2000], approval.digest))
    post = Post(approval.tenant, approval.run, f"approval:{approval.id}", "approval", body)
    if not await journal.deliver(post):
        raise ApprovalDecided(f"approval {approval.id} was decided before")


async def _of_run(journal: Journal, reader: PayloadReader, row: RunRow) -> list[Approval]:
    waiting = {item.id for item in _waiting.decode(row.waiting) if item.kind in ("approval", "doubt") and item.id}
    if not waiting:
        return []
    answered = {
        letter.dedup for letter in (await journal.letters([(row.tenant, row.id)])).get((row.tenant, row.id), [])
    }
    found = []
    async for stored in _tape(journal, row):
        event = decode(stored.body)
        if isinstance(event, ApprovalRequested) and event.approval in waiting:
            if f"approval:{event.approval}" in answered:
                continue
            data = await reader.read(row.tenant, row.subject, ref_address(event.payloads["args"][0]))
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
                )
            )
    return found


async def _tape(journal: Journal, row: RunRow) -> AsyncIterator[Row]:
    """All events of a run, page by page: a question may stand anywhere in a long history."""
    after = 0
    while after < row.last_seq:
        rows = await journal.tape(row.tenant, row.id, after)
        if not rows:
            return
        for stored in rows:
            yield stored
        after = rows[-1].seq
