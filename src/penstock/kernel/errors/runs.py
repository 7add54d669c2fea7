"""A run that is over, set aside, or does not repeat what its tape holds."""

from penstock.kernel.errors.base import PenstockError


class RunFault(PenstockError):
    """Why the engine ends a run by itself; becomes the run's outcome whatever the agent's code does."""

    code = "run_fault"

    def __init__(self, outcome: str, code: str, what: str, *, needed: list[str] | None = None) -> None:
        super().__init__(what)
        self.outcome = outcome
        self.fault_code = code
        self.needed = needed or []


class ReplayError(PenstockError):
    """The agent's code did not repeat what the tape holds."""

    code = "replay"


class Divergence(ReplayError):
    """The first call that differs from the tape, side by side."""

    code = "divergence"
    hint = "wrap clocks, randomness and I/O in run.now, run.random or run.record; or run the release that made the tape"


class RunStopped(PenstockError):
    """The run is over; raised to callers who wait for its result, never inside an agent."""

    code = "run_stopped"


class RunQuarantined(RunStopped):
    """The run is set aside for a person: its record cannot be repeated or read here, or workers died of it."""

    code = "run_quarantined"
    hint = "look at it with `penstock runs show`; when the cause is mended, `penstock runs release` lets it go on"


class Escalation(PenstockError):
    """Raised by an agent to hand the case to a person; ``penstock.escalate("not confident")`` raises it."""

    code = "escalated"
