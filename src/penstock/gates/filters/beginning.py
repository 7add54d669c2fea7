"""What a run's filters are, and what it may trust, before its agent's code begins."""

from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from penstock.gates.filters.taint import INPUT, UNTRUSTED
from penstock.rules.filters.filters import Filters
from penstock.rules.taint import words_of

if TYPE_CHECKING:
    from penstock.gates.run.context import RunContext


def begin_filters(ctx: "RunContext", declared: Filters | None, value: Any) -> None:
    """``declared``: the agent's own, None = the setting's. ``value``: the run's input."""
    facts = ctx.facts
    filters = facts.filters = declared if declared is not None else ctx.services.filters
    if filters is None:
        return
    if not filters.trusted_input:
        facts.taint[INPUT] = UNTRUSTED
    elif filters.after_untrusted != "allow" and not ctx.tape.submitted.taint:
        # Whoever had read something untrusted before it started this run may have been told what to write.
        facts.asked = words_of(to_jsonable_python(value, fallback=str))
