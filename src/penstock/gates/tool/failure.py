"""What an exception of a tool means: whether its effect is in doubt, and whether trying again may help.

A tool says so itself: by `TransientToolError`, by the exceptions it was declared to be tried again on, by
`OutcomeUnknown`. Of a read, also HTTP statuses are understood, wherever the common client libraries put them: a read
changes nothing, so trying it again is safe. Anything else is the tool's own answer (docs/decisions/0007).
"""

import contextlib
import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from penstock.adapters.egress.hook import denial_in
from penstock.events import Failure
from penstock.gates.limits.retry import TRANSIENT_STATUSES
from penstock.kernel.canonical import clean_text, describe
from penstock.kernel.errors import ToolFailed, ToolResultInvalid
from penstock.ports.tools import OutcomeUnknown, ToolDef, ToolTimedOut, TransientToolError

RETRY_AFTER_MAX_SECONDS = 86_400.0
ANSWER_MAX_CHARS = 1000  # of what a tool says of its own failure, where that is its answer
_CONNECTION_LOST = (ConnectionError, TimeoutError, EOFError, OutcomeUnknown)


class TimedOutByGate(Exception):
    """The gate's own time-out, told apart from one that the tool raises."""


def failure_of(tool: ToolDef, error: Exception, seconds: float, now: int) -> tuple[Failure, str]:
    """The failure, and why the effect is in doubt ('' = it is not).

    Args:
        seconds: how long the tool had.
        now: microseconds since the epoch, for a time that an HTTP header names.
    """
    if (denied := denial_in(error)) is not None:
        return Failure(denied.code, "permanent", f"{denied.what}; {denied.advice}"), ""
    if isinstance(error, TimedOutByGate | ToolTimedOut):
        return Failure("tool_timeout", "transient", f"no answer within {seconds:g} s"), "timeout"
    if isinstance(error, (TransientToolError, *tool.retry_on)):
        wait = _seconds(getattr(error, "retry_after_seconds", 0.0)) or _retry_after_header(error, now)
        cause = "rate_limited" if wait else "transient"
        return Failure("tool_transient", cause, describe(error), int(wait * 1e6)), ""
    if isinstance(error, _CONNECTION_LOST):
        return Failure("tool_connection", "transient", describe(error)), "connection"
    if isinstance(error, ToolResultInvalid):
        return Failure("tool_result_invalid", "permanent", f"the tool ran; {error.what}"), ""
    if isinstance(error, ToolFailed) and type(error) is not ToolFailed:  # a tool's own answer with a code of its own
        return Failure(error.code, "permanent", clean_text(error.what, ANSWER_MAX_CHARS)), ""
    status = http_status(error)
    if tool.effect == "read" and status == 429:
        wait = _retry_after_header(error, now)
        return Failure("tool_rate_limited", "rate_limited", describe(error), int(wait * 1e6)), ""
    if tool.effect == "read" and status in TRANSIENT_STATUSES:
        wait = _retry_after_header(error, now)
        return Failure("tool_transient", "transient", describe(error), int(wait * 1e6)), ""
    return Failure("tool_failed", "permanent", describe(error)), ""


def http_status(error: Exception) -> int | None:
    """The HTTP status that an exception tells of: ``status_code``, ``response.status_code``, ``status`` or ``code``."""
    response = getattr(error, "response", None)
    for holder, name in ((error, "status_code"), (response, "status_code"), (response, "status"), (error, "status")):
        value = getattr(holder, name, None)
        if type(value) is int and 100 <= value <= 599:
            return value
    value = getattr(error, "code", None)  # urllib's
    return value if type(value) is int and 100 <= value <= 599 else None


def _retry_after_header(error: Exception, now: int) -> float:
    """Seconds that a ``Retry-After`` header asks to wait (RFC 9110 §10.2.3); 0 = there is none."""
    for holder in (getattr(error, "response", None), error):
        headers: Any = getattr(holder, "headers", None)
        with contextlib.suppress(Exception):
            value = str(headers.get("retry-after") or headers.get("Retry-After") or "")
            if value.strip().isdigit():
                return _seconds(value)
            if value:
                at = parsedate_to_datetime(value)
                return _seconds((at - datetime.fromtimestamp(now / 1e6, UTC)).total_seconds())
    return 0.0


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), RETRY_AFTER_MAX_SECONDS)
