"""OpenAI's responses."""

from dataclasses import replace
from typing import Any, Literal

import msgspec

from penstock.adapters.providers.usage import OPENAI_RESPONSES, RESPONSES_LAST, StreamUsage
from penstock.events.messages import Message, Text, ToolCall, ToolResult
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

LEAST_OUTPUT = 16
"""The API refuses a lower maximum."""
_UNPRICED = {"background": None, "service_tier": ("priority", "scale")}
_BY_REFERENCE = ("previous_response_id", "conversation", "prompt")
"""Fields that put into the prompt what the request does not hold."""
_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_TEXTS = ("input_text", "output_text", "text", "refusal")


class Responses:
    """See `Shape`."""

    name = "openai.responses"
    api: Literal["openai", "anthropic"] = "openai"
    path = "/responses"
    embeds = False

    def ask(self, body: Body) -> Ask:
        model, stream = model_of(body), is_streamed(body)
        refuse(body, _UNPRICED)
        given = body.get("input")
        if given is not None and not isinstance(given, str | list):
            raise Unfit("invalid_value", "input must be a text or a list", "input")
        media = [name for name in _BY_REFERENCE if body.get(name) is not None]
        messages: list[Message] = []
        if isinstance(instructions := body.get("instructions"), str):
            messages.append(Message("system", [Text(instructions)]))
        if isinstance(given, str):
            messages.append(Message("user", [Text(given)]))
        else:
            messages += [_item(item, media) for item in given or ()]
        rest = {name: value for name, value in body.items() if name not in ("input", "instructions", "stream")}
        tools = hosted_tools(body.get("tools"), ("function", "custom"))
        return Ask(model, stream, number(body, "max_output_tokens", OUTPUT_MAX), messages, rest, 1, bool(media), tools)

    def cap(self, body: Body, ask: Ask, most: int) -> None:
        if most < LEAST_OUTPUT:
            raise Unfit("no_room", f"what is left allows {most} output tokens, and this API takes no less than 16")
        body["max_output_tokens"] = min(most, body.get("max_output_tokens") or most)

    def reply(self, body: bytes) -> Reply:
        whole = msgspec.json.decode(body)
        if not isinstance(whole, dict) or not isinstance(whole.get("output"), list):
            raise ValueError("no output")
        return reply_of(whole)

    def stream(self, ask: Ask) -> "ResponsesStream":
        return ResponsesStream()


class ResponsesStream:
    """See `Stream`. The last event holds the whole answer; the pieces matter when it does not come."""

    def __init__(self) -> None:
        self.ended = False
        self._heard = Heard()
        self._usage = StreamUsage(OPENAI_RESPONSES)
        self._whole: Body | None = None
        self._id = ""
        self._number = 0

    def take(self, event: bytes, data: bytes) -> bytes:
        if not data or data == b"[DONE]":
            return event
        said = msgspec.json.decode(data)
        if not isinstance(said, dict):
            raise ValueError("no object")
        self._usage.see(said)
        kind, place = said.get("type"), said.get("output_index", 0)
        self._number = said.get("sequence_number", self._number)
        if kind == "response.output_text.delta":
            self._heard.say(place, said.get("delta"))
        elif kind == "response.function_call_arguments.delta":
            self._heard.call(place, piece=said.get("delta"))
        elif kind == "response.output_item.added":
            item = said.get("item") or {}
            if item.get("type") == "function_call":
                self._heard.call(place, item.get("call_id"), item.get("name"))
        elif kind == "response.created":
            self._id = str((said.get("response") or {}).get("id", ""))
        elif kind in RESPONSES_LAST:
            self.ended = True
            self._whole = said.get("response")
        return event

    def reply(self) -> Reply:
        if isinstance(self._whole, dict) and isinstance(self._whole.get("output"), list):
            return replace(reply_of(self._whole), usage=used_by(self._usage))
        return Reply(self._heard.message(), None, "unknown", self._id)

    def last_words(self, code: str, words: str, *, because_of_limit: bool) -> bytes:
        number = self._number + 1
        if because_of_limit:
            kind = "response.incomplete"
            response = {
                "id": self._id,
                "object": "response",
                "created_at": 0,
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
                "error": None,
                "output": [],
                "model": "",
                "parallel_tool_calls": True,
                "tool_choice": "auto",
                "tools": [],
            }
            event: Body = {"type": kind, "sequence_number": number, "response": response}
        else:
            kind = "error"
            event = {"type": kind, "code": code, "message": words, "param": None, "sequence_number": number}
        return f"event: {kind}\ndata: ".encode() + msgspec.json.encode(event) + b"\n\n"


def reply_of(whole: Body) -> Reply:
    """What a whole response says."""
    heard = Heard()
    for place, item in enumerate(whole.get("output") or ()):
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "message":
            for part in item.get("content") or ():
                heard.say(place, part.get("text") or part.get("refusal"))
        elif kind == "reasoning":
            for part in item.get("summary") or ():
                heard.think(part.get("text"))
        elif kind in ("function_call", "custom_tool_call"):
            heard.call(place, item.get("call_id"), item.get("name"), item.get("arguments") or item.get("input"))
    finish: Finish = "tool_calls" if heard.calls else "stop"
    if whole.get("status") == "incomplete":
        why = (whole.get("incomplete_details") or {}).get("reason")
        finish = "content_filter" if why == "content_filter" else "length"
    elif whole.get("status") != "completed":
        finish = "unknown"
    return Reply(heard.message(), used(OPENAI_RESPONSES, whole.get("usage")), finish, str(whole.get("id", "")))


def _item(item: Any, media: list[str]) -> Message:
    if not isinstance(item, dict):
        raise Unfit("invalid_value", "an item of the input must be an object", "input")
    kind, role = item.get("type", "message"), item.get("role")
    if kind == "function_call_output" and isinstance(item.get("output"), str):
        return Message("tool", [ToolResult(text_of(item.get("call_id", "")), "", item["output"])])
    if kind == "function_call":
        name, args = text_of(item.get("name", "")), text_of(item.get("arguments", ""))
        return Message("assistant", [ToolCall(text_of(item.get("call_id", "")), name, args)])
    content = item.get("content")
    if kind == "message" and role in _ROLES and isinstance(content, str):
        return Message(_ROLES[role], [Text(content)])
    if kind == "message" and role in _ROLES and isinstance(content, list):
        kinds = [part.get("type") for part in content if isinstance(part, dict)]
        media += [str(kind) for kind in kinds if kind not in _TEXTS]
        if "input_audio" in kinds:
            raise Unfit("unpriced_feature", "audio is not passed by the gateway", "input")
        return Message(_ROLES[role], [_part(part) for part in content])
    if kind not in ("reasoning", "function_call_output", "custom_tool_call", "custom_tool_call_output"):
        media.append(str(kind))
    elif isinstance(item.get("output"), list):
        media.append("output")
    return Message("assistant" if kind in ("reasoning", "custom_tool_call") else "user", [Text("", {"openai": item})])


def _part(part: Any) -> Text:
    plain = isinstance(part, dict) and part.keys() == {"type", "text"} and isinstance(part["text"], str)
    return Text(part["text"]) if plain and part["type"] in _TEXTS else Text("", {"openai": part})


RESPONSES = Responses()
