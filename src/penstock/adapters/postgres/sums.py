"""Reading the sums of `penstock.ports.usage.Usage` in PostgreSQL."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from penstock.adapters.postgres.database import Database
from penstock.ports.usage import (
    CLASSES,
    DIMENSIONS,
    HOUR,
    LIVE_MAX,
    OF_CALLS,
    TAG,
    By,
    Group,
    HourRow,
    Live,
    bounded_by,
    bounded_where,
    counter_of,
)

DAY = 24 * HOUR
WEEK = 7 * DAY

# The generation is asked for by itself: of a join the planner expects a few rows, and sorts the many that come.
_IN_RANGE = """
FROM penstock.{table} u
WHERE u.tenant = $1
  AND u.generation = (SELECT p.generation FROM penstock.usage_places p WHERE p.tenant = $1 AND p.is_current) AND (
    (u.grain = 168 AND u.hour >= $6 AND u.hour < $7)
    OR (u.grain = 24 AND ((u.hour >= $4 AND u.hour < $6) OR (u.hour >= $7 AND u.hour < $5)))
    OR (u.grain = 1 AND ((u.hour >= $2 AND u.hour < $4) OR (u.hour >= $5 AND u.hour < $3)))
)"""

# Names of columns are constants of this table; the name of a tag is an argument, like every value.
_COLUMNS = {name: f"u.{name}" for name in DIMENSIONS} | {"user": "u.by_user"}
_OF_ROW = {
    "customer": "coalesce(r.tags ->> 'customer', '')",
    "feature": "coalesce(r.tags ->> 'feature', '')",
    "task_type": "coalesce(r.tags ->> 'task_type', '')",
    "user": "coalesce(r.tags ->> 'user', '')",
    "agent": "r.agent",
    "release": "r.release",
    "model": "''",
    "kind": "''",
}
# An ordered aggregate would sort all rows; combinations of values are many, and have no dearest run.
_DEAREST = """max((lpad(greatest(u.dearest_nano, 0)::text, 19, '0') || u.dearest::text) COLLATE "C")"""
_CLASSES = ", ".join(f"sum(u.{name})::bigint" for name in CLASSES)
_HOURS = f"""
SELECT u.hour, u.slot, {", ".join(_COLUMNS[name] for name in DIMENSIONS)}, u.tags::text, u.runs, u.model_calls,
       u.tokens_in, u.tokens_out, u.nano, u.nano_at_maximum, {", ".join(f"u.{name}" for name in CLASSES)}
