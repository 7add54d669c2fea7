"""Tools that are not called in this environment: denied there, not bound to anything, or short of a secret."""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """What the gate knows of the environment's file (`penstock.gates.environment.bindings`)."""
    return call.unbound


RULE = Rule("binding", 1, frozenset({"tool"}), decide)
