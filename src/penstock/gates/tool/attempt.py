"""Attempts at a tool call that the rules allow: intent, call, outcome, until one is the last."""

import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import msgspec

from penstock.events import (
    Amount,
    ApprovalDecided,
    ApprovalEdited,
    CacheSource,
    Event,
    Failure,
    Filtered,
    ToolIntent,
    ToolOutcome,
)
from penstock.gates.breakers.admission import OPEN, intend_read, observe
from penstock.gates.budgets.gate import bind, hold_at_once, hold_for_tool
from penstock.gates.cache.standing import Standing
from penstock.gates.environment.admission import refused
from penstock.gates.filters.taint import taint_of
from penstock.gates.limits.hedge import hedged, leave_of_limits
from penstock.gates.limits.retry import judge, wait_until
from penstock.gates.rates.renewal import has_turn, passed_by
from penstock.gates.rates.throttle import throttle
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.deadline import at_most, at_most_within
from penstock.gates.run.ledger import COUNTED
from penstock.gates.run.taking_back import REFUSED_LATE, take_back
from penstock.gates.tool.cached import invalidate
from penstock.gates.tool.doubt import LateOutcome, settle
from penstock.gates.tool.execution import Result, Start, run_tool
from penstock.kernel.errors import ClaimLost, JournalError
from penstock.ports.records import Post
from penstock.ports.tools import ToolDef
from penstock.rules.sketch import facts_of, shape_of
from penstock.rules.verdict import Decision, Ruling

QUEUED_BEFORE_WAITING = 500  # events of free reads that may wait to be written before the next read waits for them
LATE_STARTS = 3  # how often a call that found its allowance over is put forward again


@dataclass(slots=True)
class Asked:
    """The call with its arguments read."""

    tool: ToolDef | None
    name: str
    args: dict[str, Any]
    call_id: str
    problem: Decision | None
    data: bytes
    """The stored form of ``args``."""
    filtered: list[Filtered] = field(default_factory=list)
    note: str = ""
    """What the agent is told of the arguments besides: a person changed them."""
    bound: str = ""
    """What takes the tool's place in this environment."""
    unbound: Decision | None = None
    """Why nothing is called in its place."""


class Ran(msgspec.Struct, frozen=True):
    """One attempt that was made. ``latency``: microseconds."""

    intent: ToolIntent
    result: Result
    latency: int


async def attempt(ctx: RunContext, call: Call, asked: Asked, ruling: Ruling) -> tuple[ToolOutcome, bytes]:
    """Call the tool, again where that may help and is safe; the last outcome, journalled, and its stored result."""
    tool = asked.tool
    assert tool is not None
    late = 0
    while True:
        because = await _because(ctx, call)
        call.settling = because == "in_doubt" and tool.effect == "write"
        ctx.facts.tool_calls += because == ""  # before anything is awaited: calls side by side share the limit
        try:
            await throttle(ctx, call, "tool", tool.name)
            await hold_for_tool(ctx, call)
        except BaseException:  # also when the run is put away while the call waits
            ctx.facts.tool_calls -= because == ""
            raise
        try:
            ran = await _once(ctx, call, asked, tool, ruling, because)
        except REFUSED_LATE:
            ctx.facts.tool_calls -= because == ""
            raise
        result = ran.result
        if result.started:
            await invalidate(ctx, tool)
        if isinstance(ctx.fault, ClaimLost):
            await _leave_behind(ctx, call, ran)
            await ctx.halt()
        if ctx.fault is not None and tool.effect == "read":
            ctx.ledger.settle(ran.intent.reserved, Amount())
            await ctx.halt()
        late += not result.started
        in_doubt = result.doubt and tool.effect == "write"
        outcome = None if in_doubt else _concluded(ctx, call, tool, ran, late)
        if outcome is None:
            settled, data = await settle(ctx, call, tool, asked.args, result.doubt or "repeat")
            if settled.again:
                continue
            return settled, data
        if not outcome.again:
            return outcome, result.data


