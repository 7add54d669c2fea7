"""The tool's own bounds and business rules. They are pure functions of the arguments, and some of the run so far; they
fail closed."""

from penstock.ports.tools import Validator
from penstock.rules.checks import Check
from penstock.rules.verdict import CallFacts, Decision, Rule, RunFacts, Verdict


def decide(call: CallFacts, run: RunFacts) -> Decision | None:
    """Deny at the first validator that objects, raises, or answers with anything but None or words."""
    if call.tool is None:
        return None
    for validator in call.tool.validators:
        name = _name(validator)
        try:
            objection = _asked(validator, call, run)
        except Exception as error:
            return Decision(Verdict.DENY, f"{name} failed: {type(error).__name__}", "validation_failed")
        if objection is None:
            continue
        if not isinstance(objection, str):
            return Decision(Verdict.DENY, f"{name} answered {type(objection).__name__}", "validation_failed")
        return Decision(Verdict.DENY, f"{name}: {objection}", "not_valid")
    return None


def _asked(validator: Validator, call: CallFacts, run: RunFacts) -> str | None:
    if not isinstance(validator, Check) or not validator.needs_case:
        return validator(call.args)
    case = run.case
    if case is None:
        raise LookupError("what the run has done so far is not known")
    case.tool, case.path = call.name, call.path
    return validator.judge(call.args, case)


def _name(validator: Validator) -> str:
    if isinstance(validator, Check):
        return validator.part.split(" ", maxsplit=1)[0]
    return getattr(validator, "__name__", type(validator).__name__)


RULE = Rule("validation", 1, frozenset({"tool"}), decide)
