"""The simulated model's own count of tokens: one for every four UTF-8 bytes of a part, rounded up.

Framing is counted with what goes in, 4 for a message and 8 for a tool's definition. An answer counts the same when it
is made and when it is sent back, so that the count of a conversation is the sum of its parts.
"""

import json
from collections.abc import Sequence

from penstock.events.messages import Message, Part, Text, ToolCall
from penstock.kernel.canonical import stable_json
from penstock.ports.model import ToolSpec

BYTES_PER_TOKEN = 4
MESSAGE_FRAME = 4
TOOL_FRAME = 8


def of_text(text: str) -> int:
    """Tokens of a text."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // BYTES_PER_TOKEN)


def of_part(part: Part) -> int:
    """Tokens of one part of a message."""
    if isinstance(part, ToolCall):
        return of_text(part.name) + of_text(part.args)
    return of_text(part.text)


def of_message(message: Message) -> int:
    """Tokens of a message with its frame; the model's own messages have none, as when they were made."""
    frame = 0 if message.role == "assistant" else MESSAGE_FRAME
    return frame + sum(map(of_part, message.parts))


def of_tool(tool: ToolSpec) -> int:
    """Tokens of a tool's definition."""
    size = len(tool.name.encode()) + len(tool.description.encode()) + len(stable_json(tool.schema))
    return TOOL_FRAME - (-size // BYTES_PER_TOKEN)


def of_prompt(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
    """Tokens of all that is sent."""
    return sum(map(of_message, messages)) + sum(map(of_tool, tools))


def cut(message: Message, limit: int) -> tuple[Message, bool]:
    """The message cut to ``limit`` tokens as a provider cuts it, in the middle of a word or of a call's arguments; and
    whether anything was cut."""
    parts: list[Part] = []
    left = limit
    for part in message.parts:
        size = of_part(part)
        if size <= left:
            parts.append(part)
            left -= size
            continue
        shorter = _cut_part(part, left)
        return Message(message.role, [*parts, *shorter]), True
    return message, False


def _cut_part(part: Part, left: int) -> list[Part]:
    if type(part) is Text:
        text = _first_bytes(part.text, left)
        return [Text(text)] if text else []
    if type(part) is ToolCall and left > of_text(part.name):
        return [ToolCall(part.id, part.name, _first_bytes(part.args, left - of_text(part.name)))]
    return []


def _first_bytes(text: str, tokens: int) -> str:
    return text.encode()[: tokens * BYTES_PER_TOKEN].decode(errors="ignore")


def as_json(value: object) -> str:
    """JSON as models write it: with spaces, and non-ASCII characters as they are."""
    return json.dumps(value, ensure_ascii=False)
