"""Calling a tool's function: start allowance, time-out, and what its answer is worth."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from penstock.events import Failure, Filtered
from penstock.gates.breakers.admission import cutting
from penstock.gates.breakers.cutting import CUT, CallCut
from penstock.gates.environment.admission import kept_secret, kept_secret_in, refused, secrets_of
from penstock.gates.filters.releasing import WITHHELD, released_failure, released_result
from penstock.gates.filters.vault import revealed
from penstock.gates.order.branches import outside_runs
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.deadline import deadline_of, seconds_to_deadline
from penstock.gates.tool.failure import TimedOutByGate, failure_of
from penstock.kernel.canonical import check_finite, check_plain, stable_json
from penstock.kernel.clock import Clock
from penstock.kernel.errors import InputInvalid, TokenUnknown
from penstock.ports.tools import IdempotencyKey, OutcomeUnknown, StartedTooLate, ToolContext, ToolDef
from penstock.rules.verdict import Decision

ISOLATION_GRACE_SECONDS = 5.0  # for a thread's or process's own time-out to come first
SWALLOW_GRACE_SECONDS = 1.0  # a cancelled tool that has not ended by then is left to itself


class Result(msgspec.Struct, frozen=True):
    """What calling the function came to. ``doubt``: whether it had its effect is not known, and why."""

    value: Any = None
    data: bytes = b""
    failure: Failure | None = None
    doubt: str = ""
    started: bool = True
    filtered: list[Filtered] = []


class Start(msgspec.Struct, frozen=True):
    """How a function is called: which attempt it is, with which key, for how many seconds, and ``by`` when at the
    latest (a reading of the boot clock, nanoseconds)."""

    attempt: int
    key: str
    seconds: float
    by: int


async def run_tool(ctx: RunContext, call: Call, tool: ToolDef, args: dict[str, Any], start: Start) -> Result:
    """Call the function once, unless its start allowance is over, or a secret that it needs is not there."""
    seconds = start.seconds
    secrets = secrets_of(ctx, tool)
    if isinstance(secrets, Decision):
        return Result(failure=refused(secrets), started=False)
    try:
        kwargs = tool.bind(await revealed(ctx, tool.reveals, args) if tool.reveals else args)
    except TokenUnknown as error:
        return Result(failure=Failure(TokenUnknown.code, "permanent", error.what))
    except ValidationError:  # what is bound here in a tool's place may be the first to know its schema
        code = TokenUnknown.code if tool.reveals else "arguments_invalid"
        words = "what a token stands for does not fit" if tool.reveals else "the arguments do not fit the bound tool"
        return Result(failure=Failure(code, "permanent", words))
    if tool.key_param:
        kwargs[tool.key_param] = IdempotencyKey(start.key)
    if tool.context_param:
        kwargs[tool.context_param] = ToolContext(
            ctx.claim.tenant,
            ctx.run_id,
            call.path,
            start.attempt,
            ctx.claim.epoch,
            start.key,
            seconds,
            ctx.facts.environment,
            ctx.tape.submitted.tags,
            deadline_of(ctx, call.branch),
            seconds_to_deadline(ctx, call.branch),
            secrets,
        )
    try:
        if tool.is_async:
            value = await _bounded(ctx, call, tool, _start(ctx.services.clock, tool, kwargs, start.by), seconds)
        else:
            run = ctx.services.isolation.run(tool, kwargs, timeout_seconds=seconds, start_by_boot_ns=start.by)
            allowance = max(0, start.by - ctx.services.clock.boot_ns()) / 1e9
            value = await _bounded(ctx, call, tool, run, allowance + seconds + ISOLATION_GRACE_SECONDS)
    except StartedTooLate:
        return Result(failure=_late(), started=False)
    except CallCut:
        return Result(failure=CUT)
    except asyncio.CancelledError:
        if _is_own(ctx, call):
            ctx.cancelled(call)
        return Result(failure=Failure("tool_cancelled", "permanent", "the call was cancelled"), doubt="cancelled")
    except Exception as error:
        failure, doubt = failure_of(tool, error, seconds, ctx.now())
        return Result(failure=released_failure(ctx, kept_secret_in(ctx, failure)), doubt=doubt)
    result = _without_secrets(ctx, _stored(ctx, value))
    return result if ctx.facts.filters is None or result.failure is not None else await _released(ctx, result)


async def _released(ctx: RunContext, result: Result) -> Result:
    """The result as the agent may see it."""
    value, found, blocked = await released_result(ctx, result.value)
    if blocked:
        words = f"the tool ran; its result was withheld: {blocked}"
        return Result(failure=Failure(WITHHELD, "permanent", words), filtered=found)
    return msgspec.structs.replace(_stored(ctx, value), filtered=[*result.filtered, *found]) if found else result


def _without_secrets(ctx: RunContext, result: Result) -> Result:
    if result.failure is not None:
        return msgspec.structs.replace(result, failure=kept_secret_in(ctx, result.failure))
    value, found = kept_secret(ctx, result.value, result.data)
    return msgspec.structs.replace(_stored(ctx, value), filtered=found) if found else result


def _is_own(ctx: RunContext, call: Call) -> bool:
    """Whether this is the task of the agent's branch, and not that of one of two attempts side by side."""
    return asyncio.current_task(ctx.schedule.loop) is call.branch.task


