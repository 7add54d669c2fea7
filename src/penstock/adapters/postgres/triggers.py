"""`penstock.ports.triggers.Triggers` in PostgreSQL."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from penstock.adapters.postgres.database import Database
from penstock.kernel.errors import TriggersFull
from penstock.ports.triggers import MAX_LIST, Backlog, Fired, Firing, Trigger, TriggerPlan

_NAMES = (
    "tenant, id, name, event, prefix, agent, plan, pending_max, created_at, created_by, paused, paused_by, fired,"
    " failed, last_at, last_run, last_error"
)
_FIRING = "tenant, trigger_id, id, agent, event, key, dedup, body, at, token, error"
_PUT = "SELECT penstock.put_trigger($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
_GET = f"SELECT {_NAMES} FROM penstock.triggers WHERE tenant = $1 AND name = $2"  # noqa: S608 - constants
_BY_ID = f"SELECT {_NAMES} FROM penstock.triggers WHERE tenant = $1 AND id = $2"  # noqa: S608
_LIST = f"SELECT {_NAMES} FROM penstock.triggers WHERE tenant = $1 AND name > $2 ORDER BY name LIMIT $3"  # noqa: S608
_PAUSE = "SELECT penstock.pause_trigger($1, $2, $3, $4)"
_REMOVE = "DELETE FROM penstock.triggers WHERE tenant = $1 AND name = $2 RETURNING 1"
_BACKLOG = """
SELECT
    (SELECT count(*) FROM (
        SELECT FROM penstock.firings f WHERE f.tenant = $1 AND f.trigger_id = $2 AND f.look_at IS NOT NULL LIMIT $3
    ) AS pending),
    (SELECT count(*) FROM (
        SELECT FROM penstock.firings f WHERE f.tenant = $1 AND f.trigger_id = $2 AND f.look_at IS NULL LIMIT $3
    ) AS failed)"""
_FAILURES = f"""
SELECT {_FIRING} FROM penstock.firings
WHERE tenant = $1 AND trigger_id = $2 AND look_at IS NULL ORDER BY id DESC LIMIT $3"""  # noqa: S608
# Materialised: a bare subquery with SKIP LOCKED may be run again for each row that it is joined to, beyond its limit.
_RETRY = """
WITH old AS MATERIALIZED (
    SELECT o.tenant, o.trigger_id, o.id FROM penstock.firings o
    WHERE o.tenant = $1 AND o.trigger_id = $2 AND o.look_at IS NULL ORDER BY o.id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE penstock.firings f SET look_at = penstock.now_us(), error = '' FROM old
WHERE f.tenant = old.tenant AND f.trigger_id = old.trigger_id AND f.id = old.id
RETURNING 1"""
_TAKE = f"SELECT {_FIRING} FROM penstock.take_firings_in($1, $2, $3, $4) ORDER BY at, id"  # noqa: S608
_SETTLE = "SELECT penstock.settle_firings($1, $2, $3, $4, $5, $6)"
_EXPIRE = """
WITH old AS MATERIALIZED (
    SELECT o.tenant, o.trigger_id, o.id FROM penstock.firings o
    WHERE o.look_at IS NULL AND o.expires_at <= penstock.now_us()
    ORDER BY o.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
DELETE FROM penstock.firings f USING old
WHERE f.tenant = old.tenant AND f.trigger_id = old.trigger_id AND f.id = old.id
RETURNING 1"""


class PostgresTriggers:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, trigger: Trigger, *, replace: bool, limit: int, same_event: int) -> bool:
        stored: int = await self._database.value(
            _PUT,
            trigger.tenant,
            trigger.name,
            trigger.id,
            trigger.event,
            trigger.prefix,
            trigger.agent,
            msgspec.json.encode(trigger.plan).decode(),
            trigger.pending_max,
            trigger.created_by,
            trigger.paused,
            replace,
            limit,
            same_event,
        )
        if stored < 0:
            raise TriggersFull(
                f"the tenant {trigger.tenant!r} has {limit:,} triggers, or {same_event:,} for {trigger.event}"
            )
        return bool(stored)

    async def get(self, tenant: str, name: str) -> Trigger | None:
        record = await self._database.row(_GET, tenant, name)
        return None if record is None else _trigger(record)

    async def by_id(self, tenant: str, trigger: UUID) -> Trigger | None:
        record = await self._database.row(_BY_ID, tenant, trigger)
        return None if record is None else _trigger(record)

    async def list_triggers(self, tenant: str, after: str = "", limit: int = 100) -> list[Trigger]:
        return [_trigger(record) for record in await self._database.fetch(_LIST, tenant, after, min(limit, MAX_LIST))]

    async def pause(self, tenant: str, name: str, actor: str) -> bool:
        return bool(await self._database.value(_PAUSE, tenant, name, True, actor))

    async def resume(self, tenant: str, name: str) -> bool:
        return bool(await self._database.value(_PAUSE, tenant, name, False, ""))

    async def remove(self, tenant: str, name: str) -> bool:
        return await self._database.row(_REMOVE, tenant, name) is not None

    async def backlog(self, tenant: str, trigger: UUID, most: int) -> Backlog:
        row = await self._database.row(_BACKLOG, tenant, trigger, most)
        assert row is not None
        return Backlog(*row)

    async def failures(self, tenant: str, trigger: UUID, limit: int) -> list[Firing]:
        return [Firing(*row) for row in await self._database.fetch(_FAILURES, tenant, trigger, min(limit, MAX_LIST))]

    async def retry(self, tenant: str, trigger: UUID, limit: int) -> int:
        return len(await self._database.fetch(_RETRY, tenant, trigger, limit))

    async def take(
        self, agents: Sequence[str], lease_seconds: float, limit: int, environment: str = ""
    ) -> list[Firing]:
        lease = int(lease_seconds * 1e6)
        return [Firing(*row) for row in await self._database.fetch(_TAKE, [*agents], lease, limit, environment)]

    async def settle(self, fired: Sequence[Fired]) -> int:
        settled: int = await self._database.value(
            _SETTLE,
            [item.firing.tenant for item in fired],
            [item.firing.trigger for item in fired],
            [item.firing.id for item in fired],
            [item.firing.token for item in fired],
            [item.run for item in fired],
            [item.error for item in fired],
        )
        return settled

    async def expire(self, limit: int) -> int:
        return len(await self._database.fetch(_EXPIRE, limit))


def _trigger(record: Sequence[Any]) -> Trigger:
    values = list(record)
    values[6] = msgspec.json.decode(values[6], type=TriggerPlan)
    return Trigger(*values)
