"""A receiver of webhooks over real sockets, and a check of signatures written after the specification alone.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
Respond = Callable[["Heard", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Heard:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def said(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.body)
        return said


def signature_by_spec(secret: str, heard: Heard) -> str:
    """What the header must hold: base64 of HMAC-SHA256 over id, timestamp and body with full stops between."""
    key = base64.b64decode(secret.split("_", 1)[1])
    signed = b".".join([heard.headers["webhook-id"].encode(), heard.headers["webhook-timestamp"].encode(), heard.body])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


@dataclass
class Receiver:
    """Hears requests, and answers each with the next of ``answers``, then always with ``OK``."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    answers: list[bytes | Respond] = field(default_factory=list)
    open_now: int = 0
    open_most: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, count: int, seconds: float = 20) -> list[Heard]:
        """Wait for so many requests."""
        async with asyncio.timeout(seconds):
            while len(self.heard) < count:
                self.news.clear()
                await self.news.wait()
        return self.heard

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *rest = head[:-4].split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in rest)}
            body = await reader.readexactly(int(headers["content-length"]))
            heard = Heard(line, headers, body)
            self.heard.append(heard)
            self.news.set()
            answer = self.answers.pop(0) if self.answers else OK
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(heard, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open_now -= 1
            writer.close()


@contextlib.asynccontextmanager
async def receiving(context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.connected, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"{'https' if context else 'http'}://{host}:{port}/hooks?of=tests"
    try:
        yield receiver
    finally:
        server.close()


async def hang(heard: Heard, writer: asyncio.StreamWriter) -> None:
    """Never answers."""
    await asyncio.sleep(3600)


async def drip(heard: Heard, writer: asyncio.StreamWriter) -> None:
    """Sends a header now and then, and never ends it."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-slow: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


class Gigabyte:
    """Answers with a gigabyte, as far as it is taken."""

    sent = 0

    async def __call__(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        while self.sent < 1 << 30:
            writer.write(b"x" * 65536)
            self.sent += 65536
            await writer.drain()
