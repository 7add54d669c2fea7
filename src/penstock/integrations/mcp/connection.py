"""One session with one server, shared by everything in a process that calls it.

The SDK's sessions must be entered and left in one task, so each has a task of its own that owns it from its beginning
to its end. A session that has broken is left behind; the next call opens another.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp import Client, MCPError

from penstock.gates.order.branches import outside_runs
from penstock.integrations.mcp.definitions import TOOLS_MAX, ToolDefinition, read_listing
from penstock.kernel.canonical import describe
from penstock.kernel.clock import Clock, SystemClock
from penstock.kernel.errors import McpUnreachable

Transport = Callable[[], AbstractAsyncContextManager[tuple[Any, Any]]]
LISTINGS_MAX = 100
"""Pages of one listing, at most."""
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.1, 10.0


@dataclass(slots=True)
class Session:
    """A session that is open. ``stale``: its listing has to be asked for again before the next call."""

    client: Client
    tools: dict[str, ToolDefinition] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    listed_ns: int = 0
    stale: bool = True
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def leave(self) -> None:
        """It is of no more use."""
        self.over.set()


class Connection:
    """Sessions with one server, one after another, one at a time."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        connect_seconds: float,
        relist_seconds: float,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.accepted: set[tuple[str, str, str]] = set()
        """Tenant, tool, digest: definitions that are not those agreed to, whose calls are made all the same."""
        self._transport = transport
        self._connect_seconds = connect_seconds
        self._relist_seconds = relist_seconds
        self._clock = clock or SystemClock()
        self._opening: asyncio.Future[Session] | None = None
        self._owner: asyncio.Task[None] | None = None
        self._failures = 0
        self._not_before_ns = 0
        self._listing = asyncio.Lock()

    async def session(self) -> Session:
        """The session, opened when there is none, with a listing that is not old.

        Raises:
            McpUnreachable: the server cannot be started or reached, or does not list its tools; nothing was called.
        """
        opening = self._opening
        if opening is None or (opening.done() and (opening.exception() or opening.result().over.is_set())):
            opening = self._open()
        session = await asyncio.shield(opening)
        async with self._listing:
            if session.stale or self._is_old(session):
                await self._list(session)
        return session

    async def close(self) -> None:
        """End the session, and its process."""
        owner, self._owner = self._owner, None
        if self._opening is not None and self._opening.done() and not self._opening.exception():
            self._opening.result().leave()
        elif owner is not None:
            owner.cancel()
        if owner is not None:
            await asyncio.wait({owner})

    def _open(self) -> "asyncio.Future[Session]":
        loop = asyncio.get_running_loop()
        opening: asyncio.Future[Session] = loop.create_future()
        opening.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._opening = opening
        self._owner = loop.create_task(self._own(opening, self._owner), context=outside_runs())
        return opening

    async def _own(self, opening: "asyncio.Future[Session]", before: "asyncio.Task[None] | None") -> None:
        """Hold one session from its beginning to its end."""
        try:
            if before is not None:
                await asyncio.wait({before})
            await self._clock.sleep(max(0, self._not_before_ns - self._clock.boot_ns()) / 1e9)
            async with contextlib.AsyncExitStack() as stack:
                session = Session(None)  # type: ignore[arg-type] # known in a moment
                client = Client(
                    _Watched(self._transport, session), cache=None, message_handler=lambda item: _heard(session, item)
                )
                async with asyncio.timeout(self._connect_seconds):
                    session.client = await stack.enter_async_context(client)
                self._failures = 0
                opening.set_result(session)
                await session.over.wait()
        except asyncio.CancelledError:
            if not opening.done():
                opening.set_exception(McpUnreachable(f"the server {self.name} was let go of"))
            raise
        except BaseException as error:  # noqa: BLE001 - groups of the SDK's tasks among them; who waits is told in words
            self._failures += 1
            pause = min(LAST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10))
            self._not_before_ns = self._clock.boot_ns() + int(pause * 1e9)
            if not opening.done():
                opening.set_exception(McpUnreachable(f"the server {self.name} cannot be reached: {_words(error)}"))

    def _is_old(self, session: Session) -> bool:
        return self._clock.boot_ns() - session.listed_ns > self._relist_seconds * 1e9

    async def _list(self, session: Session) -> None:
        """Ask what tools there are now."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        session.stale = False  # what changes from here on is said again
        try:
            async with asyncio.timeout(self._connect_seconds):
                for _ in range(LISTINGS_MAX):
                    page = await session.client.list_tools(cursor=cursor, cache_mode="bypass")
                    found += [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in page.tools]
                    cursor = page.next_cursor
                    if cursor is None or len(found) > TOOLS_MAX:
                        break
        except (MCPError, TimeoutError, OSError, RuntimeError, ValueError) as error:
            session.leave()
            raise McpUnreachable(f"the server {self.name} does not list its tools: {_words(error)}") from error
        if len(found) > TOOLS_MAX:
            session.leave()
            raise McpUnreachable(f"the server {self.name} has more than {TOOLS_MAX} tools")
        session.tools, session.refused = read_listing(self.name, found)
        session.listed_ns = self._clock.boot_ns()


class _Watched:
    """A transport that says when the server's side has ended."""

    def __init__(self, transport: Transport, session: Session) -> None:
        self._transport = transport()
        self._session = session

    async def __aenter__(self) -> tuple[Any, Any]:
        read, write = await self._transport.__aenter__()
        return _Stream(read, self._session), write

    async def __aexit__(self, *exception: Any) -> bool | None:
        self._session.leave()
        return await self._transport.__aexit__(*exception)


class _Stream:
    """The messages of a server; when they end, so does the session."""

    def __init__(self, inner: Any, session: Session) -> None:
        self._inner = inner
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def receive(self) -> Any:
        try:
            return await self._inner.receive()
        except BaseException:
            self._session.leave()
            raise

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except BaseException:
            self._session.leave()
            raise

    async def __aenter__(self) -> "_Stream":
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> Any:
        return await self._inner.__aexit__(*exception)


async def _heard(session: Session, item: Any) -> None:
    if isinstance(item, types.ToolListChangedNotification):
        session.stale = True


def _words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return "it took too long" if isinstance(error, TimeoutError) else describe(error, 200)
