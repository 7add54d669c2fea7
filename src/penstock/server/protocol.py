"""HTTP/1.1 with bounds that uvicorn's quick parser has not: on the bytes of a request's head, on the time that it may
take to come, and on connections."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_MAX_BYTES = 64 * 1024
"""Of request line and headers. The application refuses less than that with a problem of its own; what is beyond may not
even be held."""
HEAD_SECONDS = 20.0
"""From a request's first byte, or the connection's begin, to the end of its headers."""
CONNECTIONS_MAX = 10_000
LINGER_SECONDS = 1.0
"""How long a refused sender is listened to without being heard."""

_REASONS = {431: "Request Header Fields Too Large", 408: "Request Timeout"}


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._is_fresh = False
        self._head_bytes = 0
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
            return
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if not self._in_head:
            return
        # The bytes in which a head begins may hold the end of a body before it: they count for no more than the bound.
        self._head_bytes = min(len(data), HEAD_MAX_BYTES) if self._is_fresh else self._head_bytes + len(data)
        self._is_fresh = False
        if self._timer is None:
            self._start_timer()
        if self._head_bytes > HEAD_MAX_BYTES:
            self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._is_fresh = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def _refuse(self, status: int) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        if not self._in_head:
            self.transport.close()
            return
        self._refused = True
        head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        self.transport.write(head.encode())
        # Closing at once, with bytes unread, would reset the connection and take the answer away.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._refuse, 408)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
