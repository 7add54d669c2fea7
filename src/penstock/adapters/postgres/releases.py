"""`penstock.ports.releases.Releases` in PostgreSQL."""

from collections.abc import Sequence
from uuid import UUID

from penstock.adapters.postgres.database import Database
from penstock.events import FORMAT
from penstock.kernel.clock import wall_seconds
from penstock.ports.releases import STRANDED_MAX, Adopted, Adoption, LiveWorker, Restored, StrandedRun

FORMAT_AGE_SECONDS = 1.0
"""How long a format below this installation's is taken for granted. It only ever rises, and a lower one is safe."""

_OFFER = "SELECT penstock.offer($1, $2::text[], $3)"

_OFFERED = """
SELECT EXISTS (
    SELECT FROM penstock.workers w
    WHERE w.lease_until > clock_timestamp()
      AND (w.format = 1 OR EXISTS (SELECT FROM penstock.offers o WHERE o.release = $1 AND o.worker = w.id))
      AND NOT EXISTS (SELECT FROM penstock.worker_environments e WHERE e.worker = w.id AND e.env <> $2)
)"""

WORKERS = """
SELECT w.name, w.format, coalesce(array_agg(o.release ORDER BY o.release) FILTER (WHERE o.release IS NOT NULL), '{}')
FROM penstock.workers w LEFT JOIN penstock.offers o ON o.worker = w.id
WHERE w.lease_until > clock_timestamp() GROUP BY w.id, w.name, w.format ORDER BY w.name"""

_STRANDED = "SELECT id, agent, release, status, since FROM penstock.stranded($1, $2, $3)"

_WRITE_FORMAT = "SELECT max(format) FROM penstock.formats"

_FINALIZE = "SELECT penstock.finalize($1, $2)"

_ADOPT = "SELECT penstock.adopt($1, $2, $3, $4, $5, $6, $7, $8)"

_MARK_RESTORED = "SELECT fenced, held, workers FROM penstock.mark_restored($1, $2)"

_RESUME_RESTORED = "SELECT penstock.resume_restored($1)"


class PostgresReleases:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._format = 0
        self._asked = 0.0

    async def offer(self, worker: UUID, releases: Sequence[str], reads: int) -> None:
        await self._database.fetch(_OFFER, worker, list(releases), reads)

    async def offered(self, release: str, environment: str | None = None) -> bool:
        return bool(await self._database.value(_OFFERED, release, environment))

    async def workers(self) -> list[LiveWorker]:
        return [LiveWorker(*record) for record in await self._database.fetch(WORKERS)]

    async def stranded(self, tenant: str, limit: int, after: UUID | None = None) -> list[StrandedRun]:
        found = await self._database.fetch(_STRANDED, tenant, after, min(limit, STRANDED_MAX))
        return [StrandedRun(*record) for record in found]

    async def write_format(self) -> int:
        if self._format < FORMAT and (not self._format or wall_seconds() - self._asked > FORMAT_AGE_SECONDS):
            self._asked = wall_seconds()
            self._format = min(FORMAT, await self._database.value(_WRITE_FORMAT))
        return self._format

    async def finalize(self, to: int, actor: str) -> list[str]:
        self._format = 0
        too_old: list[str] = await self._database.value(_FINALIZE, to, actor)
        return too_old

    async def adopt(self, adoption: Adoption) -> Adopted:
        answer = await self._database.value(
            _ADOPT,
            adoption.tenant,
            adoption.run,
            adoption.epoch,
            adoption.last_seq,
            adoption.release,
            adoption.format,
            adoption.body,
            adoption.hash,
        )
        return Adopted(answer)

    async def mark_restored(self, *, hold: bool, actor: str) -> Restored:
        return Restored(*(await self._database.fetch(_MARK_RESTORED, hold, actor))[0])

    async def resume_restored(self, actor: str) -> int:
        resumed: int = await self._database.value(_RESUME_RESTORED, actor)
        return resumed
