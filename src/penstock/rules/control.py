"""Stops and pauses: a run that is to stop starts nothing more."""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts, Verdict


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Deny everything once a pause, cancel or kill is known. The append checks again, under the row's lock."""
    if run.stop:
        return Decision(Verdict.DENY, f"the run is under a {run.stop}", "stopped")
    return None


RULE = Rule("control", 1, frozenset({"model", "tool", "child"}), decide)
