"""The port through which agents reach the runs layer: `agent.run(...)` needs somebody who runs it."""

from collections.abc import Callable
from typing import Any, Protocol

from penstock.agents.budget import Budget
from penstock.kernel.errors import NoRuntime
from penstock.ports.agents import AgentDef


class Runtime(Protocol):
    """Whoever submits runs and waits for them."""

    async def run(
        self,
        agent: AgentDef,
        value: Any,
        *,
        key: str | None,
        tags: dict[str, str] | None,
        budget: Budget | None,
        tenant: str | None,
    ) -> Any:
        """Submit, wait, and give the result."""
        ...


_stack: list[Runtime] = []
_default: list[Callable[[], Any]] = []


def current() -> Runtime | None:
    """The innermost runtime that is open in this process."""
    return _stack[-1] if _stack else None


def push(runtime: Runtime) -> None:
    """Make a runtime the current one."""
    _stack.append(runtime)


def remove(runtime: Runtime) -> None:
    """Take it away again, wherever it stands."""
    _stack.remove(runtime)


def set_default(opener: Callable[[], Any]) -> None:
    """Set what opens a runtime when none is open: an async context manager's maker."""
    _default[:] = [opener]


async def run_somewhere(agent: AgentDef, value: Any, **options: Any) -> Any:
    """Run in the current runtime, or in one opened for this call."""
    runtime = current()
    if runtime is not None:
        return await runtime.run(agent, value, **options)
    if not _default:
        raise NoRuntime(f"nothing is open that could run {agent.name}")
    async with _default[0]() as opened:
        return await opened.run(agent, value, **options)
