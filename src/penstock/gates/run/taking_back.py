"""An attempt whose intent was refused at the last moment: nothing of it was written, and the run goes on."""

from penstock.events import Amount, ModelIntent, ToolIntent
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.gates.run.ledger import COUNTED
from penstock.kernel.errors import RefusedLate, ShareLost

REFUSED_LATE = (RefusedLate, ShareLost)
"""Why an intent may be refused on its way although all rules had allowed it."""


def take_back(ctx: RunContext, call: Call, intent: ModelIntent | ToolIntent) -> None:
    """Undo what was counted and held for it: the reservation, the attempt, its turn under the shared limits."""
    ctx.ledger.settle(intent.reserved, Amount())
    ctx.facts.attempts -= 1
    ctx.facts.retries -= intent.because in COUNTED
    permits = ctx.permits.get(call.path)
    if permits:
        permits.pop()[2].settle(0)
        if not permits:
            del ctx.permits[call.path]
