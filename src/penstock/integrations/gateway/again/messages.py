"""Anthropic's messages, whole and as events: words with their citations, thinking, calls of tools."""

from collections.abc import Sequence

import msgspec

from penstock.integrations.gateway.shapes.base import Body

_PIECES = {"text": ("text", "text_delta"), "thinking": ("thinking", "thinking_delta")}


def join(events: Sequence[Body]) -> Body:
    """The message that the events come to.

    Raises:
        ValueError: there is more in them than a message is known to have.
    """
    whole: Body = {}
    blocks: list[Body] = []
    partial: dict[int, str] = {}
    for event in events:
        match event["type"]:
            case "message_start":
                whole = {**event["message"], "usage": dict(event["message"]["usage"])}
            case "content_block_start":
                if event["index"] != len(blocks):
                    raise ValueError("blocks out of order")
                blocks.append(dict(event["content_block"]))
            case "content_block_delta":
                _grow(blocks[event["index"]], event["delta"], partial, event["index"])
            case "message_delta":
                whole |= event["delta"]
                whole["usage"] |= event.get("usage") or {}
                whole |= {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
            case "content_block_stop" | "message_stop" | "ping":
                pass
            case kind:
                raise ValueError(f"an event {kind} is not known")
    for place, text in partial.items():
        if text:
            blocks[place]["input"] = msgspec.json.decode(text)
    return {**whole, "content": blocks}


def split(whole: Body, *, usage: bool = True) -> list[Body]:
    """The events of a message.

    Raises:
        ValueError: there is a block whose stream is not known.
    """
    del usage  # it is always said
    said: Body = whole["usage"]
    stop = {name: whole[name] for name in ("stop_reason", "stop_sequence")}
    start = {**whole, **dict.fromkeys(stop), "content": [], "usage": {**said, "output_tokens": 0}}
    events: list[Body] = [{"type": "message_start", "message": start}]
    for place, block in enumerate(whole["content"]):
        empty, deltas = _split_block(block)
        events.append({"type": "content_block_start", "index": place, "content_block": empty})
        events += [{"type": "content_block_delta", "index": place, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": place})
    events.append({"type": "message_delta", "delta": stop, "usage": said})
    events.append({"type": "message_stop"})
    return events


def render(events: Sequence[Body]) -> bytes:
    """As server-sent events."""
    return b"".join(
        f"event: {event['type']}\ndata: ".encode() + msgspec.json.encode(event) + b"\n\n" for event in events
    )


def _split_block(block: Body) -> tuple[Body, list[Body]]:
    """A block as it begins, and what is added to it."""
    kind = block["type"]
    if kind == "tool_use":
        delta = {"type": "input_json_delta", "partial_json": msgspec.json.encode(block["input"]).decode()}
        return {**block, "input": {}}, [delta]
    if kind == "redacted_thinking":
        return block, []
    if kind not in _PIECES:
        raise ValueError(f"a block {kind} is not known")
    field, delta_kind = _PIECES[kind]
    empty, deltas = {**block, field: ""}, [{"type": delta_kind, field: block[field]}]
    if block.get("citations"):
        empty["citations"] = []
        deltas = [{"type": "citations_delta", "citation": citation} for citation in block["citations"]] + deltas
    if block.get("signature"):
        empty["signature"] = ""
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    return empty, deltas


def _grow(block: Body, delta: Body, partial: dict[int, str], place: int) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        case "input_json_delta":
            partial[place] = partial.get(place, "") + delta["partial_json"]
        case kind:
            raise ValueError(f"a delta {kind} is not known")
