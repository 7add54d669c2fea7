"""Releases whose decisions do not count any more: what is in use is approved anew."""

from typing import Annotated

from fastapi import APIRouter, Query

from penstock.runs.rollouts.releasing import Releasing
from penstock.runs.rollouts.signing import Keyring
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here
from penstock.server.schemas.releases import (
    ReleaseConfirm,
    ReleaseInQuestion,
    ReleaseInQuestionLine,
    ReleaseRoute,
)

router = APIRouter(prefix="/v1/releases", tags=["releases"])

Approver = Annotated[Caller, needs("releases:approve")]


@router.get("/confirm")
async def releases_in_question(
    server: Here, caller: Approver, agent: Annotated[str, Query(min_length=1, max_length=256)]
) -> ReleaseInQuestion:
    """What is in use of an agent, by its rows, and why what was decided about it does not count here, if so."""
    releases = Releasing(server.journal, caller.tenant, Keyring.of(server.settings))
    ledger = await releases.ledger(agent)
    found = await releases.in_question(agent)
    items = [
        ReleaseInQuestionLine(
            id=item.id,
            state=item.state,
            author=item.author,
            approved_by=item.approved_by,
            objection=releases.objection(item),
        )
        for item in found
    ]
    return ReleaseInQuestion(agent=agent, problem=ledger.problem, items=items)


@router.post("/confirm")
async def releases_confirm(server: Here, caller: Approver, body: ReleaseConfirm) -> ReleaseRoute:
    """Approve anew, signed, what is in use of an agent; what is in use and not named is rolled back."""
    releases = Releasing(server.journal, caller.tenant, Keyring.of(server.settings))
    route = await releases.confirm(body.agent, body.releases, caller.actor, body.reason)
    detail = {"releases": body.releases, "live": route.live, "canary": route.canary, "reason": body.reason}
    await server.actions.record(caller, "release.confirm", f"agent:{body.agent}", detail)
    return ReleaseRoute(agent=route.agent, live=route.live, canary=route.canary, percent=route.share / 100)
