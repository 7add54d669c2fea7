"""Agents and tools: those of this process, and whether live workers offer them."""

from typing import Annotated, Any

from fastapi import APIRouter

from penstock.ports.agents import AgentDef
from penstock.ports.tools import ToolDef
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here
from penstock.server.schemas.platform import AgentList, AgentShown, ToolList, ToolShown
from penstock.server.shapes import budget
from penstock.views.offers import offered_releases, tools_of

router = APIRouter(prefix="/v1", tags=["agents"])

Reader = Annotated[Caller, needs("runs:read")]


@router.get("/agents")
async def agents_list(server: Here, caller: Reader) -> AgentList:
    """The agents of this process, by name: those of which runs can be submitted here. ``offered``: somebody works on
    them now."""
    del caller
    agents = {agent.name: agent for agent in server.platform.registry.agents}
    offered = await offered_releases(server.journal, list(agents.values()))
    items = [_agent(agents[name], offered.get(name, [])) for name in sorted(agents)]
    return AgentList(items=items)


@router.get("/tools")
async def tools_list(server: Here, caller: Reader) -> ToolList:
    """Tools by name, as the agents of this process hold them."""
    del caller
    held: dict[str, tuple[ToolDef, list[str]]] = {}
    for agent in server.platform.registry.agents:
        for tool in tools_of(agent):
            held.setdefault(tool.name, (tool, []))[1].append(agent.name)
    return ToolList(items=[_tool(tool, names) for _, (tool, names) in sorted(held.items())])


def _agent(agent: AgentDef, releases: list[str]) -> AgentShown:
    model: Any = getattr(agent, "model", None)
    name = model if isinstance(model, str) else getattr(model, "name", "") or ""
    responder = getattr(agent, "responder", None)
    return AgentShown(
        name=agent.name,
        releases=sorted({agent.release, *releases}),
        offered=bool(releases),
        here=True,
        model=name,
        simulated=bool(getattr(model, "simulated", False)) or name.startswith("simulated:"),
        tools=sorted(getattr(agent, "tools", {})),
        budget=budget(agent.budget),
        input=_schema(agent, "input_schema"),
        output=_schema(agent, "output_schema"),
        responder=getattr(responder, "name", "") or "",
    )


def _schema(agent: AgentDef, which: str) -> dict[str, Any] | None:
    schema = getattr(agent, which, None)
    return schema() if callable(schema) else None


def _tool(tool: ToolDef, agents: list[str]) -> ToolShown:
    return ToolShown(
        name=tool.name,
        description=tool.spec.description,
        effect=tool.effect,
        risk=tool.risk,
        permission=tool.permission,
        in_doubt=tool.in_doubt,
        timeout_seconds=tool.timeout_seconds,
        digest=tool.digest,
        args=tool.spec.schema,
        labels=tool.labels,
        agents=agents,
    )
