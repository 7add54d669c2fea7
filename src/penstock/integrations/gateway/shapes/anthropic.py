"""Anthropic's messages."""

from typing import Any, Literal

import msgspec

from penstock.adapters.providers.usage import ANTHROPIC_MESSAGES, StreamUsage
from penstock.events.messages import Message, Part, Text, Thinking, ToolCall, ToolResult
from penstock.integrations.gateway.shapes.base import (
    OUTPUT_MAX,
    Ask,
    Body,
    Finish,
    Heard,
    Reply,
    Unfit,
    hosted_tools,
    is_streamed,
    model_of,
    number,
    refuse,
    text_of,
    used,
    used_by,
)

_UNPRICED = {"mcp_servers": None, "container": None, "inference_geo": ("us",), "speed": ("fast",)}
_FINISHES: dict[Any, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class Messages:
    """See `Shape`."""

    name = "anthropic.messages"
    api: Literal["openai", "anthropic"] = "anthropic"
    path = "/v1/messages"
    embeds = False

    def ask(self, body: Body) -> Ask:
        model, stream = model_of(body), is_streamed(body)
        refuse(body, _UNPRICED)
        given = body.get("messages")
        if not isinstance(given, list) or not given:
            raise Unfit("invalid_value", "messages must be a list of messages", "messages")
        media: list[str] = []
        messages: list[Message] = []
        if (system := body.get("system")) is not None:
            messages.append(Message("system", _parts(system, media)))
        for index, raw in enumerate(given):
            role = raw.get("role") if isinstance(raw, dict) else None
            if role not in ("user", "assistant", "system"):
                raise Unfit("invalid_value", "a message must be an object with a role", f"messages[{index}]")
            messages.append(Message(role, _parts(raw.get("content"), media)))
        rest = {name: value for name, value in body.items() if name not in ("messages", "system", "stream")}
        tools = hosted_tools(body.get("tools"), ("custom",))
        return Ask(model, stream, number(body, "max_tokens", OUTPUT_MAX), messages, rest, 1, bool(media), tools)

    def cap(self, body: Body, ask: Ask, most: int) -> None:
        thinking = body.get("thinking")
        room = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
        if isinstance(room, int) and room >= most:
            raise Unfit("no_room", f"what is left allows {most} output tokens; the thinking alone may use {room}")
        body["max_tokens"] = min(most, body.get("max_tokens") or most)

    def reply(self, body: bytes) -> Reply:
        whole = msgspec.json.decode(body)
        if not isinstance(whole, dict) or not isinstance(whole.get("content"), list):
            raise ValueError("no content")
        heard = Heard()
        for place, block in enumerate(whole["content"]):
            kind = block.get("type")
            if kind == "text":
                heard.say(place, block.get("text"))
            elif kind == "thinking":
                heard.think(block.get("thinking"))
            elif kind == "tool_use":
                heard.call(place, block.get("id"), block.get("name"), text_of(block.get("input")))
        finish = _FINISHES.get(whole.get("stop_reason"), "unknown")
        return Reply(heard.message(), used(ANTHROPIC_MESSAGES, whole.get("usage")), finish, str(whole.get("id", "")))

    def stream(self, ask: Ask) -> "MessagesStream":
        return MessagesStream()


class MessagesStream:
    """See `Stream`."""

    def __init__(self) -> None:
        self.ended = False
        self._heard = Heard()
        self._usage = StreamUsage(ANTHROPIC_MESSAGES)
        self._finish: Finish = "unknown"
        self._id = ""
        self._open: set[int] = set()

    def take(self, event: bytes, data: bytes) -> bytes:
        if not data:
            return event
        said = msgspec.json.decode(data)
        if not isinstance(said, dict):
            raise ValueError("no object")
        self._usage.see(said)
        kind, place = said.get("type"), said.get("index", 0)
        if kind == "content_block_delta":
            self._delta(place, said.get("delta") or {})
        elif kind == "content_block_start":
            self._open.add(place)
            block = said.get("content_block") or {}
            if block.get("type") == "tool_use":
                self._heard.call(place, block.get("id"), block.get("name"))
            else:
                self._heard.say(place, block.get("text"))
        elif kind == "content_block_stop":
            self._open.discard(place)
        elif kind == "message_start":
            self._id = str((said.get("message") or {}).get("id", ""))
        elif kind == "message_delta":
            self._finish = _FINISHES.get((said.get("delta") or {}).get("stop_reason"), "unknown")
        elif kind == "message_stop":
            self.ended = True
        return event

    def _delta(self, place: int, delta: Body) -> None:
        self._heard.say(place, delta.get("text"))
        self._heard.think(delta.get("thinking"))
        if "partial_json" in delta:
            self._heard.call(place, piece=delta["partial_json"])

    def reply(self) -> Reply:
        return Reply(self._heard.message(), used_by(self._usage), self._finish, self._id)

    def last_words(self, code: str, words: str, *, because_of_limit: bool) -> bytes:
        if not because_of_limit:
            error = {"type": "error", "error": {"type": "api_error", "message": f"{words} ({code})"}}
            return b"event: error\ndata: " + msgspec.json.encode(error) + b"\n\n"
        events: list[Body] = [{"type": "content_block_stop", "index": place} for place in sorted(self._open)]
        delta = {"stop_reason": "max_tokens", "stop_sequence": None}
        events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 0}})
        events.append({"type": "message_stop"})
        return b"".join(
            f"event: {event['type']}\ndata: ".encode() + msgspec.json.encode(event) + b"\n\n" for event in events
        )


def _parts(content: Any, media: list[str]) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)]
    if not isinstance(content, list):
        raise Unfit("invalid_value", "content must be a text or a list of blocks", "messages")
    return [_part(block, media) for block in content]


def _part(block: Any, media: list[str]) -> Part:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text" and isinstance(block.get("text"), str):
        return Text(block["text"], _bag(block, ("type", "text")))
    if kind == "tool_use":
        name, args = text_of(block.get("name", "")), text_of(block.get("input", {}))
        return ToolCall(text_of(block.get("id", "")), name, args, _bag(block, ("type", "id", "name", "input")))
    if kind == "tool_result":
        content = block.get("content", "")
        if isinstance(content, list):
            kinds = [part.get("type") for part in content if isinstance(part, dict)]
            media += [str(inner) for inner in kinds if inner != "text"]
        status = "error" if block.get("is_error") else "ok"
        bag = _bag(block, ("type", "tool_use_id", "content", "is_error"))
        return ToolResult(text_of(block.get("tool_use_id", "")), "", text_of(content), status, bag)
    if kind == "thinking" and isinstance(block.get("thinking"), str):
        return Thinking(block["thinking"], _bag(block, ("type", "thinking")))
    if kind != "redacted_thinking":
        media.append(str(kind))
    return Text("", {"anthropic": block})


def _bag(block: Body, known: tuple[str, ...]) -> dict[str, Any]:
    more = {name: value for name, value in block.items() if name not in known}
    return {"anthropic": more} if more else {}


MESSAGES = Messages()
