"""Circuit breakers in the database: the decisions are in the functions of migration 0023."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import msgspec

from penstock.adapters.postgres.database import Database
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import InputInvalid, JournalUnavailable
from penstock.ports.breakers import (
    BREAKERS_MAX,
    HISTORY_DAYS,
    PAGE_MAX,
    VALUES_MAX,
    WINDOW_MAX_SECONDS,
    Breaker,
    Circuit,
    Key,
    Report,
    Shared,
    Tally,
    Trip,
    View,
)

CHANNEL = "penstock_breakers"
SEAL_PAUSE_SECONDS = 0.02
"""Between two tries for the lock that appends share: writers catch up."""
REPORTS_READ = 5_000
"""Of others, at a time; older ones are left out."""
COUNTS = ("calls", "errors", "slow", "tail", "nano", "samples", "sampled")
EVIDENCE = ("gain", "start", "far_gain", "far_start")
EVIDENCE_MAX = 1e300
WOKEN_AT_ONCE = 500

_PUT = "SELECT penstock.put_breaker($1, $2, $3, $4, $5, $6)"
_REMOVE = "SELECT penstock.remove_breaker($1, $2)"
_VERSION = "SELECT version FROM penstock.breaker_version"
# One statement, one snapshot: the version is that of what is read with it.
_VIEW = """
SELECT v.version, penstock.now_us(), b.spec, c.value, c.is_open, c.generation, coalesce(penstock.to_us(c.opened_at), 0),
       coalesce(penstock.to_us(c.until), 0), c.probes_ok, c.base_samples, c.base_nano, c.reference, c.trip
FROM penstock.breaker_version v
LEFT JOIN penstock.breakers b ON true
LEFT JOIN penstock.breaker_circuits c ON c.tenant = b.tenant AND c.name = b.name
ORDER BY b.tenant, b.name, c.value"""
_SHARE = """
SELECT version, now_us, cursor_id, others, bases
FROM penstock.share_breakers($1, $2, $3, $4, $5, $6::text[], $7::text[], $8::text[], $9::integer[], $10::bigint[],
                             $11::bigint[], $12::float8[])"""
_LEARN = "SELECT penstock.learn_breaker($1, $2, $3, $4, $5)"
_TRIP = "SELECT penstock.trip_breaker($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_PROBE = "SELECT penstock.probe_breaker($1, $2, $3, $4, $5, $6)"
_PROBED = "SELECT penstock.probed_breaker($1, $2, $3, $4, $5, $6, $7, $8)"
_RESET = "SELECT penstock.reset_breaker($1, $2, $3, $4, $5)"
_WAKE = """
UPDATE penstock.runs r SET status = 'queued', wake_at = clock_timestamp()
FROM (
    SELECT k.tenant, k.id FROM penstock.runs k
    WHERE k.tenant = $1 AND k.status <> 'ended' AND k.status = 'parked' AND k.id > $2
      AND position($3::bytea IN k.waiting) > 0
    ORDER BY k.id LIMIT $4
    FOR NO KEY UPDATE SKIP LOCKED
) AS w
WHERE r.tenant = w.tenant AND r.id = w.id
RETURNING r.id"""
_TRIPS = """
SELECT tenant, name, value, id, penstock.to_us(at), actor, evidence, sealed, penstock.to_us(closed_at), closed_by
FROM penstock.breaker_trips
WHERE tenant = $1 AND ($2::text IS NULL OR name = $2)
  AND ($3::bigint IS NULL OR (at, id) < (penstock.from_us($3), $4::uuid))
