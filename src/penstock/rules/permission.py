"""What an agent may do with a tool, by its effect, permission and risk class. A policy in force says it instead."""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts, Verdict


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Prohibited tools are denied; high risk, and writes that are not declared autonomous, wait for a person.

    Who must be asked is for a policy to say, where there is one: it holds what no rule of it allows.
    """
    tool = call.tool
    if tool is None:
        return call.problem or Decision(Verdict.DENY, f"there is no tool named {call.name!r}", "tool_unknown")
    if tool.risk == "prohibited":
        return Decision(Verdict.DENY, f"{tool.name} is prohibited", "prohibited")
    if call.approved or call.policy is not None:
        return None
    if tool.risk == "high":
        return Decision(Verdict.HOLD, f"{tool.name} is high risk", "high_risk")
    if tool.effect == "write" and tool.permission == "confirm":
        return Decision(Verdict.HOLD, f"{tool.name} writes and needs confirmation", "confirmation")
    return None


RULE = Rule("permission", 1, frozenset({"tool"}), decide)
