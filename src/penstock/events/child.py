"""Calls whose tool is a run of its own."""

from uuid import UUID

from penstock.events.envelope import Amount, BudgetRecord, Event, RuleVerdict, Totals


class ChildIntent(Event, tag="child.intent"):
    """A child run was created in the same transaction as this event. ``payloads.input`` is its input."""

    child: UUID
    child_agent: str
    digest: str
    call_id: str = ""
    budget: BudgetRecord = BudgetRecord()
    reserved: Amount = Amount()  # carved from this run's budget
    because: str = ""  # retry: the same child failed before in this run
    passed: list[str] = []
    verdicts: list[RuleVerdict] = []


class ChildOutcome(Event, tag="child.outcome"):
    """The child's end as its parent learnt it. ``payloads.output`` is its result under this run's subject."""

    child: UUID
    outcome: str
    code: str = ""
    reason: str = ""
    totals: Totals = Totals()
    simulated: bool = False  # a simulated model took part in it
    taint: dict[str, str] = {}  # what the child has read from outside: source → kind