FROM penstock.usage_fine u JOIN penstock.usage_places p ON p.tenant = u.tenant AND p.generation = u.generation
WHERE u.tenant = $1 AND p.tenant = $1 AND p.is_current AND u.grain = 1 AND u.hour >= $2 AND u.hour < $3
  AND (u.hour, u.slot) > ($4, $5)"""  # noqa: S608 - made of constants
_PUT_RERATE = """
INSERT INTO penstock.rerates (tenant, id, at_us, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"""
_RERATES = "SELECT body FROM penstock.rerates WHERE tenant = $1 ORDER BY id DESC LIMIT $2"
_tags = msgspec.json.Decoder(dict[str, str])


class PostgresSums:
    """See the port."""

    def __init__(self, database: Database) -> None:
        self._sums = database

    async def sums(
        self, tenant: str, by: str | Sequence[str], since: int, until: int, where: Mapping[str, str]
    ) -> list[Group]:
        args: list[Any] = [tenant, *_stretches(since, until)]
        condition = _condition(where, args)
        names = bounded_by(by)
        told = ", ".join(_named(name, args) for name in names)
        places = ", ".join(str(number) for number in range(1, len(names) + 1))
        found = await self._sums.fetch(
            f"SELECT {told}, sum(u.{counter_of(names, where)})::bigint, sum(u.model_calls)::bigint,"
            " sum(u.tokens_in)::bigint, sum(u.tokens_out)::bigint, sum(u.nano)::bigint AS nano,"
            f" sum(u.nano_at_maximum)::bigint, {_CLASSES},"
            f" {_DEAREST if len(names) == 1 else 'NULL'}"
            f" {_range(names, where)}{condition} GROUP BY {places} ORDER BY nano DESC, {places}",
            *args,
        )
        return [_group(record, len(names)) for record in found]

    async def hours(
        self, tenant: str, since: int, until: int, where: Mapping[str, str], after: tuple[int, UUID] | None, limit: int
    ) -> list[HourRow]:
        hour, slot = after or (-1, UUID(int=0))
        args: list[Any] = [tenant, since - since % HOUR, until, hour, slot, limit]
        condition = _condition(where, args)
        found = await self._sums.fetch(f"{_HOURS}{condition} ORDER BY u.hour, u.slot LIMIT $6", *args)
        end = 2 + len(DIMENSIONS)
        return [
            HourRow(
                record[0],
                record[1],
                tuple(record[2:end]),
                _tags.decode(record[end]),
                record["runs"],
                record["model_calls"],
                record["tokens_in"],
                record["tokens_out"],
                record["nano"],
                record["nano_at_maximum"],
                dict(zip(CLASSES, record[end + 7 :], strict=True)),
            )
            for record in found
        ]

    async def series(
        self, tenant: str, by: By, since: int, until: int, width: int, values: Sequence[str], where: Mapping[str, str]
    ) -> list[tuple[int, str | None, int]]:
        start = since - since % HOUR
        by_day = width % DAY == 0 and start % DAY == 0
        args: list[Any] = [tenant, *_stretches(since, until, days=by_day, weeks=False)]
        condition = _condition(where, args)
        dimension = bounded_by(by)
        told = _named(dimension[0], args)
        begins, bins, names = (f"${len(args) + number}" for number in (1, 2, 3))
        found = await self._sums.fetch(
            f"SELECT u.hour - (u.hour - {begins}::bigint) % {bins}::bigint,"
            f" CASE WHEN {told} = ANY ({names}::text[]) THEN {told} END, sum(u.nano)::bigint"
            f" {_range(dimension, where)}{condition} GROUP BY 1, 2 ORDER BY 1, 2",
            *args,
            start,
            width,
            list(values),
        )
        return [(at, value, nano) for at, value, nano in found]

    async def live(self, tenant: str, by: str | Sequence[str], where: Mapping[str, str]) -> Live:
        wanted = bounded_where(where)
        known = {name: value for name, value in wanted.items() if name not in OF_CALLS}
        if known != wanted:
            others = await self.live(tenant, "agent", known)
            return Live([], any(group.nano for group in others.groups))
        args: list[Any] = [tenant, LIVE_MAX]
        condition = ""
        for name, value in wanted.items():
            told = _of_row(name, args)
            args.append(value)
            condition += f" AND {told} = ${len(args)}"
        names = bounded_by(by)
        told = ", ".join(f"{_of_row(name, args)} AS v{number}" for number, name in enumerate(names))
        values = ", ".join(f"f.v{number}" for number in range(len(names)))
        columns = f"r.id, r.root, r.model_calls, r.nano, r.tokens, {told}"
        spent = "r.tenant = $1 AND (r.nano > 0 OR r.tokens > 0)" + condition
        found = await self._sums.fetch(
            f"""
WITH found AS MATERIALIZED (
    (SELECT {columns} FROM penstock.runs r WHERE {spent} AND r.status <> 'ended' ORDER BY r.id DESC LIMIT $2)
    UNION ALL
    (SELECT {columns} FROM penstock.runs r WHERE {spent} AND r.ended_no > coalesce(
        (SELECT p.number FROM penstock.usage_places p WHERE p.tenant = $1 AND p.is_current), 0
    ) ORDER BY r.ended_no DESC LIMIT $2)
), below AS (
    SELECT c.parent, sum(c.nano) AS nano, sum(c.tokens) AS tokens
    FROM (SELECT DISTINCT f.root FROM found f) AS f
    JOIN penstock.runs c ON c.tenant = $1 AND c.root = f.root AND c.parent IS NOT NULL AND c.parent_path <> 'continued'
    GROUP BY c.parent
)
SELECT {values}, count(*), sum(f.model_calls)::bigint, sum(greatest(0, f.tokens - coalesce(b.tokens, 0)))::bigint,
       sum(greatest(0, f.nano - coalesce(b.nano, 0)))::bigint
FROM found f LEFT JOIN below b ON b.parent = f.id GROUP BY {values}""",  # noqa: S608
            *args,
        )
        width = len(names)
        groups = [
            Group(tuple(record[:width]), record[width], record[width + 1], record[width + 2], 0, record[width + 3])
            for record in found
        ]
        return Live(groups, sum(group.runs for group in groups) >= LIVE_MAX)

    async def put_rerate(self, tenant: str, key: UUID, at: int, body: bytes) -> None:
        await self._sums.fetch(_PUT_RERATE, tenant, key, at, body)

    async def rerates(self, tenant: str, limit: int) -> list[bytes]:
        return [bytes(record[0]) for record in await self._sums.fetch(_RERATES, tenant, limit)]


def _range(by: Iterable[str], where: Iterable[str]) -> str:
    """From the coarse sums, unless they are told by what only the fine ones know."""
    is_fine = any(name == "user" or name.startswith(TAG) for name in (*by, *where))
    return _IN_RANGE.format(table="usage_fine" if is_fine else "usage_hourly")


def _stretches(since: int, until: int, *, days: bool = True, weeks: bool = True) -> tuple[int, ...]:
    """From and to; of what lies between: the whole days, and of these the whole weeks. What is left of both sides is
    read by the day and by the hour."""
    low = since - since % HOUR
    first, last = low + -low % DAY, until - until % DAY
    if not days or first >= last:
        return low, until, until, until, until, until
    begin, end = first + -first % WEEK, last - last % WEEK
    if not weeks or begin >= end:
        return low, until, first, last, last, last
    return low, until, first, last, begin, end


def _group(record: Sequence[Any], width: int) -> Group:
    runs, calls, tokens_in, tokens_out, nano, at_maximum = record[width : width + 6]
    classes = {name: value for name, value in zip(CLASSES, record[width + 6 : -1], strict=True) if value}
    most = int(record[-1][:19]) if record[-1] else 0
    # No run is the dearest when none spent anything.
    run = UUID(record[-1][19:]) if most else None
    return Group(tuple(record[:width]), runs, calls, tokens_in, tokens_out, nano, at_maximum, run, most, classes)


def _named(name: str, args: list[Any]) -> str:
    """The SQL of a dimension of the sums; the name of a tag becomes an argument."""
    if not name.startswith(TAG):
        return _COLUMNS[name]
    args.append(name.removeprefix(TAG))
    return f"coalesce(u.tags ->> ${len(args)}::text, '')"


def _of_row(name: str, args: list[Any]) -> str:
    """The same of a run's row."""
    if not name.startswith(TAG):
        return _OF_ROW[name]
    args.append(name.removeprefix(TAG))
    return f"coalesce(r.tags ->> ${len(args)}::text, '')"


def _condition(where: Mapping[str, str], args: list[Any]) -> str:
    """The filter as SQL that begins with AND; its arguments are added to ``args``."""
    condition = ""
    for name, value in bounded_where(where).items():
        told = _named(name, args)
        args.append(value)
        condition += f" AND {told} = ${len(args)}"
    return condition
