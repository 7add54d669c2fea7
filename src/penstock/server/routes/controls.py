"""Stops and their undoing, by scope: what they would reach, doing them, and how far they have come."""

import binascii
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from penstock.kernel.errors import CursorInvalid
from penstock.ports.controls import Control
from penstock.runs.stopping import OPEN_SHOWN, Progress, Stopping, kind_of
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.routes.runs import Key
from penstock.server.schemas.base import Limit
from penstock.server.schemas.controls import (
    ControlAsked,
    ControlPage,
    ControlPreview,
    ControlShown,
    ControlState,
    Scope,
)
from penstock.server.shapes import effects

router = APIRouter(prefix="/v1/controls", tags=["controls"])

Reader = Annotated[Caller, needs("runs:read")]
Stopper = Annotated[Caller, needs("controls:stop")]
_ACTIONS = ("kill", "pause", "resume", "cancel")


@router.post("/preview")
async def controls_preview(server: Here, caller: Stopper, body: ControlAsked) -> ControlPreview:
    """What an action would reach, as of now. Nothing is done."""
    _demand(caller, body)
    found = await _stopping(server, caller).preview(body.scope.kind, body.scope.name, body.action)
    return ControlPreview(
        as_of=found.as_of,
        running=found.reach.running,
        queued=found.reach.queued,
        parked=found.reach.parked,
        spent_nano=found.reach.nano,
        open_effects=effects(found.intents[:OPEN_SHOWN]),
        open_total=len(found.intents),
        not_reached=found.not_reached,
        command=found.command,
    )


@router.post("", status_code=202)
async def controls_apply(
    server: Here, caller: Stopper, request: Request, response: Response, body: ControlAsked, key: Key = None
) -> ControlState:
    """Stop or resume. When this is answered it is sealed, or known not to be. Sent again with the same
    ``Idempotency-Key`` it does nothing new: that is how to find out when there was no answer."""
    _demand(caller, body)
    stopping = _stopping(server, caller)
    scope = body.scope
    control = await stopping.act(
        scope.kind, scope.name, body.action, actor=caller.actor, reason=body.reason, armed=body.armed, key=key
    )
    target = f"{scope.kind}:{scope.name}" if scope.name else scope.kind
    detail = {"reason": body.reason, "control": str(control)}
    await server.actions.record(caller, f"control.{body.action}", target, detail)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/v1/controls/{control}"
    return _state(await stopping.progress(control, everything=caller.may("everything:stop")))


@router.get("")
async def controls_list(
    server: Here,
    caller: Reader,
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str, Query(max_length=60)] = "",
) -> ControlPage:
    """Controls: on the first page those in force before the others, then newest first."""
    before = _place(cursor) if cursor else None
    found = await server.journal.controls.newest(caller.tenant, before, limit)
    items = [item for item in found if item.action in _ACTIONS]
    if before is None:
        wide = await server.journal.controls.wide(caller.tenant)
        known = {item.id for item in wide}
        items = [*wide, *(item for item in items if item.id not in known)]
        items.sort(key=lambda item: not item.in_force)
    more = f"{found[-1].at:x}.{found[-1].id.hex}" if len(found) == limit else None
    return ControlPage(items=[_shown(item) for item in items], next=more)


@router.get("/{id}")
async def controls_show(server: Here, caller: Reader, id: UUID) -> ControlState:  # noqa: A002 - as the path has it
    """How far a stop has come."""
    return _state(await _stopping(server, caller).progress(id, everything=caller.may("everything:stop")))


def _stopping(server: Server, caller: Caller) -> Stopping:
    return Stopping(server.journal, server.platform.services.clock, caller.tenant, server.settings.environment)


def _demand(caller: Caller, body: ControlAsked) -> None:
    permission = kind_of(body.scope.kind, body.action).permission
    if permission:
        caller.demand(permission)


def _fields(control: Control) -> dict[str, object]:
    return {
        "id": control.id,
        "scope": Scope(kind=control.scope.kind, name=control.scope.name),
        "action": control.action,
        "actor": control.actor,
        "reason": control.reason,
        "at": control.at,
        "in_force": control.in_force,
        "lifted_at": control.lifted_at,
        "lifted_by": control.lifted_by,
    }


def _shown(control: Control) -> ControlShown:
    return ControlShown.model_validate(_fields(control))


def _state(progress: Progress) -> ControlState:
    return ControlState.model_validate(
        {
            **_fields(progress.control),
            "state": progress.state,
            "sealed_at": progress.control.sealed_at,
            "open_effects": effects(progress.intents[:OPEN_SHOWN]),
            "open_total": len(progress.intents),
            "latest_end": progress.latest_end,
            "in_doubt": progress.in_doubt,
            "stopped_runs": progress.stopped,
            "blockers": progress.control.blockers,
        }
    )


def _place(cursor: str) -> tuple[int, UUID]:
    at, _, control = cursor.partition(".")
    try:
        return int(at, 16) & (2**52 - 1), UUID(bytes=binascii.unhexlify(control))
    except ValueError:
        raise CursorInvalid(f"{cursor[:60]!r} is no cursor of controls") from None
