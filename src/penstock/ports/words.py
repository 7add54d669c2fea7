"""Words that stores, views and callers share."""

OUTCOMES = ("succeeded", "failed", "exhausted", "refused", "escalated", "cancelled", "killed")
"""How a run can end."""
WAITED_FOR = (
    "approval",
    "doubt",
    "child",
    "event",
    "run",
    "timer",
    "retry",
    "rate",
    "breaker",
    "budget",
    "stop",
    "resource",
)
"""What a run that is put away can wait for."""
