"""News between processes: LISTEN on a connection of its own, NOTIFY coalesced and outside every other transaction.

A lost connection costs nothing but time: `wait` then returns after its time-out, and the listener tries again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import asyncpg

from penstock.adapters.postgres.queries import NOTIFY
from penstock.kernel.errors import JournalError

CHANNEL = "penstock_work"
COALESCE_SECONDS = 0.01
"""At most one NOTIFY in this time from one process: each takes a lock that all notifying commits share."""
RECONNECT_SECONDS = 2.0


class Signals:
    """Tells other processes that something may be due, and hears them."""

    def __init__(self, dsn: str, send: Callable[[str], Awaitable[object]]) -> None:
        self._dsn = dsn
        self._send = send
        self._heard = asyncio.Event()
        self._channels: dict[str, Callable[[str], None]] = {CHANNEL: lambda _: self._heard.set()}
        self._pending = False
        self._sender: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._closed = False

    def tell(self) -> None:
        """Wake everybody who waits, here and in other processes, soon."""
        self._heard.set()
        self._pending = True
        if self._sender is None and not self._closed:
            self._sender = asyncio.create_task(self._send_soon())

    def hear(self, channel: str, listener: Callable[[str], None]) -> None:
        """Call the listener with what is sent on a channel; said before anybody listens."""
        self._channels[channel] = listener

    def listen(self) -> None:
        """Listen from now on."""
        if self._listener is None and not self._closed:
            self._listener = asyncio.create_task(self._listen())

    async def wait(self, timeout_seconds: float) -> None:
        """Return when somebody told, or after the time-out."""
        self.listen()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._heard.wait()
        except TimeoutError:
            return
        self._heard.clear()

    async def close(self) -> None:
        """Stop listening."""
        self._closed = True
        tasks = [task for task in (self._listener, self._sender) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_soon(self) -> None:
        try:
            while self._pending:
                self._pending = False
                with contextlib.suppress(JournalError):  # pollers find the work
                    await self._send(NOTIFY)
                await asyncio.sleep(COALESCE_SECONDS)
        finally:
            self._sender = None

    async def _listen(self) -> None:
        while True:
            try:
                connection = await asyncpg.connect(
                    self._dsn, timeout=RECONNECT_SECONDS * 2, server_settings={"application_name": "penstock-listen"}
                )
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _, lost=lost: lost.set())
            try:
                for channel in self._channels:
                    await connection.add_listener(channel, self._on_notify)
                self._heard.set()  # what was told before now was not heard
                await lost.wait()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(RECONNECT_SECONDS)
            finally:
                connection.terminate()

    def _on_notify(self, _connection: object, _pid: int, channel: str, text: object) -> None:
        self._channels[channel](str(text))
