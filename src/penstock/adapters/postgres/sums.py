"""Reading the sums of `penstock.ports.usage.Usage` in PostgreSQL."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from penstock.adapters.postgres.database import Database
from penstock.ports.usage import (
    CLASSES,
    COUNTS,
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

_PLACE_OF_SUMS = """
SELECT p.generation,
       NOT EXISTS (
           SELECT FROM penstock.usage_uncarried c WHERE c.tenant = p.tenant AND c.generation = p.generation
       ) AS is_carried,
       NOT EXISTS (
           SELECT FROM penstock.usage_hourly n
           WHERE n.tenant = p.tenant AND n.generation = p.generation AND n.grain = 1 AND n.hour >= $2
       ) AS is_last
FROM penstock.usage_places p WHERE p.tenant = $1 AND p.is_current"""
# How many rows there are depends on arguments, which a plan may not know; it would take them to be few, and go from
# each entry of an index to its row. Many are read page by page, and their groups kept in memory, up to this much.
_OF_MANY = "SET LOCAL enable_indexscan = off; SET LOCAL work_mem = '32MB'"
# Each stretch is a scan of its own: no row is compared with the limits of others.
_STRETCH = """
    SELECT * FROM penstock.{{table}} u
    WHERE u.tenant = $1 AND u.generation = $2 AND u.grain = {grain} AND u.hour >= ${low} AND u.hour < ${high}"""
_STRETCHES = " UNION ALL".join(
    _STRETCH.format(grain=grain, low=low, high=low + 1) for low, grain in enumerate((1, 24, 168, 24, 1), 3)
)
_OF_ROWS = f"FROM ({_STRETCHES}\n) AS u WHERE true"
_END_OF_TIME = 2**62

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
_TOTALS = ", ".join(f"penstock.total(u.{name}) AS {name}" for name in (*COUNTS, *CLASSES))
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
        names, args = bounded_by(by), _arguments(tenant)
        condition = _condition(where, args)
        told = ", ".join(_named(name, args) for name in names)
        places = ", ".join(str(number) for number in range(1, len(names) + 1))
        dearest = _DEAREST if len(names) == 1 else "NULL"
        found = await self._read(
            _Stretch(since, until),
            (*names, *where),
            f"SELECT {told}, penstock.total(u.{counter_of(names, where)}), {_TOTALS}, {dearest}"
            f" {{of_rows}}{condition} GROUP BY {places} ORDER BY nano DESC, {places}",
            args,
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
        dimension, args = bounded_by(by), _arguments(tenant)
        condition = _condition(where, args)
        told = _named(dimension[0], args)
        begins, bins, names = (f"${len(args) + number}" for number in (1, 2, 3))
        found = await self._read(
            _Stretch(since, until, by_day=by_day, by_week=False),
            (*dimension, *where),
            f"SELECT u.hour - (u.hour - {begins}::bigint) % {bins}::bigint,"
            f" CASE WHEN {told} = ANY ({names}::text[]) THEN {told} END, penstock.total(u.nano)"
            f" {{of_rows}}{condition} GROUP BY 1, 2 ORDER BY 1, 2",
            [*args, start, width, list(values)],
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

    async def _read(
        self, stretch: "_Stretch", names: Iterable[str], query: str, args: Sequence[object]
    ) -> Sequence[Sequence[Any]]:
        """What ``query`` says of the sums of a stretch, ``of_rows`` of the smallest table that knows these dimensions.

        ``args``: see `_arguments`.
        """
        wanted, tenant = set(names), args[0]
        # One snapshot: whether something has ended after the stretch, and the sums of it.
        async with (
            self._sums.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            place = await connection.fetchrow(_PLACE_OF_SUMS, tenant, stretch.until)
            if place is None:
                return []
            generation, is_carried, is_last = place
            if any(name == "user" or name.startswith(TAG) for name in wanted):
                table = "usage_fine"
            else:
                table = "usage_of_runs" if is_carried and not wanted & {*OF_CALLS} else "usage_hourly"
            edges = stretch.edges(is_last)
            await connection.execute(_OF_MANY)
            found: Sequence[Sequence[Any]] = await connection.fetch(
                query.format(of_rows=_OF_ROWS.format(table=table)), tenant, generation, *edges, *args[2 + len(edges) :]
            )
            return found

    async def put_rerate(self, tenant: str, key: UUID, at: int, body: bytes) -> None:
        await self._sums.fetch(_PUT_RERATE, tenant, key, at, body)

    async def rerates(self, tenant: str, limit: int) -> list[bytes]:
        return [bytes(record[0]) for record in await self._sums.fetch(_RERATES, tenant, limit)]


@dataclass(slots=True, frozen=True)
class _Stretch:
    """From ``since`` to ``until``, read of the coarsest grains that fit, up to days or weeks."""

    since: int
    until: int
    by_day: bool = True
    by_week: bool = True

    def edges(self, is_last: bool) -> tuple[int, ...]:
        """Six times, between which it is read by hours, days, weeks, days and hours.

        Args:
            is_last: nothing has ended after it: the coarsest sum of its end is a whole one, as far as it goes.
        """
        low = self.since - self.since % HOUR
        high = _END_OF_TIME if is_last else self.until
        day = week = day_end = week_end = high
        if self.by_day:
            day, day_end = low + -low % DAY, high - high % DAY
            if day >= day_end:
                day = day_end = high
            week, week_end = day, day
        if self.by_week and day < day_end:
            week, week_end = day + -day % WEEK, day_end - day_end % WEEK
            if week >= week_end:
                week = week_end = day
        return low, day, week, week_end, day_end, high


def _arguments(tenant: str) -> list[Any]:
    """Of a query of `_OF_ROWS`, to which it adds its own: the tenant, and room for the generation and the six edges."""
    return [tenant, *[None] * 7]


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
