"""Our neutral messages as the library's, and the library's answers as ours.

What a provider wants to get back unchanged (reasoning signatures, part ids, its own details) travels in each part's
``bag`` under ``id``, ``signature``, ``provider`` and ``details``; what it said of the whole answer is in the first
part's bag under ``response``. With that nothing is left that the library's own JSON could add, so ``Message.cache``
stays empty.
"""

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic_ai import messages as library

from penstock.adapters.providers.failures import beside_the_gates, unsendable
from penstock.events.messages import Message, Part, Text, Thinking, ToolCall, ToolResult
from penstock.kernel.canonical import MAX_SAFE_INTEGER

_OUTCOMES = {"ok": "success", "error": "failed", "denied": "denied"}


def to_library(messages: Sequence[Message], *, inline_system: bool) -> list[library.ModelMessage]:
    """The conversation in the library's form.

    Consecutive messages that are not the assistant's become one request: system words first, then the tool results in
    the order of their calls, then the words of user and notes, so that results follow their calls directly (OpenAI)
    and turns alternate (Anthropic). A system message in mid-conversation keeps its role where ``inline_system`` says
    that the provider has one there; elsewhere it is sent as the user's words, never moved to the front, because what
    was sent is never rewritten.

    Raises:
        ModelError: a tool call has no result, more than one, or a result has no call.
    """
    converted: list[library.ModelMessage] = []
    turn = _Turn([])
    for message in messages:
        if message.role == "assistant":
            converted.extend(turn.request())
            converted.append(answer_to_library(message))
            turn = _Turn(message.tool_calls)
        else:
            turn.add(message, system_role=inline_system or not converted)
    converted.extend(turn.request())
    return converted


class _Turn:
    """What stands between two answers of the model."""

    def __init__(self, calls: list[ToolCall]) -> None:
        self._calls = {call.id: call for call in calls}
        if len(self._calls) != len(calls):
            raise unsendable("two tool calls of one answer have the same id")
        self._results: dict[str, ToolResult] = {}
        self._leading: list[library.ModelRequestPart] = []
        self._words: list[library.ModelRequestPart] = []

    def add(self, message: Message, *, system_role: bool) -> None:
        for part in message.parts:
            if type(part) is ToolResult:
                self._settle(part)
            elif type(part) is not Text:
                raise unsendable(f"a message of role {message.role} holds a part that only an assistant's can hold")
        text = message.text
        if not text:  # Anthropic refuses empty text
            return
        if message.role == "system" and system_role:
            into = self._words if self._words or self._results or self._calls else self._leading
            into.append(library.SystemPromptPart(text))
        else:
            self._words.append(library.UserPromptPart(text))

    def _settle(self, result: ToolResult) -> None:
        if result.id not in self._calls:
            raise unsendable(f"the result of {result.name} answers no call of the answer before it")
        if result.id in self._results:
            raise unsendable(f"a call of {result.name} has two results")
        self._results[result.id] = result

    def request(self) -> Iterable[library.ModelRequest]:
        """The turn as one request, or nothing when it is empty."""
        for call_id, call in self._calls.items():
            if call_id not in self._results:
                raise unsendable(f"a call of {call.name} has no result")
        results = [
            library.ToolReturnPart(
                call.name,
                self._results[call_id].text,
                call_id,
                outcome=_OUTCOMES.get(self._results[call_id].status, "failed"),  # type: ignore[arg-type]
            )
            for call_id, call in self._calls.items()
        ]
        parts = [*self._leading, *results, *self._words]
        if parts:
            yield library.ModelRequest(parts)


def answer_to_library(message: Message) -> library.ModelResponse:
    """One answer in the library's form."""
    parts = [_library_part(part) for part in message.parts if not (type(part) is Text and not part.text)]
    about: dict[str, Any] = next((part.bag["response"] for part in message.parts if "response" in part.bag), {})
    return library.ModelResponse(
        parts=parts,
        model_name=about.get("model"),
        provider_name=about.get("provider"),
        provider_url=about.get("url"),
        canonical_system=about.get("system"),
        provider_response_id=about.get("id"),
        provider_details=about.get("details"),
        finish_reason=about.get("finish"),
    )


