"""What becomes of a gateway's run whose gateway was lost: its calls are charged, and it is ended."""

from typing import Any

import msgspec

from penstock.agents.run import Run
from penstock.events import BudgetRecord, ModelIntent
from penstock.gates.model.attempt import record_lost
from penstock.gates.order.branches import CURRENT
from penstock.gates.order.tape import identity_of, open_intents
from penstock.gates.run.call import Call
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import PenstockError, RunFault

RELEASE = "gateway-1"
"""Of all runs of gateways: any gateway can end any other's."""


class LostRuns:
    """The agent of such runs, whatever their agents are named."""

    name = "gateway"
    release = RELEASE
    budget = BudgetRecord()
    spirals = None

    def read_input(self, data: bytes) -> Any:
        """Plain JSON."""
        return msgspec.json.decode(data)

    def plain_input(self, value: Any) -> Any:
        """The same."""
        return value

    def read_output(self, data: bytes) -> Any:
        """Plain JSON."""
        return msgspec.json.decode(data)

    def plain_output(self, value: Any) -> Any:
        """The same."""
        return msgspec.json.decode(stable_json(value))

    async def perform(self, run: Run, value: Any) -> Any:
        """Charge calls without an outcome at their maximum: they may have been answered. Nothing is called again, since
        nobody waits for the answer.

        Raises:
            RunFault: always; the run ends with it.
        """
        del value
        ctx = run.context
        branch = CURRENT.get()
        assert branch is not None
        doubts = 0
        for path, recorded in list(ctx.tape.calls.items()):
            ctx.made.add(path)
            intents = [event for event in open_intents(recorded) if isinstance(event, ModelIntent)]
            identity = identity_of(recorded[0])
            if intents and identity is not None:
                doubts += len(intents)
                record_lost(ctx, Call(branch, path, identity, recorded), intents)
        words = "the gateway that served this run was lost"
        if doubts:
            fault = RunFault("failed", "gateway_lost", f"{words}; {doubts} of its calls were charged at their maximum")
        else:
            fault = RunFault("succeeded", "gateway_lost", f"{words}; none of its calls was under way")
        ctx.stop(fault)
        raise fault

    async def invoke(self, run: Any, value: Any) -> Any:
        """As `perform`."""
        return await self.perform(run, value)

    async def recover(self, run: Any, value: Any, failure: PenstockError) -> Any:
        """There is no fallback."""
        del run, value
        raise failure
