"""The rest of what an agent may take from outside: time, recorded values, stated decisions, version branches."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from pydantic_core import to_jsonable_python

from penstock.events import DecisionRecorded, Fact, Failure, NoteRecorded, RunPatched, TimerFired, TimerSet, Waiting
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.ledger import first_ref
from penstock.kernel.canonical import check_finite, check_name, check_plain, check_size, describe, stable_json
from penstock.kernel.errors import InputInvalid, ToolFailed


async def sleep(ctx: RunContext, seconds: float) -> None:
    """A timer that holds no worker: the run parks when nothing else is going on."""
    if not 0 <= seconds <= 366 * 86_400:
        raise InputInvalid(f"a run can sleep from 0 seconds to 366 days, not {seconds!r}")
    duration = int(seconds * 1e6)
    call = ctx.enter("timer", "sleep", str(duration))
    if isinstance(call.last, TimerFired):
        await ctx.replay(call)
        return
    await ctx.schedule.live(call.path)
    await ctx.perform(call, _sleep(ctx, call, duration))


async def _sleep(ctx: RunContext, call: Call, duration: int) -> None:
    if not call.recorded:
        ctx.record(call, ctx.event(TimerSet, call.path, until=ctx.now() + duration, duration=duration))
    timer = call.recorded[0]
    assert isinstance(timer, TimerSet)
    waiting = Waiting("timer", call.path, "sleep", until=timer.until)
    await ctx.mail.wait(waiting, f"timer:{call.path}")
    ctx.record(call, ctx.event(TimerFired, call.path, late=max(0, ctx.now() - timer.until)))


async def record(ctx: RunContext, name: str, function: Callable[[], Any]) -> Any:
    """The value of ``function()``, taken once; replay gives it back without calling.

    Raises:
        ToolFailed: the function raised; replay raises the same.
    """
    check_name(name, "name of a record")
    call = ctx.enter("note", name, "")
    if isinstance(call.last, NoteRecorded):
        ref = first_ref(call.last, "value")
        data = await ctx.load(ref) if ref else b"null"
        await ctx.replay(call)
        return _noted(call.last, data)
    await ctx.schedule.live(call.path)
    event, data = await ctx.perform(call, _record(ctx, call, name, function))
    return _noted(event, data)


async def _record(ctx: RunContext, call: Call, name: str, function: Callable[[], Any]) -> tuple[NoteRecorded, bytes]:
    failure, data = None, b"null"
    try:
        value = function()
        if inspect.isawaitable(value):
            value = await ctx.interruptible(call.branch, _as_coroutine(value))
        plain = to_jsonable_python(value, inf_nan_mode="constants")
        check_plain(plain, name)
        check_finite(value, name)
        data = check_size(stable_json(plain), ctx.services.settings.payload_max_bytes, name, "payload_max_bytes")
    except Exception as error:
        failure, data = Failure("record_failed", "permanent", describe(error)), b"null"
    event = ctx.event(NoteRecorded, call.path, name=name, failure=failure, payloads={"value": [ctx.log.payload(data)]})
    ctx.record(call, event)
    return event, data


async def _as_coroutine(value: Any) -> Any:
    return await value


def _noted(event: NoteRecorded, data: bytes) -> Any:
    if event.failure is not None:
        raise ToolFailed(f"{event.name}: {event.failure.words}")
    return msgspec.json.decode(data)


async def patched(ctx: RunContext, patch: str) -> bool:
    """Whether this run takes the new branch of changed code: runs that were past this point before keep the old one.

    Answered once; asking again, also side by side, gives the same answer without an event.
    """
    check_name(patch, "name of a patch")
    known = ctx.patches.get(patch)
    if known is not None:
        return known
    call = ctx.enter("patch", patch, "", place=f"patch:{patch}")
    if isinstance(call.last, RunPatched):
        ctx.patches[patch] = call.last.taken
        await ctx.replay(call)
        return call.last.taken
    if ctx.tape.order or len(ctx.made) < len(ctx.recorded_paths):
        ctx.patches[patch] = False
        ctx.schedule.unbind(call.branch)
        return False
    ctx.patches[patch] = True
    await ctx.schedule.live(call.path)
    return bool(await ctx.perform(call, _patch(ctx, call, patch)))


async def _patch(ctx: RunContext, call: Call, patch: str) -> bool:
    ctx.record(call, ctx.event(RunPatched, call.path, patch=patch, taken=True))
    return True


async def decide(
    ctx: RunContext,
    name: str,
    options: Sequence[str],
    chosen: int,
    why: str,
    confidence: float | None,
    facts: Sequence[Fact],
) -> None:
    """Record a stated decision."""
    if not 0 <= chosen < len(options):
        raise InputInvalid(f"chosen is {chosen}, but there are {len(options)} options")
    check_name(name, "name of a decision")
    content = {"options": list(options), "chosen": options[chosen], "why": why}
    check_plain(content, "decision")
    data = check_size(stable_json(content), ctx.services.settings.payload_max_bytes, "a decision", "payload_max_bytes")
    call = ctx.enter("decision", name, "")
    if isinstance(call.last, DecisionRecorded):
        await ctx.replay(call)
        return
    await ctx.schedule.live(call.path)
    event = ctx.event(
        DecisionRecorded,
        call.path,
        name=name,
        chosen=chosen,
        options=len(options),
        confidence=confidence,
        facts=list(facts),
        payloads={"decision": [ctx.log.payload(data)]},
    )
    await ctx.perform(call, _decide(ctx, call, event))


async def _decide(ctx: RunContext, call: Call, event: DecisionRecorded) -> None:
    ctx.record(call, event)
