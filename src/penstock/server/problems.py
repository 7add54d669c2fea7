"""Errors as answers: RFC 9457 (``application/problem+json``) with the product's own codes."""

import logging
from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from penstock.kernel import errors as e
from penstock.server.exchange import exchange_of

MEDIA_TYPE = "application/problem+json"
_UNREADABLE = "There was an error parsing the body"
"""What FastAPI says of bodies that are no JSON document."""
ERRORS_MAX = 20
"""Places that an answer to an invalid request names."""

STATUS: dict[type[e.PenstockError], int] = {
    e.PenstockError: 500,
    e.UsageError: 422,
    e.SettingInvalid: 500,
    e.SettingUnknown: 500,
    e.InputTooLarge: 413,
    e.RunUnknown: 404,
    e.SpanUnknown: 404,
    e.ApprovalUnknown: 404,
    e.DocumentUnknown: 404,
    e.ScheduleUnknown: 404,
    e.TriggerUnknown: 404,
    e.KeyUnknown: 404,
    e.IdempotencyConflict: 409,
    e.ApprovalDecided: 409,
    e.ApprovalMismatch: 409,
    e.ApprovalChanged: 409,
    e.ApprovalExpired: 409,
    e.ApprovalWithdrawn: 409,
    e.ApprovalOwn: 403,
    e.ApproverUnfit: 403,
    e.ApprovalTwice: 409,
    e.DecisionKeyMissing: 503,
    e.DecisionKeyInvalid: 500,
    e.CaseHeld: 409,
    e.CaseUnknown: 404,
    e.DelegationUnknown: 404,
    e.BreakerUnknown: 404,
    e.ReleaseUnknown: 404,
    e.ReleaseState: 409,
    e.ReleaseMoved: 409,
    e.ReleaseOwn: 403,
    e.ReleaseUnsigned: 409,
    e.ReleaseKeyMissing: 503,
    e.ReleaseKeyInvalid: 500,
    e.ControlUnknown: 404,
    e.SessionUnknown: 404,
    e.NotArmed: 409,
    e.RunIsOver: 409,
    e.RunNotEnded: 409,
    e.RunNotSetAside: 409,
    e.ScheduleExists: 409,
    e.TriggerExists: 409,
    e.WorkerNameTaken: 409,
    e.InboxFull: 429,
    e.SchedulesFull: 429,
    e.TriggersFull: 429,
    e.KeysFull: 429,
    e.WebhookUnknown: 404,
    e.BudgetUnknown: 404,
    e.WebhooksFull: 429,
    e.NoRuntime: 503,
    e.NotSealed: 404,
    e.AuditKeyMissing: 409,
    e.AuditKeyWrong: 503,
    e.JournalError: 500,
    e.JournalUnavailable: 503,
    e.JournalFull: 507,
    e.EmbeddedServerError: 503,
    e.NotFinalized: 409,
    e.RetentionBusy: 409,
    e.RunPruned: 410,
    e.PayloadMissing: 404,
    e.EventTooLarge: 413,
    e.GateError: 409,
    e.QueueFull: 429,
    e.ReplayError: 409,
    e.RunStopped: 409,
    e.ServerError: 500,
    e.Unauthenticated: 401,
    e.PermissionMissing: 403,
    e.CrossSite: 403,
    e.TooManyFailures: 429,
    e.SignInFailed: 403,
    e.ProviderUnavailable: 502,
    e.RequestInvalid: 422,
    e.RequestTooLarge: 413,
    e.RequestTimedOut: 504,
    e.ServerBusy: 503,
    e.RouteUnknown: 404,
    e.MethodUnknown: 405,
    e.MediaTypeUnknown: 415,
}
"""The status of an error: that of its class, else of the nearest class above it. Every new error has a line here, or is
right with the line of what it is derived from."""

_HTTP: dict[int, type[e.ServerError]] = {
    400: e.RequestInvalid,
    404: e.RouteUnknown,
    405: e.MethodUnknown,
    413: e.RequestTooLarge,
    415: e.MediaTypeUnknown,
}
_RETRY_SECONDS = {429: 10, 503: 2, 507: 30}
"""Retry-After where the error itself does not say when."""

