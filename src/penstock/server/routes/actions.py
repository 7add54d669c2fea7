"""What people and programs did."""

from typing import Annotated

from fastapi import APIRouter, Query

from penstock.journal.actions import decode_said
from penstock.ports.actions import Action
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here
from penstock.server.schemas.access import ActionPage, ActionShown
from penstock.server.schemas.base import Limit

router = APIRouter(prefix="/v1/actions", tags=["audit"])

SEQ_MAX = 2**53


@router.get("")
async def actions_list(
    server: Here,
    caller: Annotated[Caller, needs("audit:read")],
    before: Annotated[int | None, Query(ge=1, le=SEQ_MAX)] = None,
    actor: Annotated[str, Query(max_length=300)] = "",
    action: Annotated[str, Query(max_length=100)] = "",
    limit: Annotated[Limit, Query()] = 100,
) -> ActionPage:
    """The tenant's actions, newest first. ``action`` is a kind, such as ``run.cancel``, or the beginning of kinds,
    ``run.``; ``penstock audit verify`` checks that none was changed or removed."""
    found = await server.journal.actions.page(caller.tenant, before, actor, action, limit)
    more = str(found[-1].seq) if len(found) == limit and found[-1].seq > 1 else None
    return ActionPage(items=[_shown(item) for item in found], next=more)


def _shown(item: Action) -> ActionShown:
    said = decode_said(item.body)
    return ActionShown(
        seq=item.seq,
        at=item.at,
        actor=said.actor,
        action=said.action,
        target=said.target,
        detail=said.detail,
        hash=item.hash.hex(),
    )
