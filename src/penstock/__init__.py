"""Penstock runs LLM agents in production: every model call and every tool call passes a gate, metered, recorded and
stoppable.

    from penstock import Agent, Budget, tool

The public names are loaded when they are first used, so that ``import penstock`` stays quick.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from penstock.agents import checks
    from penstock.agents.agent import Agent
    from penstock.agents.budget import Budget
    from penstock.agents.function import agent
    from penstock.agents.hybrid import Responder
    from penstock.agents.memory import SessionMemory
    from penstock.agents.run import Run, escalate
    from penstock.agents.stages import Failed
    from penstock.agents.tool import Tool, tool
    from penstock.events import Change, Fact
    from penstock.kernel.errors import PenstockError, Reject, Revise
    from penstock.ports.cache import Cache, CacheFor
    from penstock.ports.tools import IdempotencyKey, OutcomeUnknown, ToolContext, TransientToolError
    from penstock.rules.filters.filters import Classified, Filters
    from penstock.rules.spirals import Spirals
    from penstock.runs.client import Penstock
    from penstock.runs.result import Result
    from penstock.settings import Settings
    from penstock.wiring import open_penstock as open  # noqa: A004

_PLACES = {
    "Agent": ("penstock.agents.agent", "Agent"),
    "Budget": ("penstock.agents.budget", "Budget"),
    "Cache": ("penstock.ports.cache", "Cache"),
    "CacheFor": ("penstock.ports.cache", "CacheFor"),
    "Change": ("penstock.events", "Change"),
    "Classified": ("penstock.rules.filters.filters", "Classified"),
    "Fact": ("penstock.events", "Fact"),
    "Failed": ("penstock.agents.stages", "Failed"),
    "Filters": ("penstock.rules.filters.filters", "Filters"),
    "IdempotencyKey": ("penstock.ports.tools", "IdempotencyKey"),
    "OutcomeUnknown": ("penstock.ports.tools", "OutcomeUnknown"),
    "Penstock": ("penstock.runs.client", "Penstock"),
    "PenstockError": ("penstock.kernel.errors", "PenstockError"),
    "Reject": ("penstock.kernel.errors", "Reject"),
    "Responder": ("penstock.agents.hybrid", "Responder"),
    "Result": ("penstock.runs.result", "Result"),
    "Revise": ("penstock.kernel.errors", "Revise"),
    "Run": ("penstock.agents.run", "Run"),
    "SessionMemory": ("penstock.agents.memory", "SessionMemory"),
    "Settings": ("penstock.settings", "Settings"),
    "Spirals": ("penstock.rules.spirals", "Spirals"),
    "Tool": ("penstock.agents.tool", "Tool"),
    "ToolContext": ("penstock.ports.tools", "ToolContext"),
    "TransientToolError": ("penstock.ports.tools", "TransientToolError"),
    "agent": ("penstock.agents.function", "agent"),
    "checks": ("penstock.agents.checks", ""),
    "escalate": ("penstock.agents.run", "escalate"),
    "open": ("penstock.wiring", "open_penstock"),
    "tool": ("penstock.agents.tool", "tool"),
}

__all__ = [
    "Agent",
    "Budget",
    "Cache",
    "CacheFor",
    "Change",
    "Classified",
    "Fact",
    "Failed",
    "Filters",
    "IdempotencyKey",
    "OutcomeUnknown",
    "Penstock",
    "PenstockError",
    "Reject",
    "Responder",
    "Result",
    "Revise",
    "Run",
    "SessionMemory",
    "Settings",
    "Spirals",
    "Tool",
    "ToolContext",
    "TransientToolError",
    "agent",
    "checks",
    "escalate",
    "open",
    "tool",
]


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(place[0])
    value = getattr(module, place[1]) if place[1] else module
    if name in ("Agent", "agent"):
        import_module("penstock.agents.runtime").set_default(_open_for_one_call)
    globals()[name] = value
    return value


def _open_for_one_call() -> Any:
    """What ``agent.run(...)`` runs in when nothing is open: the configured database, with a worker of its own."""
    from penstock.kernel.clock import SystemClock
    from penstock.kernel.ids import new_id
    from penstock.wiring import open_penstock

    return open_penstock(worker=f"once-{new_id(SystemClock()).hex[-12:]}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
