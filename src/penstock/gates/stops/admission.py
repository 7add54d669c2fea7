"""What the stop of a tool means for one call: a kill denies it, a pause lets it wait."""

from typing import TYPE_CHECKING

from penstock.events import Waiting
from penstock.kernel.backoff import until_answered
from penstock.kernel.randomness import jitter
from penstock.ports.controls import Control
from penstock.rules.verdict import Decision, Verdict

if TYPE_CHECKING:
    from penstock.gates.run.call import Call
    from penstock.gates.run.context import RunContext

STOPPED = "tool_stopped"
LOOK_SECONDS_LEAST = 2.0
LOOK_SECONDS_MOST = 300.0
"""A run that waits is woken when the stop is lifted. One that was just being put away then is not, and looks again by
itself: after a quarter of the time for which the stop has been in force, within these bounds."""


async def stopped(ctx: "RunContext", call: "Call", tool: str, *, settling: bool) -> Decision | None:
    """None when the tool may be called, else what the rule is to say.

    Waits, and lets the run park, under a pause; and under a kill when the call is ``settling`` what became of a write:
    an answer in place of that would be a guess.
    """
    guard = ctx.services.stops
    if guard is None:
        return None
    await guard.ready()
    while guard.of(ctx.claim.tenant, tool) is not None:
        await until_answered(guard.refresh, ctx.services.clock.sleep)  # it may have been lifted a moment ago
        stop = guard.of(ctx.claim.tenant, tool)
        if stop is None:
            break
        if stop.action == "kill" and not settling:
            words = f"the tool {tool} has been stopped by an operator (control {stop.id})"
            return Decision(Verdict.DENY, words[:500], STOPPED)
        await _wait(ctx, call, tool, stop, settling=settling)
    return None


async def _wait(ctx: "RunContext", call: "Call", tool: str, stop: Control, *, settling: bool) -> None:
    if ctx.draining:
        await ctx.halt()
    age = (ctx.now() - stop.at) / 1e6
    most = min(LOOK_SECONDS_MOST, max(LOOK_SECONDS_LEAST, age / 4))
    kind = "doubt" if settling else "stop"
    waiting = Waiting(kind, call.path, tool, until=ctx.now() + int(jitter(most / 2, most) * 1e6))
    await ctx.mail.wait(waiting, f"stop:{call.path}")
