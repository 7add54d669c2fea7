"""Which texts there are in a body, and what is done with each: filtered, or values put back in place of tokens.

Bodies are walked as they are, so that what this program does not know of a format is filtered too. Left alone are
names, ids, links, and the data of images and files; of the definitions of tools only descriptions are looked at, for
who changes a schema changes what may be answered.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from penstock.gates.filters.vault import TOKEN, token
from penstock.integrations.gateway.filtering.channels import (
    Channel,
    RestoredText,
    SiftedArguments,
    SiftedText,
    json_escaped,
)
from penstock.integrations.gateway.filtering.memory import Memory
from penstock.rules.filters.filters import Place
from penstock.rules.filters.sift import Sifted, Tokens, sift_arguments, sift_text, sift_value

LEFT = frozenset(
    (
        *("id", "call_id", "tool_call_id", "tool_use_id", "item_id", "file_id", "previous_response_id", "conversation"),
        *("type", "role", "status", "name", "model", "format", "media_type", "detail", "object", "finish_reason"),
        *("url", "image_url", "file_url", "file_data", "data", "signature", "encrypted_content", "cache_control"),
        *("stop_reason", "service_tier", "usage"),
    )
)
"""Fields whose values are no text that anybody says."""
DEFINITIONS = frozenset(("tools", "functions", "response_format", "text", "output_config", "output_format"))
"""Fields of a request in which only descriptions are looked at."""


class Stage(Protocol):
    """What is done with texts."""

    sifts: bool
    """Whether what is found is taken out."""

    def text(self, text: str) -> str:
        """A whole text."""
        ...

    def arguments(self, text: str) -> str:
        """The arguments of a call, JSON as a model wrote it."""
        ...

    def value(self, value: Any) -> Any:
        """A plain JSON value, such as the arguments of a call."""
        ...

    def text_channel(self) -> Channel:
        """For a text that comes in pieces."""
        ...

    def arguments_channel(self) -> Channel:
        """For arguments that come in pieces."""
        ...


class Sifting:
    """See `Stage`: what is found is dealt with as the place says."""

    sifts = True

    def __init__(self, place: Place, key: bytes = b"", memory: Memory | None = None) -> None:
        """``key``: tokens are made with it; ``memory``: of these filters."""
        self.sifted = Sifted()
        self._place = place
        self._key = key
        self._tokens: Tokens | None = partial(token, key) if key else None
        self._memory = memory

    def text(self, text: str) -> str:
        return self._released(b"text", text, self._text)

    def arguments(self, text: str) -> str:
        return self._released(b"arguments", text, self._arguments)

    def _released(self, kind: bytes, text: str, sift: Callable[[str, Sifted], str]) -> str:
        if self._memory is None:
            return sift(text, self.sifted)
        return self._memory.released(kind, self._key, text, sift, self.sifted)

    def _text(self, text: str, into: Sifted) -> str:
        return sift_text(self._place, text, self._tokens, into)

    def _arguments(self, text: str, into: Sifted) -> str:
        return sift_arguments(self._place, text, self._tokens, into)

    def value(self, value: Any) -> Any:
        return sift_value(self._place, value, self._tokens, self.sifted)

    def text_channel(self) -> Channel:
        return SiftedText(self._place, self.sifted)

    def arguments_channel(self) -> Channel:
        return SiftedArguments(self.arguments)


class Restoring:
    """See `Stage`: values take the place of their tokens again."""

    sifts = False

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._escaped = {token: json_escaped(value) for token, value in values.items()}

    def text(self, text: str) -> str:
        return TOKEN.sub(lambda match: self._values.get(match[0], match[0]), text)

    def arguments(self, text: str) -> str:
        return TOKEN.sub(lambda match: self._escaped.get(match[0], match[0]), text)

    def value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return {name: self.value(item) for name, item in value.items()} if isinstance(value, dict) else value

    def text_channel(self) -> Channel:
        return RestoredText(self.text)

    def arguments_channel(self) -> Channel:
        return RestoredText(self.arguments)


def request(body: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """A request as it may go on."""
    return {
        name: _described(value, stage) if name in DEFINITIONS else value if name in LEFT else walked(value, stage)
        for name, value in body.items()
    }


def walked(value: Any, stage: Stage) -> Any:
    """Part of a body, its texts as the stage has them."""
    if isinstance(value, str):
        return stage.text(value)
    if isinstance(value, list):
        return [walked(item, stage) for item in value]
    if not isinstance(value, dict):
        return value
    released = {name: field(name, item, value, stage) for name, item in value.items()}
    if stage.sifts and value.get("type") == "thinking" and released.get("thinking") != value.get("thinking"):
        released["signature"] = ""  # it is over other words
    return released


def field(name: str, item: Any, whole: Mapping[str, Any], stage: Stage) -> Any:
    """The value of a field of ``whole``."""
    if name in LEFT and not (name == "data" and whole.get("type") == "text"):  # of a document that is text
        return item
    if name == "arguments" and isinstance(item, str):
        return stage.arguments(item)
    if name == "input" and isinstance(item, dict) and str(whole.get("type", "")).endswith("tool_use"):
        return stage.value(item)
    if name == "logprobs" and stage.sifts and isinstance(item, list | dict):
        return [] if isinstance(item, list) else None  # they are the words once more
    return walked(item, stage)


def _described(value: Any, stage: Stage) -> Any:
    """Definitions of tools and schemas."""
    if isinstance(value, list):
        return [_described(item, stage) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: stage.text(item) if name == "description" and isinstance(item, str) else _described(item, stage)
        for name, item in value.items()
    }
