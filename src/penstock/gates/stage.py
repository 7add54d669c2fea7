"""Stages: a part of an agent's work that is taken from the record as a whole once it has ended well."""

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from penstock.events import Event, Failure, RunPatched, StageEnded, StageEntered
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.ledger import first_ref
from penstock.kernel.canonical import check_size, clean_text, describe, stable_json
from penstock.kernel.errors import Divergence, PenstockError

WORDS_MAX_CHARS = 500


async def run_stage(ctx: RunContext, name: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> bytes:
    """Run ``work`` as a stage; the stored JSON of the plain value it gives.

    Its calls are those of a branch of its own, so that the trace shows them below it. Once the stage has ended well, a
    recovery passes over its calls and takes the value from the tape. One that failed is run against its tape again,
    and fails again, so that the agent sees the error itself and not a copy of it.

    Raises:
        Exception: whatever ``work`` raised.
    """
    call = ctx.enter("stage", name, "")
    ctx.safe.stages.append(call)
    last = call.last
    if isinstance(last, StageEnded) and last.failure is None and not ctx.every_stage_again:
        return await _from_tape(ctx, call, last)
    if call.recorded:
        ctx.seen.release(call.recorded[:1])
        ctx.schedule.unbind(call.branch)
    else:
        await ctx.schedule.live(call.path)
        await ctx.perform(call, _enter(ctx, call, name))
    before = ctx.partial
    [result] = await ctx.schedule.join(ctx.schedule.bind(), [work()], call.path, 1)
    data, failure = _stored(ctx, name, result)
    await _end(ctx, call, name, data, failure, partial=ctx.partial if ctx.partial is not before else None)
    if isinstance(failure, BaseException):
        raise failure
    return data


async def _enter(ctx: RunContext, call: Call, name: str) -> None:
    ctx.record(call, ctx.event(StageEntered, call.path, name=name))


def _stored(ctx: RunContext, name: str, result: Any) -> tuple[bytes, BaseException | None]:
    if isinstance(result, BaseException):
        return b"", result
    try:
        limit = ctx.services.settings.payload_max_bytes
        return check_size(stable_json(result), limit, f"the value of {name}", "payload_max_bytes"), None
    except PenstockError as error:
        return b"", error


async def _end(
    ctx: RunContext, call: Call, name: str, data: bytes, failure: BaseException | None, *, partial: Any
) -> None:
    ctx.schedule.bind()
    ended = call.last
    if isinstance(ended, StageEnded):
        known = first_ref(ended, "value")
        if known != ("" if failure else ctx.log.payload(data)):
            recorded = "a value" if known else "a failure"
            attempted = describe(failure) if failure else "another value" if known else "a value"
            words = f"the stage {name} at {call.path} ended with {recorded} on the tape; run again, with {attempted}"
            ctx.stop(Divergence(words, path=call.path, recorded=recorded, attempted=attempted))
            await ctx.schedule.live(call.path)  # never: the run is being put away
        await ctx.replay(call)
        return
    await ctx.schedule.live(call.path)
    await ctx.perform(call, _record_end(ctx, call, name, data, failure, partial))


async def _record_end(
    ctx: RunContext, call: Call, name: str, data: bytes, failure: BaseException | None, partial: Any
) -> None:
    said = None
    payloads = {}
    if failure is None:
        payloads["value"] = [ctx.log.payload(data)]
    else:
        code = failure.code if isinstance(failure, PenstockError) else "stage_raised"
        words = failure.what if isinstance(failure, PenstockError) else describe(failure, WORDS_MAX_CHARS)
        said = Failure(code, "permanent", clean_text(words, WORDS_MAX_CHARS))
    if partial is not None:
        with contextlib.suppress(TypeError, ValueError, RecursionError, msgspec.MsgspecError):
            kept = stable_json(partial)
            if len(kept) <= ctx.services.settings.payload_max_bytes:
                payloads["partial"] = [ctx.log.payload(kept)]
    ctx.record(call, ctx.event(StageEnded, call.path, name=name, failure=said, payloads=payloads))


async def _from_tape(ctx: RunContext, call: Call, ended: StageEnded) -> bytes:
    """The stage's value; its calls count as made, and what they told the run of time and use as seen."""
    data = await ctx.load(first_ref(ended, "value"))
    partial = first_ref(ended, "partial")
    kept = await ctx.load(partial) if partial else b""
    inside = f"{call.path}."
    ctx.made |= {path for path in ctx.recorded_paths if path.startswith(inside)}
    order = ctx.tape.order
    while order and order[0].startswith((inside, "patch:")):
        path = order.popleft()
        ctx.made.add(path)
        ctx.seen.release(ctx.tape.calls[path])
        _note(ctx, ctx.tape.calls[path])
    if kept:
        ctx.partial = msgspec.json.decode(kept)
    await ctx.replay(call)
    return data


def _note(ctx: RunContext, events: list[Event]) -> None:
    """What calls leave behind in the run besides their outcomes."""
    for event in events:
        if isinstance(event, RunPatched):
            ctx.patches[event.patch] = event.taken