_logger = logging.getLogger("penstock.server")


def status_of(error: e.PenstockError) -> int:
    """The HTTP status of an error; an error may say its own in ``fields["http_status"]``."""
    own = error.fields.get("http_status")
    if isinstance(own, int):
        return own
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(request: Request, error: e.PenstockError, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that says what went wrong, without anything that only the server's owner should know: what a database
    says of itself is in the log."""
    status = status_of(error)
    title = error.what
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and isinstance(error, e.JournalError):
        title = " ".join((type(error).__doc__ or "").split("\n\n")[0].split()).rstrip(".")
    identifier = exchange_of(request.scope).id
    shown = {name: value for name, value in error.fields.items() if name not in ("traceback", "http_status")}
    body = {
        "type": f"{request.scope.get('root_path', '')}/v1/problems/{error.code}",
        "title": title,
        "status": status,
        "code": error.code,
        "hint": error.advice,
        "instance": identifier,
        "fields": shown,
    }
    return Response(
        msgspec.json.encode(body, enc_hook=str),
        status,
        headers={**_headers(status, error), **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def _headers(status: int, error: e.PenstockError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="penstock"'
    seconds = error.fields.get("retry_after_seconds", _RETRY_SECONDS.get(status))
    if seconds is not None and status in _RETRY_SECONDS:
        headers["Retry-After"] = str(max(1, round(float(seconds))))
    return headers


def unexpected(request: Request, error: BaseException) -> Response:
    """The answer to what is a bug: the log has the details under the request's id, the answer has not."""
    identifier = exchange_of(request.scope).id
    _logger.error("request %s failed", identifier, exc_info=error)
    internal = e.PenstockError(
        "something went wrong in the server", hint=f"report it with the server's log of request {identifier}"
    )
    return problem(request, internal)


def add_handlers(app: FastAPI) -> None:
    """Make all errors of an application answers of this form."""

    async def of_ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, e.PenstockError)
        if status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, e.ServerError):
            _logger.warning("request %s: %s", exchange_of(request.scope).id, error)
        return problem(request, error)

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, e.PenstockError):  # ours, met while the body was read
            return problem(request, error.__cause__)
        kind = _HTTP.get(error.status_code)
        if kind is None:
            ours = e.ServerError(str(error.detail), http_status=error.status_code)
        elif kind is e.RouteUnknown:
            ours = e.RouteUnknown(f"there is nothing at {request.url.path[:200]}")
        elif kind is e.MethodUnknown:
            ours = e.MethodUnknown(f"{request.url.path[:200]} does not take {request.method}")
        elif error.detail == _UNREADABLE:
            ours = kind("the body is not JSON in UTF-8, or nested too deeply")
        else:
            ours = kind(str(error.detail))
        return problem(request, ours, error.headers)

    async def of_form(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem(request, _invalid(request, error))

    async def of_bugs(request: Request, error: Exception) -> Response:
        return unexpected(request, error)

    app.add_exception_handler(e.PenstockError, of_ours)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_form)
    app.add_exception_handler(Exception, of_bugs)


def _invalid(request: Request, error: RequestValidationError) -> e.PenstockError:
    """What does not have the right form, by place. Never what was sent: it may be a secret."""
    found = error.errors()
    media = request.headers.get("content-type", "")
    if request.method != "GET" and found and found[0]["loc"] == ("body",) and "json" not in media:
        return e.MediaTypeUnknown(f"the body is {media[:100] or 'of no named type'}, not application/json")
    places = [{"at": ".".join(map(str, item["loc"])), "what": item["msg"]} for item in found[:ERRORS_MAX]]
    first = places[0] if places else {"at": "request", "what": "invalid"}
    return e.RequestInvalid(f"{first['at']}: {first['what']}", errors=places)


def described(root: type[e.PenstockError] = e.PenstockError) -> dict[str, type[e.PenstockError]]:
    """Every error by its code: the class that brought the code in, not those derived from it elsewhere."""
    found = {root.code: root}
    for kind in root.__subclasses__():
        found = described(kind) | found
    return found