async def serve(
    ctx: RunContext, call: Call, asked: Asked, ruling: Ruling, standing: Standing
) -> tuple[ToolOutcome, bytes]:
    """What the cache gave in place of a call, journalled, and its stored result."""
    tool = asked.tool
    assert tool is not None
    ctx.facts.tool_calls += 1
    intent, _ = await _intend(ctx, call, asked, tool, ruling, "")
    ran = Ran(intent, Result(data=standing.data), 0)
    return _record(ctx, call, tool, ran, source=standing.served()), standing.data


async def _because(ctx: RunContext, call: Call) -> str:
    """Why the next attempt is made; waits until its time."""
    last = call.last_of(ToolOutcome)
    if last is None:
        return ""
    if last.retry_at:
        await wait_until(ctx, call, last.retry_at)
        return "retry"
    return "in_doubt"


async def _once(ctx: RunContext, call: Call, asked: Asked, tool: ToolDef, ruling: Ruling, because: str) -> Ran:
    """One attempt, or two when a read is slow and hedged; the one that counts, the other recorded."""
    intent, start_by = await _intend(ctx, call, asked, tool, ruling, because)
    first = _run(ctx, call, asked, tool, intent, start_by)
    if tool.hedge_after is None or tool.effect != "read":
        return await first

    async def second() -> Coroutine[Any, Any, Ran] | None:
        if not hold_at_once(ctx, call):
            return None
        try:
            return _run(ctx, call, asked, tool, *await _intend(ctx, call, asked, tool, ruling, "hedge"))
        except REFUSED_LATE:
            return None

    tries, counts = await hedged(
        ctx,
        call,
        tool.hedge_after,
        first,
        lambda: leave_of_limits(ctx, call, "tool", tool.name, lambda: 0),
        second,
        lambda ran: ran.result.failure is None,
    )
    for index, ran in enumerate(tries):
        if index == counts:
            continue
        if ctx.fault is None:
            _record(ctx, call, tool, ran, again=True)
        else:
            ctx.ledger.settle(ran.intent.reserved, Amount())
    return tries[counts]


