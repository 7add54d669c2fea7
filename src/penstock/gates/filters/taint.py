"""Where what a run has read comes from: kept in its facts, from its tape alone."""

from typing import TYPE_CHECKING

from penstock.events import ChildOutcome, Event, RunSubmitted, ToolOutcome
from penstock.rules.verdict import RunFacts

if TYPE_CHECKING:
    from penstock.ports.tools import ToolDef

INPUT = "input"
"""The source that a run's own input is, where a stranger wrote it."""
UNTRUSTED = "untrusted"
TAINTING = frozenset((ToolOutcome, ChildOutcome, RunSubmitted))


def taint_of(tool: "ToolDef", *, content: bool) -> dict[str, str]:
    """What an agent that sees the outcome of a call has read from outside. ``content``: the tool said something."""
    return {tool.name: UNTRUSTED} if content and tool.returns == UNTRUSTED else {}


def take(facts: RunFacts, event: Event) -> None:
    """The next event of the run, from its tape or live."""
    if type(event) in TAINTING and event.taint:  # type: ignore[attr-defined]
        facts.taint.update(event.taint)  # type: ignore[attr-defined]


def handed(taint: dict[str, str], agent: str) -> dict[str, str]:
    """What one run has read, as another that hears from it may have: its input is not that one's."""
    return {f"{INPUT} of {agent}" if source == INPUT else source: kind for source, kind in sorted(taint.items())}


def lasting(taint: dict[str, str]) -> dict[str, str]:
    """What of it follows from events: that the input is untrusted, the agent says anew each time."""
    return {source: kind for source, kind in sorted(taint.items()) if source != INPUT}
