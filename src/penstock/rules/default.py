"""The default rules, in the order in which the gates ask them. A new rule is one file and one line here."""

from penstock.rules import (
    breaker,
    budget,
    control,
    deadline,
    limits,
    permission,
    repeats,
    retries,
    schema,
    shared_budget,
    spiral,
    validation,
)
from penstock.rules.verdict import Rule, RuleSet

RULES: tuple[Rule, ...] = (
    control.RULE,
    permission.RULE,
    schema.RULE,
    validation.RULE,
    repeats.RULE,
    spiral.RULE,
    retries.RULE,
    deadline.RULE,
    limits.RULE,
    breaker.RULE,
    budget.RULE,
    shared_budget.RULE,
)

MODEL_RULES = RuleSet("model", RULES)
TOOL_RULES = RuleSet("tool", RULES)
CHILD_RULES = RuleSet("child", RULES)
