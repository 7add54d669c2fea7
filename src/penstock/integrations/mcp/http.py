"""A server that is reached over streamable HTTP, with bounds on what it answers."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error beyond its bound."""

    def __init__(self, inner: Any, most: int) -> None:
        self._inner = inner
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in self._inner:
            seen += len(chunk)
            if seen > self._most:
                raise httpx2.ReadError(f"the answer has more than {self._most:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class BoundedTransport(httpx2.AsyncHTTPTransport):
    """Refuses bodies beyond a bound. Streams of events go on while each event keeps to it; the SDK sees to that."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer, whose body cannot grow beyond the bound."""
        response = await super().handle_async_request(request)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            response.stream = _Bounded(response.stream, self._most_bytes)
        return response


@contextlib.asynccontextmanager
async def http_transport(
    url: str, headers: Mapping[str, str], most_bytes: int, connect_seconds: float
) -> AsyncIterator[tuple[Any, Any]]:
    """Connect, and give the streams of messages. How long a call may take is the gate's matter, not the socket's."""
    timeout = httpx2.Timeout(connect_seconds, read=None)
    async with (
        httpx2.AsyncClient(transport=BoundedTransport(most_bytes), headers=dict(headers), timeout=timeout) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=most_bytes) as streams,
    ):
        yield streams[0], streams[1]
