"""The agents that a process offers."""

from collections.abc import Iterable

from penstock.agents.agent import Agent, AgentTool
from penstock.agents.definition import Definition
from penstock.agents.degrade import agents_of
from penstock.kernel.errors import AgentInvalid
from penstock.ports.agents import AgentDef


class Registry:
    """Agents by name and release. Agents that others delegate to are taken in with them."""

    def __init__(self, agents: Iterable[AgentDef] = ()) -> None:
        self._by_release: dict[tuple[str, str], AgentDef] = {}
        self._latest: dict[str, AgentDef] = {}
        self._whatever_named: dict[str, AgentDef] = {}
        self._managed: dict[tuple[str, str], AgentDef] = {}
        for agent in agents:
            self.add(agent)

    def add(self, agent: AgentDef) -> None:
        """Offer an agent.

        Raises:
            AgentInvalid: another release of that name is offered already.
        """
        known = self._latest.get(agent.name)
        if known is not None and known.release != agent.release:
            raise AgentInvalid(f"two agents are named {agent.name}", hint="give each its own name")
        self._latest[agent.name] = agent
        self._by_release[(agent.name, agent.release)] = agent
        if isinstance(agent, Definition):
            for other in agents_of(agent.fallbacks):
                self.add(other)
        if isinstance(agent, Agent):
            for tool in agent.tools.values():
                if isinstance(tool, AgentTool) and (tool.agent.name, tool.agent.release) not in self._by_release:
                    self.add(tool.agent)
            if agent.responder is not None:
                self.add(agent.responder.agent)

    def add_release(self, agent: AgentDef) -> None:
        """Offer an agent for all runs of its release, whatever their agents are named."""
        self._whatever_named[agent.release] = agent

    def manage(self, agents: Iterable[AgentDef]) -> None:
        """Offer these beside the agents that were added, of which they are other releases; in place of those before."""
        self._managed = {(agent.name, agent.release): agent for agent in agents}

    def find(self, name: str, release: str | None = None) -> AgentDef | None:
        """The agent of that name (and release, when given)."""
        if release is None:
            return self._latest.get(name)
        known = self._by_release.get((name, release)) or self._managed.get((name, release))
        return known or self._whatever_named.get(release)

    @property
    def releases(self) -> list[str]:
        """What this process can replay."""
        named = (release for _, release in (*self._by_release, *self._managed))
        return sorted({*named, *self._whatever_named})

    @property
    def agents(self) -> list[AgentDef]:
        """The agents by name, each in the release that runs of it are made in."""
        return [self._latest[name] for name in self.names]

    @property
    def names(self) -> list[str]:
        return sorted(self._latest)
