"""Cases: runs that people take into their own hands."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from penstock.ports.cases import Case
from penstock.ports.questions import Voter
from penstock.runs.approving import cases
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.schemas.base import Limit
from penstock.server.schemas.cases import CaseAssigned, CaseBack, CaseClaimed, CaseLine, CasePage, CaseShown

router = APIRouter(prefix="/v1/cases", tags=["cases"])

Reader = Annotated[Caller, needs("runs:read")]
Decider = Annotated[Caller, needs("approvals:decide")]


@router.get("")
async def cases_list(server: Here, caller: Reader, limit: Annotated[Limit, Query()] = 100) -> CasePage:
    """Runs that wait for people, those whose question ends first before the others, then runs that their agents gave
    up and that nobody has put aside, the newest first; so many of each at most."""
    found = await cases.inbox(server.journal, caller.tenant, limit)
    now = await server.journal.questions.cases.now()
    items = [
        CaseLine(
            **_shown(one.case, now).model_dump(),
            agent=one.row.agent,
            customer=one.row.tags.get("customer", ""),
            why="question" if one.why == "question" else "escalated",
            ends=one.ends,
            late=bool(one.case.due) and one.case.due < now,
            questions=list(one.questions),
        )
        for one in found
    ]
    return CasePage(items=items, mine=sum(item.holder == caller.actor for item in items))


@router.post("/{run}/claim")
async def cases_claim(server: Here, caller: Decider, run: UUID, body: CaseClaimed) -> CaseShown:
    """Take a case, or hold it for longer: nobody else decides what its run asks meanwhile. ``take_over`` takes it from
    somebody else; that takes the role admin."""
    if body.take_over:
        caller.demand("keys:manage")
    case = await cases.claim(
        server.journal,
        caller.tenant,
        run,
        Voter(caller.actor),
        body.seconds,
        force=body.take_over,
        own=bool(server.settings.approvals_own),
    )
    detail = {"seconds": body.seconds, "forced": body.take_over, "reason": body.reason}
    await server.actions.record(caller, "case.claim", str(run), detail)
    return await _now(server, case)


@router.post("/{run}/hand-back")
async def cases_hand_back(server: Here, caller: Decider, run: UUID, body: CaseBack) -> CaseShown:
    """Let go of a case that the caller holds; ``close`` puts one aside whose run has ended."""
    case = await cases.hand_back(server.journal, caller.tenant, run, caller.actor, body.note, close=body.close)
    await server.actions.record(caller, "case.hand_back", str(run), {"closed": body.close})
    return await _now(server, case)


@router.post("/{run}/assign")
async def cases_assign(server: Here, caller: Decider, run: UUID, body: CaseAssigned) -> CaseShown:
    """Say who is to look at a case, and until when. It is no claim."""
    case = await cases.assign(server.journal, caller.tenant, run, body.to, body.due, caller.actor)
    await server.actions.record(caller, "case.assign", str(run), {"to": body.to, "due": body.due})
    return await _now(server, case)


async def _now(server: Server, case: Case) -> CaseShown:
    return _shown(case, await server.journal.questions.cases.now())


def _shown(case: Case, now: int) -> CaseShown:
    held = case.held_by(now)
    return CaseShown(
        run=case.run,
        assignee=case.assignee,
        due=case.due,
        holder=held,
        claimed_at=case.claimed_at if held else 0,
        until=case.until if held else 0,
        closed_at=case.closed_at,
        note=case.note,
        claims=case.claims,
    )
