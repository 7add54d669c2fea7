"""What the model gate asks of a model."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from penstock.events import Amount, Failure
from penstock.events.messages import Message
from penstock.ports.price import Price as Price  # noqa: PLC0414 - whoever asks a model asks for its price


@dataclass(slots=True, frozen=True)
class ToolSpec:
    """A tool as a model sees it. ``schema`` is a JSON Schema object of its arguments."""

    name: str
    description: str
    schema: dict[str, Any]
    strict: bool = False


@dataclass(slots=True, frozen=True)
class ModelSettings:
    """How to call. ``prompt_cache`` asks the provider to keep the prompt's unchanging part in its own cache, where that
    has to be asked for. ``extra`` holds further settings by the provider library's names; what would go past the gates
    (native tools, server-side state, background work) is refused."""

    max_tokens: int
    temperature: float | None = None
    seed: int | None = None
    timeout_seconds: float = 120.0
    extra: dict[str, Any] = field(default_factory=dict)
    prompt_cache: bool = False


@dataclass(slots=True, frozen=True)
class ModelRequest:
    """One call. ``tool_choice``: ``none`` keeps the definitions but forbids calls (the last answer of a budget);
    ``required`` makes the model call one (an output tool)."""

    messages: Sequence[Message]
    tools: Sequence[ToolSpec]
    settings: ModelSettings
    tool_choice: Literal["auto", "none", "required"] = "auto"
    output_tool: ToolSpec | None = None  # structured output: the model answers by calling this tool


@dataclass(slots=True, frozen=True)
class ModelResponse:
    """One answer. ``used`` is None when the provider did not say; the gate then charges the maximum."""

    message: Message  # role assistant
    used: Amount | None
    finish: Literal["stop", "length", "tool_calls", "content_filter", "unknown"] = "stop"
    provider_id: str = ""


class ModelError(Exception):
    """A call to a model failed. Raised by adapters, judged by the gate.

    ``billed`` says whether tokens may have been charged all the same: False only when the provider refused before
    doing any work (authentication, rate limit, bad request); the gate charges the maximum when it is True or unknown.
    """

    def __init__(self, failure: Failure, *, billed: bool | None = None) -> None:
        super().__init__(f"{failure.code}: {failure.words}")
        self.failure = failure
        self.billed = billed


class Model(Protocol):
    """A model that can be called once at a time per call; many calls may be in flight."""

    @property
    def name(self) -> str:
        """``provider:model``."""
        ...

    @property
    def simulated(self) -> bool:
        """True for models that only pretend; shown wherever their words or costs appear."""
        ...

    def price(self) -> Price | None:
        """Its price now; None when unknown."""
        ...

    def prompt_bound(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        """A number of input tokens these cannot exceed. Must be cheap and safe: UTF-8 bytes plus the provider's
        framing per message and tool."""
        ...

    async def request(self, request: ModelRequest) -> ModelResponse:
        """Make exactly one wire call.

        Raises:
            ModelError: it failed; the adapter never retries.
        """
        ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[str | ModelResponse, None]:
        """The same, yielding pieces of text as they come and the whole answer last."""
        ...
