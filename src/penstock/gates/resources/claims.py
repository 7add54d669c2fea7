"""Having what a write is about for one run alone: a second run's write on it is denied, or waits.

A resource is a name that the tool makes of its arguments (``order:17``). The store gives it to the run that asks first,
with all of its family, until they have ended; it is asked after everything else has allowed the call, and before the
intent. So no write begins on what another run is busy with, whichever workers they are on.
"""

from typing import TYPE_CHECKING, Any

from penstock.events import Waiting
from penstock.kernel.canonical import clean_text
from penstock.kernel.errors import ClaimLost
from penstock.kernel.randomness import jitter
from penstock.ports.controls import Claimed
from penstock.rules.verdict import Decision, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.gates.run.call import Call
    from penstock.gates.run.context import RunContext
    from penstock.ports.tools import ToolDef

NAME_MAX_CHARS = 200
RESOURCES_MAX = 16
"""Of one call."""
LOOK_SECONDS_FIRST = 0.5
LOOK_SECONDS_MOST = 30.0
"""A call that waits asks again after so long, twice as long each time up to this."""
FORGET_EACH = 100
"""Claims from one clearing away of old ones to the next."""
FORGET_AT_ONCE = 500


class ResourceTaken(Exception):
    """Another run has it. ``decision``: what the rule is to say."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.reason)
        self.decision = decision


async def have_resources(ctx: "RunContext", call: "Call", tool: "ToolDef | None", args: dict[str, Any]) -> None:
    """Return when the run has what the call is about.

    Raises:
        ResourceTaken: another run has it, and the call does not wait, or may not: it has other resources itself, and
            two runs that wait for each other's would do so for ever.
    """
    if tool is None or tool.resource is None:
        return
    for name in _names(tool, args):
        await _have(ctx, call, tool, name)


async def _have(ctx: "RunContext", call: "Call", tool: "ToolDef", name: str) -> None:
    seconds = LOOK_SECONDS_FIRST
    claim, controls = ctx.claim, ctx.services.journal.controls
    while True:
        answer = await ctx.reading(
            lambda: controls.claim_resource(claim.tenant, claim.run, claim.epoch, name, tool.name)
        )
        if answer.answer == "held":
            _forget_now_and_then(ctx)
            return
        if answer.answer == "fenced":
            ctx.stop(ClaimLost(f"run {claim.run} is held by another worker", run=claim.run))
            await ctx.halt()
        if tool.conflict == "deny" or answer.has_others:
            raise ResourceTaken(_taken(tool, answer))
        if ctx.draining:
            await ctx.halt()
        until = ctx.now() + int(jitter(seconds / 2, seconds) * 1e6)
        await ctx.mail.wait(Waiting("resource", call.path, tool.name, until=until), f"resource:{call.path}")
        seconds = min(2 * seconds, LOOK_SECONDS_MOST)


def _names(tool: "ToolDef", args: dict[str, Any]) -> "Sequence[str]":
    """In an order that is the same for all runs."""
    assert tool.resource is not None
    try:
        said = tool.resource(args)
    except Exception as error:
        raise ResourceTaken(_failed(f"its resource failed: {type(error).__name__}")) from error
    names = [said] if isinstance(said, str) else said
    if not isinstance(names, list | tuple) or len(names) > RESOURCES_MAX:
        raise ResourceTaken(_failed("its resource is no name, and no list of a few"))
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= NAME_MAX_CHARS or clean_text(name, NAME_MAX_CHARS) != name:
            raise ResourceTaken(_failed(f"its resource is no name of at most {NAME_MAX_CHARS} characters"))
    return sorted(set(names))


def _failed(words: str) -> Decision:
    return Decision(Verdict.DENY, words, "validation_failed")


def _taken(tool: "ToolDef", answer: Claimed) -> Decision:
    words = f"what {tool.name} is to change is in the hands of run {answer.holder} (with {answer.tool})"
    return Decision(Verdict.DENY, words[:500], "resource_taken")


def _forget_now_and_then(ctx: "RunContext") -> None:
    services = ctx.services
    services.resources_had += 1
    if services.resources_had % FORGET_EACH == 0:
        ctx.errand(_forget(ctx))


async def _forget(ctx: "RunContext") -> None:
    await ctx.reading(lambda: ctx.services.journal.controls.forget_resources(FORGET_AT_ONCE))
