"""What a caller gets of a run that has ended."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from penstock.events import Totals
from penstock.kernel.errors import RunStopped
from penstock.kernel.money import show_usd

SUCCEEDED = "succeeded"


@dataclass(slots=True, frozen=True)
class Result:
    """One structured outcome: ``succeeded``, ``failed``, ``exhausted``, ``refused``, ``escalated``, ``cancelled`` or
    ``killed``. ``output`` is whole when it succeeded and partial otherwise; ``missing`` and ``needed`` say what a
    partial one lacks and what it would take; ``done`` which writes took effect all the same."""

    run: UUID
    agent: str
    outcome: str
    output: Any = None
    code: str = ""
    reason: str = ""
    missing: list[str] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)
    totals: Totals = Totals()
    simulated: bool = False
    done: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.outcome == SUCCEEDED

    @property
    def partial(self) -> bool:
        return not self.ok and self.output is not None

    @property
    def cost(self) -> str:
        """Dollars, for people; labelled when a simulated model took part."""
        return show_usd(self.totals.nano) + (" (simulated)" if self.simulated else "")

    def unwrap(self) -> Any:
        """The output.

        Raises:
            RunStopped: the run did not succeed.
        """
        if self.ok:
            return self.output
        raise RunStopped(
            f"the run {self.run} of {self.agent} ended as {self.outcome}: {self.reason or self.code}",
            hint="; ".join(self.needed) or None,
            outcome=self.outcome,
            run_code=self.code,
        )
