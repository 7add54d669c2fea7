"""One HTTP/1.1 connection to a provider: a request at a time, its answer as it comes."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

HELD_MAX_BYTES = 256 * 1024
"""Of an answer that nobody has taken yet; beyond it the other side is kept waiting."""
HEADERS_MAX = 200

Headers = list[tuple[bytes, bytes]]


class UpstreamFailed(Exception):
    """The provider could not be reached, or did not answer as HTTP.

    ``code`` is stable: ``connect``, ``reset``, ``garbage``, ``truncated``, ``too_large``. ``sent`` says whether some of
    the request may have reached the other side.
    """

    def __init__(self, code: str, words: str, *, sent: bool) -> None:
        super().__init__(words)
        self.code = code
        self.words = words
        self.sent = sent


class Connection(asyncio.Protocol):
    """Parses what comes. ``on_free`` is told when another request may be sent."""

    def __init__(self, on_free: Callable[["Connection"], None], on_gone: Callable[["Connection"], None]) -> None:
        self._on_free = on_free
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._gone = False
        self._paused = False
        self.idle_since_ns = 0
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._size = 0
        self._most = 0
        self._delimited = False
        self._head_done = False
        self._complete = False
        self._busy = False
        self._keeps_alive = False
        self._failure: UpstreamFailed | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def usable(self) -> bool:
        """Whether a request can be sent."""
        return not self._gone and self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, most_bytes: int) -> None:
        """Send a whole request; an answer with a longer body fails."""
        assert self._transport is not None
        self._begin()
        self._busy = True
        self._most = most_bytes
        self._transport.write(request)

    async def head(self) -> None:
        """Wait for status and headers.

        Raises:
            UpstreamFailed: they do not come.
        """
        while not self._head_done:
            self._raise_failure()
            await self._wait()

    async def chunk(self) -> bytes:
        """The next bytes of the body; b"" at its end.

        Raises:
            UpstreamFailed: it ends before its end, or is too large.
        """
        while not self._chunks:
            self._raise_failure()
            if self._complete:
                return b""
            await self._wait()
        data = self._chunks.popleft() if len(self._chunks) == 1 else self._all()
        self._held -= len(data)
        if self._paused and self._held < HELD_MAX_BYTES // 2:
            self._paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    def release(self) -> None:
        """The caller is done with the answer; what has not been read of it closes the connection."""
        if not self._busy:
            return
        self._busy = False
        if self._complete and self.usable and self._keeps_alive and not self._paused:
            self._on_free(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self.abort()  # nobody asked: whatever it is would be taken for the next answer
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, ValueError) as error:
            self._fail("garbage", f"the answer is not HTTP: {type(error).__name__}")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        if self._busy and not self._complete:
            if self._head_done and not self._delimited:
                self._complete, self._keeps_alive = True, False
            elif self._head_done:
                self._fail("truncated", "the connection was closed before the answer had ended")
            else:
                self._fail("reset", "the connection was closed before there was an answer")
        self._wake()
        self._on_gone(self)

    def on_message_begin(self) -> None:
        self.status = 0
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))
        if len(self.headers) > HEADERS_MAX:
            raise ValueError("too many headers")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        self._delimited = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)
        self._keeps_alive = self._parser.should_keep_alive()
        self._head_done = True
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._most:
            self._fail("too_large", f"the answer has more than {self._most:,} bytes")
            return
        self._chunks.append(body)
        self._held += len(body)
        if self._held > HELD_MAX_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self.status >= 200:
            self._complete = True
            self._wake()

    def _all(self) -> bytes:
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data

    def _fail(self, code: str, words: str) -> None:
        if self._failure is None:
            self._failure = UpstreamFailed(code, words, sent=True)
        self._chunks.clear()
        self.abort()
        self._wake()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
