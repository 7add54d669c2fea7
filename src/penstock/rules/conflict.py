"""Writes about something that another run is busy with: an order, a ticket, an account."""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """What the gate was told by the store, which knows who has the tool's ``resource``."""
    return call.conflict


RULE = Rule("conflict", 1, frozenset({"tool"}), decide)
