"""The library's errors as ours: a stable code, a class that says whether to try again, and whether it may be billed.

The words name statuses and the provider's machine-readable codes and parameter paths, never its sentences, which may
quote the prompt. The original error is the cause of ours, for whoever debugs in the process itself.

billed=False is claimed only where the provider (or our own machine) turned the call away before any work was done.
OpenAI and Anthropic bill no request that was answered with an error status, but a status of 500, 502 or 504 can come
from a proxy that lost a working back end, so it counts as unknown.
"""

import asyncio
import json
import re

from pydantic_ai import exceptions as library

from penstock.adapters.providers.wire import Call
from penstock.events import Failure
from penstock.ports.model import ModelError

_MAX_RETRY_AFTER_SECONDS = 86_400.0
_MAX_WORD_CHARS = 80
_MAX_WORDS_CHARS = 300

# The most specific class first: the first one that fits decides.
_BY_CLASS: tuple[tuple[type[Exception], str, str, str, bool | None], ...] = (
    (library.ModelQuotaExceededError, "model_quota", "permanent", "the account's quota or credit is used up", False),
    (library.ModelRateLimitError, "model_rate_limited", "rate_limited", "the provider's rate limit is reached", False),
    (library.ModelAuthenticationError, "model_auth", "permanent", "the provider does not accept the key", False),
    (library.ModelNotFoundError, "model_not_found", "permanent", "the provider does not know the model", False),
    (
        library.ModelContextWindowExceededError,
        "model_context_exceeded",
        "permanent",
        "the prompt is longer than the model's context window",
        False,
    ),
    (
        library.ModelRequestRejectedError,
        "model_refused_request",
        "permanent",
        "the provider refused the request as it is",
        False,
    ),
    (library.ModelOverloadedError, "model_unavailable", "transient", "the provider is overloaded", False),
    (library.ModelUnavailableError, "model_unavailable", "transient", "the provider is not available", False),
    (library.ModelServerError, "model_unavailable", "transient", "the provider failed", None),
    (library.ModelTimeoutError, "model_timeout", "transient", "the provider did not answer in time", None),
    (library.ModelRequestTimeout, "model_timeout", "transient", "the provider did not answer in time", None),
    (library.ModelConnectionError, "model_connection", "transient", "the connection to the provider failed", None),
)

# By status, where the library names no class: (lowest status, code, cause, words, billed).
_BY_STATUS: tuple[tuple[int, str, str, str, bool | None], ...] = (
    (500, "model_unavailable", "transient", "the provider failed", None),
    (429, "model_rate_limited", "rate_limited", "the provider's rate limit is reached", False),
    (400, "model_refused_request", "permanent", "the provider refused the request as it is", False),
    (300, "model_bad_response", "unknown", "the provider answered with a redirect", False),
)

_PASSING_STATUSES = (408, 409, 425)  # request timeout, conflict (OpenAI: a lock), too early


def model_error(error: Exception, call: Call, *, begun: bool = False) -> ModelError:
    """Our error for whatever a call raised. ``begun``: part of an answer had already arrived."""
    if isinstance(error, ModelError):
        return error
    if call.refused:
        return _second_call(call)
    if isinstance(error, TimeoutError):
        return _made("model_timeout", "transient", "the provider did not answer in time", _sent(call))
    if isinstance(error, library.ModelAPIError):
        return _api_error(error, call, begun=begun)
    if isinstance(error, library.UserError):
        return _made("model_refused_request", "permanent", _shortened(error.message), billed=False)
    if isinstance(error, library.UnexpectedModelBehavior | json.JSONDecodeError | UnicodeDecodeError):
        return _made("model_bad_response", "unknown", "the provider's answer could not be read", billed=True)
    if isinstance(error, OSError | asyncio.IncompleteReadError):
        return _made("model_connection", "transient", "the connection to the provider failed", _sent(call))
    # Whatever else: after an answer of status 200 it is about that answer, before that about the way there.
    words = f"{type(error).__name__} while the provider's answer was read"
    return _made("model_bad_response", "unknown", words, billed=True if call.status == 200 else _sent(call))


