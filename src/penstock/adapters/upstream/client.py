"""A provider's address with a bounded pool of connections to it.

Made for the gateway's hot path: a request costs about a quarter of the CPU that it costs through a general HTTP client
(benchmarks, group `gateway`). So it does little: HTTP/1.1, no redirects, no proxies, no compression, and nothing is
ever sent a second time.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from penstock.adapters.egress.hook import allow_url
from penstock.adapters.upstream.connection import Connection, Headers, UpstreamFailed
from penstock.kernel.clock import Clock, SystemClock

__all__ = ["Answer", "Headers", "Upstream", "UpstreamFailed"]


class Answer:
    """An answer whose head has come. Whoever has it calls `close` at the end, in any case."""

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection
        self.status = connection.status
        self.headers = connection.headers

    def header(self, name: bytes) -> bytes:
        """The first header of that name, in lower case; b"" when there is none."""
        return next((value for known, value in self.headers if known == name), b"")

    async def chunk(self) -> bytes:
        """The next bytes of the body; b"" at its end.

        Raises:
            UpstreamFailed: it broke off, or is too large.
        """
        return b"" if self._connection is None else await self._connection.chunk()

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            UpstreamFailed: as `chunk`.
        """
        first = await self.chunk()
        whole = [first]
        while whole[-1]:
            whole.append(await self.chunk())
        return first if len(whole) == 2 else b"".join(whole)

    def abort(self) -> None:
        """Close the connection at once: whoever reads the answer learns that it broke off."""
        if self._connection is not None:
            self._connection.abort()

    def close(self) -> None:
        """Give the connection back, or close it when the answer was not read to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()


class Upstream:
    """Many requests may be under way; each has a connection of its own."""

    def __init__(
        self,
        base_url: str,
        *,
        connections: int = 1000,
        connect_seconds: float = 10.0,
        idle_seconds: float = 4.0,
        answer_max_bytes: int = 32 * 1024 * 1024,
        clock: Clock | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """``idle_seconds``: how long an unused connection is kept. Less than servers keep theirs (commonly 5 s), since
        a request into one that is just being closed is lost, and nobody can tell whether it was served.

        Raises:
            ValueError: not the address of an HTTP server.
        """
        parts = urlsplit(base_url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ValueError(f"{base_url!r} is not the address of an HTTP server")
        self.base_url = base_url
        allow_url(base_url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path.rstrip("/")
        self._ssl = (trust or ssl.create_default_context()) if parts.scheme == "https" else None
        default = self._port == (443 if self._ssl else 80)
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self._authority = (shown if default else f"{shown}:{self._port}").encode()
        self._most = connections
        self._connect_seconds = connect_seconds
        self._idle_ns = int(idle_seconds * 1e9)
        self._answer_max_bytes = answer_max_bytes
        self._clock = clock or SystemClock()
        self._free: list[Connection] = []
        self._all: set[Connection] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def send(
        self,
        method: str,
        path: str,
        headers: Headers,
        body: bytes = b"",
        on_abortable: Callable[[Callable[[], None]], None] | None = None,
    ) -> Answer:
        """Send a request below the base address; its answer when the head has come.

        ``headers`` without those of the connection and of the length, which are added here. ``on_abortable`` is told
        how to give up while this waits.

        Raises:
            UpstreamFailed: there is no answer.
        """
        head = [f"{method} {self._prefix}{path} HTTP/1.1\r\nhost: ".encode(), self._authority, b"\r\n"]
        for name, value in headers:
            head += (name, b": ", value, b"\r\n")
        if body or method == "POST":
            head.append(b"content-length: %d\r\n" % len(body))
        head += (b"\r\n", body)
        connection = await self._connection()
        if on_abortable is not None:
            on_abortable(connection.abort)
        connection.send(b"".join(head), self._answer_max_bytes)
        try:
            await connection.head()
        except BaseException:
            connection.release()
            raise
        return Answer(connection)

    async def close(self) -> None:
        """Close all connections; what is under way fails."""
        self._closed = True
        for connection in list(self._all):
            connection.abort()

    async def _connection(self) -> Connection:
        while True:
            connection = self._idle()
            if connection is not None:
                return connection
            if len(self._all) + self._opening < self._most:
                return await self._open()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._pass_on()
                raise

    def _idle(self) -> Connection | None:
        now = self._clock.boot_ns()
        while self._free:
            connection = self._free.pop()
            if connection.usable and now - connection.idle_since_ns < self._idle_ns:
                return connection
            connection.abort()
            self._all.discard(connection)
        return None

    async def _open(self) -> Connection:
        self._opening += 1
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(self._has_freed, self._has_gone),
                    self._host,
                    self._port,
                    ssl=self._ssl,
                    server_hostname=self._host if self._ssl else None,
                )
        except TimeoutError as error:
            words = f"no connection within {self._connect_seconds:g} s"
            raise UpstreamFailed("connect", words, sent=False) from error
        except (OSError, ssl.SSLError) as error:
            words = f"no connection: {type(error).__name__}"
            raise UpstreamFailed("connect", words, sent=False) from error
        finally:
            self._opening -= 1
        if self._closed:
            connection.abort()
            raise UpstreamFailed("connect", "the gateway is being closed", sent=False)
        self._all.add(connection)
        return connection

    def _has_freed(self, connection: Connection) -> None:
        connection.idle_since_ns = self._clock.boot_ns()
        self._free.append(connection)
        self._pass_on()

    def _has_gone(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
