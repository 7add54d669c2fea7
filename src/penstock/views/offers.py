"""What agents hold, and which of them live workers offer."""

from collections.abc import Iterable

from penstock.ports.agents import AgentDef
from penstock.ports.journal import Journal
from penstock.ports.tools import ToolDef


async def offered_releases(journal: Journal, agents: Iterable[AgentDef]) -> dict[str, list[str]]:
    """Of some agents those releases that live workers say they offer, by the agent's name."""
    live = {release for worker in await journal.releases.workers() for release in worker.releases}
    return {agent.name: [agent.release] for agent in agents if agent.release in live}


def tools_of(agent: AgentDef) -> list[ToolDef]:
    """The tools that an agent's model is offered, by name. A function agent names none: it calls what it likes."""
    held = getattr(agent, "tools", {})
    found = [getattr(held[name], "definition", None) for name in sorted(held)]
    return [tool for tool in found if isinstance(tool, ToolDef)]
