"""`penstock.checks`: what may be said under ``@tool(validate=[…])`` without writing it."""

from penstock.rules.case import Case, CaseCall
from penstock.rules.checks import (
    Check,
    at_most_calls,
    bounds,
    custom,
    exactly_one,
    in_order,
    length,
    one_of,
    required,
    sum_at_most,
)
from penstock.rules.traced import traced

__all__ = [
    "Case",
    "CaseCall",
    "Check",
    "at_most_calls",
    "bounds",
    "custom",
    "exactly_one",
    "in_order",
    "length",
    "one_of",
    "required",
    "sum_at_most",
    "traced",
]
