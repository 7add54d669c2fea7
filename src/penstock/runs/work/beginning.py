"""The context that a claimed run begins with: from its whole tape, or from a snapshot and what came after."""

from penstock.gates.budgets.charging import Charging
from penstock.gates.filters.releasing import WITHHELD
from penstock.gates.order.tape import Tape
from penstock.gates.run.context import RunContext
from penstock.gates.run.services import Services
from penstock.gates.snapshots.snapshot import apply
from penstock.gates.snapshots.state import State, restore_facts
from penstock.journal.log import RunLog
from penstock.ports.records import Claim
from penstock.rules.verdict import RunFacts


def begin(claim: Claim, tape: Tape, log: RunLog, services: Services, state: State | None) -> RunContext:
    """A run's context, its accounts as they stand at the end of the tape."""
    settings = services.settings
    facts = RunFacts(
        tape.submitted.budget,
        depth=tape.submitted.depth,
        environment=tape.submitted.env,
        depth_max=settings.depth_max,
        fanout_max=settings.fanout_max,
        retry_base=max(0, tape.submitted.budget.retries or settings.retry_budget),
        retry_percent=settings.retry_budget_percent,
    )
    if state is not None:
        restore_facts(facts, state.engine)
    ctx = RunContext(claim, tape, log, facts, services)
    ctx.safe.every = settings.snapshot_every_events
    if tape.submitted.withheld:
        ctx.end("refused", WITHHELD, f"the input was withheld: {tape.submitted.withheld}")
    if state is not None:
        apply(ctx, state)
    for event in tape.events:
        for refs in event.payloads.values():
            log.remember(refs)
    log.summary = ctx.ledger.summary
    log.on_event = ctx.ledger.witness
    if services.budgets is not None:
        ctx.ledger.charging = charging = Charging(services.budgets, claim.tenant, tape.events)
        if charging.open:
            log.charging = charging  # else from the first reservation on
    return ctx
