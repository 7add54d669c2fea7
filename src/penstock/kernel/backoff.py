"""How long to wait before something is tried again: exponential back-off with jitter.

Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from penstock.kernel.errors import JournalError, JournalFull, JournalUnavailable
from penstock.kernel.randomness import jitter

T = TypeVar("T")


def full_jitter(attempt: int, base_seconds: float, cap_seconds: float) -> float:
    """Seconds to wait after attempt number ``attempt`` (from 1): any time up to the exponential bound.

    For many callers of one thing that is in trouble: it spreads them best.
    """
    return jitter(0.0, min(cap_seconds, base_seconds * 2 ** min(attempt - 1, 60)))


class Backoff:
    """Pauses of one caller that goes on trying: each twice as long, and at least half of its bound ("equal jitter")."""

    def __init__(self, base_seconds: float = 0.05, cap_seconds: float = 2.0) -> None:
        self._bound = base_seconds
        self._cap = cap_seconds

    def next_seconds(self) -> float:
        """How long to wait now."""
        bound = self._bound
        self._bound = min(bound * 2, self._cap)
        return jitter(bound / 2, bound)


async def until_answered(
    ask: Callable[[], Awaitable[T]],
    sleep: Callable[[float], Awaitable[None]],
    troubles: tuple[type[JournalError], ...] = (JournalUnavailable, JournalFull),
) -> T:
    """The journal's answer, however long it is in one of these troubles. A full disk fails reads too, and passes."""
    backoff = Backoff()
    while True:
        try:
            return await ask()
        except troubles:
            await sleep(backoff.next_seconds())
