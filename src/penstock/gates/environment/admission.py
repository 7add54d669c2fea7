"""The environment at the tool gate."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from penstock.events import Failure, Filtered
from penstock.gates.environment.bindings import Bindings, Standing, nothing, tools_of
from penstock.gates.environment.secrets import MISSING, SecretKeeper
from penstock.kernel.errors import EnvironmentInvalid
from penstock.ports.environments import Environment, Secrets, SecretStore
from penstock.ports.tools import ToolDef
from penstock.rules.verdict import Decision, Verdict

if TYPE_CHECKING:
    from penstock.gates.run.context import RunContext

NOTHING = Secrets()


class EnvironmentGuard:
    """What is in force in this process's environment.

    Args:
        environment: as its file declares it.
        secrets: where its secrets are.
    """

    def __init__(self, environment: Environment, secrets: SecretStore) -> None:
        self.environment = environment
        self.bindings = Bindings(environment)
        self.secrets = SecretKeeper(secrets)
        self.secrets.learn()

    @property
    def name(self) -> str:
        return self.environment.name

    def check(self, agents: Iterable[Any]) -> None:
        """Refuse bindings that cannot be kept to.

        Raises:
            EnvironmentInvalid: a tool is not there, or no match for that of one of these agents.
        """
        if problems := self.bindings.problems(agents):
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            words = f"the bindings of the environment {self.name} cannot be kept: {problems[0]}{more}"
            raise EnvironmentInvalid(words, problems=problems)

    def missing(self, agents: Iterable[Any]) -> dict[str, list[str]]:
        """Secrets that tools of these agents need here and that are not there: tool → names."""
        found: dict[str, list[str]] = {}
        for agent in agents:
            for tool in tools_of(agent):
                standing = self.bindings.standing(agent.name, tool)
                if standing.barred is None and (names := self.secrets.missing(standing.tool.secrets)):
                    found[f"{agent.name}.{tool.name}"] = names
        return found


def standing_of(ctx: "RunContext", tool: ToolDef | None) -> Standing | None:
    """What a tool stands for here; None = there is no environments file, or no such tool."""
    guard = ctx.services.environment
    if guard is None or tool is None:
        return None
    if ctx.facts.environment != guard.name:
        words = f"the run is of the environment {ctx.facts.environment}, and this process of {guard.name}"
        return nothing(tool, words)
    return guard.bindings.standing(ctx.tape.submitted.agent, tool)


def objection(ctx: "RunContext", tool: ToolDef | None, barred: Decision | None) -> Decision | None:
    """What the environment has against a call: nothing may be called in the tool's place, or a secret is missing."""
    if barred is not None or tool is None or not tool.secrets:
        return barred
    known = secrets_of(ctx, tool)
    return known if isinstance(known, Decision) else None


def secrets_of(ctx: "RunContext", tool: ToolDef) -> Secrets | Decision:
    """What the tool has declared, as it is now, or why it is not called."""
    if not tool.secrets:
        return NOTHING
    guard = ctx.services.environment
    if guard is None:
        words = f"the tool {tool.name} needs the secret {tool.secrets[0]}, and there is no environments file"
        return Decision(Verdict.DENY, words, MISSING)
    return guard.secrets.of(tool.name, tool.secrets)


def refused(why: Decision) -> Failure:
    """The failure of a call that was not made because of that."""
    return Failure(why.code, "permanent", why.reason)


def kept_secret(ctx: "RunContext", value: Any, data: bytes) -> tuple[Any, list[Filtered]]:
    """A plain result without secrets, and how often there were any; ``data``: its stored form."""
    guard = ctx.services.environment
    if guard is None or not guard.secrets.is_in(data):
        return value, []
    found: dict[str, int] = {}
    plain = guard.secrets.without(value, found)
    return plain, [Filtered(f"secret:{name}", "redact", count) for name, count in sorted(found.items())]


def kept_secret_in(ctx: "RunContext", failure: Failure | None) -> Failure | None:
    """A failure whose words hold no secrets."""
    guard = ctx.services.environment
    if guard is None or failure is None or not failure.words:
        return failure
    words = guard.secrets.without_words(failure.words, {})
    return failure if words == failure.words else msgspec.structs.replace(failure, words=words)
