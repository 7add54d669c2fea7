"""Points between two steps of a run's loop at which its state could be kept."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penstock.gates.run.call import Call

if TYPE_CHECKING:
    from penstock.gates.snapshots.state import Loop, State


@dataclass(slots=True)
class SafePoints:
    """What a run's context knows of its snapshots.

    Attributes:
        every: events from one to the next; 0 = none are taken.
        restored: the state that the run goes on from, until its loop has taken it up.
        stages: the stages that the root branch went through.
        last_seq: the event after which the latest was taken.
        stored: whether the store holds one.
        on_state: told the loop's state at each point where one could be taken; for checks.
    """

    every: int = 0
    restored: "State | None" = None
    stages: list[Call] = field(default_factory=list)
    last_seq: int = 0
    stored: bool = False
    on_state: "Callable[[Loop], None] | None" = None
