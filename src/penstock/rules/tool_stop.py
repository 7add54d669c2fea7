"""Tools that somebody has stopped: no run calls them, whatever else would allow it."""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """What the gate knows of a kill of the tool. The append checks again (`penstock.gates.stops.guard`)."""
    return call.stopped


RULE = Rule("tool_stop", 1, frozenset({"tool"}), decide)
