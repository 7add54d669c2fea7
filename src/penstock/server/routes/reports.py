"""What a run that did not simply succeed has done, and what not."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here
from penstock.server.schemas.reports import EffectShown, ReportShown
from penstock.views.failure_report import Effect, read_failure_report

router = APIRouter(prefix="/v1", tags=["results"])

Reader = Annotated[Caller, needs("runs:read")]


@router.get("/runs/{run}/report")
async def reports_show(server: Here, caller: Reader, run: UUID) -> ReportShown:
    """What happened, what was done and what not, and what it would need: of a run that failed, was stopped or handed
    over, or for which a fallback has answered."""
    found = await read_failure_report(server.journal, caller.tenant, run)
    return ReportShown(
        run=found.run,
        agent=found.agent,
        outcome=found.outcome,
        code=found.code,
        what=found.what,
        answered_by=found.answered_by,
        ended_at=found.ended_at,
        done=[_shown(item) for item in found.done],
        undecided=[_shown(item) for item in found.undecided],
        not_done=[_shown(item) for item in found.not_done],
        missing=found.missing,
        needed=found.needed,
        compensated=found.compensated,
        more=found.more,
    )


def _shown(effect: Effect) -> EffectShown:
    return EffectShown(tool=effect.tool, path=effect.path, state=effect.state, words=effect.words, at=effect.at)
