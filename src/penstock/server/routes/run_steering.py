"""Steering one run: stop it, let it go on, make it once more, replay its record, send it an event."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Request, Response

from penstock.kernel.errors import RequestTimedOut, RunNotSetAside, RunUnknown
from penstock.runs.again import again
from penstock.runs.replaying.aside import replay_aside
from penstock.runs.replaying.replay import Replayed
from penstock.runs.stopping import Stopping
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.routes.runs import Key
from penstock.server.schemas.runs import EventGiven, EventTaken, Reason, ReplayShown, Retried, RunLine, Steered
from penstock.server.shapes import run_line
from penstock.views.rows import find_row

router = APIRouter(prefix="/v1/runs", tags=["steering"])

Steerer = Annotated[Caller, needs("runs:steer")]


@router.post("/{run}/cancel")
async def runs_cancel(server: Here, caller: Steerer, run: UUID, body: Reason, key: Key = None) -> Steered:
    """Ask a run and its children to end as ``cancelled``. Nothing new starts in them when this is answered."""
    return await _steer(server, caller, run, "cancel", body.reason, key)


@router.post("/{run}/kill")
async def runs_kill(server: Here, caller: Steerer, run: UUID, body: Reason, key: Key = None) -> Steered:
    """Seal a run and its children: they end as ``killed``. Nothing new starts in them when this is answered."""
    return await _steer(server, caller, run, "kill", body.reason, key)


@router.post("/{run}/pause")
async def runs_pause(server: Here, caller: Steerer, run: UUID, body: Reason, key: Key = None) -> Steered:
    """Hold a run until it is resumed; its children go on."""
    return await _steer(server, caller, run, "pause", body.reason, key)


@router.post("/{run}/resume")
async def runs_resume(server: Here, caller: Steerer, run: UUID, body: Reason) -> Steered:
    """Let a paused run go on; 404 ``control_unknown`` when it is not paused."""
    return await _steer(server, caller, run, "resume", body.reason, None)


@router.post("/{run}/retry", status_code=202)
async def runs_retry(
    server: Here, caller: Steerer, request: Request, response: Response, run: UUID, key: Key = None
) -> Retried:
    """Make an ended run once more: same agent (in the code of today) and input, a new history."""
    caller.demand("runs:submit")
    platform = server.platform
    asked = await again(platform.services, platform.registry, caller.tenant, run, actor=caller.actor, key=key)
    [made] = await platform.submit_each([asked])
    await server.actions.record(caller, "run.retry", str(run), {"run": str(made.id)})
    location = f"{request.scope.get('root_path', '')}/v1/runs/{made.id}"
    response.headers["Location"] = location
    return Retried(id=made.id, of=run, location=location)


@router.post("/{run}/release")
async def runs_release(server: Here, caller: Steerer, run: UUID, body: Reason) -> RunLine:
    """Let a quarantined run be worked on again, once its cause is mended; 409 when it is not set aside."""
    row = await server.journal.get_run(caller.tenant, run)
    if row is None:
        raise RunUnknown(f"there is no run {run} for tenant {caller.tenant!r}")
    if not await server.journal.release_quarantine(caller.tenant, run, None, caller.actor):
        raise RunNotSetAside(f"run {run} is not set aside; it is {row.status.value}", status=row.status.value)
    await server.actions.record(caller, "run.release", str(run), {"reason": body.reason, "code": row.code})
    return run_line(await server.journal.get_run(caller.tenant, run) or row)


@router.post("/{run}/replay")
async def runs_replay(server: Here, caller: Steerer, run: UUID) -> ReplayShown:
    """Replay a run's record against the agent's code of today: no call, no write. One at a time on a server."""
    row = await find_row(server.journal, caller.tenant, run)
    seconds = server.settings.replay_seconds
    platform = server.platform
    try:
        async with server.replays.turn:
            done = await replay_aside(platform.services, row, platform.registry.agents, seconds=seconds)
    except TimeoutError:
        raise RequestTimedOut(
            f"the replay of run {run} took longer than {seconds:g} s",
            hint=f"penstock runs replay {run} has no bound; or raise PENSTOCK_REPLAY_SECONDS",
        ) from None
    await server.actions.record(caller, "run.replay", str(run), {"same": done.same})
    return ReplayShown(
        run=run, same=done.same, events=done.events, divergence=_divergence(done, caller.may("payloads:read"))
    )


@router.post("/{run}/events", status_code=202)
async def runs_send_event(server: Here, caller: Steerer, run: UUID, body: EventGiven) -> EventTaken:
    """Send an event to a run that waits for it, or will. Durable when this is answered."""
    delivered = await server.platform.send_event(
        run, body.name, body.value, dedup=body.dedup, sender=caller.actor, tenant=caller.tenant
    )
    await server.actions.record(caller, "run.event", str(run), {"name": body.name, "delivered": delivered})
    return EventTaken(run=run, delivered=delivered)


async def _steer(server: Server, caller: Caller, run: UUID, action: str, reason: str, key: str | None) -> Steered:
    stopping = Stopping(server.journal, server.platform.services.clock, caller.tenant, server.settings.environment)
    control = await stopping.act("run", str(run), action, actor=caller.actor, reason=reason, armed="", key=key)
    await server.actions.record(caller, f"run.{action}", str(run), {"reason": reason, "control": str(control)})
    done = await stopping.progress(control, everything=False)
    known = done.control
    return Steered(
        run=run,
        sealed=action == "resume" or known.sealed_at is not None,
        at=known.lifted_at or known.sealed_at or known.at,
        open_intents=len(done.intents) + done.in_doubt,
    )


def _divergence(done: Replayed, contents: bool) -> dict[str, Any] | None:
    """The first difference. Side by side stand arguments, which are content."""
    if done.divergence is None:
        return None
    plain: dict[str, Any] = msgspec.to_builtins(done.divergence)
    return plain if contents else {name: plain[name] for name in ("hint", "path", "seq")}
