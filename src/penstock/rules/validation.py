"""The tool's own bounds and business rules. They are pure functions of the arguments and fail closed."""

from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts, Verdict


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Deny at the first validator that objects, raises, or answers with anything but None or words."""
    if call.tool is None:
        return None
    for validator in call.tool.validators:
        name = getattr(validator, "__name__", type(validator).__name__)
        try:
            objection = validator(call.args)
        except Exception as error:
            return Decision(Verdict.DENY, f"{name} failed: {type(error).__name__}", "validation_failed")
        if objection is None:
            continue
        if not isinstance(objection, str):
            return Decision(Verdict.DENY, f"{name} answered {type(objection).__name__}", "validation_failed")
        return Decision(Verdict.DENY, f"{name}: {objection}", "not_valid")
    return None


RULE = Rule("validation", 1, frozenset({"tool"}), decide)
