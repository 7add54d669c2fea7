"""The port through which agents reach the runs layer: `agent.run(...)` needs somebody who runs it."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol
from weakref import WeakKeyDictionary

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
_default: list[Callable[[], AbstractAsyncContextManager[Any]]] = []


class _Shared:
    """A runtime for calls that found none open: the first of them opens it, the last closes it."""

    def __init__(self) -> None:
        self.users = 0
        self.runtime: Any = None
        self._lock = asyncio.Lock()
        self._opened = AsyncExitStack()

    async def enter(self) -> None:
        async with self._lock:
            if self.users == 0:
                self.runtime = await self._opened.enter_async_context(_default[0]())
            self.users += 1

    async def leave(self) -> None:
        async with self._lock:
            self.users -= 1
            if self.users == 0:
                self.runtime = None
                await self._opened.aclose()


_shared: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared]" = WeakKeyDictionary()


def current() -> Runtime | None:
    """The innermost runtime that is open in this process."""
    return _stack[-1] if _stack else None


def push(runtime: Runtime) -> None:
    """Make a runtime the current one."""
    _stack.append(runtime)


def remove(runtime: Runtime) -> None:
    """Take it away again, wherever it stands."""
    _stack.remove(runtime)


def set_default(opener: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
    """Set what opens a runtime when none is open."""
    _default[:] = [opener]


async def run_somewhere(agent: AgentDef, value: Any, **options: Any) -> Any:
    """Run in the current runtime, or in one that is opened for as long as such calls go on."""
    shared = _shared.setdefault(asyncio.get_running_loop(), _Shared())
    runtime = current()
    if runtime is not None and runtime is not shared.runtime:
        return await runtime.run(agent, value, **options)
    if not _default:
        raise NoRuntime(f"nothing is open that could run {agent.name}")
    await shared.enter()
    try:
        return await shared.runtime.run(agent, value, **options)
    finally:
        await shared.leave()
