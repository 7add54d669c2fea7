"""Whether a failed attempt is followed by another, and when.

Transient failures and rate limits are tried again, after exponential back-off with full jitter, never sooner than the
other side asked for; permanent and unknown ones are not. Nothing is tried again that the deadline, the budget's
seconds, or the retry budget of the family do not allow: then it fails at once, and says why.
"""

import asyncio
from dataclasses import dataclass

import msgspec

from penstock.events import Failure, Waiting
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.deadline import seconds_to_deadline, working_seconds_left
from penstock.kernel.backoff import full_jitter
from penstock.rules.retries import allows_another

BASE_SECONDS = 0.25
CAP_SECONDS = 20.0
RETRIED = ("transient", "rate_limited")
TRANSIENT_STATUSES = (408, 409, 425, 500, 502, 503, 504)
"""HTTP statuses after which the same request may succeed; 429 is the rate limit's. RFC 9110 §15, RFC 8470 §5.2."""


@dataclass(slots=True, frozen=True)
class Verdict:
    """``at``: when the next attempt starts (microseconds since the epoch, the store's clock); 0 = there is none.

    ``failure`` is that of the attempt, with why it is not tried again if that is not plain from its cause.
    """

    at: int
    failure: Failure


def pause_seconds(failure: Failure, attempt: int) -> float:
    """How long to wait before the next attempt; never shorter than what the other side asked for."""
    return max(failure.retry_after_us / 1e6, full_jitter(attempt, BASE_SECONDS, CAP_SECONDS))


def judge(ctx: RunContext, call: Call, failure: Failure, attempt: int, attempts: int) -> Verdict:
    """What follows attempt number ``attempt`` (from 1) of at most ``attempts``, which failed in this way."""
    if failure.cause not in RETRIED or attempt >= attempts or call.branch.cut:
        return Verdict(0, failure)
    pause = pause_seconds(failure, attempt)
    left = seconds_to_deadline(ctx, call.branch)
    if pause <= ctx.services.settings.park_after_seconds:  # a parked run uses up none of its working time
        working = working_seconds_left(ctx)
        left = working if left is None else left if working is None else min(left, working)
    if left is not None and pause >= left:
        return _not_again(failure, f"the next try would be in {pause:.3g} s, and {max(0.0, left):.3g} s are left")
    if not allows_another(ctx.facts):
        return _not_again(failure, "the retry budget of this family of runs is used up")
    return Verdict(ctx.now() + int(pause * 1e6), failure)


def _not_again(failure: Failure, why: str) -> Verdict:
    return Verdict(0, msgspec.structs.replace(failure, words=f"{failure.words}; not tried again: {why}".lstrip("; ")))


async def wait_until(ctx: RunContext, call: Call, at: int) -> None:
    """Wait for the next attempt's time; when that is far off, in a way that lets the run park."""
    left = (at - ctx.now()) / 1e6
    if left > ctx.services.settings.park_after_seconds:
        await ctx.mail.wait(Waiting("retry", call.path, call.identity.name, until=at), f"retry:{call.path}:{at}")
    elif left > 0:
        await ctx.interruptible(call.branch, _unless_leaving(ctx, left))
        if ctx.draining:  # the next attempt is the next holder's
            await ctx.halt()


async def _unless_leaving(ctx: RunContext, seconds: float) -> None:
    """Sleep, but not while a worker that drains could be gone already."""
    over = {
        asyncio.ensure_future(ctx.services.clock.sleep(seconds)),
        asyncio.ensure_future(ctx.leaving.wait()),
    }
    try:
        await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiting in over:
            waiting.cancel()
