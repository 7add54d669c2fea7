"""A tool of a server must be the one that was approved: servers can change their tools under an agent."""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Pass on what the server's present definition of the tool says against the call."""
    return call.changed


RULE = Rule("tool_changed", 1, frozenset({"tool"}), decide)
