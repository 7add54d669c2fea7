"""An ended run once more: the same agent and input, with a history of its own."""

from decimal import Decimal
from uuid import UUID

import msgspec

from penstock.agents.budget import Budget
from penstock.events import BudgetRecord, RunSubmitted, decode
from penstock.gates.run.services import Services
from penstock.journal.payloads import ref_address
from penstock.journal.pruned import pruned
from penstock.kernel.errors import AgentUnknown, EventUnreadable, RunNotEnded, RunUnknown
from penstock.kernel.money import NANO
from penstock.ports.records import Status
from penstock.runs.registry import Registry
from penstock.runs.submit import Request


async def again(
    services: Services, registry: Registry, tenant: str, run: UUID, *, actor: str, key: str | None = None
) -> Request:
    """What has to be submitted so that an ended run is made once more, by the agent's code of today.

    Input, tags, budget, session, priority, subject and on whose behalf are those of the first; its deadline is not.

    Raises:
        RunUnknown: no such run for this tenant.
        RunNotEnded: it goes on by itself, or waits for somebody.
        RunPruned, PayloadMissing: its input is gone.
        AgentUnknown: its agent is not offered here.
    """
    row = await services.journal.get_run(tenant, run)
    if row is None:
        raise RunUnknown(f"there is no run {run} for tenant {tenant!r}")
    if row.status is not Status.ENDED:
        raise RunNotEnded(f"run {run} has not ended; it is {row.status.value}", status=row.status.value)
    if row.pruned_at is not None:
        raise await pruned(services.journal, row)
    first = await services.journal.tape(tenant, run, limit=1)
    event = decode(first[0].body) if first else None
    if not isinstance(event, RunSubmitted):
        raise EventUnreadable(f"run {run} does not begin with its submission")
    agent = registry.find(row.agent)
    if agent is None:
        offered = ", ".join(registry.names) or "none"
        raise AgentUnknown(f"the agent {row.agent!r} is not offered here; these are: {offered}")
    data = await services.reader.read(tenant, row.subject, ref_address(event.payloads["input"][0]))
    return Request(
        agent,
        msgspec.json.decode(data),
        key=key,
        tags=dict(event.tags),
        budget=None if event.budget == agent.budget else budget_of(event.budget),
        tenant=tenant,
        subject=event.subject,
        session=event.session,
        priority=event.priority,
        behalf=event.behalf,
        actor=actor,
    )


def budget_of(record: BudgetRecord) -> Budget:
    """The budget of which a record was made."""
    return Budget(
        tokens=record.tokens or None,
        usd=Decimal(record.nano) / NANO if record.nano else None,
        steps=record.steps or None,
        calls=record.calls or None,
        attempts=record.attempts or None,
        seconds=record.seconds or None,
        depth=record.depth or None,
        fanout=record.fanout or None,
        retries=None if record.retries == 0 else max(0, record.retries),
    )
