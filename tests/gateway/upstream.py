"""A simulated provider: no model is behind it. It speaks OpenAI's and Anthropic's wire formats over real HTTP, and does
what a prompt orders in double brackets: ``[[tokens=5 seconds=0.2 status=429 mode=cut tool=look_up]]``. The answers to
``[[together=9]]`` begin when nine requests are under way.

What it counts is what would be on the bill: tokens that were generated, wanted by then or not.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

WORD = "word "
TOKENS = 4
_ORDERS = re.compile(r"\[\[(.*?)\]\]")
_PRICE_IN, _PRICE_OUT = 150, 600  # nano-dollars a token: those of gpt-4o-mini


class Provider:
    """Attributes: ``requests``, each as (path, headers, body); ``nano``, what they would cost; ``under_way``, now;
    ``says``, ``calls_with``: the pieces of an answer's words, and of a call's arguments, to a request."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.nano = 0
        self.tokens_out = 0
        self.under_way = 0
        self.peak = 0
        self.cut_off = 0
        self.connections = 0
        self.url = ""
        self.arrived = asyncio.Event()
        self.says: Callable[[dict[str, Any]], list[str]] | None = None
        self.calls_with: Callable[[dict[str, Any]], list[str]] = lambda body: ['{"q": "x"}']
        self._numbers = 0
        self._crowd: tuple[int, asyncio.Event] | None = None

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._request(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.connections -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        line = await reader.readline()
        if not line:
            return False
        method, path, _ = line.decode().split(" ", 2)
        headers = {}
        while (header := (await reader.readline()).strip()) != b"":
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        data = await reader.readexactly(int(headers.get("content-length", 0)))
        body = json.loads(data) if data else {}
        self.requests.append((path, headers, body))
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        self.arrived.set()
        if self._crowd is not None and self.peak >= self._crowd[0]:
            self._crowd[1].set()
        try:
            return await self._answer(method, path, body, writer)
        except (ConnectionError, asyncio.CancelledError):
            self.cut_off += 1
            raise
        finally:
            self.under_way -= 1

    async def _answer(self, method: str, path: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        orders = orders_of(body)
        if together := int(orders.get("together", 0)):
            self._crowd = self._crowd or (together, asyncio.Event())
            await self._crowd[1].wait()
        if (seconds := float(orders.get("seconds", 0))) > 0:
            await asyncio.sleep(seconds)
        if status := int(orders.get("status", 0)):
            anthropic = path.startswith("/v1/messages")
            error: Any = {"message": f"simulated {status}", "type": "simulated", "param": None, "code": "simulated"}
            whole = {"type": "error", "error": error} if anthropic else {"error": error}
            return _whole(writer, whole, status, "retry-after: 7\r\nx-ratelimit-limit-requests: 3\r\n")
        if orders.get("mode") == "garbage":
            writer.write(b"this is no HTTP at all\r\n\r\n")
            return False
        if orders.get("mode") == "not_json":
            return _raw(writer, b"<html>no</html>")
        if method == "GET":
            return _whole(
                writer,
                {
                    "object": "list",
                    "data": [{"id": "gpt-4o-mini", "object": "model", "created": 0, "owned_by": "simulated"}],
                },
            )
        if path.endswith("/count_tokens"):
            return _whole(writer, {"input_tokens": 11})
        speak = {"/embeddings": self._embed, "/responses": self._respond}.get(
            path[3:] if path.startswith("/v1/") else path
        )
        if speak is None:
            speak = self._message if path == "/v1/messages" else self._complete
        return await speak(body, orders, writer)

    def _job(self, body: dict[str, Any], orders: dict[str, str], *names: str) -> tuple[int, int, bool]:
        """Tokens of the prompt and of the answer, and whether the answer was cut at the maximum."""
        said = len(json.dumps(body.get("messages") or body.get("input") or "")) // 4 + 1
        wanted = int(orders.get("tokens", TOKENS))
        most = next((body[name] for name in names if body.get(name) is not None), 1 << 20)
        out = min(wanted, most) * int(body.get("n") or 1)
        self.nano += said * _PRICE_IN + out * _PRICE_OUT
        self.tokens_out += out
        self._numbers += 1
        return said, out, wanted > most

    def _pieces(self, body: dict[str, Any], out: int) -> list[str]:
        return [WORD] * out if self.says is None else self.says(body)

    async def _complete(self, body: dict[str, Any], orders: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        said, out, cut = self._job(body, orders, "max_completion_tokens", "max_tokens")
        usage: Any = {"prompt_tokens": said, "completion_tokens": out, "total_tokens": said + out}
        usage["prompt_tokens_details"] = {"cached_tokens": 0}
        usage["completion_tokens_details"] = {"reasoning_tokens": 0}
        usage = _spoilt(usage, orders, "prompt_tokens")
        head = {"id": f"chatcmpl-{self._numbers}", "created": 1700000000, "model": body["model"], "x_unknown": "kept"}
        pieces, args, finish = self._pieces(body, out), self.calls_with(body), "length" if cut else "stop"
        tool = orders.get("tool") if not _has_result(body) else None
        if not body.get("stream"):
            message: Any = {"role": "assistant", "content": "".join(pieces), "refusal": None}
            if tool:
                function = {"name": tool, "arguments": "".join(args)}
                message |= {"content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
                finish = "tool_calls"
            choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
            return _whole(writer, {**head, "object": "chat.completion", "choices": [choice], **usage})
        _begin_stream(writer)
        head["object"] = "chat.completion.chunk"

        async def chunk(delta: Any, why: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": why, "logprobs": None}
            await _event(writer, {**head, "choices": [choice]}, orders)

        await chunk({"role": "assistant", "content": ""})
        if tool:
            function = {"name": tool, "arguments": ""}
            await chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]})
            for piece in args:
                await chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
            finish = "tool_calls"
        else:
            for number, piece in enumerate(pieces):
                await chunk({"content": piece})
                if orders.get("mode") == "cut" and number == 1:
                    return False
                if orders.get("mode") == "bad_event" and number == 1:
                    writer.write(_chunked(b"data: {not json\n\n"))
        while orders.get("mode") == "endless":
            await chunk({"content": WORD})
            await asyncio.sleep(0.01)
        if orders.get("mode") == "unfinished":  # ends as HTTP, and not as an answer
            writer.write(b"0\r\n\r\n")
            return True
        await chunk({}, finish)
        if (body.get("stream_options") or {}).get("include_usage") and usage:
            await _event(writer, {**head, "choices": [], **usage}, orders)
        writer.write(_chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _embed(self, body: dict[str, Any], orders: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": number, "embedding": [0.5, 0.25]} for number in range(len(texts))]
        tokens = sum(len(text) // 4 + 1 for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _whole(writer, {"object": "list", "data": data, "model": body["model"], "usage": usage})

    async def _respond(self, body: dict[str, Any], orders: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        said, out, cut = self._job(body, orders, "max_output_tokens")
        usage: Any = {"input_tokens": said, "output_tokens": out, "total_tokens": said + out}
        usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        usage = _spoilt(usage, orders, "input_tokens")
        tool = orders.get("tool") if not _has_result(body) else None
        pieces, args = self._pieces(body, out), self.calls_with(body)
        part = {"type": "output_text", "text": "".join(pieces), "annotations": []}
        item: Any = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
        if tool:
            item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": tool}
            item |= {"arguments": "".join(args), "status": "completed"}
        whole: Any = {"id": f"resp_{self._numbers}", "object": "response", "created_at": 1700000000, "error": None}
        whole |= {"status": "incomplete" if cut else "completed", "model": body["model"], "output": [item]}
        whole |= {"incomplete_details": {"reason": "max_output_tokens"} if cut else None, "instructions": None}
        whole |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "metadata": {}, "top_p": 1.0}
        whole |= {"temperature": 1.0, **usage}
        if not body.get("stream"):
            return _whole(writer, whole)
        _begin_stream(writer)
        numbers = iter(range(10_000))

        async def event(kind: str, **fields: Any) -> None:
            await _event(writer, {"type": kind, "sequence_number": next(numbers), **fields}, orders, kind)

        await event("response.created", response={**whole, "status": "in_progress", "output": [], "usage": None})
        opened = {**item, "status": "in_progress", **({"arguments": ""} if tool else {"content": []})}
        await event("response.output_item.added", output_index=0, item=opened)
        if tool:
            where = {"item_id": "fc_1", "output_index": 0}
            for piece in args:
                await event("response.function_call_arguments.delta", **where, delta=piece)
            await event("response.function_call_arguments.done", **where, arguments=item["arguments"], name=tool)
        else:
            where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
            await event("response.content_part.added", **where, part={**part, "text": ""})
            for piece in pieces:
                await event("response.output_text.delta", **where, delta=piece, logprobs=[])
            await event("response.output_text.done", **where, text="".join(pieces), logprobs=[])
            await event("response.content_part.done", **where, part=part)
        await event("response.output_item.done", output_index=0, item=item)
        await event("response.incomplete" if cut else "response.completed", response=whole)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _message(self, body: dict[str, Any], orders: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        said, out, cut = self._job(body, orders, "max_tokens")
        usage: Any = {"input_tokens": said, "output_tokens": out}
        usage |= {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
        usage = _spoilt(usage, orders, "input_tokens").get("usage")
        tool = orders.get("tool") if not _has_result(body) else None
        pieces, args = self._pieces(body, out), self.calls_with(body)
        block: Any = {"type": "text", "text": "".join(pieces)}
        if tool:
            block = {"type": "tool_use", "id": "toolu_1", "name": tool, "input": json.loads("".join(args))}
        why = "tool_use" if tool else "max_tokens" if cut else "end_turn"
        whole: Any = {"id": f"msg_{self._numbers}", "type": "message", "role": "assistant", "model": body["model"]}
        whole |= {"content": [block], "stop_reason": why, "stop_sequence": None}
        if not body.get("stream"):
            return _whole(writer, {**whole, "usage": usage} if usage else whole)
        _begin_stream(writer)

        async def event(kind: str, **fields: Any) -> None:
            await _event(writer, {"type": kind, **fields}, orders, kind)

        begun = {**whole, "content": [], "stop_reason": None, "usage": {**(usage or {}), "output_tokens": 1}}
        await event("message_start", message=begun)
        empty = {**block, "input": {}} if tool else {"type": "text", "text": ""}
        await event("content_block_start", index=0, content_block=empty)
        if tool:
            for piece in args:
                partial = {"type": "input_json_delta", "partial_json": piece}
                await event("content_block_delta", index=0, delta=partial)
        else:
            for piece in pieces:
                await event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
            while orders.get("mode") == "endless":
                await event("content_block_delta", index=0, delta={"type": "text_delta", "text": WORD})
                await asyncio.sleep(0.01)
        await event("content_block_stop", index=0)
        last: dict[str, Any] = {"usage": {"output_tokens": out}} if usage else {}
        await event("message_delta", delta={"stop_reason": why, "stop_sequence": None}, **last)
        await event("message_stop")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


@contextlib.asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    """One that listens while the block runs."""
    simulated = Provider()
    server = await asyncio.start_server(simulated.connected, "127.0.0.1", 0)
    simulated.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield simulated
    finally:
        server.close()


def orders_of(body: dict[str, Any]) -> dict[str, str]:
    """What the last prompt in a request orders."""
    found = _ORDERS.findall(json.dumps(body.get("messages") or body.get("input") or ""))
    return dict(order.split("=", 1) for order in found[-1].split()) if found else {}


def _has_result(body: dict[str, Any]) -> bool:
    text = json.dumps(body.get("messages") or body.get("input") or "")
    return '"tool_result"' in text or '"role": "tool"' in text or '"function_call_output"' in text


def _spoilt(usage: dict[str, Any], orders: dict[str, str], name: str) -> dict[str, Any]:
    mode = orders.get("mode")
    if mode == "no_usage":
        return {}
    if mode == "negative":
        usage[name] = -5
    if mode == "absurd":
        usage[name] = 50_000_000
    return {"usage": usage}


def _whole(writer: asyncio.StreamWriter, value: Any, status: int = 200, more: str = "") -> bool:
    return _raw(writer, json.dumps(value).encode(), status, more)


def _raw(writer: asyncio.StreamWriter, data: bytes, status: int = 200, more: str = "") -> bool:
    head = f"HTTP/1.1 {status} Simulated\r\ncontent-type: application/json\r\nx-request-id: req_1\r\n{more}"
    writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
    return True


def _begin_stream(writer: asyncio.StreamWriter) -> None:
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    writer.write(head.encode())


async def _event(writer: asyncio.StreamWriter, value: Any, orders: dict[str, str], kind: str = "") -> None:
    named = f"event: {kind}\n" if kind else ""
    writer.write(_chunked(f"{named}data: {json.dumps(value)}\n\n".encode()))
    await writer.drain()
    if writer.is_closing():
        raise ConnectionResetError
    if (pace := float(orders.get("pace", 0))) > 0:
        await asyncio.sleep(pace)


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
