"""Which function a tool's name stands for in one environment.

A binding is of the environment, not of the release: what is declared of a tool (effect, risk, approval, checks, limits)
is the same everywhere, and so is what models are shown. Only the function that is called in the end is another.
"""

import hashlib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import EnvironmentInvalid
from penstock.ports.environments import DENY, Environment
from penstock.ports.tools import ToolDef
from penstock.rules.verdict import Decision, Verdict

UNBOUND = "tool_unbound"
"""The code of a call of a tool that this environment has nothing for."""


@dataclass(slots=True, frozen=True)
class Standing:
    """What a tool's name stands for. ``label``: which function takes its place, "" = its own; ``barred``: why nothing
    is called."""

    tool: ToolDef
    label: str = ""
    barred: Decision | None = None


class Bindings:
    """The tools of one environment."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._resolved: dict[str, ToolDef] = {}

    @property
    def declared(self) -> Mapping[str, str]:
        return self._environment.tools

    def standing(self, agent: str, tool: ToolDef) -> Standing:
        """What a tool stands for when that agent calls it."""
        name = self._environment.name
        where = self._place(agent, tool)
        if where == DENY:
            return nothing(tool, f"the tool {tool.name} is not called in the environment {name}")
        if where is None:
            if tool.effect == "write" and self._environment.writes == "bound":
                return nothing(
                    tool, f"the tool {tool.name} writes, and nothing is bound to it in the environment {name}"
                )
            return Standing(tool)
        try:
            bound = self.resolve(where)
        except EnvironmentInvalid as error:
            return nothing(tool, error.what)
        if why := differs(tool, bound):
            words = f"{where} cannot take the place of the tool {tool.name} in the environment {name}: {why}"
            return nothing(tool, words)
        return Standing(_in_place(tool, bound), f"{where}@{bound.digest[:16]}")

    def _place(self, agent: str, tool: ToolDef) -> str | None:
        """What is bound to the tool of that agent, else of all agents."""
        known = self._environment.tools
        return known.get(f"{agent}.{tool.name}") or known.get(tool.name)

    def resolve(self, where: str) -> ToolDef:
        """The tool at ``module:tool``.

        Raises:
            EnvironmentInvalid: there is none, or its module cannot be imported.
        """
        known = self._resolved.get(where)
        if known is None:
            known = self._resolved[where] = _load(where)
        return known

    def problems(self, agents: Iterable[Any]) -> list[str]:
        """All that keeps the bindings from being kept to: what is not there, and what is no match for a tool of one of
        these agents."""
        found = []
        for label, where in self.declared.items():
            if where == DENY:
                continue
            try:
                bound = self.resolve(where)
            except EnvironmentInvalid as error:
                found.append(f"{label}: {error.what}")
                continue
            if label != bound.name and not label.endswith(f".{bound.name}"):
                found.append(f"{label}: {where} is a tool named {bound.name}")
        for agent in agents:
            for tool in tools_of(agent):
                barred, place = self.standing(agent.name, tool).barred, self._place(agent.name, tool)
                if barred is not None and place in self._resolved:
                    found.append(barred.reason)
        return list(dict.fromkeys(found))


def tools_of(agent: Any) -> list[ToolDef]:
    """The tools that an agent declares; those that its code calls without declaring them are not known."""
    tools = getattr(agent, "tools", None)
    values = tools.values() if isinstance(tools, Mapping) else tools if isinstance(tools, list | tuple) else ()
    found = (tool if isinstance(tool, ToolDef) else getattr(tool, "definition", None) for tool in values)
    return [tool for tool in found if isinstance(tool, ToolDef)]


def differs(tool: ToolDef, bound: ToolDef) -> str:
    """Why a tool cannot take another's place; "" = it can."""
    if bound.name != tool.name:
        return f"it is named {bound.name}"
    if bound.effect != tool.effect:
        return f"it is declared as a {bound.effect}, and the tool as a {tool.effect}"
    if tool.spec.schema and bound.spec.schema != tool.spec.schema:
        return "its arguments are others"
    if tool.in_doubt == "keyed" and bound.key_param is None:
        return "it takes no idempotency key"
    if tool.in_doubt == "confirm" and bound.confirm is None:
        return "it has no look-up that tells whether it happened"
    return ""


def _in_place(tool: ToolDef, bound: ToolDef) -> ToolDef:
    return replace(
        tool,
        call=bound.call,
        is_async=bound.is_async,
        bind=bound.bind,
        confirm=bound.confirm,
        preview=bound.preview,
        key_param=bound.key_param,
        context_param=bound.context_param,
        secrets=bound.secrets,
        remote=None,
        digest=hashlib.sha256(stable_json([tool.digest, bound.digest])).hexdigest(),
    )


def _load(where: str) -> ToolDef:
    module_name, _, attribute = where.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # the module's own code runs
        words = f"{where} cannot be imported: {type(error).__name__}: {str(error)[:200]}"
        raise EnvironmentInvalid(words, hint="the module must be importable where workers run") from error
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise EnvironmentInvalid(f"the module {module_name} has no {attribute}") from None
    definition = getattr(found, "definition", None)
    if not isinstance(definition, ToolDef):
        raise EnvironmentInvalid(f"{where} is no tool", hint="declare it with @tool, under the same name")
    return definition


def nothing(tool: ToolDef, words: str) -> Standing:
    """Nothing of the tool is called; nor its look-up, preview or server, which would ask what it is kept from."""
    return Standing(
        replace(tool, confirm=None, preview=None, remote=None), barred=Decision(Verdict.DENY, words, UNBOUND)
    )
