"""The neutral, versioned form of a conversation: what payloads hold, readable for years.

A provider's own particulars (signatures, ids, details) ride along in ``bag``, verbatim and opaque. ``cache`` may hold
the provider library's serialisation of the message, labelled with the library and version, for sending back; it is
never the only copy of anything.
"""

from typing import Any, Literal

import msgspec

from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import EventUnreadable


class Text(msgspec.Struct, tag_field="part", tag="text", omit_defaults=True, frozen=True):
    """Words."""

    text: str
    bag: dict[str, Any] = {}


class Thinking(msgspec.Struct, tag_field="part", tag="thinking", omit_defaults=True, frozen=True):
    """The model's reasoning as the provider shows it; ``bag`` holds its signature."""

    text: str
    bag: dict[str, Any] = {}


class ToolCall(msgspec.Struct, tag_field="part", tag="tool_call", omit_defaults=True, frozen=True):
    """The model asks for a tool. ``args`` is the raw JSON text as the model wrote it, valid or not."""

    id: str
    name: str
    args: str
    bag: dict[str, Any] = {}


class ToolResult(msgspec.Struct, tag_field="part", tag="tool_result", omit_defaults=True, frozen=True):
    """What a tool call came to: every call gets exactly one. ``status``: ok | error | denied."""

    id: str
    name: str
    text: str
    status: str = "ok"
    bag: dict[str, Any] = {}


Part = Text | Thinking | ToolCall | ToolResult


class Message(msgspec.Struct, omit_defaults=True, frozen=True):
    """One turn. Tool results and budget notes are turns of role ``tool`` and ``note`` (sent as the user's)."""

    role: Literal["system", "user", "assistant", "tool", "note"]
    parts: list[Part]
    v: int = 1
    cache: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """The words of the message, without reasoning and tool calls."""
        parts = self.parts
        if len(parts) == 1:  # as nearly always
            return parts[0].text if type(parts[0]) is Text else ""
        return "".join([part.text for part in parts if type(part) is Text])

    @property
    def tool_calls(self) -> list[ToolCall]:
        return [part for part in self.parts if type(part) is ToolCall]


_decoder = msgspec.json.Decoder(Message)


def say(role: Literal["system", "user", "assistant", "note"], text: str) -> Message:
    """A message of words alone."""
    return Message(role, [Text(text)])


def encode_message(message: Message) -> bytes:
    """The stored form."""
    return stable_json(message)


def storable_message(message: Message) -> tuple[Message, bytes]:
    """The message itself, or one in which what no text can hold (lone surrogates) is escaped; and its stored form."""
    try:
        return message, encode_message(message)
    except UnicodeEncodeError:
        escaped = msgspec.convert(_escaped(msgspec.to_builtins(message)), Message)
        return escaped, encode_message(escaped)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value


def decode_message(data: bytes) -> Message:
    """The message of a stored form.

    Raises:
        EventUnreadable: damaged, or of a newer version.
    """
    try:
        message = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EventUnreadable(f"a stored message cannot be read: {error}") from error
    if message.v > 1:
        raise EventUnreadable(f"a stored message has version {message.v}; this installation reads 1")
    return message
