"""`penstock.ports.usage.Usage` in PostgreSQL."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from penstock.adapters.postgres.database import Database
from penstock.adapters.postgres.sums import PostgresSums
from penstock.ports.usage import (
    LIVE_MAX,
    MINUTE,
    STEP_MAX,
    EndedRun,
    HourSum,
    MinuteSum,
    Place,
    Step,
    slot_of,
)

SETTLE_MS = 500
"""How long a step waits for appends under way."""
LOOKED_AT_MOST = 5_000
"""Runs that a step goes through in search of those that had ended before ends were numbered."""
CARRIED_AT_ONCE = 5_000
"""Sums of an older version that a look carries over: some tenths of a second."""
SECOND = 1_000_000

_PLACE = "p.tenant, p.generation, p.number, p.unnumbered, p.is_old, p.until_us"
_TAKE_TURN = "SELECT penstock.take_usage_turn($1, $2 * interval '1 second', $3)"
_END_TURN = """
UPDATE penstock.usage_turn
SET lease_until = clock_timestamp(), due_at = clock_timestamp() + $2 * interval '1 second' WHERE holder = $1"""

# Jumps from tenant to tenant in the index.
_BEHIND = """
WITH RECURSIVE t AS (
    (SELECT tenant FROM penstock.runs ORDER BY tenant LIMIT 1)
    UNION ALL
    SELECT (SELECT r.tenant FROM penstock.runs r WHERE r.tenant > t.tenant ORDER BY r.tenant LIMIT 1)
    FROM t WHERE t.tenant IS NOT NULL
)
SELECT t.tenant FROM t LEFT JOIN penstock.usage_places p ON p.tenant = t.tenant AND p.is_current
WHERE t.tenant IS NOT NULL AND (p.tenant IS NULL OR p.is_old OR EXISTS (
    SELECT FROM penstock.runs r WHERE r.tenant = t.tenant AND r.ended_no > p.number
))
LIMIT $1"""
_CURRENT = f"SELECT {_PLACE} FROM penstock.usage_place($1) p"  # noqa: S608 - made of constants
_OF_GENERATION = f"SELECT {_PLACE} FROM penstock.usage_places p WHERE tenant = $1 AND generation = $2"  # noqa: S608
_SETTLED = "SELECT penstock.settled_ends($1)"
_NOW = "SELECT penstock.to_us(clock_timestamp())"

# What a pruned run's tape does not tell any more: what its row holds of the runs below it.
_RUN = """
    r.id, r.agent, r.release, r.tags::text, coalesce(r.outcome, ''), r.code, penstock.to_us(r.ended_at), r.last_seq,
    r.model_calls, r.tokens, r.nano, coalesce(b.nano, 0)::bigint, coalesce(b.tokens, 0)::bigint,
    r.parent IS NULL OR r.parent_path = 'continued', r.pruned_at IS NOT NULL"""
_BELOW = """
LEFT JOIN LATERAL (
    SELECT sum(c.nano) AS nano, sum(c.tokens) AS tokens FROM penstock.runs c
    WHERE r.pruned_at IS NOT NULL AND c.tenant = r.tenant AND c.root = r.root AND c.parent = r.id
      AND c.parent_path <> 'continued'
) AS b ON true"""
_NUMBERED = f"""
SELECT r.ended_no, {_RUN}
FROM (
    SELECT * FROM penstock.runs e
    WHERE e.tenant = $1 AND e.ended_no > $2 AND e.ended_no <= $3 ORDER BY e.ended_no LIMIT $4
) AS r {_BELOW}
ORDER BY r.ended_no"""  # noqa: S608
_LOOKED_AT = """
SELECT count(*), (array_agg(l.id ORDER BY l.id DESC))[1]
FROM (SELECT id FROM penstock.runs WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3) AS l"""
_UNNUMBERED = f"""
SELECT 0, {_RUN}
FROM (
    SELECT * FROM penstock.runs e
    WHERE e.tenant = $1 AND e.id > $2 AND e.id <= $3 AND e.status = 'ended' AND e.ended_no IS NULL
    ORDER BY e.id LIMIT $4
) AS r {_BELOW}
ORDER BY r.id"""  # noqa: S608
_ADMIT = "SELECT dimension, slot FROM penstock.admit_usage($1, $2, $3, $4, $5)"
_COUNT = "SELECT penstock.count_usage($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_DROP = """
WITH hours AS (
    DELETE FROM penstock.usage_hourly u USING (
        SELECT o.* FROM penstock.usage_places p
        CROSS JOIN LATERAL (
            SELECT h.tenant, h.generation, h.grain, h.hour, h.slot FROM penstock.usage_hourly h
            WHERE h.tenant = p.tenant AND h.generation = p.generation AND h.hour < $1 LIMIT $3
        ) AS o LIMIT $3
    ) AS d
    WHERE (u.tenant, u.generation, u.grain, u.hour, u.slot) = (d.tenant, d.generation, d.grain, d.hour, d.slot)
    RETURNING 1
), fine AS (
    DELETE FROM penstock.usage_fine u USING (
        SELECT o.* FROM penstock.usage_places p
        CROSS JOIN LATERAL (
            SELECT h.tenant, h.generation, h.grain, h.hour, h.slot FROM penstock.usage_fine h
            WHERE h.tenant = p.tenant AND h.generation = p.generation AND h.hour < $1 LIMIT $3
        ) AS o LIMIT $3
    ) AS d
    WHERE (u.tenant, u.generation, u.grain, u.hour, u.slot) = (d.tenant, d.generation, d.grain, d.hour, d.slot)
    RETURNING 1
), of_runs AS (
    DELETE FROM penstock.usage_of_runs u USING (
        SELECT o.* FROM penstock.usage_places p
        CROSS JOIN LATERAL (
            SELECT h.tenant, h.generation, h.grain, h.hour, h.slot FROM penstock.usage_of_runs h
            WHERE h.tenant = p.tenant AND h.generation = p.generation AND h.hour < $1 LIMIT $3
        ) AS o LIMIT $3
    ) AS d
    WHERE (u.tenant, u.generation, u.grain, u.hour, u.slot) = (d.tenant, d.generation, d.grain, d.hour, d.slot)
    RETURNING 1
), minutes AS (
    DELETE FROM penstock.usage_minutes u WHERE u.ctid = ANY (ARRAY(
        SELECT o.ctid FROM penstock.usage_places p
        CROSS JOIN LATERAL (
            SELECT h.ctid FROM penstock.usage_minutes h
            WHERE h.tenant = p.tenant AND h.generation = p.generation AND h.minute < $2 LIMIT $3
        ) AS o LIMIT $3
    )) RETURNING 1
), named AS (
    DELETE FROM penstock.usage_values u WHERE u.ctid = ANY (ARRAY(
        SELECT v.ctid FROM penstock.usage_places p
        CROSS JOIN LATERAL (
            SELECT n.ctid FROM penstock.usage_values n WHERE n.tenant = p.tenant AND n.day < $1 - 86400000000 LIMIT $3
        ) AS v WHERE p.is_current LIMIT $3
    )) RETURNING 1
)
SELECT (SELECT count(*) FROM hours) + (SELECT count(*) FROM fine) + (SELECT count(*) FROM of_runs)
     + (SELECT count(*) FROM minutes) + (SELECT count(*) FROM named)"""
_CARRY = "SELECT penstock.carry_usage($1)"
_KEPT = "SELECT agent, until_us FROM penstock.usage_kept($1)"
_BEGIN = "SELECT penstock.begin_usage($1)"
_FINISH = "SELECT penstock.finish_usage($1, $2)"

_MINUTES = """
SELECT u.minute, u.slot, u.agent, u.outcome, u.code, u.runs, u.roots, u.example
FROM penstock.usage_minutes u JOIN penstock.usage_places p ON p.tenant = u.tenant AND p.generation = u.generation
WHERE u.tenant = $1 AND p.tenant = $1 AND p.is_current AND u.minute >= $2
UNION ALL
SELECT (t.ended_us - t.ended_us % 60000000) AS minute, penstock.nil(), t.agent, t.outcome, t.code, count(*),
       count(*) FILTER (WHERE t.is_root), (array_agg(t.id ORDER BY t.is_root DESC))[1]
