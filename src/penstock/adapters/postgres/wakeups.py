"""`penstock.ports.wakeups.Wakeups` in PostgreSQL."""

from collections.abc import Callable, Sequence

from penstock.adapters.postgres.database import Database
from penstock.ports.wakeups import LISTED_MOST, LOOKED_AT_MOST, Rescue

_LOOK = "SELECT tenant, run_id, epoch, why, child FROM penstock.look_for_overslept($1, $2)"
_RESCUED = """
SELECT tenant, run_id, epoch, why, NULL::uuid, penstock.to_us(at) FROM penstock.rescues
ORDER BY at DESC, tenant, run_id LIMIT $1"""


class PostgresWakeups:
    """See the port. ``tell`` makes it known that something may have become due."""

    def __init__(self, database: Database, tell: Callable[[], None]) -> None:
        self._database = database
        self._tell = tell

    async def look(self, every_seconds: float, limit: int) -> Sequence[Rescue]:
        found = await self._database.fetch(_LOOK, int(every_seconds * 1e6), min(limit, LOOKED_AT_MOST))
        if found:
            self._tell()
        return [Rescue(*record) for record in found]

    async def rescued(self, limit: int) -> list[Rescue]:
        return [Rescue(*record) for record in await self._database.fetch(_RESCUED, min(limit, LISTED_MOST))]
