"""Shared limits in the database: the arithmetic is in ``penstock.take_rates`` (migration 0006)."""

from collections.abc import Sequence
from uuid import UUID

from penstock.adapters.postgres.database import Database, columns
from penstock.kernel.errors import InputInvalid
from penstock.ports.rates import (
    AHEAD_US,
    LIMITS_MAX,
    WINDOW_SECONDS,
    Grant,
    Limit,
    LimitKey,
    LimitUse,
    Returned,
)

_SET = """
INSERT INTO penstock.rates (tenant, kind, pattern, requests, tokens, concurrent, burst, actor)
SELECT $1, $2, $3, $4, $5, $6, $7, $8
WHERE (SELECT count(*) FROM penstock.rates) < $9
   OR EXISTS (SELECT FROM penstock.rates WHERE tenant = $1 AND kind = $2 AND pattern = $3)
ON CONFLICT (tenant, kind, pattern) DO UPDATE
SET requests = excluded.requests, tokens = excluded.tokens, concurrent = excluded.concurrent, burst = excluded.burst,
    actor = excluded.actor, set_at = clock_timestamp()
RETURNING true"""

_REMOVE = """
WITH gone AS (
    DELETE FROM penstock.rate_holders WHERE tenant = $1 AND kind = $2 AND pattern = $3
)
DELETE FROM penstock.rates WHERE tenant = $1 AND kind = $2 AND pattern = $3 RETURNING true"""

_LIMITS = """
SELECT tenant, kind, pattern, requests, tokens, concurrent, burst FROM penstock.rates
ORDER BY tenant, kind, pattern LIMIT $1"""

_TAKE = """
SELECT starts, retry_at, in_the_way, now_us
FROM penstock.take_rates($1, $2::text[], $3::text[], $4::text[], $5::bigint[], $6, $7, $8, $9)"""

_SETTLE = """
SELECT penstock.settle_rates($1, $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::integer[], $8)"""

_COOL_DOWN = """
UPDATE penstock.rates SET cooldown_until = w.until, cooldown_code = $5
FROM (SELECT penstock.to_us(clock_timestamp()) + $4::bigint AS until) AS w
WHERE tenant = $1 AND kind = $2 AND pattern = $3 AND cooldown_until < w.until"""

# The rings hold a second at (second % 64) + 1, and only seconds from latest - 63 on.
_USE = """
WITH clock AS (SELECT penstock.to_us(clock_timestamp()) AS now)
SELECT r.tenant, r.kind, r.pattern, r.requests, r.tokens, r.concurrent, r.burst, m.requests, m.tokens,
       h.held, h.waiting, h.oldest, r.cooldown_until, r.cooldown_code, clock.now
FROM penstock.rates r
CROSS JOIN clock
CROSS JOIN LATERAL (
    SELECT coalesce(sum(r.requests_ring[s % 64 + 1]), 0)::bigint AS requests,
           coalesce(sum(r.tokens_ring[s % 64 + 1]), 0)::bigint AS tokens
    FROM generate_series(greatest(r.latest - 63, clock.now / 1000000 - 59), r.latest) AS s
) AS m
CROSS JOIN LATERAL (
    SELECT coalesce(sum(h.held), 0)::bigint AS held, coalesce(sum(h.waiting), 0)::bigint AS waiting,
           coalesce(min(h.since) FILTER (WHERE h.waiting > 0), 0) AS oldest
    FROM penstock.rate_holders h
    WHERE h.tenant = r.tenant AND h.kind = r.kind AND h.pattern = r.pattern AND h.until > clock.now
) AS h
ORDER BY r.tenant, r.kind, r.pattern LIMIT $1"""


class PostgresRates:
    """Implements `penstock.ports.rates.Rates`; see there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set_limit(self, limit: Limit, actor: str) -> None:
        numbers = limit.requests, limit.tokens, limit.concurrent, limit.burst
        if not await self._database.value(_SET, *limit.key, *numbers, actor, LIMITS_MAX):
            raise InputInvalid(f"there are {LIMITS_MAX} limits already", hint="remove some, or use patterns")

    async def remove_limit(self, key: LimitKey) -> bool:
        return bool(await self._database.value(_REMOVE, *key))

    async def limits(self) -> list[Limit]:
        return [Limit(*row) for row in await self._database.fetch(_LIMITS, LIMITS_MAX)]

    async def take(
        self, holder: UUID, keys: Sequence[LimitKey], asks: Sequence[int], since: int, lease_seconds: float
    ) -> Grant:
        lease = int(lease_seconds * 1e6)
        row = await self._database.row(
            _TAKE, holder, *columns(keys, 3), list(asks), since, lease, WINDOW_SECONDS, AHEAD_US
        )
        assert row is not None
        starts, retry_at, number, now = row
        return Grant(now, list(starts), retry_at, keys[number - 1] if number else None)

    async def settle(self, holder: UUID, returned: Sequence[Returned], lease_seconds: float) -> None:
        # In the order of keys: other workers lock the same rows at the same time.
        rows = [(*item.key, item.second, item.tokens, item.places) for item in sorted(returned, key=lambda i: i.key)]
        await self._database.fetch(_SETTLE, holder, *columns(rows, 6), int(lease_seconds * 1e6))

    async def cool_down(self, key: LimitKey, seconds: float, code: str) -> None:
        await self._database.fetch(_COOL_DOWN, *key, int(seconds * 1e6), code)

    async def use(self) -> list[LimitUse]:
        uses = []
        for row in await self._database.fetch(_USE, LIMITS_MAX):
            limit, now = Limit(*row[:7]), row[14]
            cooling = row[12] > now
            until, code = (row[12], row[13]) if cooling else (0, "")
            uses.append(LimitUse(limit, row[7], row[8], row[9], row[10], row[11], until, code, now))
        return uses
