"""A call whose intent was long in becoming durable: it stands in line again, or is not made."""

import asyncio
from typing import TYPE_CHECKING, Any

from penstock.events import Failure
from penstock.gates.rates.throttle import Permit

if TYPE_CHECKING:
    from penstock.gates.rates.lane import Later, Start
    from penstock.gates.run.call import Call
    from penstock.gates.run.context import RunContext


async def renew(ctx: "RunContext", call: "Call") -> None:
    """Wait in line again when the call's intent took so long to be durable that its permit is too old.

    On a worker that leaves, and in a run that was lost or is stopping, it does not wait: see `has_turn`.
    """
    service = ctx.services.throttle
    while service is not None and not ctx.draining and ctx.fault is None:
        kind, name, permit = ctx.permits[call.path][-1]
        if not permit.stale:
            return
        permit.settle(0)
        customer = ctx.claim.tenant, ctx.tape.submitted.tags.get("customer", "")
        lane = permit.lane
        got = await service.enter(lane, customer, ctx.claim.release, permit.tokens, ctx.in_line)
        if isinstance(got, Permit):
            ctx.permits[call.path][-1] = (kind, name, got)
        else:
            await _stand_by(ctx, max(0.0, (got.at - lane.now()) / 1e6))


async def _stand_by(ctx: "RunContext", seconds: float) -> None:
    """Wait, but no longer than the lines of this run are stood in."""
    left: asyncio.Future[Start | Later] = asyncio.get_running_loop().create_future()
    over = asyncio.ensure_future(ctx.services.clock.sleep(seconds))
    ctx.in_line.add(left)
    try:
        either: set[asyncio.Future[Any]] = {left, over}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ctx.in_line.discard(left)
        over.cancel()


def has_turn(ctx: "RunContext", call: "Call") -> bool:
    """Whether a call whose intent is durable may be made: while it stood in line again its run may have been lost or
    stopped, or its worker have begun to leave and the turn gone by."""
    permits = ctx.permits.get(call.path)
    return not permits or (ctx.fault is None and not (ctx.draining and permits[-1][2].stale))


def passed_by() -> Failure:
    """Why a call that has no turn was not made."""
    return Failure("turn_missed", "transient", "the call's turn had gone by, and the worker or the run was stopping")
