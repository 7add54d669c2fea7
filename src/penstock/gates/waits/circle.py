"""Runs that would wait for each other for ever: the call that would close the circle is refused, on the record.

The rule, the same for all calls: the one that would add the last edge fails; those that waited before go on waiting. A
circle that was closed otherwise is found while its runs sleep, and its youngest wait fails: a letter says so.
"""

from uuid import UUID

import msgspec

from penstock.events import WaitEnded
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.insist import insist
from penstock.kernel.errors import ClaimLost, WaitCycle
from penstock.ports.circles import CircleLetter
from penstock.ports.records import Letter
from penstock.ports.waits import Beginning, Begun, Wait


async def begin_wait(ctx: RunContext, wait: Wait) -> Beginning:
    """Begin a wait that the store has to know of; the store's answer.

    What led to the wait is durable first. From a tape that ends before it the next holder might take another way and
    come to another wait: the event that this one was given would be nobody's.

    Raises:
        ClaimLost: another worker has gone on with the run.
    """
    await ctx.log.flush()
    beginning = await insist(ctx, lambda: ctx.services.journal.waits.begin(wait))
    if beginning.answer is Begun.LOST:
        raise ClaimLost(f"run {wait.run} has another holder than epoch {wait.epoch}", run=wait.run)
    return beginning


async def join_session(ctx: RunContext, call: Call, session: str, child: UUID) -> None:
    """Make sure that a child which is to wait its turn in a session does not wait for this run in the end.

    Raises:
        WaitCycle: a run before it in the session waits for this run, or is this run.
        ClaimLost: another worker has gone on with this run.
    """
    claim = ctx.claim
    wait = Wait(claim.tenant, ctx.run_id, call.path, "child", key=session, target=child, epoch=claim.epoch)
    beginning = await begin_wait(ctx, wait)
    if beginning.answer is Begun.CYCLE:
        ended = refuse(ctx, call, beginning.circle, child, what="child")
        raise WaitCycle(ended.reason, circle=[str(run) for run in ended.circle])


def refuse(ctx: RunContext, call: Call, circle: list[UUID], target: UUID | None, what: str = "") -> WaitEnded:
    """Record that a call would have closed a circle of runs that wait for each other."""
    ended = ctx.event(
        WaitEnded, call.path, status="cycle", what=what, target=target, circle=circle, reason=circle_words(circle)
    )
    ctx.record(call, ended)
    return ended


def broken(ctx: RunContext, call: Call, letter: Letter, target: UUID | None) -> WaitEnded:
    """Record that a wait was ended because its run and others waited for each other."""
    circle = msgspec.json.decode(letter.body, type=CircleLetter).circle
    ended = ctx.event(
        WaitEnded,
        call.path,
        status="cycle",
        dedup=letter.dedup,
        target=target,
        circle=circle,
        reason=circle_words(circle),
    )
    ctx.log.consume(letter.dedup)
    ctx.record(call, ended)
    return ended


def circle_words(circle: list[UUID]) -> str:
    """The circle in words: which run waits for which."""
    if len(circle) == 1:
        return f"run {circle[0]} would wait for itself"
    names = [str(run) for run in circle]
    return f"these runs would wait for each other for ever: {' → '.join([*names, names[0]])}"
