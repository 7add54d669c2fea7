"""How an exception travels from a process to its parent without running code there.

Pickle would call the exception's constructor, which fails for many (keyword-only arguments) and runs what the sender
chooses. Instead its parts are sent as plain values, the object is put together from them, and it counts only if it
says the same words; else a simpler one is raised that means the same to the gate.
"""

import builtins
import contextlib
import sys
import traceback
from typing import Any

from penstock.adapters.isolation.frames import TooLarge, pack, unpack_plain
from penstock.ports.tools import OutcomeUnknown, StartedTooLate, TransientToolError

_WORDS_MAX = 4_000  # characters
_TRACE_MAX = 16_000  # characters
_BODY_MAX = 256 * 1024  # bytes

# What the gate tells apart: whether the effect may have happened, and whether to try again.
_MEANINGS: tuple[type[Exception], ...] = (TransientToolError, OutcomeUnknown, ConnectionError, TimeoutError, EOFError)


def raised_by_tool(error: BaseException) -> Exception:
    """The exception as the caller may see it.

    ``SystemExit`` and the like must not end the worker, nor a tool claim that it was not called.
    """
    if isinstance(error, Exception) and not isinstance(error, StartedTooLate):
        return error
    plain = RuntimeError(f"the tool raised {type(error).__name__}: {words_of(error)}")
    return plain.with_traceback(error.__traceback__)


def words_of(error: BaseException) -> str:
    """The exception's words, bounded; also of one that cannot say them."""
    try:
        return str(error)[:_WORDS_MAX]
    except Exception:  # noqa: BLE001 - a tool's own __str__ may raise anything
        return "(an error without words)"


def describe(error: Exception, module_here: str, module_there: str) -> bytes:
    """The exception in plain parts. A class of ``module_here`` is one of ``module_there`` for the parent."""
    kind = type(error)
    words = words_of(error)
    state = {name: value for name, value in vars(error).items() if name != "__notes__"}
    known = {
        "module": module_there if kind.__module__ == module_here else kind.__module__,
        "qualname": kind.__qualname__,
        "words": words,
        "meaning": next((index for index, meaning in enumerate(_MEANINGS) if isinstance(error, meaning)), -1),
        "retry": _seconds(getattr(error, "retry_after_seconds", 0.0)),
        "trace": "".join(traceback.format_exception(error, limit=-20))[-_TRACE_MAX:],
    }
    for args, kept in ((_arguments(error), state), ((words,), state), ((words,), {})):
        with contextlib.suppress(Exception):
            body = pack(known | {"args": args, "state": kept}, _BODY_MAX)
            unpack_plain(body)  # what the parent cannot read must not be sent
            return body
    raise TooLarge  # not reached: the last parts are short and plain


def rebuild(about: dict[str, Any]) -> Exception:
    """The exception that was described, or one that means the same; the other process's traceback is its note."""
    error = _same_type(about)
    if error is None:
        words = f"{about['qualname']}: {about['words']}"
        error = _MEANINGS[about["meaning"]](words) if about["meaning"] >= 0 else RuntimeError(words)
    if isinstance(error, TransientToolError):
        error.retry_after_seconds = about["retry"]
    error.add_note(f"in the tool's process:\n{about['trace']}")
    return error


def _same_type(about: dict[str, Any]) -> Exception | None:
    with contextlib.suppress(Exception):
        kind: Any = sys.modules[about["module"]]
        for part in about["qualname"].split("."):
            kind = getattr(kind, part)
        if not issubclass(kind, Exception):
            return None
        args = about["args"]
        error = kind(*args) if kind.__module__ == builtins.__name__ else kind.__new__(kind, *args)
        if kind.__module__ != builtins.__name__:
            error.args = tuple(args)
        vars(error).update(about["state"])
        if type(error) is kind and words_of(error) == about["words"]:
            return error  # type: ignore[no-any-return]
    return None


def _arguments(error: Exception) -> tuple[Any, ...]:
    """What the constructor takes: for some built-in exceptions that is more than ``args``."""
    with contextlib.suppress(Exception):
        reduced = error.__reduce__()
        if isinstance(reduced, tuple) and reduced[0] is type(error) and isinstance(reduced[1], tuple):
            return reduced[1]
    return error.args


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
