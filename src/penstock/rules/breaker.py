"""Circuit breakers: a call that an open one covers is denied. The gate has asked it; here it is said and recorded."""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Deny what an open breaker does not let through."""
    return call.breaker


RULE = Rule("breaker", 1, frozenset({"model", "tool", "child"}), decide)
