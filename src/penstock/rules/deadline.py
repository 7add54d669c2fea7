"""Deadlines: a call that cannot end in time is not started."""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts, Verdict


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Deny a call when no time is left, or less than its tool says that it needs."""
    left = call.seconds_left
    if left is None:
        return None
    if left <= 0:
        return Decision(Verdict.DENY, "the deadline has passed", "deadline_exceeded")
    needs = call.tool.needs_seconds if call.tool is not None else 0.0
    if left < needs:
        words = f"it takes at least {needs:g} s, and the deadline is in {left:.3g} s"
        return Decision(Verdict.DENY, words, "deadline_exceeded")
    return None


RULE = Rule("deadline", 1, frozenset({"model", "tool", "child"}), decide)
