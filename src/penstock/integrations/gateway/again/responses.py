"""OpenAI's responses, whole and as events: messages of words, reasoning by its summary, calls of functions."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from penstock.integrations.gateway.shapes.base import Body


def join(events: Sequence[Body]) -> Body:
    """The response that the events come to: the last one holds it whole.

    Raises:
        ValueError: it does not.
    """
    last = events[-1]
    if last["type"] != "response.completed" or not isinstance(last["response"], dict):
        raise ValueError("not completed")
    whole: Body = last["response"]
    return whole


def split(whole: Body, *, usage: bool = True) -> list[Body]:
    """The events of a completed response.

    Raises:
        ValueError: it is not completed, or there is an item whose events are not known.
    """
    del usage  # it is always said
    if whole["status"] != "completed":
        raise ValueError("not completed")
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    if "completed_at" in begun:
        begun["completed_at"] = None
    events: list[Body] = [{"type": f"response.{kind}", "response": begun} for kind in ("created", "in_progress")]
    for place, item in enumerate(whole["output"]):
        events += [{"output_index": place, **event} for event in _item(item)]
    events.append({"type": "response.completed", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def render(events: Sequence[Body]) -> bytes:
    """As server-sent events."""
    return b"".join(
        f"event: {event['type']}\ndata: ".encode() + msgspec.json.encode(event) + b"\n\n" for event in events
    )


def _item(item: Body) -> Iterator[Body]:
    where = {"item_id": item.get("id", "")}
    opened: Body = {**item, "status": "in_progress"} if "status" in item else dict(item)
    match item["type"]:
        case "message":
            yield {"type": "response.output_item.added", "item": {**opened, "content": []}}
            for index, part in enumerate(item["content"]):
                yield from _words({**where, "content_index": index}, part)
        case "function_call":
            yield {"type": "response.output_item.added", "item": {**opened, "arguments": ""}}
            said = "response.function_call_arguments"
            yield {"type": f"{said}.delta", **where, "delta": item["arguments"]}
            yield {"type": f"{said}.done", **where, "arguments": item["arguments"], "name": item["name"]}
        case "reasoning" if not item.get("content"):
            yield {"type": "response.output_item.added", "item": {**opened, "summary": []}}
            for index, part in enumerate(item["summary"]):
                yield from _summary({**where, "summary_index": index}, part)
        case kind:
            raise ValueError(f"an item {kind} is not known")
    yield {"type": "response.output_item.done", "item": item}


def _words(where: Body, part: Body) -> Iterator[Body]:
    if part["type"] != "output_text" or part.get("annotations") or part.get("logprobs"):
        raise ValueError("a part that is more than words")
    text, nothing = part["text"], {"logprobs": list[Any]()}
    yield {"type": "response.content_part.added", **where, "part": {**part, "text": ""}}
    yield {"type": "response.output_text.delta", **where, "delta": text, **nothing}
    yield {"type": "response.output_text.done", **where, "text": text, **nothing}
    yield {"type": "response.content_part.done", **where, "part": part}


def _summary(where: Body, part: Body) -> Iterator[Body]:
    if part.keys() != {"type", "text"}:
        raise ValueError("a summary that is more than words")
    said = "response.reasoning_summary"
    yield {"type": f"{said}_part.added", **where, "part": {**part, "text": ""}}
    yield {"type": f"{said}_text.delta", **where, "delta": part["text"]}
    yield {"type": f"{said}_text.done", **where, "text": part["text"]}
    yield {"type": f"{said}_part.done", **where, "part": part}
