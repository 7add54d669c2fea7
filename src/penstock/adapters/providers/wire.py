"""One wire call per request.

Provider SDKs retry by themselves (two retries by default in OpenAI's, Anthropic's, Groq's and Cohere's), and the
library sometimes repeats a request in another form. Each of those calls can be billed, so each needs a reservation of
its own: here SDK retries are switched off, and a hook on the HTTP client refuses whatever second call is tried all the
same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic_ai.models import Model as LibraryModel
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel

from penstock.kernel.errors import ProviderInvalid


@dataclass(slots=True)
class Call:
    """What the wire saw of one request. ``status``: of the answer, 0 while there is none.

    ``watched``: the HTTP client carries our hook, so ``sent`` can be relied on.
    """

    watched: bool
    sent: int = 0
    refused: bool = False
    status: int = 0


class SecondCallRefused(Exception):
    """An SDK or the library tried a second wire call for one request."""


class _Client(Protocol):
    event_hooks: dict[str, list[Any]]


_call: ContextVar[Call | None] = ContextVar("penstock_wire_call", default=None)


async def _before(request: Any) -> None:
    call = _call.get()
    if call is None or request.method != "POST":  # not ours, or the fetching of a token or a model list
        return
    if call.sent:
        call.refused = True
        raise SecondCallRefused("one request, one wire call")
    call.sent += 1


async def _after(response: Any) -> None:
    call = _call.get()
    if call is not None and response.request.method == "POST":
        call.status = response.status_code


@contextmanager
def one_call(*, watched: bool) -> Iterator[Call]:
    """Count the wire calls made in this context, and let through the first one only."""
    call = Call(watched)
    token = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(token)


def innermost(model: LibraryModel) -> LibraryModel:
    """The model that speaks to a provider, under wrappers (instrumentation, concurrency limits).

    Raises:
        ProviderInvalid: there are several under it.
    """
    while isinstance(model, WrapperModel):
        model = model.wrapped
    if isinstance(model, FallbackModel):
        raise ProviderInvalid(
            "a FallbackModel makes several calls for one request, which no reservation covers",
            hint="pass its first model, and name the others as fallbacks of the agent",
        )
    return model


class Wire:
    """Holds one model to one call: knows whether its SDK retries, and keeps the hook on its HTTP client."""

    def __init__(self, model: LibraryModel, *, ours: bool) -> None:
        """``ours``: the SDK client was made for us and may be changed.

        Raises:
            ProviderInvalid: the model cannot be held to one call.
        """
        self._model = innermost(model)
        self._hooked: object = None
        sdk = getattr(self._model, "client", None)
        retries = getattr(sdk, "max_retries", None)
        if ours and isinstance(retries, int):
            sdk.max_retries = retries = 0  # type: ignore[union-attr]
        ignores_setting = "max_retries" in self._model.unsupported_settings
        asks_for_some = bool(
            (model.settings or {}).get("max_retries") or (self._model.settings or {}).get("max_retries")
        )
        self.setting_needed = (retries != 0 or asks_for_some) and not ignores_setting
        """Whether each request must say ``max_retries=0``: the SDK's client then makes a copy of itself."""
        guarded = self.guard()
        if ignores_setting and retries != 0 and not guarded and sdk is not None:
            raise ProviderInvalid(
                f"{type(self._model).__name__} cannot be told not to retry: one request could be billed several times",
                hint="use this provider through an OpenAI-compatible endpoint, or run its agent behind the gateway",
            )

    def guard(self) -> bool:
        """Put the hook on the HTTP client in use now; False when there is none to put it on.

        The library replaces a client whose event loop is gone, so this is asked before every request.
        """
        # What an agent of the library does at the start of each run; the model's public face has no word for it.
        self._model._refresh_http_client()  # noqa: SLF001
        client = _http_client(getattr(self._model, "client", None))
        if client is None:
            return False
        if client is not self._hooked:
            _refuse_retrying(client)
            hooks = client.event_hooks
            if _before not in hooks.get("request", []):
                client.event_hooks = {
                    "request": [*hooks.get("request", []), _before],
                    "response": [*hooks.get("response", []), _after],
                }
            self._hooked = client
        return True


def _http_client(sdk: object) -> _Client | None:
    """The httpx client inside an SDK's client: Stainless SDKs (OpenAI, Anthropic, Groq) keep it as ``_client``."""
    for candidate in (getattr(sdk, "_client", None), getattr(sdk, "_async_httpx_client", None)):
        if hasattr(candidate, "event_hooks"):
            return candidate
    return None


def _refuse_retrying(client: _Client) -> None:
    """A retrying transport lies under the hooks, which would see its many calls as one."""
    transports = [getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()]
    for transport in transports:
        if "Tenacity" in type(transport).__name__ or "Retry" in type(transport).__name__:
            raise ProviderInvalid(
                f"the HTTP client repeats requests by itself ({type(transport).__name__})",
                hint="pass a client with a plain transport; Penstock retries, each attempt under its own reservation",
            )
