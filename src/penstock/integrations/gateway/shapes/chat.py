"""OpenAI's chat completions."""

from typing import Any, Literal

import msgspec

from penstock.adapters.providers.usage import OPENAI_CHAT, StreamUsage
from penstock.events.messages import Message, Part, Text, ToolCall, ToolResult
from penstock.integrations.gateway.shapes.base import (
    CHOICES_MAX,
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

_UNPRICED = {
    "web_search_options": None,
    "audio": None,
    "prediction": None,
    "service_tier": ("priority", "scale"),
}
_ROLES: dict[str, Literal["system", "user", "assistant", "tool"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_FINISHES: dict[Any, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_DONE = b"[DONE]"


class Chat:
    """See `Shape`."""

    name = "openai.chat"
    api: Literal["openai", "anthropic"] = "openai"
    path = "/chat/completions"
    embeds = False

    def ask(self, body: Body) -> Ask:
        model, stream = model_of(body), is_streamed(body)
        refuse(body, _UNPRICED)
        if "audio" in (body.get("modalities") or ()):
            raise Unfit("unpriced_feature", "answers in audio are not passed by the gateway", "modalities")
        asked = [number(body, name, OUTPUT_MAX) for name in ("max_completion_tokens", "max_tokens")]
        known = [most for most in asked if most is not None]
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Unfit("invalid_value", "messages must be a list of messages", "messages")
        options = body.get("stream_options")
        if options is not None and not isinstance(options, dict):
            raise Unfit("invalid_value", "stream_options must be an object", "stream_options")
        media: list[str] = []
        neutral = [_message(message, index, media) for index, message in enumerate(messages)]
        rest = {name: value for name, value in body.items() if name not in ("messages", "stream", "stream_options")}
        return Ask(
            model,
            stream,
            min(known) if known else None,
            neutral,
            rest,
            choices=number(body, "n", CHOICES_MAX) or 1,
            media=bool(media),
            tools=hosted_tools(body.get("tools"), ("function", "custom")) or bool(body.get("functions")),
            wants_usage=bool((options or {}).get("include_usage")),
        )

    def cap(self, body: Body, ask: Ask, most: int) -> None:
        named = [name for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None]
        for name in named or ["max_completion_tokens"]:
            body[name] = min(most, body.get(name) or most)
        if ask.stream:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}

    def reply(self, body: bytes) -> Reply:
        whole = _read(body)
        choices = whole.get("choices")
        if not isinstance(choices, list):
            raise ValueError("no choices")
        parts: list[Part] = []
        finish: Finish = "unknown"
        for choice in choices:
            message = choice.get("message") if isinstance(choice, dict) else None
            if not isinstance(message, dict):
                raise ValueError("a choice without a message")
            parts += _answer_parts(message)
            if finish == "unknown":
                finish = _FINISHES.get(choice.get("finish_reason"), "unknown")
        return Reply(Message("assistant", parts), used(OPENAI_CHAT, whole.get("usage")), finish, _text(whole.get("id")))

    def stream(self, ask: Ask) -> "ChatStream":
        return ChatStream(wants_usage=ask.wants_usage)


class ChatStream:
    """See `Stream`."""

    def __init__(self, *, wants_usage: bool) -> None:
        self.ended = False
        self._wants_usage = wants_usage
        self._heard = Heard()
        self._usage = StreamUsage(OPENAI_CHAT)
        self._finish: Finish = "unknown"
        self._id = self._model = ""

    def take(self, event: bytes, data: bytes) -> bytes:
        if data == _DONE:
            self.ended = True
            return event
        if not data:
            return event
        chunk = _read(data)
        if not self._id:
            self._id, self._model = _text(chunk.get("id")), _text(chunk.get("model"))
        self._usage.see(chunk)
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return event if self._wants_usage or chunk.get("usage") is None else b""
        for choice in choices:
            self._choice(choice)
        return event

    def _choice(self, choice: Any) -> None:
        if not isinstance(choice, dict):
            raise ValueError("a choice is no object")
        place, delta = choice.get("index", 0), choice.get("delta")
        if isinstance(delta, dict):
            self._heard.say(place, delta.get("content"))
            self._heard.say(place, delta.get("refusal"))
            self._heard.think(delta.get("reasoning_content"))
            for call in delta.get("tool_calls") or ():
                function = call.get("function") or {}
                self._heard.call(
                    (place, call.get("index", 0)), call.get("id"), function.get("name"), function.get("arguments")
                )
        if (why := choice.get("finish_reason")) is not None:
            self._finish = _FINISHES.get(why, "unknown")

    def reply(self) -> Reply:
        return Reply(self._heard.message(), used_by(self._usage), self._finish, self._id)

    def last_words(self, code: str, words: str, *, because_of_limit: bool) -> bytes:
        if not because_of_limit:
            error = {"error": {"message": words, "type": "server_error", "param": None, "code": code}}
            return b"data: " + msgspec.json.encode(error) + b"\n\n"
        choice = {"index": 0, "delta": {}, "finish_reason": "length"}
        chunk = {"id": self._id, "object": "chat.completion.chunk", "created": 0, "model": self._model}
        return b"data: " + msgspec.json.encode({**chunk, "choices": [choice]}) + b"\n\ndata: [DONE]\n\n"


def _message(raw: Any, index: int, media: list[str]) -> Message:
    role = raw.get("role") if isinstance(raw, dict) else None
    neutral = _ROLES.get(role) if isinstance(role, str) else None
    if neutral is None:
        raise Unfit("invalid_value", "a message must be an object with a role", f"messages[{index}]")
    known = {"role", "content", "tool_calls", "tool_call_id"}
    bag = {"openai": {name: value for name, value in raw.items() if name not in known}} if raw.keys() - known else {}
    if role in ("developer", "function"):
        bag.setdefault("openai", {})["role"] = role
    content = raw.get("content")
    parts: list[Part] = []
    if neutral == "tool":
        result = ToolResult(str(raw.get("tool_call_id", "")), "", text_of(content), "ok", bag)
        if isinstance(content, list):
            _look_for_media(content, media)
        return Message("tool", [result])
    if isinstance(content, str):
        parts.append(Text(content, bag))
        bag = {}
    elif isinstance(content, list):
        _look_for_media(content, media)
        for item in content:
            if isinstance(item, dict) and item.get("type") == "text" and item.keys() == {"type", "text"}:
                parts.append(Text(text_of(item["text"])))
            else:
                parts.append(Text("", {"openai": item}))
    for call in raw.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            parts.append(Text("", {"openai": call}))
        else:
            name, args = text_of(function.get("name", "")), text_of(function.get("arguments", ""))
            parts.append(ToolCall(text_of(call.get("id", "")), name, args))
    if bag or not parts:
        parts.append(Text("", bag))
    return Message(neutral, parts)


def _look_for_media(content: list[Any], media: list[str]) -> None:
    for item in content:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "input_audio":
            raise Unfit("unpriced_feature", "audio is not passed by the gateway", "messages")
        if kind not in ("text", "refusal"):
            media.append(str(kind))


def _answer_parts(message: Body) -> list[Part]:
    parts: list[Part] = []
    heard = Heard()
    heard.think(message.get("reasoning_content"))
    heard.say(0, message.get("content"))
    heard.say(0, message.get("refusal"))
    for place, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or call.get("custom") or {}
        heard.call(place, call.get("id"), function.get("name"), function.get("arguments") or function.get("input"))
    parts += heard.message().parts
    return parts


def _read(data: bytes) -> Body:
    whole = msgspec.json.decode(data)
    if not isinstance(whole, dict):
        raise ValueError("no object")
    return whole


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


CHAT = Chat()
