"""The events of streamed answers, one format a class.

Their texts go through channels, and what those hold back comes as an event of its own before whatever says that the
text has ended. Pieces of what is not known here cannot be filtered, for nobody knows what they come to: where answers
are, they are left out.
"""

from typing import Any, Protocol

from penstock.integrations.gateway.filtering.channels import Channel
from penstock.integrations.gateway.filtering.texts import Stage, field, walked
from penstock.integrations.gateway.shapes.base import Body

_EMPTY: tuple[Any, ...] = (None, "", [], {})


class Rewriting(Protocol):
    """One stage of one stream."""

    def take(self, event: Body) -> list[Body]:
        """What goes on in place of an event."""
        ...

    def end(self) -> list[Body]:
        """What is still held when the stream is over."""
        ...


class ChatRewriting:
    """See `Rewriting`: chunks of chat completions."""

    _TEXTS = ("content", "refusal", "reasoning_content", "reasoning")

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._channels: dict[tuple[int, str, int], Channel] = {}
        self._head: Body = {}
        self._choice: Body = {}

    def take(self, event: Body) -> list[Body]:
        self._head = {name: value for name, value in event.items() if name not in ("choices", "usage")}
        choices = event.get("choices")
        if not isinstance(choices, list) or not choices:
            return [event]
        before: list[Body] = []
        released = []
        for choice in choices:
            place = choice.get("index", 0)
            self._choice = {"logprobs": None} if "logprobs" in choice else {}
            passed = {**choice, "delta": self._delta(place, choice.get("delta") or {})}
            if self._stage.sifts and choice.get("logprobs") is not None:
                passed["logprobs"] = None
            if choice.get("finish_reason") is not None:
                # What came with it stands before what was held back no longer than it is sent before.
                if any(value not in _EMPTY for value in passed["delta"].values()):
                    before.append(self._chunk(place, passed["delta"]))
                    passed["delta"] = {}
                before += self._rests(place)
            released.append(passed)
        return [*before, {**event, "choices": released}]

    def end(self) -> list[Body]:
        return [chunk for place in sorted({key[0] for key in self._channels}) for chunk in self._rests(place)]

    def _delta(self, place: int, delta: Body) -> Body:
        released: Body = {}
        for name, value in delta.items():
            if name in self._TEXTS and isinstance(value, str):
                released[name] = self._text(place, name).feed(value)
            elif name == "tool_calls" and isinstance(value, list):
                released[name] = [self._call(place, call) for call in value]
            elif name == "function_call" and isinstance(value, dict):
                released[name] = self._function(place, name, 0, value)
            elif name == "role" or value in _EMPTY:
                released[name] = value
            elif not self._stage.sifts:
                released[name] = walked(value, self._stage)
        return released

    def _call(self, place: int, call: Body) -> Body:
        at, released = call.get("index", 0), dict(call)
        if isinstance(call.get("function"), dict):
            released["function"] = self._function(place, "function", at, call["function"])
        custom = call.get("custom")
        if isinstance(custom, dict) and isinstance(custom.get("input"), str):
            key = place, "custom", at
            channel = self._channels.setdefault(key, self._stage.text_channel())
            released["custom"] = {**custom, "input": channel.feed(custom["input"])}
        return released

    def _function(self, place: int, name: str, at: int, function: Body) -> Body:
        if not isinstance(function.get("arguments"), str):
            return function
        channel = self._channels.setdefault((place, name, at), self._stage.arguments_channel())
        return {**function, "arguments": channel.feed(function["arguments"])}

    def _text(self, place: int, name: str) -> Channel:
        return self._channels.setdefault((place, name, 0), self._stage.text_channel())

    def _rests(self, place: int) -> list[Body]:
        chunks = []
        for (choice, name, at), channel in self._channels.items():
            rest = channel.end() if choice == place else ""
            if not rest:
                continue
            delta: Body = {name: rest}
            if name == "function":
                delta = {"tool_calls": [{"index": at, "function": {"arguments": rest}}]}
            elif name == "custom":
                delta = {"tool_calls": [{"index": at, "custom": {"input": rest}}]}
            elif name == "function_call":
                delta = {"function_call": {"arguments": rest}}
            chunks.append(self._chunk(place, delta))
        return chunks

    def _chunk(self, place: int, delta: Body) -> Body:
        choice = {"index": place, "delta": delta, "finish_reason": None, **self._choice}
        return {**self._head, "choices": [choice]}


