"""`penstock.ports.usage.Usage` in PostgreSQL."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from penstock.adapters.postgres.database import Database
from penstock.ports.usage import (
    HOUR,
    LIVE_MAX,
    MINUTE,
    STEP_MAX,
    By,
    EndedRun,
    Group,
    HourSum,
    Live,
    MinuteSum,
    Place,
    Step,
    bounded_where,
)

SETTLE_MS = 500
"""How long a step waits for appends under way."""
LOOKED_AT_MOST = 5_000
"""Runs that a step goes through in search of those that had ended before ends were numbered."""
SECOND = 1_000_000
DAY = 24 * HOUR

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
_COUNT = "SELECT penstock.count_usage($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_DROP = """
WITH hours AS (
    DELETE FROM penstock.usage_hourly u WHERE u.ctid = ANY (ARRAY(
        SELECT o.ctid FROM penstock.usage_places p
        CROSS JOIN LATERAL (
            SELECT h.ctid FROM penstock.usage_hourly h
            WHERE h.tenant = p.tenant AND h.generation = p.generation AND h.hour < $1 LIMIT $3
        ) AS o LIMIT $3
    )) RETURNING 1
), minutes AS (
    DELETE FROM penstock.usage_minutes u WHERE u.ctid = ANY (ARRAY(
        SELECT o.ctid FROM penstock.usage_places p
        CROSS JOIN LATERAL (
            SELECT h.ctid FROM penstock.usage_minutes h
            WHERE h.tenant = p.tenant AND h.generation = p.generation AND h.minute < $2 LIMIT $3
        ) AS o LIMIT $3
    )) RETURNING 1
)
SELECT (SELECT count(*) FROM hours) + (SELECT count(*) FROM minutes)"""
_KEPT = "SELECT agent, until_us FROM penstock.usage_kept($1)"
_BEGIN = "SELECT penstock.begin_usage($1)"
_FINISH = "SELECT penstock.finish_usage($1, $2)"

_IN_RANGE = """
FROM penstock.usage_hourly u JOIN penstock.usage_places p ON p.tenant = u.tenant AND p.generation = u.generation
WHERE u.tenant = $1 AND p.tenant = $1 AND p.is_current AND (
    (u.grain = 24 AND u.hour >= $4 AND u.hour < $5)
    OR (u.grain = 1 AND ((u.hour >= $2 AND u.hour < $4) OR (u.hour >= $5 AND u.hour < $3)))
)"""

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

_OF_ROW = {
    "customer": "coalesce(r.tags ->> 'customer', '')",
    "feature": "coalesce(r.tags ->> 'feature', '')",
    "task_type": "coalesce(r.tags ->> 'task_type', '')",
    "agent": "r.agent",
    "release": "r.release",
    "model": "''",
}


class PostgresUsage:
    """See the port."""

    def __init__(self, database: Database) -> None:
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

    async def drop_old(self, before_minute: int, before_hour: int, limit: int) -> int:
        dropped: int = await self._database.value(_DROP, before_hour, before_minute, limit)
        return dropped

    async def kept_until(self, tenant: str) -> dict[str, int]:
        return dict(await self._database.fetch(_KEPT, tenant))

    async def begin_again(self, tenant: str) -> int:
        generation: int = await self._database.value(_BEGIN, tenant)
        return generation

    async def finish_again(self, tenant: str, generation: int) -> bool:
        return bool(await self._database.value(_FINISH, tenant, generation))

    async def sums(self, tenant: str, by: By, since: int, until: int, where: Mapping[str, str]) -> list[Group]:
        condition, args = _condition(where, [tenant, *_stretches(since, until)])
        runs = "used_by" if by == "model" or "model" in where else "runs"
        # Names of columns are constants; what a caller says is an argument.
        found = await self._database.fetch(
            f"SELECT u.{by}, sum(u.{runs})::bigint, sum(u.model_calls)::bigint, sum(u.tokens_in)::bigint,"
            " sum(u.tokens_out)::bigint, sum(u.nano)::bigint, sum(u.nano_at_maximum)::bigint,"
            """ max((lpad(u.dearest_nano::text, 19, '0') || u.dearest::text) COLLATE "C")"""
            f" {_IN_RANGE}{condition} GROUP BY 1 ORDER BY 6 DESC, 1",
            *args,
        )
        return [_group(record) for record in found]

    async def series(
        self, tenant: str, by: By, since: int, until: int, width: int, values: Sequence[str], where: Mapping[str, str]
    ) -> list[tuple[int, str | None, int]]:
        start = since - since % HOUR
        by_day = width % DAY == 0 and start % DAY == 0
        condition, args = _condition(where, [tenant, *_stretches(since, until, by_day=by_day)])
        begins, bins, names = (f"${len(args) + number}" for number in (1, 2, 3))
        found = await self._database.fetch(
            f"SELECT u.hour - (u.hour - {begins}::bigint) % {bins}::bigint,"
            f" CASE WHEN u.{by} = ANY ({names}::text[]) THEN u.{by} END, sum(u.nano)::bigint"
            f" {_IN_RANGE}{condition} GROUP BY 1, 2 ORDER BY 1, 2",
            *args,
            start,
            width,
            list(values),
        )
        return [(at, value, nano) for at, value, nano in found]

    async def live(self, tenant: str, by: By, where: Mapping[str, str]) -> Live:
        if "model" in where:
            return Live()
        args: list[Any] = [tenant, LIVE_MAX]
        condition = ""
        for name, value in bounded_where(where).items():
            args.append(value)
            condition += f" AND {_OF_ROW[name]} = ${len(args)}"
        names = f"r.id, r.root, r.model_calls, r.nano, r.tokens, {_OF_ROW[by]} AS value"
        spent = "r.tenant = $1 AND (r.nano > 0 OR r.tokens > 0)" + condition
        found = await self._database.fetch(
            f"""
