"""A model provider on this machine: an HTTP server that plays given answers and remembers every call.

For tests of what really goes over the wire: how often a provider is called, with what, and what happens when it fails
in the middle. Point an SDK's base URL at it.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal, Self

_MAX_HEAD_BYTES = 64 * 1024


@dataclass(slots=True, frozen=True)
class WireAnswer:
    """One HTTP answer.

    A body of several ``chunks`` is streamed. ``ending``: ``whole``; ``cut`` (the connection closes before the
    announced end); ``reset`` (it breaks with a TCP reset); ``hang`` (nothing more comes, the connection stays open).
    With no chunks at all, ``cut``, ``reset`` and ``hang`` come before any byte of an answer. ``pause_seconds`` passes
    before each chunk but the first: an answer that trickles never looks silent.
    """

    chunks: Sequence[bytes] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: Literal["whole", "cut", "reset", "hang"] = "whole"
    pause_seconds: float = 0.0

    @classmethod
    def json(cls, body: object, status: int = 200, **headers: str) -> Self:
        """An answer of one JSON value. Header names are given with underscores: ``retry_after="7"``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls([json.dumps(body).encode()], status, {"content-type": "application/json", **named})

    @classmethod
    def events(cls, text: str, ending: Literal["whole", "cut", "reset", "hang"] = "whole") -> Self:
        """A stream of server-sent events, one chunk each, from their text: blocks parted by empty lines."""
        blocks = [block for block in text.replace("\r\n", "\n").split("\n\n") if block.strip()]
        chunks = [f"{block}\n\n".encode() for block in blocks]
        return cls(chunks, 200, {"content-type": "text/event-stream"}, ending)


@dataclass(slots=True, frozen=True)
class WireCall:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class WireServer:
    """Plays its answers in order, the last one for ever; use it with ``async with``.

    An answer may be a function that gives one for the call.
    """

    def __init__(self, *answers: WireAnswer | Callable[["WireCall"], WireAnswer]) -> None:
        self._answers = answers or (WireAnswer.json({"error": {"message": "no answer was given"}}, 500),)
        self._server: asyncio.Server | None = None
        self._closing = asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        self.calls: list[WireCall] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_MAX_HEAD_BYTES)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._closing.set()
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while call := await _read_call(reader):
                answer = self._answers[min(len(self.calls), len(self._answers) - 1)]
                self.calls.append(call)
                if not await self._play(answer(call) if callable(answer) else answer, writer):
                    break
        except (ConnectionError, asyncio.CancelledError):
            # The client went away, or the test is over.
            writer.transport.abort()
        finally:
            self._open.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _play(self, answer: WireAnswer, writer: asyncio.StreamWriter) -> bool:
        """Send an answer; False when the connection is at its end."""
        if answer.chunks:
            streamed = len(answer.chunks) > 1
            length = sum(map(len, answer.chunks)) + (0 if answer.ending == "whole" else 1)
            framing = "transfer-encoding: chunked" if streamed else f"content-length: {length}"
            lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", framing]
            lines += [f"{name}: {value}" for name, value in answer.headers.items()]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            for number, chunk in enumerate(answer.chunks):
                if number and answer.pause_seconds:
                    await asyncio.sleep(answer.pause_seconds)
                writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if streamed else chunk)
                await writer.drain()
            if streamed and answer.ending == "whole":
                writer.write(b"0\r\n\r\n")
            await writer.drain()
        if answer.ending == "hang":
            await self._closing.wait()
        if answer.ending == "reset":
            # A linger time of zero makes closing a reset.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return answer.ending == "whole"


async def _read_call(reader: asyncio.StreamReader) -> WireCall | None:
    """The next request on a connection; None when the client has closed it."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return WireCall(method, path, headers, body)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # 529, which Anthropic uses, is no registered status
        return "Status"
