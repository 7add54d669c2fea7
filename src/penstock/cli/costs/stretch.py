"""Which stretch of time and which part of the spending a command is about."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from penstock.kernel.errors import UsageError

DIMENSIONS = "customer, feature, agent, task_type, model, release, user, kind, tag.NAME"
_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
_LENGTH = re.compile(r"(\d{1,6})([hdw])", re.ASCII)
Only = Annotated[list[str] | None, typer.Option("--only", metavar="NAME=VALUE", help="Only what was spent with it.")]
Since = Annotated[str, typer.Option(help="How far back: hours, days or weeks, such as 12h, 7d, 4w.")]
Begin = Annotated[
    str, typer.Option("--since", help="From when: a date (UTC) such as 2026-11-01, or how far back, such as 7d.")
]
End = Annotated[
    str | None, typer.Option("--until", help="Up to a date (UTC), which is not in it; without it, until now.")
]


def seconds(text: str) -> int:
    """The length of a stretch such as ``7d``.

    Raises:
        UsageError: it is none.
    """
    found = _LENGTH.fullmatch(text)
    if found is None or int(found[1]) == 0 or int(found[1]) * _UNITS[found[2]] > 3660 * 86_400:
        raise UsageError(
            f"--since is {text!r}", hint="give hours, days or weeks, such as 12h, 7d, 4w; ten years at most"
        )
    return int(found[1]) * _UNITS[found[2]]


def moment(text: str, now: int, option: str = "--since") -> int:
    """A date, or how far back; microseconds since the epoch.

    Raises:
        UsageError: it is neither.
    """
    if _LENGTH.fullmatch(text):
        return now - seconds(text) * 1_000_000
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} is {text!r}", hint="give a date such as 2026-11-01, or a length such as 7d"
        ) from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return int(at.timestamp()) * 1_000_000


def only_of(texts: list[str]) -> dict[str, str]:
    """The filter of ``--only``.

    Raises:
        UsageError: a text has no ``=``.
    """
    where = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--only is {text!r}", hint="give a name and a value, such as agent=support-desk")
        where[name] = value
    return where
