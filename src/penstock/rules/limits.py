"""Counted limits: steps, calls, attempts, seconds, depth, fan-out. Reaching one ends the run as ``exhausted``."""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts, Verdict


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Deny a call that would go over a limit; 0 means no limit."""
    budget = run.budget
    if budget.seconds and run.seconds >= budget.seconds:
        return _over("seconds", run.seconds, budget.seconds)
    if call.gate == "model":
        if budget.steps and run.steps >= budget.steps:
            return _over("steps", run.steps, budget.steps)
        if budget.attempts and call.attempt > budget.attempts:
            return _over("attempts", call.attempt - 1, budget.attempts)
        return None
    if budget.calls and run.tool_calls >= budget.calls:
        return _over("calls", run.tool_calls, budget.calls)
    if call.gate == "child":
        depth_limit = min(run.depth_max, budget.depth or run.depth_max)
        if call.depth > depth_limit:
            return Decision(Verdict.DENY, f"a child would be at depth {call.depth} of {depth_limit}", "over_depth")
        fanout_limit = min(run.fanout_max, budget.fanout or run.fanout_max)
        if run.children >= fanout_limit:
            return Decision(Verdict.DENY, f"{run.children} children of at most {fanout_limit}", "over_fanout")
    return None


def _over(limit: str, used: float, of: float) -> Decision:
    return Decision(Verdict.DENY, f"{limit}: {used:g} of {of:g} used", f"over_{limit}", ends_run=True)


RULE = Rule("limits", 1, frozenset({"model", "tool", "child"}), decide)
