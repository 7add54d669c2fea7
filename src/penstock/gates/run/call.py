"""One call at a gate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from penstock.events import Event
from penstock.gates.order.branches import Branch
from penstock.gates.order.tape import Identity

if TYPE_CHECKING:
    from penstock.gates.budgets.share import Hold

E = TypeVar("E", bound=Event)
ID_MAX_CHARS = 200  # of the ids that providers give their answers and the calls in them


@dataclass(slots=True)
class Call:
    """One gate call in progress."""

    branch: Branch
    path: str
    identity: Identity
    recorded: list[Event]
    performing: bool = False
    settling: bool = False
    """A write in doubt is being repeated: a time-out does not cut that short."""
    cache: str = ""
    """What came of asking the cache: hit | miss; "" = it was not asked."""
    hold: "Hold | None" = None
    """What its next intent reserves in budgets above the task."""
    on_cut: Callable[[], None] | None = None
    """What else to do when a time-out around the call fires."""

    @property
    def last(self) -> Event | None:
        return self.recorded[-1] if self.recorded else None

    def last_of(self, kind: type[E]) -> E | None:
        """Its latest event of that kind. Nearly all calls have none when it is asked for."""
        for event in reversed(self.recorded):
            if isinstance(event, kind):
                return event
        return None

    def count_of(self, kind: type[Event]) -> int:
        """How many events of that kind it has."""
        count = 0
        for event in self.recorded:
            count += isinstance(event, kind)
        return count
