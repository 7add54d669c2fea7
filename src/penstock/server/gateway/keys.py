"""Making keys for the gateway."""

from collections.abc import Mapping

from penstock.agents.budget import Budget
from penstock.agents.definition import check_agent_name
from penstock.kernel.clock import Clock
from penstock.kernel.errors import KeyBound
from penstock.ports.access import KeyRecord
from penstock.ports.gateway import KeyBinding
from penstock.ports.journal import Journal
from penstock.runs.submit import checked_tags
from penstock.server.access.keys import make_key
from penstock.settings import Settings

ROLE = "gateway"


async def make_gateway_key(
    journal: Journal,
    clock: Clock,
    settings: Settings,
    tenant: str,
    name: str,
    *,
    agent: str,
    tags: Mapping[str, str],
    budget: Budget,
    created_by: str,
    expires_seconds: float | None = None,
) -> tuple[KeyRecord, KeyBinding, str]:
    """Make a key that can do nothing but call models, all of it as this agent and with these tags; with its text, which
    nobody can find out later.

    Args:
        budget: of each run.

    Raises:
        AgentInvalid, TagInvalid, InputInvalid, BudgetInvalid, KeysFull: what is wrong.
    """
    check_agent_name(agent)
    bound = checked_tags(dict(tags), settings)
    record = budget.record()
    made = await make_key(
        journal.access,
        clock,
        tenant,
        name,
        [ROLE],
        most=settings.keys_max,
        created_by=created_by,
        expires_seconds=expires_seconds,
    )
    assert made is not None
    key, text = made
    binding = KeyBinding(tenant, key.id, agent, bound, record)
    if not await journal.gateway.bind(binding):
        raise KeyBound(f"the key {key.id} is bound already")
    return key, binding, text
