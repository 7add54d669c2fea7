"""`penstock.ports.circles.Circles` in PostgreSQL."""

from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from penstock.adapters.postgres.database import Database
from penstock.events import Waiting
from penstock.ports.circles import Broken, HeldWait, Sleeper

_LOOK = "SELECT tenant, run_id FROM penstock.look_for_circles($1, $2)"
_SLEEPERS = """
SELECT r.id, r.epoch, CASE WHEN r.status = 'parked' THEN r.waiting ELSE '[]' END,
    ARRAY(
        SELECT ROW(w.path, w.target, w.arrival) FROM penstock.waits w
        WHERE w.tenant = r.tenant AND w.run_id = r.id AND w.target IS NOT NULL AND w.kind IN ('event', 'run')
          AND w.until = 0 AND r.status = 'parked'
    ),
    ARRAY(SELECT penstock.session_holders(r.tenant, r.session, r.id) WHERE r.status = 'queued')
FROM penstock.runs r
WHERE r.tenant = $1 AND r.id = ANY ($2::uuid[])
  AND (r.status = 'parked' AND r.wake_at IS NULL OR r.status = 'queued' AND r.turn = 2)"""
_BREAK = "SELECT penstock.break_circle($1, $2, $3, $4, $5, $6, $7)"


class PostgresCircles:
    """See the port. ``tell`` makes it known that something may have become due."""

    def __init__(self, database: Database, tell: Callable[[], None]) -> None:
        self._database = database
        self._tell = tell

    async def look(self, every_seconds: float, limit: int) -> list[tuple[str, UUID]]:
        return [(row[0], row[1]) for row in await self._database.fetch(_LOOK, int(every_seconds * 1e6), limit)]

    async def sleepers(self, tenant: str, runs: Sequence[UUID]) -> list[Sleeper]:
        return [
            Sleeper(
                run,
                epoch,
                msgspec.json.decode(waiting, type=list[Waiting]),
                [HeldWait(*wait) for wait in held],
                list(behind),
            )
            for run, epoch, waiting, held, behind in await self._database.fetch(_SLEEPERS, tenant, list(runs))
        ]

    async def break_wait(self, broken: Broken) -> bool:
        ended: bool = await self._database.value(
            _BREAK,
            broken.tenant,
            broken.run,
            broken.wait.path,
            broken.dedup,
            broken.body,
            list(broken.sleeping),
            list(broken.sleeping.values()),
        )
        if ended:
            self._tell()
        return ended
