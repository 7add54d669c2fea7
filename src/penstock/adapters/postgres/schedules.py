"""`penstock.ports.schedules.Schedules` in PostgreSQL."""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from penstock.adapters.postgres.database import Database
from penstock.kernel.errors import SchedulesFull
from penstock.ports.schedules import LOOK_AGAIN_US, MAX_LIST, Due, Fired, Plan, Schedule

_logger = logging.getLogger("penstock.journal")

_NAMES = (
    "tenant, id, name, agent, plan, subject, address, next_at, due_at, created_at, created_by, paused, paused_by,"
    " queued_at, requested_at, fired, skipped, last_at, last_run, last_error"
)
_PUT = "SELECT penstock.put_schedule($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
_GET = f"SELECT {_NAMES} FROM penstock.schedules WHERE tenant = $1 AND name = $2"  # noqa: S608 - constants
_LIST = f"SELECT {_NAMES} FROM penstock.schedules WHERE tenant = $1 AND name > $2 ORDER BY name LIMIT $3"  # noqa: S608
_PAUSE = """
UPDATE penstock.schedules s SET paused = true, paused_by = $3, queued_at = 0,
    look_at = penstock.schedule_look_at(true, 0, 0, s.requested_at, penstock.now_us(), 0)
WHERE tenant = $1 AND name = $2 RETURNING 1"""
_RESUME = """
UPDATE penstock.schedules s SET paused = false, paused_by = '', next_at = $3, due_at = $4,
    token = token + 1, taken_at = 0,
    look_at = penstock.schedule_look_at(false, $4, s.queued_at, s.requested_at, penstock.now_us(), 0)
WHERE tenant = $1 AND name = $2 AND paused RETURNING 1"""
_KNOWN = "SELECT 1 FROM penstock.schedules WHERE tenant = $1 AND name = $2"
_REMOVE = "DELETE FROM penstock.schedules WHERE tenant = $1 AND name = $2 RETURNING 1"
_REQUEST = """
UPDATE penstock.schedules SET requested_at = penstock.now_us(), look_at = penstock.now_us()
WHERE tenant = $1 AND name = $2 RETURNING 1"""
_TAKE = f"""
SELECT {", ".join(f"t.{name.strip()}" for name in _NAMES.split(","))}, t.taken_at, t.token,
    EXISTS (
        SELECT FROM penstock.runs r
        WHERE r.tenant = t.tenant AND r.id = t.last_run AND r.status NOT IN ('ended', 'quarantined')
    )
FROM penstock.take_schedules_in($1, $2, $3, $4) AS t"""  # noqa: S608 - constants
_SETTLE = "SELECT penstock.settle_schedule($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"


class PostgresSchedules:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, schedule: Schedule, *, replace: bool, limit: int) -> bool:
        stored: int = await self._database.value(
            _PUT,
            schedule.tenant,
            schedule.name,
            schedule.id,
            schedule.agent,
            msgspec.json.encode(schedule.plan).decode(),
            schedule.subject,
            schedule.address,
            schedule.created_by,
            schedule.paused,
            schedule.next_at,
            schedule.due_at,
            replace,
            limit,
        )
        if stored < 0:
            raise SchedulesFull(f"the tenant {schedule.tenant!r} has {limit:,} schedules")
        return bool(stored)

    async def get(self, tenant: str, name: str) -> Schedule | None:
        record = await self._database.row(_GET, tenant, name)
        return None if record is None else _schedule(record)

    async def list_schedules(self, tenant: str, after: str = "", limit: int = 100) -> list[Schedule]:
        return [_schedule(record) for record in await self._database.fetch(_LIST, tenant, after, min(limit, MAX_LIST))]

    async def pause(self, tenant: str, name: str, actor: str) -> bool:
        return await self._database.row(_PAUSE, tenant, name, actor) is not None

    async def resume(self, tenant: str, name: str, next_at: int, due_at: int) -> bool:
        if await self._database.row(_RESUME, tenant, name, next_at, due_at) is not None:
            return True
        return await self._database.row(_KNOWN, tenant, name) is not None

    async def remove(self, tenant: str, name: str) -> bool:
        return await self._database.row(_REMOVE, tenant, name) is not None

    async def request(self, tenant: str, name: str) -> bool:
        return await self._database.row(_REQUEST, tenant, name) is not None

    async def take_due(
        self, agents: Sequence[str], lease_seconds: float, limit: int, environment: str = ""
    ) -> list[Due]:
        taken = await self._database.fetch(_TAKE, [*agents], int(lease_seconds * 1e6), limit, environment)
        due = []
        for record in taken:
            try:
                due.append(Due(_schedule(record), record[20], bool(record[22]), record[21]))
            except msgspec.ValidationError as error:  # a newer installation's: left to its workers
                _logger.warning("schedule %s of %s cannot be read here: %s", record[2], record[0], error)
        return due

    async def settle(self, due: Due, fired: Fired) -> bool:
        schedule = due.schedule
        settled: bool = await self._database.value(
            _SETTLE,
            schedule.tenant,
            schedule.name,
            schedule.id,
            due.token,
            fired.next_at,
            fired.due_at,
            fired.queued_at,
            fired.requested_at,
            fired.fired,
            fired.skipped,
            fired.last_at,
            fired.last_run,
            fired.error,
            LOOK_AGAIN_US,
        )
        return settled


def _schedule(record: Sequence[Any]) -> Schedule:
    values = list(record[:20])
    values[4] = msgspec.json.decode(values[4], type=Plan)
    return Schedule(*values)
