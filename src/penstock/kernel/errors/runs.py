"""A run that is over, set aside, or does not repeat what its tape holds."""

from typing import Any

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


class AdoptionRefused(ReplayError):
    """The code under which a run was to go on does not repeat what the run's tape holds; nothing was changed."""

    code = "adoption_refused"
    hint = "start a worker with the release that made the record, or branch on run.patched in the new code"


class QueueFull(PenstockError):
    """A queue is at its bound, or the wait would be longer than the submission allows; nothing was submitted.

    ``fields`` says ``retry_after_seconds``, ``place`` (the one it would have had), ``expected_wait_seconds`` (None when
    nothing was taken from the queue of late), and whose queue it is.
    """

    code = "queue_full"
    hint = "try again later, start more workers, or raise the queue's bound"


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


class Reject(PenstockError):
    """Raised (or returned) by a stage of an agent to refuse the case: the run ends as ``refused`` with this reason.

    ``reject_code`` is a stable word of the agent's own, for programs.
    """

    code = "rejected"

    def __init__(self, why: str, code: str = "rejected", **fields: Any) -> None:
        super().__init__(why, **fields)
        self.reject_code = code


class Revise(PenstockError):
    """Raised (or returned) by an agent's ``consequence`` to send its result back: the agent works once more, knowing
    why, as often as its ``revisions`` allow; then the run ends as ``escalated``."""

    code = "revise"
