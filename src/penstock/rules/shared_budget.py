"""Budgets above the task: a call is made only when the most it can use fits in all that cover it.

Their accounts are shared by all workers, so what is left is not among a run's facts: the gate reserves, and tells the
rule why it could not.
"""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Deny a call that a budget above the task does not hold. Codes: ``over_shared_usd``, ``over_shared_tokens``,
    ``over_shared_calls``; ``price_unknown`` where money is limited and the price is not known."""
    del run
    return call.shared


RULE = Rule("shared_budget", 1, frozenset({"model", "tool"}), decide)
