"""What the gateway itself answers when a call is not made or does not succeed, in the shape of the provider's errors.

The official clients try again by themselves after 408, 409, 429 and 5xx unless a header says that they should not: so
that header is sent wherever the same request would meet the same answer.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.gates.filters.releasing import WITHHELD
from penstock.integrations.gateway.config import Api
from penstock.integrations.gateway.run import Stopped
from penstock.integrations.gateway.shapes import Unfit
from penstock.kernel.errors import (
    CallDenied,
    JournalError,
    ModelFailed,
    PermissionMissing,
    RunFault,
    TooManyFailures,
    Unauthenticated,
)
from penstock.runs.work.executor import DRAINED, PAUSED

Headers = list[tuple[bytes, bytes]]

RETRY_SECONDS = 5
"""When to come again after what passes by itself."""


@dataclass(slots=True, frozen=True)
class Problem:
    """An answer of the gateway's own.

    Attributes:
        code: stable; in the body, and in the header ``Penstock-Error``.
        again: the same request may succeed later, after ``retry_seconds``.
    """

    status: int
    code: str
    words: str
    param: str = ""
    again: bool = False
    retry_seconds: int = 0
    is_limit: bool = False  # a budget or limit: a stream that is cut by it ends as one that has reached its length


_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
BUDGET = "budget_exhausted"


def rendered(problem: Problem, api: Api) -> tuple[int, Headers, bytes]:
    """Status, headers and body. A budget's end is what a provider says whose account is empty: 429 with
    ``insufficient_quota`` at OpenAI, 402 with ``billing_error`` at Anthropic."""
    status = problem.status
    body: dict[str, Any]
    if api == "openai":
        kind, code = _OPENAI_TYPES.get(status, "server_error"), problem.code
        if problem.code == BUDGET:
            status, kind, code = 429, "insufficient_quota", "insufficient_quota"
        body = {"error": {"message": problem.words, "type": kind, "param": problem.param or None, "code": code}}
    else:
        kind = _ANTHROPIC_TYPES.get(status, "api_error")
        body = {"type": "error", "error": {"type": kind, "message": problem.words}}
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"penstock-error", problem.code.encode()),
        (b"x-should-retry", b"true" if problem.again else b"false"),
    ]
    if problem.again and problem.retry_seconds:
        headers.append((b"retry-after", str(problem.retry_seconds).encode()))
    return status, headers, msgspec.json.encode(body)


def problem_of(error: BaseException) -> Problem:
    """What the client is told of an error."""
    if isinstance(error, Unfit):
        status = {"model_not_found": 404, "too_large": 413, "run_differs": 409, "tag_bound": 403}.get(error.code, 400)
        if error.code == "no_room":
            return _limit(error.words)
        return Problem(status, error.code, error.words, error.param)
    if isinstance(error, CallDenied):
        return _denied(str(error.fields.get("rule", "")), error.what)
    if isinstance(error, ModelFailed):
        return _failed(str(error.fields.get("failure", "")), error.what)
    if isinstance(error, Stopped):
        return _stopped(error.fault)
    if isinstance(error, Unauthenticated):
        return Problem(401, error.code, error.what)
    if isinstance(error, PermissionMissing):
        return Problem(403, error.code, error.what)
    if isinstance(error, TooManyFailures):
        return Problem(429, error.code, error.what, again=True, retry_seconds=60)
    if isinstance(error, JournalError | TimeoutError):
        return journal_away()
    return Problem(500, "gateway_failed", f"the gateway failed: {type(error).__name__}")


def journal_away() -> Problem:
    """The call was not made, since it could not be recorded."""
    words = "the call could not be recorded, so it was not made: the journal does not answer"
    return Problem(503, "journal_unavailable", words, again=True, retry_seconds=RETRY_SECONDS)


def _limit(words: str) -> Problem:
    return Problem(402, BUDGET, words, is_limit=True)


def _denied(rule: str, words: str) -> Problem:
    if rule == "price_unknown":
        return Problem(400, "price_unknown", words, "model")
    if rule == "breaker_open":
        return Problem(503, "breaker_open", words, again=True, retry_seconds=RETRY_SECONDS)
    if rule.startswith(("over_", "budget", "shared_")):
        return _limit(words)
    return Problem(403, rule or "call_denied", words)


def _failed(code: str, words: str) -> Problem:
    if code == "no_room":
        return _limit(words)
    if code == WITHHELD:
        return Problem(400, code, words)
    if code == "model_timeout":
        return Problem(504, "upstream_timeout", words, again=False)
    if code in ("upstream_connect", "upstream_reset", "upstream_truncated"):
        return Problem(502, code, words, again=code == "upstream_connect", retry_seconds=1)
    return Problem(502, code or "upstream_failed", words)


def _stopped(fault: BaseException | None) -> Problem:
    if not isinstance(fault, RunFault):
        words = "this gateway lost its hold of the run; the call was charged at its maximum if it was made"
        return Problem(503, "gateway_lost", words, again=True, retry_seconds=1)
    if fault.outcome == PAUSED:
        return Problem(503, "paused", "a pause covers this call", again=True, retry_seconds=RETRY_SECONDS)
    if fault.outcome == DRAINED:
        return Problem(503, "gateway_stopped", "the gateway is being stopped", again=True, retry_seconds=1)
    if fault.outcome == "exhausted":
        return _limit(fault.what)
    return Problem(403, f"run_{fault.outcome}", fault.what)
