"""A pydantic-ai model behind our `Model` port: one wire call per request, every outcome a value or a `ModelError`."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from typing import Literal, cast

from pydantic_ai import exceptions as library_errors
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.messages import (
    ModelResponse as LibraryResponse,
)
from pydantic_ai.models import (
    Model as LibraryModel,
)
from pydantic_ai.models import (
    ModelRequestParameters,
    StreamedResponse,
    infer_model,
    parse_model_id,
)
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.providers import infer_provider_class
from pydantic_ai.settings import ModelSettings as LibrarySettings
from pydantic_ai.usage import RequestUsage

from penstock.adapters.egress.hook import allow_url
from penstock.adapters.prices import PriceList
from penstock.adapters.providers.bound import PromptBound
from penstock.adapters.providers.failures import model_error, provider_failed, truncated
from penstock.adapters.providers.messages import clean, from_library, to_library
from penstock.adapters.providers.request import check_extra, library_settings, library_tools
from penstock.adapters.providers.wire import Call, Wire, innermost, one_call
from penstock.events import Amount
from penstock.events.messages import Message
from penstock.kernel.clock import wall_seconds
from penstock.kernel.errors import ModelUnknown, ProviderInvalid
from penstock.ports.model import ModelRequest, ModelResponse, Price, ToolSpec

Finish = Literal["stop", "length", "tool_calls", "content_filter", "unknown"]

_FINISHES: dict[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_call": "tool_calls",
    "content_filter": "content_filter",
}
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_SIMULATED = (TestModel, FunctionModel)
# Sent anew with each call, so that they do no harm in a model object's own settings.
_OVERRIDDEN = {"max_tokens", "timeout", "max_retries"}


def library_model(name: str) -> LibraryModel:
    """The library's model of that name.

    Raises:
        ModelUnknown: no provider answers to it.
        ProviderInvalid: the key or the provider's package is missing.
    """
    provider, model = parse_model_id(name)
    if not provider or not model.strip():
        raise ModelUnknown(f"{name!r} names no model")
    try:
        infer_provider_class(provider)
    except ValueError as error:
        raise ModelUnknown(f"there is no provider {provider!r}, which the model name {name!r} begins with") from error
    except ImportError as error:
        raise _package_missing(name, error) from error
    try:
        return _tolerant(infer_model(name))
    except ImportError as error:
        raise _package_missing(name, error) from error
    except library_errors.UserError as error:
        if error.message.startswith("Unknown model"):
            raise ModelUnknown(f"the provider {provider!r} has no model {model!r}") from error
        raise _not_configured(name, error.message) from error


def _not_configured(name: str, message: str) -> ProviderInvalid:
    """The library's sentence names the environment variables; what follows it is advice for its own users."""
    variables = list(dict.fromkeys(_VARIABLE.findall(message)))
    if not variables:
        return ProviderInvalid(f"the provider of {name!r} is not configured: {message.split('. ', maxsplit=1)[0]}")
    return ProviderInvalid(
        f"the provider of {name!r} has no key: {' or '.join(variables)} is not set",
        hint=f"set {variables[0]} in the environment of this process, or use a simulated model to work offline",
    )


def _tolerant(model: LibraryModel) -> LibraryModel:
    if type(model).__name__ != "AnthropicModel" or model.provider is None:
        return model
    from penstock.adapters.providers.anthropic_model import TolerantAnthropicModel

    return TolerantAnthropicModel(model.model_name, provider=model.provider)


def _package_missing(name: str, error: ImportError) -> ProviderInvalid:
    return ProviderInvalid(
        f"the provider of {name!r} needs a package that is not installed: {error}",
        hint=f"pip install 'pydantic-ai-slim[{name.partition(':')[0]}]', or what the message says",
    )


