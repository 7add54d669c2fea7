"""Putting on the record that the rules said no, or that a limit has come near."""

from typing import Any

from penstock.events import LimitReached, VerdictRecorded
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.kernel.errors import BreakerOpen, CallDenied
from penstock.rules import spiral
from penstock.rules.budget import MUST_ANSWER, WRAP_UP, dominant_limit
from penstock.rules.verdict import Ruling


def denial(gate: str, reason: str, rule: str) -> CallDenied:
    """The error for the agent's code; ``rule``: the code of the verdict."""
    kind = BreakerOpen if rule == BreakerOpen.code else CallDenied
    return kind(reason, gate=gate, rule=rule)


async def denied(ctx: RunContext, call: Call, ruling: Ruling, **fields: Any) -> VerdictRecorded:
    """Record that the rules denied the call. Does not return when that is final for the run.

    A stop that became known while the gate waited for something is met here, and says nothing of the call.
    """
    if ctx.fault is not None and ruling.code == "stopped":
        await ctx.halt()
    event = ctx.event(
        VerdictRecorded,
        call.path,
        gate=call.identity.kind,
        name=call.identity.name,
        verdict="deny",
        digest=call.identity.digest,
        passed=ruling.passed,
        verdicts=ruling.verdicts,
        ends_run=ruling.ends_run,
        **fields,
    )
    ctx.record(call, event)
    if ruling.ends_run:
        ctx.exhaust(ruling.code or "denied", ruling.reason)
    if ctx.fault is not None:
        await ctx.halt()
    return event


def record_limit(ctx: RunContext, path: str, level: int, *, looping: bool) -> None:
    """A threshold was reached: say by which limit, or that the run goes round in circles, and how high it scores."""
    spirals, stretch = ctx.facts.spirals, ctx.facts.stretch
    if looping and spirals is not None and stretch is not None:
        name, used, of = "loop", stretch.score, float(spirals.stop)
        level = WRAP_UP if level == spiral.NUDGE else MUST_ANSWER
    else:
        name, used, of = dominant_limit(ctx.facts)
    ctx.log.add(ctx.event(LimitReached, path, limit=name, level=level, used=used, of=of))
