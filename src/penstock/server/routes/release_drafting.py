"""Before a release is drafted: what an agent is as it is offered, and what a draft would have otherwise."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query

from penstock.events import BudgetRecord
from penstock.kernel.errors import AgentUnknown, ReleaseUnknown
from penstock.ports.agents import AgentDef
from penstock.ports.rollouts import Manifest
from penstock.runs.rollouts import manifest as manifests
from penstock.runs.rollouts.diff import differences
from penstock.runs.rollouts.releasing import Releasing
from penstock.runs.rollouts.signing import Keyring
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.schemas.releases import (
    ReleaseDiff,
    ReleaseDifference,
    ReleaseDraft,
    ReleaseOffered,
    ReleasePreview,
    ReleaseRoute,
)

router = APIRouter(prefix="/v1/releases", tags=["releases"])

Manager = Annotated[Caller, needs("releases:manage")]


@router.get("/offered")
async def releases_offered(
    server: Here, caller: Manager, agent: Annotated[str, Query(min_length=1, max_length=256)]
) -> ReleaseOffered:
    """An agent as its code on this server has it: what a draft leaves out is as here. Takes ``payloads:read`` too."""
    caller.demand("payloads:read")
    offered = agent_named(server, agent)
    releasing = Releasing(server.journal, caller.tenant, Keyring.of(server.settings))
    route = await releasing.route(offered.name)
    return ReleaseOffered(
        manifest=msgspec.to_builtins(manifests.draft(offered, caller.actor)),
        route=ReleaseRoute(agent=route.agent, live=route.live, canary=route.canary, percent=route.share / 100),
    )


@router.post("/preview")
async def releases_preview(server: Here, caller: Manager, body: ReleasePreview) -> ReleaseDiff:
    """What a draft would have otherwise than ``base``, in words. Nothing is kept. Takes ``payloads:read`` too."""
    caller.demand("payloads:read")
    agent = agent_named(server, body.agent)
    made = manifests.draft(agent, caller.actor, **changes_of(body))
    found = differences(await _base(server, caller, agent, body.base), made)
    items = [ReleaseDifference(what=item.what, lines=list(item.lines)) for item in found]
    return ReleaseDiff(old=body.base, new=manifests.address(manifests.encode(made)), differences=items)


def agent_named(server: Server, name: str) -> AgentDef:
    """The agent of that name as this server offers it.

    Raises:
        AgentUnknown: it does not.
    """
    agent = server.platform.registry.find(name)
    if agent is None:
        raise AgentUnknown(f"no agent {name[:64]!r} is offered here")
    return agent


def changes_of(body: ReleaseDraft) -> dict[str, Any]:
    """What a draft changes, as `manifest.draft` takes it."""
    # Without what is not limited, as agents have it: the same limits are the same release.
    limits = {} if body.budget is None else {name: limit for name, limit in body.budget.model_dump().items() if limit}
    return {
        "prompts": body.prompts,
        "models": body.models,
        "settings": body.settings,
        "budget": None if body.budget is None else msgspec.convert(limits, BudgetRecord),
        "policy": body.policy,
        "filters": body.filters,
        "version": body.version,
    }


async def _base(server: Server, caller: Caller, agent: AgentDef, base: str) -> Manifest:
    if not base:
        return manifests.draft(agent, caller.actor)
    shown = await Releasing(server.journal, caller.tenant, Keyring.of(server.settings)).show(base)
    if shown.release.agent != agent.name:
        raise ReleaseUnknown(f"the release {base[:12]} is of another agent than {agent.name}", hint="")
    return shown.manifest
