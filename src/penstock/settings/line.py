"""One line of the table of settings."""

import dataclasses
import typing
from typing import TypeVar

T = TypeVar("T")

KIB = 1024
MIB = 1024 * KIB
DAY = 86_400.0


def setting(
    default: T,
    text: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    secret: bool = False,
    shown_default: str | None = None,
) -> T:
    """One line of the table. ``low`` and ``high`` are inclusive; a ``secret`` is left out of ``repr``."""
    about = {"text": text, "unit": unit, "low": low, "high": high, "secret": secret, "shown": shown_default}
    if callable(default):
        return typing.cast("T", dataclasses.field(default_factory=default, metadata=about))
    return dataclasses.field(default=default, metadata=about, repr=not secret)
