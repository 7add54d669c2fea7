"""One request to one address: HTTP/1.1 over a connection of its own, as little of it as a webhook needs.

There are no redirects, proxies, cookies, compressed answers or kept connections here, so none of them can be turned
against the server. Of an answer the head is read, up to a bound, and a little of the body.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from penstock import __version__
from penstock.adapters.egress.hook import allow_also
from penstock.server.webhooks.targets import Target

HEAD_MAX_BYTES = 16_384
BODY_READ_BYTES = 1_024
"""Of an answer's body: enough to let most targets finish what they say."""
BODY_READ_SECONDS = 1.0
INTERIM_MAX = 5
"""Answers of the kind ``100 Continue`` before the one that counts."""
TLS_CLOSE_SECONDS = 1.0

_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: .*)?")


class NotHttp(Exception):
    """What came is no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a target said. ``retry_after``: the header, as it came."""

    status: int
    retry_after: str = ""

    def retry_seconds(self, now_us: int) -> float:
        """How long it asks to be left alone; 0 = it does not say, or cannot be understood."""
        text = self.retry_after.strip()
        if text.isascii() and text.isdigit() and len(text) <= 9:
            return float(text)
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return max(0.0, (at - datetime.fromtimestamp(now_us / 1e6, UTC)).total_seconds())


async def post(
    target: Target, addresses: Sequence[str], headers: Mapping[str, str], body: bytes, context: ssl.SSLContext
) -> Answer:
    """Send a JSON body to the first of the addresses that takes the connection. The caller bounds the time.

    Raises:
        OSError: no connection, or it broke off; also ssl.SSLError.
        NotHttp: the answer is none.
    """
    reader, writer = await _connect(target, addresses, context)
    try:
        writer.write(_request(target, headers, len(body)) + body)
        await writer.drain()
        answer, length = await _answer(reader)
        await _let_finish(reader, length)
    except BaseException:
        writer.transport.abort()
        raise
    writer.close()
    return answer


async def _connect(
    target: Target, addresses: Sequence[str], context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    tls = {}
    if target.secure:
        tls = {"ssl": context, "server_hostname": target.host, "ssl_shutdown_timeout": TLS_CLOSE_SECONDS}
    failed: OSError | None = None
    for address in addresses:
        allow_also(address, target.port)
        try:
            return await asyncio.open_connection(address, target.port, limit=HEAD_MAX_BYTES, **tls)  # type: ignore[arg-type]
        except ssl.SSLError:
            raise
        except OSError as error:
            failed = error
    raise failed or OSError("it has no address")


def _request(target: Target, headers: Mapping[str, str], length: int) -> bytes:
    lines = [
        f"POST {target.path} HTTP/1.1",
        f"Host: {target.authority}",
        f"User-Agent: Penstock/{__version__}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "Accept-Encoding: identity",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


async def _answer(reader: asyncio.StreamReader) -> tuple[Answer, int | None]:
    """The answer, and the length of its body as far as it is said."""
    for _ in range(INTERIM_MAX + 1):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            raise NotHttp("the connection was closed without an answer") from None
        except asyncio.LimitOverrunError:
            raise NotHttp("the head of the answer is too long") from None
        first, *rest = head[:-4].split(b"\r\n")
        line = _STATUS_LINE.fullmatch(first)
        if line is None:
            raise NotHttp("the answer is not HTTP/1.1")
        status = int(line[1])
        if status >= 200:
            fields = dict(_fields(rest))
            said = fields.get("content-length", "")
            length = int(said) if said.isascii() and said.isdigit() and len(said) < 19 else None
            return Answer(status, fields.get("retry-after", "")[:100]), 0 if status == 204 else length
    raise NotHttp("the answer never comes to an end")


def _fields(lines: Sequence[bytes]) -> list[tuple[str, str]]:
    pairs = [line.decode("latin-1").partition(":") for line in lines]
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs]


async def _let_finish(reader: asyncio.StreamReader, length: int | None) -> None:
    """Read a little of the body. What it is, and whether it comes, does not matter any more."""
    wanted = BODY_READ_BYTES if length is None else min(length, BODY_READ_BYTES)
    try:
        async with asyncio.timeout(BODY_READ_SECONDS):
            await reader.readexactly(wanted)
    except (TimeoutError, OSError, asyncio.IncompleteReadError):
        pass
