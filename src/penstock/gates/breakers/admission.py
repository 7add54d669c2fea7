"""What the breakers say to a call before its intent is written, and what they learn of it afterwards."""

import contextlib
from typing import TYPE_CHECKING, Any

from penstock.events import ModelOutcome, ToolIntent, ToolOutcome, Waiting
from penstock.events.messages import Message
from penstock.gates.breakers.cutting import Cut
from penstock.gates.breakers.guard import Covered
from penstock.kernel.randomness import jitter
from penstock.rules.verdict import Decision, Verdict

if TYPE_CHECKING:
    import asyncio

    from penstock.gates.run.call import Call
    from penstock.gates.run.context import RunContext

OPEN = "breaker_open"
_NOTHING = contextlib.nullcontext()
QUEUE_SECONDS_MOST = 30.0
NOT_A_FAILURE = frozenset(
    {
        OPEN,
        "answer_too_large",
        "cancelled",
        "client_gone",
        "hedge_lost",
        "model_context_exceeded",
        "model_history_invalid",
        "model_refused_request",
        "no_room",
        "record_failed",
        "start_too_late",
        "tool_cancelled",
        "turn_missed",
    }
)
"""Codes of failures that say nothing about what is called: the request was the cause, or this side gave up."""


def is_idle(ctx: "RunContext") -> bool:
    """Whether there is no breaker that any call could have to do with."""
    guard = ctx.services.breakers
    return guard is None or guard.is_idle


def circuits_of(ctx: "RunContext", kind: str, name: str) -> Covered:
    """The circuits that a call of this run belongs to."""
    guard = ctx.services.breakers
    if guard is None or guard.is_idle:
        return ()
    submitted = ctx.tape.submitted
    return guard.covering(submitted.tenant, submitted.agent, submitted.tags, kind, name)


async def shut_for(ctx: "RunContext", call: "Call", kind: str, name: str) -> Covered:
    """Those circuits that do not let the call through; a probe is let through, and none does not then."""
    guard = ctx.services.breakers
    if guard is None or guard.is_idle:
        return ()
    await guard.ready()
    circuits = circuits_of(ctx, kind, name)
    shut = tuple(circuit for circuit in circuits if circuit.is_shut and not circuit.lets_through(kind, name))
    if not shut:
        return ()
    known = guard.probes.get((ctx.run_id, call.path))
    if known is not None and all(known.is_for(circuit) for circuit in shut):
        return ()
    guard.let_go(ctx.run_id, call.path)
    return () if await ctx.interruptible(call.branch, guard.probe(shut, ctx.run_id, call.path)) else shut


async def hold(ctx: "RunContext", call: "Call", kind: str, name: str) -> Decision | None:
    """For calls of tools and children: None when the call may go on, else what the rule is to say.

    Waits, and lets the run park, when every breaker that is open for it says so.
    """
    while not is_idle(ctx):
        shut = await shut_for(ctx, call, kind, name)
        if not shut:
            return None
        if any(circuit.breaker.meanwhile != "queue" for circuit in shut):
            return denied_by(ctx, shut)
        await wait_for_any(ctx, call, name, shut)
    return None


async def wait_for_any(ctx: "RunContext", call: "Call", name: str, shut: Covered) -> None:
    """Until the last of them may let a probe through; when they could but did not, for a while."""
    guard = ctx.services.breakers
    assert guard is not None
    if ctx.draining:
        await ctx.halt()
    left = max(circuit.stands.until for circuit in shut) - guard.now()
    if left <= 0:
        most = min(QUEUE_SECONDS_MOST, max(2.0, *(circuit.breaker.open_seconds / 4 for circuit in shut)))
        left = int(jitter(0.5, most) * 1e6)
    waiting = Waiting("breaker", call.path, name, until=ctx.now() + left)
    await ctx.mail.wait(waiting, f"breaker:{call.path}")


def denied_by(ctx: "RunContext", shut: Covered) -> Decision:
    guard = ctx.services.breakers
    assert guard is not None
    circuit = shut[0]
    left = max(0.0, (circuit.stands.until - guard.now()) / 1e6)
    of = f"{circuit.breaker.scope} {circuit.key[2]}"
    state = f"open for another {left:.0f} s" if left else "half-open, and its probe is taken"
    return Decision(Verdict.DENY, f"the breaker {circuit.key[1]} of {of} is {state}"[:500], OPEN)


def cutting(
    ctx: "RunContext", kind: str, name: str, task: "asyncio.Task[Any] | None"
) -> contextlib.AbstractContextManager[object]:
    """Inside it the call that is about to be made can be cut off by its breakers."""
    guard = ctx.services.breakers
    if guard is None or guard.is_idle or task is None or not (circuits := circuits_of(ctx, kind, name)):
        return _NOTHING
    return Cut(guard, tuple(circuit for circuit in circuits if not circuit.lets_through(kind, name)), task)


def observe(ctx: "RunContext", call: "Call", outcome: ModelOutcome | ToolOutcome, name: str) -> None:
    """A call has its outcome: count it where it belongs."""
    guard = ctx.services.breakers
    if guard is None or guard.is_idle:
        return
    kind = "model" if isinstance(outcome, ModelOutcome) else "tool"
    circuits = circuits_of(ctx, kind, name)
    if not circuits or outcome.status in ("cached", "not_started"):
        return
    failure = outcome.failure.code if outcome.failure is not None else ""
    guard.observe(
        circuits,
        ctx.run_id,
        call.path,
        name=name,
        nano=outcome.used.nano,
        latency_us=outcome.latency,
        failure=failure,
        is_failed=bool(failure) and failure not in NOT_A_FAILURE,
    )


def observe_answer(ctx: "RunContext", name: str, message: Message) -> None:
    """What a model said, for breakers that watch for drift."""
    guard = ctx.services.breakers
    if guard is not None and not guard.is_idle and (circuits := circuits_of(ctx, "model", name)):
        watching = tuple(circuit for circuit in circuits if not circuit.lets_through("model", name))
        guard.answers.take(watching, message.text)


def observe_end(ctx: "RunContext", nano: int) -> None:
    """The run has ended, and cost so much in all."""
    guard = ctx.services.breakers
    if guard is not None and (circuits := circuits_of(ctx, "run", "")):
        guard.observe_run(circuits, ctx.run_id, nano)


def let_go(ctx: "RunContext", call: "Call") -> None:
    """The call is over, however it went."""
    guard = ctx.services.breakers
    if guard is not None and guard.probes:
        guard.let_go(ctx.run_id, call.path)


async def intend_read(ctx: "RunContext", call: "Call", intent: ToolIntent) -> None:
    """Write the intent of a free read: without waiting for it, unless a breaker might have something against it."""
    guard = ctx.services.breakers
    if guard is None or guard.is_idle or not circuits_of(ctx, "tool", intent.tool):
        ctx.intend_later(call, intent)
        return
    key = intent.run, intent.path, intent.attempt
    guard.awaited.add(key)
    try:
        await ctx.intend(call, intent)
    finally:
        guard.awaited.discard(key)
