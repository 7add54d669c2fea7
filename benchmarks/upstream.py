"""A simulated provider, as a process of its own: OpenAI's chat completions and Anthropic's messages over real HTTP.

No model is behind it: it answers at once, or after the time that a prompt asks for, with as many tokens as the prompt
asks for within the request's maximum. What it counts is what a provider would have put on the bill: whatever was
generated, wanted by then or not. A prompt gives its orders in double brackets, which every gateway passes on as they
are: ``[[tokens=800 latency_ms=50]]``.

Lines on its standard input: ``counts`` says what was served since the last ``reset``, ``reset`` begins anew.
"""

import asyncio
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import Any, cast

import httptools
import msgspec
import uvloop

from benchmarks.child import cpu_seconds, say, told

TOKENS = 20
"""Of an answer whose prompt does not say."""
PIECES = 20
"""Into which a streamed answer is cut, at most."""
BYTES_PER_TOKEN = 4
PRICES = {"gpt-4o-mini": (150, 600), "gpt-5-mini": (250, 2000)}
"""Nano-dollars a token of the prompt and of the answer: OpenAI's list prices, $0.15 and $0.60 a million, and so on."""

_ORDERS = re.compile(rb"\[\[tokens=(\d+)(?: latency_ms=(\d+))?\]\]")
_END_OF_CHUNKS = b"0\r\n\r\n"


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Request(msgspec.Struct):
    """What of a request's body matters here, in both providers' formats."""

    model: str = ""
    messages: msgspec.Raw = msgspec.Raw(b"")
    stream: bool = False
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


_DECODE = msgspec.json.Decoder(_Request).decode


@dataclass(slots=True)
class Counts:
    """What one key was served, as the provider would charge it."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    nano: int = 0  # nano-dollars, of tokens that were generated


@dataclass(slots=True, frozen=True)
class _Job:
    """One answer that is to be given. ``capped`` says that the request's maximum cut it short."""

    number: int
    model: str
    input: int
    output: int
    capped: bool
    seconds: float
    usage_wanted: bool


class Provider:
    """The counts of all connections together."""

    def __init__(self) -> None:
        self.by_key: dict[str, Counts] = defaultdict(Counts)
        self.in_flight = self.peak = 0
        self.served = 0

    def reset(self) -> None:
        self.by_key.clear()
        self.peak = self.in_flight

    def began(self, key: str, job: _Job) -> Counts:
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        self.served += 1
        counts = self.by_key[key]
        counts.requests += 1
        counts.input_tokens += job.input
        counts.nano += job.input * PRICES[job.model][0]
        return counts

    def report(self) -> dict[str, Any]:
        return {
            "by_key": {key: asdict(counts) for key, counts in self.by_key.items()},
            "in_flight": self.in_flight,
            "peak": self.peak,
            "cpu": cpu_seconds(),
        }


