"""Cases: a person takes a run into their own hands, answers what it asks, and hands it back.

A case is a run that waits for a person, or one that its agent has ended by escalating. While somebody holds it nobody
else decides what it asks. The run itself knows nothing of it: it goes on when its question is answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from penstock.events import Waiting as WaitsFor
from penstock.kernel.errors import ApprovalOwn, CaseHeld, CaseUnknown, InputInvalid, RunUnknown
from penstock.ports.cases import Case
from penstock.ports.journal import Journal
from penstock.ports.questions import PAGE_MAX, Voter
from penstock.ports.records import RunFilter, RunRow, Status
from penstock.runs.approving.deciding import names_of, own_names

_waits = msgspec.json.Decoder(list[WaitsFor])
ESCALATED = "escalated"
NOTE_MAX_CHARS = 2000
ESCALATED_SHOWN = 200
"""Runs that ended by escalating, the newest, among which those that nobody has put aside are shown."""


@dataclass(slots=True, frozen=True)
class Waiting:
    """A case as a list has it.

    Attributes:
        why: ``question`` = the run waits for an answer; ``escalated`` = its agent gave it up.
        ends: when the first of its questions ends; 0 = never, or it has ended.
        questions: what it waits for, also what was answered a moment ago.
    """

    case: Case
    row: RunRow
    why: str
    ends: int = 0
    questions: Sequence[str] = ()


async def inbox(journal: Journal, tenant: str, limit: int) -> list[Waiting]:
    """What waits for people: runs that ask, those that end first before the others, then runs that were given up, the
    newest first. At most ``limit`` of each."""
    asking = await journal.questions.asking(tenant, None, min(limit, PAGE_MAX))
    over = await journal.list_runs(tenant, RunFilter(outcome=ESCALATED), min(limit, ESCALATED_SHOWN))
    cases = await journal.questions.cases.known(tenant, [item.row.id for item in asking] + [row.id for row in over])
    found = [
        Waiting(
            cases.get(item.row.id) or Case(tenant, item.row.id),
            item.row,
            "question",
            item.ends % (2**63 - 1),
            [one.id for one in _waits.decode(item.row.waiting) if one.kind in ("approval", "doubt") and one.id],
        )
        for item in asking
    ]
    given_up = [Waiting(cases.get(row.id) or Case(tenant, row.id), row, ESCALATED) for row in over]
    return found + [item for item in given_up if not item.case.closed_at]


async def claim(
    journal: Journal, tenant: str, run: UUID, voter: Voter, seconds: float, *, force: bool = False, own: bool = False
) -> Case:
    """Take a case for so long, or go on holding it.

    Raises:
        RunUnknown: there is no such run.
        CaseUnknown: nothing in it waits for a person.
        ApprovalOwn: they asked for the run themselves.
        CaseHeld: somebody else holds it, and ``force`` is not given.
    """
    row = await _case_row(journal, tenant, run)
    if not own and await own_names(journal, row) & await names_of(journal, tenant, {voter.actor}):
        raise ApprovalOwn(f"{voter.actor} asked for the run {run}, and cannot take its case")
    case = await journal.questions.cases.claim(tenant, run, voter.actor, seconds, force=force)
    if case.holder != voter.actor:
        words = f"the case {run} is in the hands of {case.holder}"
        raise CaseHeld(words, holder=case.holder, until=case.until)
    return case


async def hand_back(journal: Journal, tenant: str, run: UUID, actor: str, note: str, *, close: bool = False) -> Case:
    """Let go of a case; ``close`` puts one aside whose run has ended.

    Raises:
        CaseUnknown: the caller does not hold it (any more).
        InputInvalid: a case whose run still waits cannot be put aside.
    """
    if close and (row := await _case_row(journal, tenant, run)).status is not Status.ENDED:
        raise InputInvalid(f"the run {row.id} still waits for an answer", hint="answer it, or cancel the run")
    case = await journal.questions.cases.hand_back(tenant, run, actor, note[:NOTE_MAX_CHARS], close=close)
    if case is None:
        raise CaseUnknown(f"{actor} does not hold the case {run}; a claim that is over holds nothing")
    return case


async def assign(journal: Journal, tenant: str, run: UUID, assignee: str, due: int, by: str) -> Case:
    """Say who is to look at a case, and until when (microseconds since the epoch; 0 = no time).

    Raises:
        RunUnknown: there is no such run.
        CaseUnknown: nothing in it waits for a person.
    """
    await _case_row(journal, tenant, run)
    return await journal.questions.cases.assign(tenant, run, assignee[:200], max(0, due), by)


async def cases_of(journal: Journal, tenant: str, runs: Sequence[UUID]) -> dict[UUID, Case]:
    """The cases of these runs, as far as there are any."""
    return await journal.questions.cases.known(tenant, runs) if runs else {}


async def _case_row(journal: Journal, tenant: str, run: UUID) -> RunRow:
    row = await journal.get_run(tenant, run)
    if row is None:
        raise RunUnknown(f"there is no run {run} for tenant {tenant!r}")
    waits = b'"kind":"approval"' in row.waiting or b'"kind":"doubt"' in row.waiting
    if (row.status is Status.ENDED and row.outcome != ESCALATED) or (row.status is not Status.ENDED and not waits):
        raise CaseUnknown(f"nothing in the run {run} waits for a person")
    return row