FROM (
    SELECT r.id, r.agent, coalesce(r.outcome, '') AS outcome, r.code,
           r.parent IS NULL OR r.parent_path = 'continued' AS is_root, penstock.to_us(r.ended_at) AS ended_us
    FROM penstock.runs r
    WHERE r.tenant = $1 AND r.ended_no > coalesce(
        (SELECT p.number FROM penstock.usage_places p WHERE p.tenant = $1 AND p.is_current), 0
    )
    ORDER BY r.ended_no DESC LIMIT $3
) AS t
WHERE t.ended_us >= $2 AND t.code <> 'continued'
GROUP BY 1, 3, 4, 5
ORDER BY 1"""


class PostgresUsage(PostgresSums):
    """See the port."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._is_carried = False
        self._database = database

    async def take_turn(self, holder: UUID, lease_seconds: float, *, when_due: bool) -> bool:
        return bool(await self._database.value(_TAKE_TURN, holder, lease_seconds, when_due))

    async def end_turn(self, holder: UUID, next_seconds: float) -> None:
        await self._database.fetch(_END_TURN, holder, next_seconds)

    async def behind(self, limit: int) -> list[str]:
        return [record[0] for record in await self._database.fetch(_BEHIND, limit)]

    async def place(self, tenant: str, generation: int | None = None) -> Place | None:
        if generation is None:
            record = await self._database.row(_CURRENT, tenant)
        else:
            record = await self._database.row(_OF_GENERATION, tenant, generation)
        return None if record is None else Place(*record)

    async def next_step(self, place: Place, limit: int = STEP_MAX) -> Step | None:
        limit = min(limit, STEP_MAX)
        if place.is_old:
            return await self._unnumbered(place, limit)
        now: int = await self._database.value(_NOW)
        settled: int | None = await self._database.value(_SETTLED, SETTLE_MS)
        if settled is None:
            return None
        found = await self._database.fetch(_NUMBERED, place.tenant, place.number, settled, limit + 1)
        more, found = len(found) > limit, found[:limit]
        runs = [_ended(record) for record in found]
        # An append takes its time before its number, by as much as it takes itself.
        until = runs[-1].ended_at if more else now - SECOND
        number = found[-1][0] if more else max(place.number, settled)
        ends = Place(place.tenant, place.generation, number, place.unnumbered, False, max(place.until, until))
        return Step(place, ends, runs, more)

    async def _unnumbered(self, place: Place, limit: int) -> Step:
        """The next among runs that ended before ends had numbers; the place may move although there are none."""
        looked = await self._database.row(_LOOKED_AT, place.tenant, place.unnumbered, LOOKED_AT_MOST)
        assert looked is not None
        count, last = looked
        found = []
        if count:
            found = await self._database.fetch(_UNNUMBERED, place.tenant, place.unnumbered, last, limit)
        if len(found) == limit:
            last = found[-1][1]
        is_old = count == LOOKED_AT_MOST or len(found) == limit
        ends = Place(place.tenant, place.generation, place.number, last or place.unnumbered, is_old, place.until)
        return Step(place, ends, [_ended(record) for record in found], True)

    async def count(self, step: Step, hours: Sequence[HourSum], minutes: Sequence[MinuteSum]) -> bool:
        begins, ends = step.begins, step.ends
        counted = await self._database.value(
            _COUNT,
            begins.tenant,
            begins.generation,
            begins.number,
            begins.unnumbered,
            begins.is_old,
            ends.number,
            ends.unnumbered,
            ends.is_old,
            ends.until,
            msgspec.json.encode(hours).decode(),
            msgspec.json.encode(minutes).decode(),
        )
        return bool(counted)

    async def admit(
        self, tenant: str, day: int, values: Mapping[str, Collection[str]], most: int
    ) -> dict[str, set[str]]:
        asked = [(name, slot_of(value), value) for name, those in values.items() for value in those]
        found = await self._database.fetch(
            _ADMIT, tenant, day, [name for name, _, _ in asked], [slot for _, slot, _ in asked], most
        )
        known = {(name, slot) for name, slot in found}
        return {name: {value for of, slot, value in asked if of == name and (name, slot) in known} for name in values}

    async def drop_old(self, before_minute: int, before_hour: int, limit: int) -> int:
        # An older version made no sums of runs alone: who counts carries them over, a bounded step at each look.
        if not self._is_carried:
            self._is_carried = not await self._database.value(_CARRY, CARRIED_AT_ONCE)
        dropped: int = await self._database.value(_DROP, before_hour, before_minute, limit)
        return dropped

    async def kept_until(self, tenant: str) -> dict[str, int]:
        return dict(await self._database.fetch(_KEPT, tenant))

    async def begin_again(self, tenant: str) -> int:
        generation: int = await self._database.value(_BEGIN, tenant)
        return generation

    async def finish_again(self, tenant: str, generation: int) -> bool:
        return bool(await self._database.value(_FINISH, tenant, generation))

    async def minutes(self, tenant: str, since: int) -> list[MinuteSum]:
        found = await self._database.fetch(_MINUTES, tenant, since - since % MINUTE, LIVE_MAX)
        return [MinuteSum(*record) for record in found]


_tags = msgspec.json.Decoder(dict[str, str])


def _ended(record: Sequence[Any]) -> EndedRun:
    values = list(record[1:])
    values[3] = _tags.decode(values[3])
    return EndedRun(*values)