class Connection(asyncio.Protocol):
    """One client's connection. It answers one request at a time, as HTTP/1.1 clients ask."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._body: list[bytes] = []
        self._url = b""
        self._key = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    def on_message_begin(self) -> None:
        self._body.clear()
        self._url, self._key = b"", ""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"authorization", b"x-api-key"):
            self._key = value.decode("latin-1").removeprefix("Bearer ")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path = self._url.partition(b"?")[0]
        if path.endswith(b"/chat/completions"):
            openai = True
        elif path.endswith(b"/messages"):
            openai = False
        else:
            self._send(404, b'{"error":{"message":"no such route","type":"invalid_request_error"}}')
            return
        try:
            asked = _DECODE(b"".join(self._body))
        except msgspec.DecodeError:
            asked = _Request()
        if asked.model not in PRICES:
            self._send(400, b'{"error":{"message":"no such model","type":"invalid_request_error"}}')
            return
        job = _job(asked, self._provider.served + 1)
        counts = self._provider.began(self._key, job)
        if asked.stream:
            self._stream(job, counts, _openai_stream if openai else _anthropic_stream)
        else:
            self._answer(job, counts, _openai_answer if openai else _anthropic_answer)

    def _answer(self, job: _Job, counts: Counts, answer: Callable[[_Job], bytes]) -> None:
        # Charged now: a provider generates the whole answer, whether its client waits for it or has died.
        _charge(counts, job, job.output)
        if job.seconds:
            asyncio.get_running_loop().call_later(job.seconds, self._over, partial(self._send, 200, answer(job)))
        else:
            self._over(partial(self._send, 200, answer(job)))

    def _stream(self, job: _Job, counts: Counts, pieces: Callable[[_Job], list[tuple[int, bytes]]]) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        parts = pieces(job)
        if not job.seconds:
            _charge(counts, job, job.output)
            whole = head + b"".join(_chunk(part) for _, part in parts) + _END_OF_CHUNKS
            self._over(partial(self._write, whole))
            return
        self._write(head)
        self._piece(job, parts, 0, counts)

    def _piece(self, job: _Job, parts: list[tuple[int, bytes]], number: int, counts: Counts) -> None:
        """Send one piece and plan the next; a client that has gone is not generated for any more."""
        if self._transport is None or number == len(parts):
            self._over(partial(self._write, _END_OF_CHUNKS))
            return
        tokens, part = parts[number]
        _charge(counts, job, tokens)
        self._write(_chunk(part))
        asyncio.get_running_loop().call_later(job.seconds / len(parts), self._piece, job, parts, number + 1, counts)

    def _over(self, last: Callable[[], None]) -> None:
        self._provider.in_flight -= 1
        last()

    def _send(self, status: int, body: bytes) -> None:
        head = b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
        self._write(head + body)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _charge(counts: Counts, job: _Job, tokens: int) -> None:
    counts.output_tokens += tokens
    counts.nano += tokens * PRICES[job.model][1]


def _job(asked: _Request, number: int) -> _Job:
    orders = _ORDERS.search(memoryview(asked.messages))
    wanted, milliseconds = (int(orders[1]), int(orders[2] or 0)) if orders else (TOKENS, 0)
    most = asked.max_completion_tokens or asked.max_tokens or wanted
    return _Job(
        number=number,
        model=asked.model,
        input=len(memoryview(asked.messages)) // BYTES_PER_TOKEN,
        output=min(wanted, most),
        capped=wanted > most,
        seconds=milliseconds / 1000,
        usage_wanted=asked.stream_options is not None and asked.stream_options.include_usage,
    )


def _chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)


@lru_cache(256)
def _words(tokens: int) -> str:
    return " ".join(["word"] * tokens)


def _json(value: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(value)


def _openai_answer(job: _Job) -> bytes:
    return _numbered(b'{"id":"chatcmpl-%d",', job, _openai_body(job.model, job.input, job.output, job.capped))


@lru_cache(256)
def _openai_body(model: str, given: int, made: int, capped: bool) -> bytes:
    message = {"role": "assistant", "content": _words(made), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "length" if capped else "stop"}
    usage = _openai_usage(given, made)
    return _json({"object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage})


def _openai_usage(given: int, made: int) -> dict[str, int]:
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def _numbered(head: bytes, job: _Job, rest: bytes) -> bytes:
    """An object whose first field is its own number, before fields that many share."""
    return head % job.number + rest[1:]


def _openai_stream(job: _Job) -> list[tuple[int, bytes]]:
    """Each event with the tokens that it is charged with."""

    def event(delta: Mapping[str, Any] | None, finish: str | None = None, usage: Any = None) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        rest: dict[str, Any] = {"object": "chat.completion.chunk", "created": 1, "model": job.model, "choices": choices}
        if job.usage_wanted:
            rest["usage"] = usage
        return b"data: " + _numbered(b'{"id":"chatcmpl-%d",', job, _json(rest)) + b"\n\n"

    parts = [(0, event({"role": "assistant", "content": ""}))]
    parts += [(tokens, event({"content": _words(tokens) + " "})) for tokens in _cut(job.output)]
    parts.append((0, event({}, "length" if job.capped else "stop")))
    if job.usage_wanted:
        parts.append((0, event(None, usage=_openai_usage(job.input, job.output))))
    return [*parts, (0, b"data: [DONE]\n\n")]


def _anthropic_answer(job: _Job) -> bytes:
    return _numbered(b'{"id":"msg_%d",', job, _anthropic_body(job.model, job.input, job.output, job.capped))


@lru_cache(256)
def _anthropic_body(model: str, given: int, made: int, capped: bool) -> bytes:
    return _json(
        {
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [{"type": "text", "text": _words(made)}],
            "stop_reason": "max_tokens" if capped else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": given, "output_tokens": made},
        }
    )


def _anthropic_stream(job: _Job) -> list[tuple[int, bytes]]:
    """Each event with the tokens that it is charged with."""

    def event(kind: str, **fields: Any) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json({"type": kind, **fields}))

    message = {"id": f"msg_{job.number}", "type": "message", "role": "assistant", "model": job.model, "content": []}
    usage = {"input_tokens": job.input, "output_tokens": 1}
    begun = {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}
    parts = [(0, event("message_start", message=begun))]
    parts.append((0, event("content_block_start", index=0, content_block={"type": "text", "text": ""})))
    for tokens in _cut(job.output):
        delta = {"type": "text_delta", "text": _words(tokens) + " "}
        parts.append((tokens, event("content_block_delta", index=0, delta=delta)))
    ended = {"stop_reason": "max_tokens" if job.capped else "end_turn", "stop_sequence": None}
    parts.append((0, event("content_block_stop", index=0)))
    parts.append((0, event("message_delta", delta=ended, usage={"output_tokens": job.output})))
    return [*parts, (0, event("message_stop"))]


def _cut(tokens: int) -> list[int]:
    """The tokens in at most `PIECES` parts of nearly the same size."""
    count = min(PIECES, tokens)
    return [tokens * (number + 1) // count - tokens * number // count for number in range(count)]


async def _serve() -> None:
    provider = Provider()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(provider), "127.0.0.1", 0, backlog=4096)
    say(ready=True, port=server.sockets[0].getsockname()[1])
    while (word := await told()) != "stop":
        if word == "reset":
            provider.reset()
        say(**provider.report())
    server.close()


if __name__ == "__main__":
    json.loads(sys.argv[1])  # no options
    uvloop.run(_serve())
