"""OpenAI's chat completions, whole and as chunks. One choice; no log-probabilities; calls of functions."""

from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.integrations.gateway.shapes.base import Body

_GROWING = ("content", "refusal", "reasoning_content", "reasoning")
"""Fields of a message that come in pieces."""
_EMPTY: tuple[Any, ...] = (None, "", [], {})


def join(chunks: Sequence[Body]) -> Body:
    """The completion that the chunks come to.

    Raises:
        ValueError: there is more in them than a completion of one choice is known to have.
    """
    whole: Body = {}
    choice: Body = {"index": 0}
    message: Body = {}
    calls: dict[int, Body] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name == "usage":
                if value is not None:
                    whole["usage"] = value
            elif name not in ("choices", "object", "obfuscation") and whole.setdefault(name, value) != value:
                raise ValueError(f"two values of {name}")
        for part in chunk["choices"]:
            if part["index"] != 0:
                raise ValueError("more than one choice")
            for name, value in part.items():
                if name == "delta":
                    _grow(message, calls, value)
                elif name == "finish_reason":
                    choice[name] = value if value is not None else choice.get(name)
                elif name != "index":
                    choice[name] = _nothing(name, value)
    if [*calls] != [*range(len(calls))]:
        raise ValueError("calls out of order")
    if calls:
        message["tool_calls"] = [*calls.values()]
    return {**whole, "object": "chat.completion", "choices": [{**choice, "message": message}]}


def split(whole: Body, *, usage: bool) -> list[Body]:
    """The chunks of a completion.

    Raises:
        ValueError: it has other than one choice.
    """
    (choice,) = whole["choices"]
    message: Body = choice["message"]
    head = {name: value for name, value in whole.items() if name not in ("object", "choices", "usage")}
    head["object"] = "chat.completion.chunk"
    rest = {name: value for name, value in choice.items() if name not in ("message", "finish_reason")}
    pieces = [name for name in _GROWING if isinstance(message.get(name), str)]
    first = {name: value for name, value in message.items() if name != "tool_calls"}
    deltas: list[Body] = [{**first, **dict.fromkeys(pieces, "")}]
    deltas += [{name: message[name]} for name in pieces if message[name]]
    deltas += [{"tool_calls": [{"index": at, **call}]} for at, call in enumerate(message.get("tool_calls") or ())]
    chunks = [{**head, "choices": [{**rest, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**head, "choices": [{**rest, "delta": {}, "finish_reason": choice["finish_reason"]}]})
    if usage and "usage" in whole:
        chunks.append({**head, "choices": [], "usage": whole["usage"]})
    return chunks


def render(chunks: Sequence[Body]) -> bytes:
    """As server-sent events, with the mark of the end."""
    return b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def _grow(message: Body, calls: dict[int, Body], delta: Body) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for piece in value or ():
                _grow_call(calls.setdefault(piece["index"], {}), piece)
        elif name in _GROWING:
            known = message.get(name)
            message[name] = value if known is None else known + (value or "")
        elif message.setdefault(name, value) != value:
            raise ValueError(f"two values of {name}")
        elif name != "role":
            _nothing(name, value)


def _grow_call(call: Body, piece: Body) -> None:
    for name, value in piece.items():
        if name == "function":
            function = call.setdefault("function", {})
            if value.keys() - {"name", "arguments"}:
                raise ValueError("unknown fields of a call")
            if value.get("name") is not None:
                function["name"] = value["name"]
            if value.get("arguments") is not None:
                function["arguments"] = function.get("arguments", "") + value["arguments"]
        elif name in ("id", "type"):
            if value is not None and call.setdefault(name, value) != value:
                raise ValueError(f"two values of {name}")
        elif name != "index":
            _nothing(name, value)


def _nothing(name: str, value: Any) -> Any:
    """A field that is not known here may be there as long as it says nothing."""
    if value not in _EMPTY:
        raise ValueError(f"{name} is not known")
    return value
