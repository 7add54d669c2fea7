"""The policy in force: the gate has given it the call's facts; here it is asked, and what it says is recorded."""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """What the policy says; nothing where none is in force. One that raises denies, as every rule does."""
    return call.policy() if call.policy is not None else None


RULE = Rule("policy", 1, frozenset({"tool"}), decide)
