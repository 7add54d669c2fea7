"""Whether what a run holds is simulated: known from its record, so that an end and its replay say the same."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from penstock.events import ChildOutcome, Event, ModelOutcome, WaitEnded
from penstock.gates.run.call import Call
from penstock.gates.run.context import RunContext
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id

RUN = new_id(SystemClock())


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ModelOutcome, {"attempt": 1, "status": "ok"}),
        (ChildOutcome, {"child": RUN, "outcome": "succeeded"}),
        (WaitEnded, {"status": "ended"}),
    ],
)
def test_what_is_recorded_counts_though_the_agent_never_gets_it(kind: type[Any], fields: dict[str, Any]) -> None:
    """The run may end in the moment between the record and the release; a replay finds the event on the tape."""
    event = kind(tenant="t", run=RUN, agent="a", simulated=True, **fields)
    added: list[Event] = []
    held: Any = SimpleNamespace(simulated=False, permits={}, acted={}, log=SimpleNamespace(add=added.append))
    call: Any = SimpleNamespace(recorded=[], path="0")
    RunContext.record(cast("RunContext", held), cast("Call", call), event)
    assert (held.simulated, added) == (True, [event])
