"""pydantic-ai's message history as the conversation that the model gate keeps, and what is sent of it.

The framework keeps its own history and hands all of it over with every request; the gate keeps an append-only
conversation of neutral messages. `Transcript` keeps the two in step: what is new is appended, history that the
framework rewrote begins the conversation anew. What goes to the provider is the framework's own messages, unchanged,
with the notes of the budget added where the gate put them.
"""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from pydantic_ai import messages as library
from pydantic_ai.usage import RequestUsage

from penstock.adapters.providers.messages import answer_to_library, clean, from_library, plain
from penstock.events.messages import Message, Part, Text, ToolResult, say
from penstock.gates.model.conversation import Conversation
from penstock.gates.model.gate import Turn
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import GateMisused

_STATUSES = {"success": "ok", "denied": "denied"}
_USAGE = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "input_audio_tokens",
    "cache_audio_read_tokens",
    "output_audio_tokens",
)
_KEPT = "pydantic_ai"


class Transcript:
    """One run's history, in both forms."""

    def __init__(self) -> None:
        self.conversation = Conversation()
        self._source: list[Message] = []
        self._history: list[library.ModelMessage] = []
        # By identity: the framework hands over the same objects again. Each is kept, so that no other gets its
        # identity while the run lasts.
        self._neutral: dict[int, tuple[library.ModelMessage, list[Message]]] = {}
        self._instructions: list[Message] = []
        self._places: dict[int, int] = {}

    def take(self, history: Sequence[library.ModelMessage], instructions: str) -> None:
        """Bring the conversation up to date with what the framework is about to send.

        Raises:
            GateMisused: it holds images, audio or documents, whose tokens have no known bound.
        """
        if instructions != (self._instructions[0].text if self._instructions else ""):
            self._instructions = [say("system", instructions)] if instructions else []
        source = list(self._instructions)
        places = {id(message): -1 for message in source}
        for place, one in enumerate(history):
            known = self._neutral.get(id(one))
            if known is None:
                known = self._neutral[id(one)] = one, neutral_messages(one)
            for message in known[1]:
                places[id(message)] = place
            source += known[1]
        before = len(self._source)
        goes_on = len(source) >= before and all(
            new is old or new == old for new, old in zip(source, self._source, strict=False)
        )
        if goes_on:
            # Equal ones stand for each other: the conversation holds those that came first.
            places.update((id(old), places[id(new)]) for new, old in zip(source, self._source, strict=False))
            source[:before] = self._source
            self.conversation.add(*source[before:])
        else:
            self.conversation = _begun_anew(self.conversation, source)
        self._source, self._history, self._places = source, list(history), places

    def answered(self, turn: Turn) -> library.ModelResponse:
        """Take in an answer of the gate; the framework's form of it, the same live and in replay."""
        response = to_response(turn.message)
        self.conversation.add_known(turn.message, turn.ref)
        self._source.append(turn.message)
        self._neutral[id(response)] = response, [turn.message]
        return response

    def sent(self, messages: Sequence[Message]) -> list[library.ModelMessage]:
        """The framework's messages that these neutral ones stand for, with the notes between them."""
        sent: list[library.ModelMessage] = []
        last = -1
        for message in messages:
            place = self._places.get(id(message))
            if place is None:
                sent.append(_with_note(sent.pop(), message.text))
            elif place != last and place >= 0:
                sent.append(self._history[place])
                last = place
        return sent


def _begun_anew(before: Conversation, source: Sequence[Message]) -> Conversation:
    conversation = Conversation(source)
    conversation.level = before.level
    return conversation


def _with_note(message: library.ModelMessage, words: str) -> library.ModelMessage:
    assert isinstance(message, library.ModelRequest)
    return dataclasses.replace(message, parts=[*message.parts, library.UserPromptPart(words)])


def neutral_messages(message: library.ModelMessage) -> list[Message]:
    """One message of the library's as neutral ones: what the journal keeps.

    Raises:
        GateMisused: it holds content whose tokens have no known bound.
        ModelError: an answer holds a part that passed no gate.
    """
    if isinstance(message, library.ModelResponse):
        return [from_library(message)]
    found: list[Message] = []
    for part in message.parts:
        role, neutral = _neutral_part(part)
        if found and found[-1].role == role and role != "system":
            found[-1].parts.append(neutral)
        else:
            found.append(Message(role, [neutral]))
    return found


def _neutral_part(part: Any) -> tuple[Any, Part]:
    if isinstance(part, library.SystemPromptPart):
        return "system", Text(clean(part.content))
    if isinstance(part, library.UserPromptPart):
        return "user", Text(_words(part.content))
    if isinstance(part, library.ToolReturnPart):
        text = clean(part.model_response_str())
        status = _STATUSES.get(part.outcome, "error")
        return "tool", ToolResult(clean(part.tool_call_id), clean(part.tool_name), text, status)
    if isinstance(part, library.RetryFeedbackPart):
        return "user", Text(clean(part.model_response()))
    if part.part_kind in ("speech", "compaction"):
        raise _unsupported(part.part_kind)
    fields = {field.name: getattr(part, field.name) for field in dataclasses.fields(part) if field.name != "timestamp"}
    return "system", Text(stable_json(plain(fields)).decode())


def _words(content: str | Sequence[Any]) -> str:
    if isinstance(content, str):
        return clean(content)
    pieces = []
    for item in content:
        if isinstance(item, str):
            pieces.append(item)
        elif isinstance(item, library.TextContent):
            pieces.append(item.content)
        elif not isinstance(item, library.CachePoint):
            raise _unsupported(type(item).__name__)
    return clean("\n\n".join(pieces))


def _unsupported(kind: str) -> GateMisused:
    return GateMisused(
        f"the prompt holds {kind}, of which no bound in tokens is known, so no budget can be reserved for it",
        hint="send text, and hand over files by reference to a tool that reads them",
    )


def with_particulars(message: Message, response: library.ModelResponse) -> Message:
    """The answer with what the framework's own code may ask of it later: its usage, and when it came."""
    usage = {name: value for name in _USAGE if (value := getattr(response.usage, name, 0))}
    return msgspec.structs.replace(message, cache={_KEPT: {"usage": usage, "at": response.timestamp.isoformat()}})


def to_response(message: Message) -> library.ModelResponse:
    """A neutral answer as the library's."""
    response = answer_to_library(message)
    kept = message.cache.get(_KEPT, {})
    response.usage = RequestUsage(**kept.get("usage", {}))
    response.timestamp = datetime.fromisoformat(kept["at"]) if "at" in kept else datetime.fromtimestamp(0, UTC)
    return response