async def _run(ctx: RunContext, call: Call, asked: Asked, tool: ToolDef, intent: ToolIntent, start_by: int) -> Ran:
    if call.branch.cut and not call.settling:  # the time-out fired while the intent was being written
        failure = Failure("tool_cancelled", "permanent", "the call was cancelled before it began")
        return Ran(intent, Result(failure=failure, started=False), 0)
    if asked.unbound is not None:
        return Ran(intent, Result(failure=refused(asked.unbound), started=False), 0)
    if not has_turn(ctx, call):
        return Ran(intent, Result(failure=passed_by(), started=False), 0)
    clock = ctx.services.clock
    began = clock.boot_ns()
    start = Start(intent.attempt, intent.key, intent.timeout / 1e6, start_by)
    result = await run_tool(ctx, call, tool, asked.args, start)
    return Ran(intent, result, (clock.boot_ns() - began) // 1000)


async def _intend(
    ctx: RunContext, call: Call, asked: Asked, tool: ToolDef, ruling: Ruling, because: str
) -> tuple[ToolIntent, int]:
    """Journal the intent; with it the reading of the boot clock after which its call must not start."""
    allowance = ctx.services.settings.start_allowance_seconds
    start_by = ctx.services.clock.boot_ns() + int(allowance * 1e9)
    approval = next((event.approval for event in reversed(call.recorded) if _allows(event)), "")
    reads = tool.effect == "read"
    seconds = at_most(ctx, tool.timeout_seconds) if reads else at_most_within(ctx, call.branch, tool.timeout_seconds)
    intent = ctx.event(
        ToolIntent,
        call.path,
        tool=tool.name,
        digest=call.identity.digest,
        effect=tool.effect,
        risk=tool.risk,
        in_doubt=tool.in_doubt,
        call_id=asked.call_id,
        attempt=1 + call.count_of(ToolIntent),
        key="" if reads else f"{ctx.run_id.hex}-{call.path}",
        allowance=int(allowance * 1e6),
        timeout=int(seconds * 1e6),
        approval=approval,
        passed=ruling.passed,
        verdicts=ruling.verdicts,
        because=because,
        shape=shape_of(asked.args, ctx.claim.subject_key),
        repeatable=tool.repeatable,
        labels=tool.labels,
        filtered=asked.filtered,
        cache="" if because else call.cache,
        binding=asked.bound,
        payloads={"args": [ctx.log.payload(asked.data)]},
    )
    if reads and ctx.log.queued >= QUEUED_BEFORE_WAITING:
        await ctx.log.room()
    ctx.ledger.reserve(intent.reserved)
    ctx.facts.attempts += 1
    ctx.facts.retries += because in COUNTED
    try:
        bind(ctx, call, intent)
        if reads and not intent.charged:
            await intend_read(ctx, call, intent)
        else:
            await ctx.intend(call, intent)
    except REFUSED_LATE:
        take_back(ctx, call, intent)
        raise
    return intent, start_by


def _allows(event: Event) -> TypeGuard[ApprovalDecided | ApprovalEdited]:
    return isinstance(event, ApprovalEdited) or (isinstance(event, ApprovalDecided) and event.decision == "approve")


def _concluded(ctx: RunContext, call: Call, tool: ToolDef, ran: Ran, late: int) -> ToolOutcome | None:
    """Record what came of the attempt, and whether another follows; None when it says nothing of an attempt before it
    that may have had its effect."""
    result = ran.result
    if result.failure is None or ctx.fault is not None:
        return _record(ctx, call, tool, ran)
    if not result.started:
        again = late < LATE_STARTS and not call.branch.cut
        if not again and _is_repeat(call):
            return None
        return _record(ctx, call, tool, ran, again=again)
    if result.failure.code == OPEN:
        return _record(ctx, call, tool, ran, again=not call.branch.cut)
    attempts = min(tool.attempts, ctx.facts.budget.attempts or tool.attempts)
    verdict = judge(ctx, call, result.failure, ran.intent.attempt - late, attempts)
    if not verdict.at and result.failure.code == "tool_transient" and _is_repeat(call):
        return None
    result = Result(result.value, result.data, verdict.failure, result.doubt, result.started)
    return _record(ctx, call, tool, Ran(ran.intent, result, ran.latency), again=verdict.at > 0, retry_at=verdict.at)


def _is_repeat(call: Call) -> bool:
    """Whether an attempt before this one was in doubt, and nothing but a repeat was to settle it."""
    for event in reversed(call.recorded):
        if isinstance(event, ToolOutcome) and event.settled_by:
            if event.settled_by == "repeat":
                return True
            if event.settled_by != "late":  # which speaks of one attempt alone
                return False
    return False


def _record(
    ctx: RunContext,
    call: Call,
    tool: ToolDef,
    ran: Ran,
    *,
    again: bool = False,
    retry_at: int = 0,
    source: CacheSource | None = None,
) -> ToolOutcome:
    result = ran.result
    if result.failure is None:
        status = "ok"
    else:
        status = "error" if result.started else "not_started"
    outcome = ctx.event(
        ToolOutcome,
        call.path,
        attempt=ran.intent.attempt,
        status=status,
        again=again,
        retry_at=retry_at,
        latency=ran.latency,
        failure=result.failure,
        source=source,
        filtered=result.filtered,
        taint=taint_of(tool, content=result.started) if not again else {},
        facts=facts_of(result.data, ctx.claim.subject_key) if not again else "",
        payloads={"result": [ctx.log.payload(result.data)]} if result.data and not again else {},
    )
    ctx.ledger.settle(Amount(), outcome.used)
    if source is None:
        observe(ctx, call, outcome, tool.name)
    if tool.effect == "read":
        ctx.record(call, outcome)
    else:
        ctx.record(call, outcome, lambda: _leave_behind(ctx, call, ran))
    return outcome


async def _leave_behind(ctx: RunContext, call: Call, ran: Ran) -> None:
    """This worker was overtaken while the tool ran: the run's next holder learns how the call ended."""
    result = ran.result
    if result.doubt:
        return
    status = "ok" if result.failure is None else "error" if result.started else "did_not_happen"
    late = LateOutcome(status, result.data, result.failure)
    dedup = f"settle:{call.path}:{ran.intent.attempt}"
    with contextlib.suppress(JournalError):
        post = Post(ctx.claim.tenant, ctx.claim.run, dedup, "settle", msgspec.json.encode(late))
        await ctx.services.journal.deliver(post)
