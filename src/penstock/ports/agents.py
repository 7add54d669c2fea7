"""What the engine asks of an agent, whoever wrote it."""

from typing import Any, Protocol

from penstock.events import BudgetRecord
from penstock.kernel.errors import PenstockError
from penstock.ports.model import Model


class AgentDef(Protocol):
    """An agent as workers know it. `penstock.Agent` and functions under `penstock.agent` are such."""

    @property
    def name(self) -> str: ...

    @property
    def release(self) -> str:
        """Digest of prompt, model, tools, settings and code: a run goes on only where the same release is offered."""
        ...

    @property
    def budget(self) -> BudgetRecord: ...

    def read_input(self, data: bytes) -> Any:
        """The input as `invoke` takes it, from its stored JSON."""
        ...

    def plain_input(self, value: Any) -> Any:
        """The plain JSON value of an input.

        Raises:
            InputInvalid: it does not fit the agent's input type, or JSON cannot carry it.
        """
        ...

    def read_output(self, data: bytes) -> Any:
        """The output as callers get it, from its stored JSON."""
        ...

    def plain_output(self, value: Any) -> Any:
        """The plain JSON value of an output."""
        ...

    async def perform(self, run: Any, value: Any) -> Any:
        """All of the agent's work: its stages around its code, and its fallback when that fails."""
        ...

    async def invoke(self, run: Any, value: Any) -> Any:
        """Run the agent's code."""
        ...

    async def recover(self, run: Any, value: Any, failure: PenstockError) -> Any:
        """The fallback after a failure; raises ``failure`` again when there is none."""
        ...


class AgentDirectory(Protocol):
    """The agents that this process offers."""

    def find(self, name: str, release: str | None = None) -> AgentDef | None:
        """The agent of that name (and release, when given)."""
        ...

    def add(self, agent: AgentDef) -> None:
        """Offer an agent from now on."""
        ...


class ModelDirectory(Protocol):
    """The models that this process can call."""

    def find(self, name: str) -> Model:
        """The model of that name.

        Raises:
            ModelUnknown, ProviderInvalid: there is none, or it cannot be called from here.
        """
        ...
