"""The default rules, in the order in which the gates ask them. A new rule is one file and one line here."""

from penstock.rules import (
    binding,
    breaker,
    budget,
    conflict,
    control,
    deadline,
    limits,
    permission,
    policy_rule,
    repeats,
    retries,
    schema,
    shared_budget,
    spiral,
    taint,
    tool_changed,
    tool_stop,
    validation,
)
from penstock.rules.verdict import Rule, RuleSet

RULES: tuple[Rule, ...] = (
    control.RULE,
    tool_stop.RULE,
    binding.RULE,
    tool_changed.RULE,
    permission.RULE,
    policy_rule.RULE,
    schema.RULE,
    validation.RULE,
    conflict.RULE,
    taint.RULE,
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
