"""`penstock.ports.gateway.Gateway` in PostgreSQL, and what an append needs that makes runs."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from penstock.adapters.postgres.database import Database
from penstock.events import BudgetRecord
from penstock.ports.gateway import KeyBinding, NamedRun
from penstock.ports.records import Batch, Begin

_BIND = """
WITH bound AS (
    INSERT INTO penstock.gateway_keys (tenant, key_id, agent, tags, budget) VALUES ($1, $2, $3, $4::jsonb, $5::jsonb)
    ON CONFLICT DO NOTHING RETURNING 1
)
SELECT EXISTS (SELECT FROM bound) OR EXISTS (
    SELECT FROM penstock.gateway_keys WHERE tenant = $1 AND key_id = $2
      AND (agent, tags, budget) = ($3, $4::jsonb, $5::jsonb)
)"""
_BINDING = "SELECT agent, tags::text, budget::text FROM penstock.gateway_keys WHERE tenant = $1 AND key_id = $2"
_NAMED = """
SELECT r.id, r.worker FROM penstock.gateway_runs g
JOIN penstock.runs r ON r.tenant = g.tenant AND r.id = g.run_id AND r.status <> 'ended'
WHERE g.tenant = $1 AND g.name = $2"""


class PostgresGateway:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bind(self, binding: KeyBinding) -> bool:
        tags, budget = msgspec.json.encode(binding.tags).decode(), msgspec.json.encode(binding.budget).decode()
        return bool(await self._database.value(_BIND, binding.tenant, binding.key, binding.agent, tags, budget))

    async def binding(self, tenant: str, key: UUID) -> KeyBinding | None:
        record = await self._database.row(_BINDING, tenant, key)
        if record is None:
            return None
        agent, tags, budget = record
        return KeyBinding(
            tenant,
            key,
            agent,
            msgspec.json.decode(tags, type=dict[str, str]),
            msgspec.json.decode(budget, type=BudgetRecord),
        )

    async def named(self, tenant: str, name: str) -> NamedRun | None:
        record = await self._database.row(_NAMED, tenant, name)
        return None if record is None else NamedRun(record[0], record[1])


def begin_arguments(batches: Sequence[Batch]) -> list[object]:
    """Arguments of ``penstock.begin_held``: the runs that the batches make, all of them held by one worker."""
    begins = [batch.begin for batch in batches if batch.begin is not None]
    runs = [begin.run for begin in begins]
    return [
        _worker(begins),
        [run.tenant for run in runs],
        [run.id for run in runs],
        [run.agent for run in runs],
        [run.release for run in runs],
        [run.env for run in runs],
        [run.format for run in runs],
        [run.subject_key for run in runs],
        [msgspec.json.encode(run.tags).decode() for run in runs],
        [run.event.body for run in runs],
        [run.event.hash for run in runs],
        [begin.name for begin in begins],
    ]


def _worker(begins: Sequence[Begin]) -> UUID:
    workers = {begin.worker for begin in begins}
    if len(workers) != 1:
        raise ValueError("the runs of an append are made by one worker")
    return workers.pop()
