"""When a failed attempt is tried again, and how long to wait: exponential back-off with full jitter.

Source: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
"""

from penstock.events import Failure
from penstock.kernel.randomness import jitter

BASE_SECONDS = 0.25
CAP_SECONDS = 20.0
RETRIED = ("transient", "rate_limited")


def may_retry(failure: Failure, attempt: int, attempts: int) -> bool:
    """Whether attempt number ``attempt`` (from 1) of at most ``attempts`` should be followed by another."""
    return attempt < attempts and failure.cause in RETRIED


def pause_seconds(failure: Failure, attempt: int) -> float:
    """How long to wait before the next attempt; never shorter than what the provider asked for."""
    spread = jitter(0.0, min(CAP_SECONDS, BASE_SECONDS * 2 ** (attempt - 1)))
    return max(failure.retry_after_us / 1e6, spread)
