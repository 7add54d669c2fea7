"""Server-sent events on the wire: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from penstock.kernel.errors import PenstockError
from penstock.server.limits import leave_seat

RETRY = b"retry: 1000\n\n"
"""How long a browser waits before it comes again, in milliseconds."""
HEARTBEAT = b"event: heartbeat\ndata: {}\n\n"
HEARTBEAT_SECONDS = 2.0
"""Readers that hear nothing for more than twice as long know that what they show is old."""
_encode = msgspec.json.Encoder().encode


def frame(event: str, data: object) -> bytes:
    """One event. ``data`` as JSON holds no line break, so it is one line."""
    return b"".join((b"event: ", event.encode(), b"\ndata: ", _encode(data), b"\n\n"))


def with_cursor(data: bytes, cursor: str) -> bytes:
    """A frame with the id that its reader sends back when it comes again."""
    return b"".join((b"id: ", cursor.encode(), b"\n", data))


class EventStream(Response):
    """An answer that goes on. It ends when its frames do, when the reader goes, or takes nothing for too long."""

    media_type = "text/event-stream"

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        *,
        write_seconds: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store", **(headers or {})})
        del self.headers["content-length"]
        self._frames = frames
        self._write_seconds = write_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leave_seat(scope)
        gone = asyncio.create_task(_until_gone(receive))
        writing = asyncio.create_task(self._write(send))
        try:
            await asyncio.wait((gone, writing), return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        finally:
            for task in (gone, writing):
                task.cancel()
            await asyncio.gather(gone, writing, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        async with aclosing(self._frames):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            try:
                await self._send(send, RETRY)
                async for data in self._frames:
                    await self._send(send, data)
            except TimeoutError:
                return  # a reader that takes nothing has no claim to our memory
            except PenstockError as error:
                await self._send(send, frame("error", {"code": error.code, "title": error.what, "hint": error.advice}))
            await send({"type": "http.response.body", "body": b""})

    async def _send(self, send: Send, data: bytes) -> None:
        async with asyncio.timeout(self._write_seconds):
            await send({"type": "http.response.body", "body": data, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
