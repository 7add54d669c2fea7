"""Letting go of a run that was put away."""

from typing import TYPE_CHECKING

from penstock.gates.budgets.gate import let_go as let_go_of_budgets
from penstock.gates.rates.throttle import settle_all

if TYPE_CHECKING:
    from penstock.gates.run.context import RunContext


def let_go(ctx: "RunContext") -> None:
    """Settle what the run's calls still hold, and take apart what refers to each other in circles: its memory comes
    back now, and not when the garbage collector comes to see, which in a worker's process may be never.

    What still calls the context (a letter that was on its way, a tool that ignored its cancellation) finds a run in
    which nothing moves.
    """
    settle_all(ctx)
    let_go_of_budgets(ctx)
    ctx.on_fault = _nothing
    ctx.on_objection = _nothing
    if ctx.fault is not None:
        ctx.fault = ctx.fault.with_traceback(None)
    ctx.scopes.clear()
    ctx.mail.let_go()
    ctx.schedule.let_go()
    ctx.tape.clear()


def _nothing(*_: object) -> None:
    """Nobody is to be told."""