def _library_part(part: Part) -> library.ModelResponsePart:
    bag = part.bag
    own: dict[str, Any] = {
        "id": bag.get("id"),
        "provider_name": bag.get("provider"),
        "provider_details": bag.get("details"),
    }
    if type(part) is Text:
        return library.TextPart(part.text, **own)
    if type(part) is Thinking:
        return library.ThinkingPart(part.text, signature=bag.get("signature"), **own)
    if type(part) is ToolCall:
        return library.ToolCallPart(part.name, part.args, part.id, **own)
    raise unsendable("an assistant's message holds a tool result")


def from_library(response: library.ModelResponse) -> Message:
    """The library's answer as a neutral message of role ``assistant``.

    Raises:
        ModelError: it holds a part that passed no gate (a provider's own tool, a file).
    """
    taken: set[str] = set()
    parts = [part for found in response.parts if (part := _neutral_part(found, taken)) is not None]
    details = response.provider_details or {}
    if not parts and isinstance(details.get("refusal"), str):
        parts.append(Text(clean(details["refusal"]), {"refusal": True}))
    if parts:
        parts[0] = _with_bag(parts[0], response=_about(response))
    return Message("assistant", parts)


def _neutral_part(part: library.ModelResponsePart, taken: set[str]) -> Part | None:
    if isinstance(part, library.TextPart):
        bag = _bag(part)
        return Text(clean(part.content), bag) if part.content or bag else None
    if isinstance(part, library.ThinkingPart):
        return Thinking(clean(part.content), _bag(part, signature=part.signature))
    if isinstance(part, library.ToolCallPart):
        return ToolCall(_own_id(part.tool_call_id, taken), clean(part.tool_name), _raw(part.args), _bag(part))
    raise beside_the_gates(part.part_kind)


def _own_id(call_id: str, taken: set[str]) -> str:
    """The call's id; a second call with the id of another gets one of its own, or no result could be told apart."""
    unique, count = clean(call_id), 1
    while unique in taken:
        count += 1
        unique = f"{clean(call_id)}-{count}"
    taken.add(unique)
    return unique


def _raw(args: str | Mapping[str, Any] | None) -> str:
    """The arguments as JSON text. Some SDKs parse them first; no arguments at all are an empty object."""
    if isinstance(args, str):
        return clean(args) if args.strip() else "{}"
    return clean(json.dumps(args or {}, ensure_ascii=False, separators=(",", ":")))


def _bag(part: Any, **more: str | None) -> dict[str, Any]:
    found = {"id": part.id, "provider": part.provider_name, "details": part.provider_details or None, **more}
    return {key: plain(value) for key, value in found.items() if value is not None}


def _about(response: library.ModelResponse) -> dict[str, Any]:
    found = {
        "model": response.model_name,
        "provider": response.provider_name,
        "url": response.provider_url,
        "system": response.canonical_system,
        "id": response.provider_response_id,
        "details": response.provider_details or None,
        "finish": response.finish_reason,
    }
    return {key: plain(value) for key, value in found.items() if value is not None}


def _with_bag(part: Part, **more: Any) -> Part:
    bag = {**part.bag, **more}
    if type(part) is ToolCall:
        return ToolCall(part.id, part.name, part.args, bag)
    if type(part) is Thinking:
        return Thinking(part.text, bag)
    assert type(part) is Text
    return Text(part.text, bag)


def plain(value: object) -> Any:
    """``value`` in types that the journal can hold; JSON's own types stay as they are."""
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {clean(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else clean(str(value))


def clean(text: str) -> str:
    """``text`` with lone surrogates, which JSON can smuggle in and UTF-8 cannot hold, replaced by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