class ProviderModel:
    """A real model. Many calls may be in flight; made by `model_by_name` and `model_from`."""

    def __init__(self, model: LibraryModel, *, name: str | None, prices: PriceList, ours: bool) -> None:
        """``ours``: the library's model was made for us, so its SDK client may be told not to retry.

        Raises:
            ProviderInvalid: it would make more than one wire call per request, or its settings go past the gates.
        """
        inner = innermost(model)
        own = {**(inner.settings or {}), **(model.settings or {})}
        if problem := check_extra({name: value for name, value in own.items() if name not in _OVERRIDDEN}):
            raise ProviderInvalid(problem, hint="make the model without this setting")
        self._model = model
        self._ours = ours
        self._name = name or f"{model.system}:{model.model_name}"
        self._prices = prices
        self._simulated = isinstance(inner, _SIMULATED)
        self._wire = Wire(model, ours=ours)
        self._ignored = frozenset(inner.unsupported_settings)
        profile = model.profile
        self._inline_system = bool(profile.get("supports_inline_system_prompts", False))
        # The library's own preparation of messages matters for two kinds of host only: those that read control tokens
        # in users' text, and those that bound the length of call ids. Elsewhere it would add words of its own to the
        # prompt, which the bound would have to cover, and change earlier parts of it, which no cache survives.
        self._prepared = bool(
            profile.get("may_tokenize_special_tokens_in_content", False) or profile.get("tool_call_id_length")
        )
        self._bound = PromptBound(model, prepared=self._prepared)
        allow_url(inner.base_url or "")

    @property
    def name(self) -> str:
        """``provider:model``."""
        return self._name

    @property
    def simulated(self) -> bool:
        """True for the library's test doubles."""
        return self._simulated

    @property
    def library(self) -> LibraryModel:
        """The library's model under it."""
        return self._model

    def price(self) -> Price | None:
        """Its price today; None when unknown."""
        return self._prices.price_of(self._name)

    def prompt_bound(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        """Input tokens these cannot exceed; count an output tool among the tools."""
        return self._bound(messages, tools)

    async def request(self, request: ModelRequest) -> ModelResponse:
        """Make exactly one wire call.

        Raises:
            ModelError: it failed; nothing is retried.
        """
        messages, settings, parameters = self._converted(request)
        return (await self._request(messages, settings, parameters, request.settings.timeout_seconds))[0]

    async def pass_on(
        self,
        messages: list[ModelMessage],
        settings: LibrarySettings,
        parameters: ModelRequestParameters,
        *,
        timeout_seconds: float,
    ) -> tuple[ModelResponse, LibraryResponse]:
        """One wire call for code that speaks the library's own language; the answer in ours and as it came.

        Raises:
            ModelError: it failed; nothing is retried.
        """
        own = {"timeout": timeout_seconds, **({"max_retries": 0} if self._wire.setting_needed else {})}
        known = {name: value for name, value in {**settings, **own}.items() if name not in self._ignored}
        return await self._request(messages, cast("LibrarySettings", known), parameters, timeout_seconds)

    async def _request(
        self,
        messages: list[ModelMessage],
        settings: LibrarySettings,
        parameters: ModelRequestParameters,
        timeout_seconds: float,
    ) -> tuple[ModelResponse, LibraryResponse]:
        with one_call(watched=self._wire.guard()) as call:
            try:
                async with asyncio.timeout(timeout_seconds):
                    response = await self._model.request(messages, settings, parameters)
                return _answer(response), response
            except Exception as error:
                # Whatever a provider's SDK raises becomes a ModelError.
                raise model_error(error, call) from error

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | ModelResponse, None]:
        """The same, yielding pieces of text as they come and the whole answer last.

        Raises:
            ModelError: it failed, also when the stream ends before the answer is complete.
        """
        messages, settings, parameters = self._converted(request)
        call, begun = Call(watched=self._wire.guard()), False
        end = wall_seconds() + request.settings.timeout_seconds
        try:
            async with AsyncExitStack() as stack:
                # The hook's context must not stay set between our yields: it would count the consumer's own calls.
                with one_call(watched=call.watched) as call:
                    async with asyncio.timeout(end - wall_seconds()):
                        opened = self._model.request_stream(messages, settings, parameters)
                        streamed = await stack.enter_async_context(opened)
                events = aiter(streamed)
                while True:
                    async with asyncio.timeout(end - wall_seconds()):
                        event = await anext(events, None)
                    if event is None:
                        break
                    begun = True
                    if piece := _piece(event):
                        yield piece
                answer = _finished(streamed)
        except Exception as error:
            # Whatever a provider's SDK raises becomes a ModelError.
            raise model_error(error, call, begun=begun) from error
        yield answer

    async def aclose(self) -> None:
        """Close the connections to the provider; a model object that was passed in is left to whoever made it."""
        if self._ours:
            # The library's way to say it: leaving a model closes the HTTP client that was made for it.
            async with self._model:
                pass

    def _converted(self, request: ModelRequest) -> tuple[list[ModelMessage], LibrarySettings, ModelRequestParameters]:
        messages = to_library(request.messages, inline_system=self._inline_system)
        settings = library_settings(
            request.settings, max_retries_needed=self._wire.setting_needed, ignored=self._ignored
        )
        settings, parameters = library_tools(request, settings)
        if self._prepared:
            messages = self._model.prepare_messages(messages, parameters)
        return messages, settings, parameters


def _piece(event: ModelResponseStreamEvent) -> str:
    if isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
        return clean(event.delta.content_delta)
    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
        return clean(event.part.content)
    return ""


def _finished(streamed: StreamedResponse) -> ModelResponse:
    """The whole answer of a stream that has ended.

    Some SDKs take a connection that closes early for the end of the answer, so its own signs of an end are looked for:
    the provider's finish reason or refusal, or failing that (some servers send none) its usage, which comes last.
    """
    response = streamed.get()
    details = response.provider_details or {}
    ended = bool(details.get("finish_reason") or details.get("refusal"))
    if response.state != "complete":
        raise truncated()
    if not ended and (response.finish_reason is None or response.usage.unmeasured_requests):
        raise truncated()
    return _answer(response)


def _answer(response: LibraryResponse) -> ModelResponse:
    if response.finish_reason == "error":
        raise provider_failed()
    if response.state != "complete":
        raise truncated()
    message = from_library(response)
    finish = _FINISHES.get(response.finish_reason or "", "unknown")
    if message.tool_calls and finish in ("stop", "unknown"):
        finish = "tool_calls"
    return ModelResponse(message, _used(response.usage), finish, clean(response.provider_response_id or ""))


def _used(usage: RequestUsage) -> Amount | None:
    """What the provider says was used; None when it says nothing, or what cannot be (no call has an empty prompt).

    The library counts what was read from and written to a cache among the input everywhere; where a provider's figures
    contradict that, the larger total holds.
    """
    cached, written, tokens_out = usage.cache_read_tokens, usage.cache_write_tokens, usage.output_tokens
    amount = Amount(
        max(usage.input_tokens, cached + written),
        tokens_out,
        cached=cached,
        written=written,
        reasoning=min(usage.output_reasoning_tokens, tokens_out),
        written_hour=usage.cache_write_1h_tokens,
        audio_in=usage.input_audio_tokens,
        audio_cached=usage.cache_audio_read_tokens,
        audio_out=usage.output_audio_tokens,
    )
    if usage.unmeasured_requests or amount.tokens_in <= 0 or not amount.is_sound:
        return None
    return amount
