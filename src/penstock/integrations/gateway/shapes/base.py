"""What the gateway has to know of a wire format, and what all of them share.

Bodies are passed on as they came, fields that are not known here included. They are decoded once and encoded once: of
two fields of one name the provider sees the one that was judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from penstock.adapters.providers.usage import StreamUsage, read_usage
from penstock.events import Amount
from penstock.events.messages import Message, Part, Text, Thinking, ToolCall
from penstock.kernel.errors import UsageUnreadable

Finish = Literal["stop", "length", "tool_calls", "content_filter", "unknown"]
Body = dict[str, Any]

CHOICES_MAX = 128
OUTPUT_MAX = 10_000_000
"""More output tokens than any model can make."""


class Unfit(Exception):
    """A request that cannot be passed on. ``code`` is stable; ``param`` names the field."""

    def __init__(self, code: str, words: str, param: str = "") -> None:
        super().__init__(words)
        self.code = code
        self.words = words
        self.param = param


@dataclass(slots=True)
class Ask:
    """What a request asks for.

    Attributes:
        most: output tokens of one choice, as the client says; None = it does not.
        messages: the prompt in the neutral form.
        rest: the fields that are no messages, for the digest of the call.
        media: holds what may be more tokens than it has bytes (an image, a file, a reference to either): the prompt is
            bounded by the model's context alone.
        tools: whether tools are offered.
        wants_usage: the client asked for usage at the stream's end, or the format always has it.
    """

    model: str
    stream: bool
    most: int | None
    messages: list[Message]
    rest: Body
    choices: int = 1
    media: bool = False
    tools: bool = False
    wants_usage: bool = True


@dataclass(slots=True)
class Reply:
    """What came back. ``usage`` None = the provider did not say, or what it said cannot be."""

    message: Message
    usage: Amount | None
    finish: Finish = "unknown"
    id: str = ""


class Stream(Protocol):
    """Reads a stream of server-sent events while it is passed on."""

    ended: bool
    """The provider has said that this was all."""

    def take(self, event: bytes, data: bytes) -> bytes:
        """One event, whole (``event``, with its empty line) and its data; what of it the client gets."""
        ...

    def reply(self) -> Reply:
        """What has been said so far."""
        ...

    def last_words(self, code: str, words: str, *, because_of_limit: bool) -> bytes:
        """How the stream ends when it is cut here: in the format's own way."""
        ...


class Shape(Protocol):
    """A wire format."""

    name: str
    api: Literal["openai", "anthropic"]
    path: str
    """Below the upstream's base address."""
    embeds: bool

    def ask(self, body: Body) -> Ask:
        """Read a request.

        Raises:
            Unfit: it cannot be passed on.
        """
        ...

    def cap(self, body: Body, ask: Ask, most: int) -> None:
        """Let each choice have at most so many output tokens, and have the provider say at a stream's end what was
        used."""
        ...

    def reply(self, body: bytes) -> Reply:
        """Read an answer.

        Raises:
            ValueError: it is none.
        """
        ...

    def stream(self, ask: Ask) -> Stream:
        """What reads the answer of this request when it is streamed."""
        ...


def text_of(value: Any) -> str:
    """A text, or what stands in its place as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def number(body: Mapping[str, Any], name: str, most: int) -> int | None:
    """A whole number from 1 to ``most``; None when it is not there or null.

    Raises:
        Unfit: something else.
    """
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise Unfit("invalid_value", f"{name} must be a whole number from 1 to {most:,}", name)
    return value


def model_of(body: Mapping[str, Any]) -> str:
    """The name of the model.

    Raises:
        Unfit: there is none.
    """
    name = body.get("model")
    if not isinstance(name, str) or not 0 < len(name) <= 200 or not name.isprintable():
        raise Unfit("invalid_value", "model must be the name of a model", "model")
    return name


def is_streamed(body: Mapping[str, Any]) -> bool:
    """Whether a stream is asked for.

    Raises:
        Unfit: ``stream`` is neither true nor false.
    """
    value = body.get("stream")
    if value not in (None, True, False):
        raise Unfit("invalid_value", "stream must be true or false", "stream")
    return value is True


def refuse(body: Mapping[str, Any], unpriced: Mapping[str, Any]) -> None:
    """Refuse what costs something that no price per token expresses.

    ``unpriced`` names fields; the value says which of their values are meant, None = any.

    Raises:
        Unfit: there is such a field.
    """
    for name, values in unpriced.items():
        value = body.get(name)
        if value is None or value is False:
            continue
        if values is None or (isinstance(value, str) and value in values):
            words = f"{name} cannot be bounded or priced, so the gateway does not pass it"
            raise Unfit("unpriced_feature", words, name)


def hosted_tools(tools: Any, allowed: tuple[str, ...]) -> bool:
    """Whether tools are offered.

    Raises:
        Unfit: one that the provider itself runs: it acts, and costs, past the gates.
    """
    if tools is None:
        return False
    if not isinstance(tools, list):
        raise Unfit("invalid_value", "tools must be a list", "tools")
    for index, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind not in allowed and kind is not None:
            words = f"a tool of the type {str(kind)[:60]!r} runs at the provider, past the gates"
            raise Unfit("hosted_tool", words, f"tools[{index}].type")
    return bool(tools)


def used(shape: str, said: Any) -> Amount | None:
    """The amount of a usage object, in the shape of `penstock.adapters.providers.usage`; None when it says none that
    can be."""
    if not isinstance(said, dict):
        return None
    try:
        return read_usage(shape, {"usage": said})
    except UsageUnreadable:
        return None


def used_by(stream: StreamUsage) -> Amount | None:
    """What a stream used, by its own account; None when it has given none that can be."""
    try:
        return stream.read()
    except UsageUnreadable:
        return None


@dataclass(slots=True)
class Heard:
    """An answer as its pieces come."""

    texts: dict[Any, list[str]] = field(default_factory=dict)
    thoughts: list[str] = field(default_factory=list)
    calls: dict[Any, list[Any]] = field(default_factory=dict)  # [id, name, pieces of the arguments]

    def say(self, place: Any, piece: Any) -> None:
        """Some words."""
        if isinstance(piece, str) and piece:
            self.texts.setdefault(place, []).append(piece)

    def think(self, piece: Any) -> None:
        """Some reasoning."""
        if isinstance(piece, str) and piece:
            self.thoughts.append(piece)

    def call(self, place: Any, ident: Any = None, name: Any = None, piece: Any = None) -> None:
        """Some of a tool call."""
        known = self.calls.setdefault(place, ["", "", []])
        if isinstance(ident, str) and ident:
            known[0] = ident
        if isinstance(name, str) and name:
            known[1] = name
        if isinstance(piece, str) and piece:
            known[2].append(piece)

    def message(self) -> Message:
        """As one message."""
        parts: list[Part] = []
        if self.thoughts:
            parts.append(Thinking("".join(self.thoughts)))
        parts += [Text("".join(pieces)) for pieces in self.texts.values()]
        parts += [ToolCall(ident, name, "".join(pieces)) for ident, name, pieces in self.calls.values()]
        return Message("assistant", parts)
