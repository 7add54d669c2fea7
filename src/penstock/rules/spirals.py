"""`Spirals`: when to step in as a run goes round in circles."""

from dataclasses import dataclass

from penstock.kernel.errors import AgentInvalid

SCORE_MAX = 50
"""The detector looks back upon that many calls."""


@dataclass(slots=True, frozen=True)
class Spirals:
    """Scores from which on something is done; a score is about how many calls in a row were in vain.

    Attributes:
        nudge: the model is told, once, that its calls bring nothing new.
        limit: tools that were called in vain are refused, and the model must answer in its next step.
        stop: the run ends as ``exhausted`` with the code ``spiral``. It comes to that where the code does not end with
            the model's last answer: in `@agent` functions, and in agents of other frameworks.

    Raises:
        AgentInvalid: not 1 <= nudge < limit < stop <= 50.
    """

    nudge: float = 4
    limit: float = 6
    stop: float = 9

    def __post_init__(self) -> None:
        if not 1 <= self.nudge < self.limit < self.stop <= SCORE_MAX:
            raise AgentInvalid(
                f"spirals nudge={self.nudge!r}, limit={self.limit!r}, stop={self.stop!r} are no ladder",
                hint=f"1 <= nudge < limit < stop <= {SCORE_MAX}; spirals=None switches it off",
            )

    @property
    def part(self) -> str:
        """For the agent's release."""
        return f"spirals: {self.nudge:g}, {self.limit:g}, {self.stop:g}"


DEFAULT = Spirals()
