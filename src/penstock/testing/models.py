"""A model that says what it is told: for tests of agents, without a provider and without waiting."""

import dataclasses
import itertools
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any, Literal

from msgspec.structs import replace

from penstock.events import Amount, Failure
from penstock.events.messages import Message, ToolCall, say
from penstock.kernel.canonical import stable_json
from penstock.ports.model import ModelError, ModelRequest, ModelResponse, Price, ToolSpec

Answer = ModelResponse | str | ToolCall | Sequence[ToolCall] | Exception
"""What one call is answered with: text, calls of tools, a whole response, or an error to raise."""

Script = Answer | Callable[[ModelRequest], Answer]
"""An answer, or a function that gives one for the request."""

_BYTES_PER_TOKEN = 4
_FRAME_TOKENS = 4  # a message or tool costs so many besides its bytes
_STREAM_PIECE = 16  # characters


class ScriptedModel:
    """Answers the n-th call with the n-th entry of its script, at once and deterministically.

    When the script is at its end, a further call fails for good with code ``script_ended``: a test that calls more
    often than it meant to should see it. ``repeat=True`` starts the script anew instead.

    Tokens are counted by a simple rule (bytes divided by four, and a few for each message and tool), so that the same
    conversation always costs the same and never more than `prompt_bound`. Text beyond ``max_tokens`` is cut off.
    """

    def __init__(
        self,
        script: Iterable[Script],
        name: str = "scripted:model",
        price: Price | None = None,
        *,
        repeat: bool = False,
    ) -> None:
        """``price``: nothing by default; None there would make every money budget refuse the model."""
        entries = list(script)
        if not entries:
            raise ValueError("a script needs at least one answer")
        self._script = itertools.cycle(entries) if repeat else iter(entries)
        self._name = name
        self._price = price or Price(0.0, 0.0, source="scripted")
        self.calls: list[ModelRequest] = []
        """Every request, in the order of arrival."""

    @property
    def name(self) -> str:
        """``provider:model``."""
        return self._name

    @property
    def simulated(self) -> bool:
        """Always true."""
        return True

    def price(self) -> Price | None:
        """The price it was made with."""
        return self._price

    def prompt_bound(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        """Input tokens these cannot exceed: exactly those that `request` will report."""
        return _tokens(messages, tools)

    async def request(self, request: ModelRequest) -> ModelResponse:
        """The next answer of the script.

        Raises:
            ModelError: the script says so, or is at its end.
        """
        # A conversation goes on: what was asked is kept as it was.
        self.calls.append(dataclasses.replace(request, messages=list(request.messages)))
        entry = next(self._script, None)
        if entry is None:
            words = f"the script of {self._name} has no answer for call {len(self.calls)}"
            raise ModelError(Failure("script_ended", "permanent", words), billed=False)
        answer = entry(request) if callable(entry) else entry
        if isinstance(answer, Exception):
            raise answer
        return self._response(request, answer)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | ModelResponse, None]:
        """The same in pieces of text.

        Raises:
            ModelError: as `request`.
        """
        response = await self.request(request)
        text = response.message.text
        for start in range(0, len(text), _STREAM_PIECE):
            yield text[start : start + _STREAM_PIECE]
        yield response

    def _response(
        self, request: ModelRequest, answer: str | ToolCall | Sequence[ToolCall] | ModelResponse
    ) -> ModelResponse:
        if isinstance(answer, ModelResponse):
            return answer
        number = len(self.calls)
        finish: Literal["stop", "length", "tool_calls"] = "tool_calls"
        if isinstance(answer, str):
            text, finish = _cut(answer, request.settings.max_tokens)
            message = say("assistant", text)
        else:
            calls = [answer] if isinstance(answer, ToolCall) else answer
            parts = [replace(call, id=call.id or f"call-{number}-{i}") for i, call in enumerate(calls, 1)]
            message = Message("assistant", list(parts))
        tools = [*request.tools, *([request.output_tool] if request.output_tool else [])]
        used = Amount(_tokens(request.messages, tools), min(_size(message), request.settings.max_tokens))
        return ModelResponse(message, used, finish, provider_id=f"scripted-{number}")


def tool_call(name: str, /, **args: Any) -> ToolCall:
    """A call for a script: the model gives it an id that tells the calls of a conversation apart."""
    return ToolCall("", name, stable_json(args).decode())


def _cut(text: str, max_tokens: int) -> tuple[str, Literal["stop", "length"]]:
    """The text, or as much of it as fits into so many tokens, as a real model would break off."""
    data = text.encode("utf-8", "surrogatepass")
    room = max_tokens * _BYTES_PER_TOKEN
    return (text, "stop") if len(data) <= room else (data[:room].decode("utf-8", "ignore"), "length")


def _tokens(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
    total = sum(_FRAME_TOKENS + _size(message) for message in messages)
    for tool in tools:
        text = f"{tool.name}{tool.description}".encode() + stable_json(tool.schema)
        total += _FRAME_TOKENS + _rounded_up(len(text))
    return total


def _size(message: Message) -> int:
    texts = (part.name + part.args if isinstance(part, ToolCall) else part.text for part in message.parts)
    return _rounded_up(sum(len(text.encode("utf-8", "surrogatepass")) for text in texts))


def _rounded_up(size: int) -> int:
    return -(-size // _BYTES_PER_TOKEN)