def truncated() -> ModelError:
    """The stream ended before the answer was complete."""
    return _made("model_truncated", "transient", "the stream ended before the answer was complete", billed=True)


def provider_failed() -> ModelError:
    """The provider gave up in the middle of its answer, and said so in the answer."""
    return _made("model_unavailable", "transient", "the provider gave up before the answer was complete", billed=None)


def beside_the_gates(kind: str) -> ModelError:
    """The answer holds a part that no gate has seen."""
    return _made(
        "model_bad_response",
        "permanent",
        f"the answer holds a part of kind {kind}; a provider's own tools and files do not pass the gates",
        billed=True,
    )


def unsendable(words: str) -> ModelError:
    """The conversation cannot be sent as it stands; nothing was sent."""
    return _made("model_history_invalid", "permanent", words, billed=False)


def refused(words: str) -> ModelError:
    """The request asks for what may not or cannot be sent; nothing was sent."""
    return _made("model_refused_request", "permanent", words, billed=False)


def _api_error(error: library.ModelAPIError, call: Call, *, begun: bool) -> ModelError:
    status = getattr(error, "status_code", None)
    code, cause, words, billed = _classified(error, status, call)
    if begun or error.in_stream:
        billed = True if begun else None
    elif isinstance(error, library.ModelConnectionError):
        # Before the request left, nothing can have been billed.
        billed = False if error.phase in ("pool", "connect") else _sent(call)
    return _made(
        code,
        cause,
        "; ".join([words, *_details(error, status)]),
        billed=billed,
        retry_after_us=_retry_after_us(error.retry_after),
    )


def _classified(error: library.ModelAPIError, status: int | None, call: Call) -> tuple[str, str, str, bool | None]:
    for kind, code, cause, words, billed in _BY_CLASS:
        if isinstance(error, kind):
            return code, cause, words, billed
    if status in _PASSING_STATUSES:
        return "model_unavailable", "transient", "the provider asks to try again", None
    for lowest, code, cause, words, billed in _BY_STATUS:
        if status is not None and status >= lowest:
            return code, cause, words, billed
    billed = True if call.status == 200 else None
    return "model_bad_response", "unknown", "the provider's answer could not be read", billed


def _details(error: library.ModelAPIError, status: int | None) -> list[str]:
    """The provider's own machine-readable words about an error, where they look like such words."""
    body = error.body
    inner = body.get("error", body) if isinstance(body, dict) else None
    parameter = inner.get("param") if isinstance(inner, dict) else None
    named = {
        "status": status,
        "code": error.provider_error_code,
        "type": error.provider_error_type,
        "parameter": parameter,
    }
    return [f"{key} {value}" for key, value in named.items() if value is not None and _is_word(str(value))]


def _is_word(text: str) -> bool:
    return len(text) <= _MAX_WORD_CHARS and re.fullmatch(r"[A-Za-z0-9_.:\[\]/-]+", text) is not None


def _second_call(call: Call) -> ModelError:
    """A repeat was tried and refused; what failed is the first call, of which the status is known."""
    for lowest, code, cause, words, billed in _BY_STATUS:
        if call.status >= lowest:
            return _made(code, cause, f"{words}; status {call.status}; a repeat inside the SDK was stopped", billed)
    words = "the connection to the provider failed; a repeat inside the SDK was stopped"
    return _made("model_connection", "transient", words, billed=None)


def _sent(call: Call) -> bool | None:
    """Billed, as far as the wire knows: not when nothing was sent over a client that carries our hook."""
    return None if call.sent or not call.watched else False


def _retry_after_us(seconds: float | None) -> int:
    return 0 if seconds is None else int(min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS) * 1_000_000)


def _shortened(words: str) -> str:
    return words if len(words) <= _MAX_WORDS_CHARS else words[: _MAX_WORDS_CHARS - 1] + "…"


def _made(code: str, cause: str, words: str, billed: bool | None, retry_after_us: int = 0) -> ModelError:
    return ModelError(Failure(code, cause, words, retry_after_us), billed=billed)
