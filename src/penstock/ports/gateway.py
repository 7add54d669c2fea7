"""What the gateway keeps beside its runs: what its keys are bound to, and which run a name means.

Both stores pass `tests/contract/gateway_suite.py`.
"""

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from penstock.events import BudgetRecord


@dataclass(slots=True, frozen=True)
class KeyBinding:
    """What all calls with a key are made as.

    Attributes:
        agent: the agent that the runs count for.
        tags: tags that every run has; a request cannot set others in their place.
        budget: of each run; all zero = no limit of its own.
    """

    tenant: str
    key: UUID
    agent: str
    tags: dict[str, str] = field(default_factory=dict)
    budget: BudgetRecord = BudgetRecord()


@dataclass(slots=True, frozen=True)
class NamedRun:
    """The run that a name means. ``worker``: who holds it; None = nobody, it waits to be taken over."""

    run: UUID
    worker: UUID | None


class Gateway(Protocol):
    """Bindings and names. Tenant leads both."""

    async def bind(self, binding: KeyBinding) -> bool:
        """Bind a key, once for all; False when it has another binding already."""
        ...

    async def binding(self, tenant: str, key: UUID) -> KeyBinding | None:
        """What a key is bound to; None = nothing."""
        ...

    async def named(self, tenant: str, name: str) -> NamedRun | None:
        """The unended run of that name."""
        ...
