"""What the commands of ``penstock environments``, and ``penstock doctor``, find."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.ports.environments import DENY

if TYPE_CHECKING:
    from penstock.settings import Settings


@dataclass(slots=True, frozen=True)
class Tool:
    """``tool``: as the file names it. ``stands``: bound, denied or broken; ``why`` of the last."""

    tool: str
    place: str
    stands: str
    why: str = ""


@dataclass(slots=True, frozen=True)
class Secret:
    """Never the value."""

    name: str
    place: str
    present: bool


@dataclass(slots=True, frozen=True)
class Look:
    """One environment. ``barred``: tools of the agents that were asked about that are not called here, and why;
    ``needed``: secrets that their tools need and that are not there, by tool. ``egress`` None = anything."""

    environment: str
    file: str
    others: list[str] = field(default_factory=list)
    writes: str = "any"
    tools: list[Tool] = field(default_factory=list)
    secrets: list[Secret] = field(default_factory=list)
    egress: list[str] | None = None
    barred: dict[str, str] = field(default_factory=dict)
    needed: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing that is declared or needed is missing. A tool that is denied is not."""
        return not self.problems and not self.needed and all(secret.present for secret in self.secrets)


def look(settings: "Settings", agents: Sequence[Any] = ()) -> Look | None:
    """What is in force here; None = there is no environments file.

    Raises:
        EnvironmentInvalid: the file cannot be read, or does not have this environment.
    """
    from penstock.adapters.environments import read_environments
    from penstock.gates.environment.bindings import tools_of
    from penstock.wiring import home_of

    home = home_of(settings)
    if home is None:
        return None
    guard, environment = home.guard, home.environment
    missing = set(guard.secrets.learn())
    problems = guard.bindings.problems(agents)
    barred = {
        f"{agent.name}.{tool.name}": standing.barred.reason
        for agent in agents
        for tool in tools_of(agent)
        if (standing := guard.bindings.standing(agent.name, tool)).barred is not None
    }
    return Look(
        environment.name,
        str(settings.environments),
        [name for name in read_environments(settings.environments) if name != environment.name]
        if settings.environments is not None
        else [],
        environment.writes,
        [_tool(label, place, problems) for label, place in environment.tools.items()],
        [Secret(name, source.place, name not in missing) for name, source in environment.secrets.items()],
        list(environment.egress) if environment.egress is not None else None,
        barred,
        guard.missing(agents),
        problems,
    )


def _tool(label: str, place: str, problems: Sequence[str]) -> Tool:
    if place == DENY:
        return Tool(label, "-", "denied")
    why = next((words for words in problems if words.startswith((f"{label}: ", f"{place} "))), "")
    return Tool(label, place, "broken" if why else "bound", why)