async def _start(clock: Clock, tool: ToolDef, kwargs: dict[str, Any], start_by: int) -> Any:
    """The last look at the clock, in the task that calls."""
    if clock.boot_ns() > start_by:
        raise StartedTooLate
    try:
        return await tool.call(**kwargs)
    except (Exception, asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit would end the whole worker, and others the run
        raise RuntimeError(f"the tool raised {type(error).__name__}") from error


async def _bounded(ctx: RunContext, call: Call, tool: ToolDef, body: Coroutine[Any, Any, Any], seconds: float) -> Any:
    """Await the tool in a task of its own, so that one that swallows cancellation cannot hold the run."""
    task = ctx.schedule.loop.create_task(body)
    wait = _done_or_late(task, seconds)
    ctx.services.outside += 1
    try:
        # A write is never cut short by a stop: its outcome is worth more than a second's patience.
        if tool.effect == "read":
            with cutting(ctx, "tool", tool.name, asyncio.current_task(ctx.schedule.loop)):
                await (ctx.interruptible(call.branch, wait) if _is_own(ctx, call) else wait)
        else:
            await wait
    except (asyncio.CancelledError, CallCut, GeneratorExit):  # the last: the run is put away over a call in flight
        task.cancel()
        raise
    finally:
        ctx.services.outside -= 1
    if task.done():
        if task.cancelled():
            raise OutcomeUnknown("the tool cancelled itself")
        return task.result()
    task.cancel()
    await asyncio.wait({task}, timeout=SWALLOW_GRACE_SECONDS)
    if task.done() and not task.cancelled():
        return task.result()
    raise TimedOutByGate


async def _done_or_late(task: "asyncio.Task[Any]", seconds: float) -> None:
    """Wait for the task, at most so long; never raises what it raised."""
    loop = task.get_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = loop.call_later(seconds, wake, context=outside_runs())
    task.add_done_callback(wake)
    try:
        await waiter
    finally:
        timer.cancel()


def _stored(ctx: RunContext, value: Any) -> Result:
    """The plain value and stored form of what the tool returned."""
    limit = ctx.services.settings.payload_max_bytes
    try:
        if isinstance(value, str | bytes) and len(value) > limit:
            raise InputInvalid(f"the result has {len(value):,} characters; the bound is {limit:,} bytes")
        plain = (
            value
            if value is None or type(value) in (str, int, bool)
            else to_jsonable_python(value, inf_nan_mode="constants")
        )
        check_plain(plain, "result")
        check_finite(value, "result")
        data = stable_json(plain)
        if len(data) > limit:
            raise InputInvalid(f"the result has {len(data):,} bytes; the bound is {limit:,}")
    except (InputInvalid, PydanticSerializationError, ValueError, RecursionError, UnicodeError) as error:
        words = error.what if isinstance(error, InputInvalid) else f"{type(error).__name__}"
        return Result(failure=Failure("tool_result_invalid", "permanent", f"the tool ran; {words}"))
    return Result(plain, data)


def _late() -> Failure:
    return Failure("start_too_late", "transient", "the start allowance was over before the call")