class MessagesRewriting:
    """See `Rewriting`: Anthropic's blocks."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._channels: dict[int, tuple[str, str, Channel]] = {}  # kind and field of its deltas

    def take(self, event: Body) -> list[Body]:
        kind, place = event.get("type"), event.get("index", 0)
        if kind == "content_block_delta":
            return self._delta(place, event)
        if kind == "content_block_start":
            return [{**event, "content_block": self._begun(place, event.get("content_block") or {})}]
        if kind == "content_block_stop":
            return [*self._rest(place), event]
        return [event]

    def end(self) -> list[Body]:
        return [event for place in list(self._channels) for event in self._rest(place)]

    def _begun(self, place: int, block: Body) -> Body:
        kind = block.get("type")
        if kind in ("text", "thinking"):
            channel = self._stage.text_channel()
            self._channels[place] = f"{kind}_delta", kind, channel
            return {**walked(block, self._stage), kind: channel.feed(str(block.get(kind) or ""))}
        if str(kind).endswith("tool_use"):
            self._channels[place] = "input_json_delta", "partial_json", self._stage.arguments_channel()
        return walked(block, self._stage)  # type: ignore[no-any-return]

    def _delta(self, place: int, event: Body) -> list[Body]:
        delta: Body = event.get("delta") or {}
        known = self._channels.get(place)
        if known is None or delta.get("type") not in (known[0], "signature_delta"):
            is_whole = delta.get("type") == "citations_delta" or not self._stage.sifts
            return [{**event, "delta": walked(delta, self._stage)}] if is_whole else []
        name, channel = known[1:]
        if delta["type"] == "signature_delta":
            rest = self._rest(place)
            return rest if channel.changed and self._stage.sifts else [*rest, event]
        piece = channel.feed(str(delta.get(name) or ""))
        return [{**event, "delta": {**delta, name: piece}}] if piece else []

    def _rest(self, place: int) -> list[Body]:
        if place not in self._channels:
            return []
        kind, name, channel = self._channels[place]
        rest = channel.end()
        return [_block_delta(place, {"type": kind, name: rest})] if rest else []


def _block_delta(place: int, delta: Body) -> Body:
    return {"type": "content_block_delta", "index": place, "delta": delta}


class ResponsesRewriting:
    """See `Rewriting`: OpenAI's responses, whose later events say again what the earlier ones did."""

    _FIELDS = {
        "response.output_text": "text",
        "response.refusal": "refusal",
        "response.reasoning_text": "text",
        "response.reasoning_summary_text": "text",
        "response.function_call_arguments": "arguments",
        "response.mcp_call_arguments": "arguments",
        "response.custom_tool_call_input": "input",
    }
    """Texts by the beginning of their events' kinds, and the field of the last of those."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._channels: dict[tuple[int, str, int], tuple[Body, Channel]] = {}  # and an event that adds to it
        self._number: int | None = None

    def take(self, event: Body) -> list[Body]:
        return [self._numbered(released, event) for released in self._taken(event)]

    def end(self) -> list[Body]:
        rests = [self._added(event, channel.end()) for event, channel in self._channels.values()]
        return [self._numbered(event, event) for rest in rests for event in rest]

    def _taken(self, event: Body) -> list[Body]:
        kind = str(event.get("type"))
        about, _, last = kind.rpartition(".")
        if about in self._FIELDS and last in ("delta", "done"):
            return self._piece(about, last, event)
        place = event.get("output_index", 0)
        if kind in ("response.content_part.added", "response.content_part.done"):
            return [{**event, "part": self._part(place, "content", event.get("content_index", 0), event.get("part"))}]
        if kind.startswith("response.reasoning_summary_part."):
            return [{**event, "part": self._part(place, "summary", event.get("summary_index", 0), event.get("part"))}]
        if kind in ("response.output_item.added", "response.output_item.done"):
            return [{**event, "item": self._item(place, event.get("item"))}]
        if isinstance(event.get("response"), dict):
            return [{**event, "response": self._response(event["response"])}]
        return [] if last == "delta" and self._stage.sifts else [walked(event, self._stage)]

    def _piece(self, about: str, last: str, event: Body) -> list[Body]:
        key = self._key(about, event)
        if key not in self._channels:
            is_args = self._FIELDS[about] == "arguments"
            channel = self._stage.arguments_channel() if is_args else self._stage.text_channel()
            adding = {
                name: value for name, value in event.items() if name not in (self._FIELDS[about], "delta", "name")
            }
            self._channels[key] = {**adding, "type": f"{about}.delta"}, channel
        adding, channel = self._channels[key]
        if last == "delta":
            piece = channel.feed(str(event.get("delta") or ""))
            released = {**event, "delta": piece}
            if self._stage.sifts and event.get("logprobs"):
                released["logprobs"] = []
            return [released] if piece else []
        rest = self._added(adding, channel.end())
        said = event.get(self._FIELDS[about])
        ended: Body = {**event, self._FIELDS[about]: self._whole(key, said)}
        if self._stage.sifts and event.get("logprobs"):
            ended["logprobs"] = []
        return [*rest, ended]

    def _added(self, adding: Body, rest: str) -> list[Body]:
        if not rest:
            return []
        return [{**adding, "delta": rest, **({"logprobs": []} if "logprobs" in adding else {})}]

    def _key(self, about: str, event: Body) -> tuple[int, str, int]:
        where = "summary" if "summary" in about else "content"
        if self._FIELDS[about] in ("arguments", "input"):
            where = "call"
        return event.get("output_index", 0), where, event.get(f"{where}_index", 0)

    def _whole(self, key: tuple[int, str, int], said: Any) -> Any:
        """What was passed on of a text, in its place; of one that did not come in pieces, the text itself as the stage
        has it."""
        known = self._channels.get(key)
        if known is not None and known[1].whole and said:
            return known[1].whole
        if key[1] == "call" and isinstance(said, str):
            return self._stage.arguments(said)
        return walked(said, self._stage)

    def _part(self, place: int, where: str, index: int, part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        texts = {name for name in ("text", "refusal") if isinstance(part.get(name), str)}
        return {
            name: self._whole((place, where, index), value) if name in texts else field(name, value, part, self._stage)
            for name, value in part.items()
        }

    def _item(self, place: int, item: Any) -> Any:
        if not isinstance(item, dict):
            return item
        released: Body = {}
        for name, value in item.items():
            if name in ("content", "summary") and isinstance(value, list):
                released[name] = [self._part(place, name, index, part) for index, part in enumerate(value)]
            elif name in ("arguments", "input") and isinstance(value, str):
                released[name] = self._whole((place, "call", 0), value)
            else:
                released[name] = field(name, value, item, self._stage)
        return released

    def _response(self, response: Body) -> Body:
        """What the request said is told again here: values are put back into that too."""
        output = [self._item(place, item) for place, item in enumerate(response.get("output") or ())]
        around = {name: value for name, value in response.items() if name != "output"}
        return {**(around if self._stage.sifts else walked(around, self._stage)), "output": output}

    def _numbered(self, event: Body, first: Body) -> Body:
        """Events are numbered; those that are added would have a number twice."""
        if self._number is None:
            number = first.get("sequence_number")
            if not isinstance(number, int):
                return event
            self._number = number - 1
        self._number += 1
        return {**event, "sequence_number": self._number}


REWRITING: dict[str, type[ChatRewriting] | type[MessagesRewriting] | type[ResponsesRewriting]] = {
    "openai.chat": ChatRewriting,
    "openai.responses": ResponsesRewriting,
    "anthropic.messages": MessagesRewriting,
}
"""By the shape's name."""
