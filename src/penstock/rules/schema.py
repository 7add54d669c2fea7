"""Arguments must be readable and match the tool's schema."""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Pass on what reading the arguments found; the gate reads them once, for the rule and for the call."""
    return call.problem


RULE = Rule("schema", 1, frozenset({"tool", "child"}), decide)