WITH found AS MATERIALIZED (
    (SELECT {names} FROM penstock.runs r WHERE {spent} AND r.status <> 'ended' ORDER BY r.id DESC LIMIT $2)
    UNION ALL
    (SELECT {names} FROM penstock.runs r WHERE {spent} AND r.ended_no > coalesce(
        (SELECT p.number FROM penstock.usage_places p WHERE p.tenant = $1 AND p.is_current), 0
    ) ORDER BY r.ended_no DESC LIMIT $2)
), below AS (
    SELECT c.parent, sum(c.nano) AS nano, sum(c.tokens) AS tokens
    FROM (SELECT DISTINCT f.root FROM found f) AS f
    JOIN penstock.runs c ON c.tenant = $1 AND c.root = f.root AND c.parent IS NOT NULL AND c.parent_path <> 'continued'
    GROUP BY c.parent
)
SELECT f.value, count(*), sum(f.model_calls)::bigint, sum(greatest(0, f.tokens - coalesce(b.tokens, 0)))::bigint,
       sum(greatest(0, f.nano - coalesce(b.nano, 0)))::bigint
FROM found f LEFT JOIN below b ON b.parent = f.id GROUP BY f.value""",  # noqa: S608
            *args,
        )
        groups = [Group(value, runs, calls, tokens, 0, nano) for value, runs, calls, tokens, nano in found]
        return Live(groups, sum(group.runs for group in groups) >= LIVE_MAX)

    async def minutes(self, tenant: str, since: int) -> list[MinuteSum]:
        found = await self._database.fetch(_MINUTES, tenant, since - since % MINUTE, LIVE_MAX)
        return [MinuteSum(*record) for record in found]


_tags = msgspec.json.Decoder(dict[str, str])


def _stretches(since: int, until: int, *, by_day: bool = True) -> tuple[int, int, int, int]:
    """From, to, and of what lies between the whole days: from, to. What is left of both sides is read by the hour."""
    low = since - since % HOUR
    first, last = low + -low % DAY, until - until % DAY
    if not by_day or first >= last:
        return low, until, until, until
    return low, until, first, last


def _group(record: Sequence[Any]) -> Group:
    value, runs, calls, tokens_in, tokens_out, nano, at_maximum, dearest = record
    most = int(dearest[:19]) if dearest[:19].isdigit() else 0  # it is not when no run spent anything
    run = UUID(dearest[19:]) if most else None
    return Group(value, runs, calls, tokens_in, tokens_out, nano, at_maximum, run, most)


def _condition(where: Mapping[str, str], args: list[Any]) -> tuple[str, list[Any]]:
    """The filter as SQL that begins with AND, and all arguments."""
    condition = ""
    for name, value in bounded_where(where).items():
        args.append(value)
        condition += f" AND u.{name} = ${len(args)}"
    return condition, args


def _ended(record: Sequence[Any]) -> EndedRun:
    values = list(record[1:])
    values[3] = _tags.decode(values[3])
    return EndedRun(*values)
