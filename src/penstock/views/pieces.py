"""Content for whoever looks at a run, by right and cut to a size: what there is, how large, and why it is not shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.events.messages import Message, Thinking, ToolCall, ToolResult, decode_message
from penstock.kernel.errors import EventUnreadable
from penstock.views.contents import Contents, Missing

CUT_BYTES = 16 * 1024
"""Bytes of one piece that are shown at once; the whole is read piece by piece by its reference."""
MESSAGE_CUT_BYTES = 4 * 1024
"""The same of one message among several."""

FORBIDDEN = "forbidden"
ERASED = "erased"
MISSING = "missing"
DAMAGED = "damaged"


@dataclass(slots=True, frozen=True)
class Piece:
    """A piece of content. ``ref``: its commitment, empty when it has none of its own; ``size``: bytes of the whole.

    ``cut``: ``value`` holds only the first bytes, as text. ``hidden``: why there is no value.
    """

    ref: str = ""
    size: int = 0
    cut: bool = False
    value: Any = None
    hidden: str = ""


class Viewer:
    """Makes pieces for one viewer of one run.

    Args:
        contents: None: the viewer has no right to content.
        is_erased: the key of the run's data subject is gone, so that nothing can come back.
    """

    def __init__(self, contents: Contents | None, *, is_erased: bool = False) -> None:
        self._contents = contents
        self._is_erased = is_erased

    def piece(self, ref: str) -> Piece:
        """A payload that is JSON, or else text."""
        data = self._data(ref)
        if isinstance(data, Piece):
            return data
        if len(data) > CUT_BYTES:
            return Piece(ref, len(data), True, text_of(data[:CUT_BYTES]))
        try:
            return Piece(ref, len(data), value=msgspec.json.decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Piece(ref, len(data), value=text_of(data))

    def text(self, ref: str) -> str:
        """A payload that is words; '' when it cannot be shown."""
        data = self._data(ref)
        return "" if isinstance(data, Piece) else text_of(data[:CUT_BYTES])

    def answer(self, ref: str) -> tuple[Piece, Message | None]:
        """A model's answer: its words, and all of it."""
        data = self._data(ref)
        if isinstance(data, Piece):
            return data, None
        try:
            message = decode_message(data)
        except EventUnreadable:
            return Piece(ref, len(data), hidden=DAMAGED), None
        words = message.text.encode(errors="replace")
        if len(words) > CUT_BYTES:
            return Piece(ref, len(data), True, text_of(words[:CUT_BYTES])), message
        return Piece(ref, len(data), value=message.text or None), message

    def messages(self, refs: Sequence[str]) -> Piece:
        """What was said to a model since the call before: a list of messages, each cut for itself."""
        shown: list[dict[str, Any]] = []
        size = left = 0
        left = CUT_BYTES
        for ref in refs:
            data = self._data(ref)
            if isinstance(data, Piece):
                if data.hidden == FORBIDDEN:
                    return data
                shown.append({"ref": ref, "hidden": data.hidden})
                continue
            size += len(data)
            if left <= 0:
                shown.append({"ref": ref, "size": len(data), "cut": True})
                continue
            one = _message(ref, data)
            left -= min(len(data), MESSAGE_CUT_BYTES)
            shown.append(one)
        is_cut = any(one.get("cut") for one in shown)
        return Piece(refs[0] if len(refs) == 1 else "", size, is_cut, shown)

    def _data(self, ref: str) -> bytes | Piece:
        if self._contents is None:
            return Piece(ref, hidden=FORBIDDEN)
        data = self._contents.raw(ref)
        if isinstance(data, Missing):
            return Piece(ref, hidden=ERASED if self._is_erased else MISSING)
        return data


def text_of(data: bytes) -> str:
    """Bytes as text; what is cut in the middle of a character, or is none, is replaced."""
    return data.decode(errors="replace")


def _message(ref: str, data: bytes) -> dict[str, Any]:
    try:
        message = decode_message(data)
    except EventUnreadable:
        return {"ref": ref, "size": len(data), "hidden": DAMAGED}
    parts: list[dict[str, Any]] = []
    is_cut = False
    for part in message.parts:
        if isinstance(part, ToolCall):
            words, shown = part.args, {"part": "tool_call", "id": part.id, "name": part.name}
        elif isinstance(part, ToolResult):
            words, shown = part.text, {"part": "tool_result", "id": part.id, "name": part.name, "status": part.status}
        else:
            words, shown = part.text, {"part": "thinking" if isinstance(part, Thinking) else "text"}
        raw = words.encode(errors="replace")
        is_cut |= len(raw) > MESSAGE_CUT_BYTES
        parts.append(shown | {"text": text_of(raw[:MESSAGE_CUT_BYTES])})
    return {"ref": ref, "size": len(data), "cut": is_cut, "role": message.role, "parts": parts}