ORDER BY at DESC, id DESC LIMIT $5"""


class PostgresBreakers:
    """Implements `penstock.ports.breakers.Breakers`; see there."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: list[Callable[[], None]] = []

    def heard(self, _text: str) -> None:
        """A notification came."""
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    async def put(self, breaker: Breaker, actor: str) -> None:
        spec = msgspec.json.encode(breaker)
        if not await self._database.value(_PUT, breaker.tenant, breaker.name, breaker.scope, spec, actor, BREAKERS_MAX):
            raise InputInvalid(f"there are {BREAKERS_MAX} breakers already", hint="remove some, or use the value *")

    async def remove(self, tenant: str, name: str) -> bool:
        was_there = bool(await self._database.value(_REMOVE, tenant, name))
        await self._wake(tenant)
        return was_there

    async def view(self) -> View:
        rows = await self._database.fetch(_VIEW)
        breakers: dict[tuple[str, str], Breaker] = {}
        circuits = []
        for _version, _now, spec, value, *stands in rows:
            if spec is None:
                continue
            breaker = msgspec.json.decode(spec, type=Breaker)
            breakers[breaker.tenant, breaker.name] = breaker
            if value is not None:
                circuits.append(Circuit(breaker.tenant, breaker.name, value, *stands))
        return View(rows[0][0], rows[0][1], tuple(breakers.values()), tuple(circuits))

    async def version(self) -> int:
        version: int = await self._database.value(_VERSION)
        return version

    async def share(self, holder: UUID, cursor: int, reports: Sequence[Report]) -> Shared:
        # In the order of keys: other workers lock the same rows at the same time.
        reports = sorted(reports, key=lambda report: report.key)
        counts = [getattr(report.tally, name) for report in reports for name in COUNTS]
        evidence = [min(getattr(report.tally, name), EVIDENCE_MAX) for report in reports for name in EVIDENCE]
        row = await self._database.row(
            _SHARE,
            holder,
            cursor,
            timedelta(seconds=WINDOW_MAX_SECONDS),
            VALUES_MAX,
            REPORTS_READ,
            *([report.key[part] for report in reports] for part in range(3)),
            [report.generation for report in reports],
            [report.learn for report in reports],
            counts,
            evidence,
        )
        assert row is not None
        others = [
            ((tenant, name, value), generation, at, Tally(*counted, *seen))
            for tenant, name, value, generation, at, counted, seen in msgspec.json.decode(row[3])
        ]
        bases = [((tenant, name, value), samples, nano) for tenant, name, value, samples, nano in _json(row[4])]
        return Shared(row[0], row[1], row[2], others, bases)

    async def learn(self, key: Key, reference: bytes) -> bytes:
        stored: bytes = await self._database.value(_LEARN, *key, reference, VALUES_MAX)
        return stored

    async def trip(
        self, key: Key, generation: int | None, trip: UUID, seconds: float, by: str, evidence: bytes
    ) -> bool:
        settings = self._database.settings
        said = *key, generation, trip, int(seconds * 1e6), by, evidence, VALUES_MAX
        keep = timedelta(days=HISTORY_DAYS)
        for _ in range(settings.seal_tries):
            try:
                return bool(await self._database.value(_TRIP, *said, settings.seal_wait_ms, keep))
            except JournalUnavailable as error:
                if not isinstance(error.__cause__, (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)):
                    raise
            await asyncio.sleep(SEAL_PAUSE_SECONDS)
        return bool(await self._database.value(_TRIP, *said, None, keep))

    async def probe(self, key: Key, generation: int, holder: UUID, lease_seconds: float) -> bool:
        return bool(await self._database.value(_PROBE, *key, generation, holder, int(lease_seconds * 1e6)))

    async def probed(
        self, key: Key, generation: int, holder: UUID, ok: bool | None, wanted: int, seconds: float
    ) -> None:
        await self._database.fetch(_PROBED, *key, generation, holder, ok, wanted, int(seconds * 1e6))

    async def reset(self, tenant: str, name: str, value: str | None, actor: str, *, relearn: bool = False) -> int:
        closed: int = await self._database.value(_RESET, tenant, name, value, actor, relearn)
        await self._wake(tenant)
        return closed

    async def _wake(self, tenant: str) -> None:
        """Let the runs that wait for breakers look again. One that is just being put away, and is not found here, looks
        by itself when its circuit would have been half-open."""
        after, mark = UUID(int=0), stable_json({"kind": "breaker"})[1:-1]
        while rows := await self._database.fetch(_WAKE, tenant, after, mark, WOKEN_AT_ONCE):
            after = max(row[0] for row in rows)

    async def trips(self, tenant: str, name: str | None, before: tuple[int, UUID] | None, limit: int) -> list[Trip]:
        at, id_ = before or (None, None)
        rows = await self._database.fetch(_TRIPS, tenant, name, at, id_, min(limit, PAGE_MAX))
        return [Trip(*row) for row in rows]


def _json(text: str) -> list[tuple[str, str, str, int, int]]:
    return msgspec.json.decode(text, type=list[tuple[str, str, str, int, int]])
