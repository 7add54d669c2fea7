"""Lists of runs in PostgreSQL: which index answers a filter, and where a request stops looking.

A filter is answered from one to three sources, which share the runs among them. A source is a stretch of one index,
read from its newest run on; what the index does not know is looked for in the rows, so many of them at most. The index
is chosen by the order that is asked for: an order by (customer, id) has one that gives it, whatever the statistics say.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from penstock.adapters.postgres import rows
from penstock.adapters.postgres.database import Database
from penstock.adapters.postgres.queries import RUN_COLUMNS
from penstock.kernel.ids import first_id_at
from penstock.ports.lists import (
    BEFORE_COUNTED,
    BINS,
    FACET_NAMES,
    FACET_VALUES,
    FACETS_OF,
    LOOKED_AT_APART,
    LOOKED_AT_MOST,
    PAGE_MAX,
    SETTLE_MS,
    SHOWN_OPEN,
    Bin,
    Ended,
    Ends,
    Page,
    Place,
    Shared,
    Sharing,
)
from penstock.ports.records import Row, RunFilter, RunRow, Status

_LAST_ID = UUID(int=2**128 - 1)
_ENDS_LOOKED_AT = 5_000

_ROOT_OF = "SELECT root FROM penstock.runs WHERE tenant = $1 AND id = $2"
# As the claimers' index is declared: only then is it used.
_PLACE = f"""
SELECT (
    SELECT count(*) FROM (
        SELECT FROM penstock.runs q
        WHERE q.release = r.release AND q.status = 'queued' AND NOT q.aside
          AND (q.turn < 2 OR q.stop IN ('cancel', 'kill')) AND (q.stop IS NULL OR q.stop <> 'pause')
          AND (q.rank, q.id) < (r.rank, r.id)
        LIMIT {BEFORE_COUNTED}
    ) AS b
), (greatest(0, r.rank + r.priority * penstock.priority_unit() - l.tag) / nullif(l.speed, 0) * 1000000)::bigint
FROM penstock.runs r CROSS JOIN LATERAL penstock.lane(r.release) AS l
WHERE r.tenant = $1 AND r.id = $2 AND r.status = 'queued' AND r.turn < 2"""  # noqa: S608
_SETTLED = "SELECT penstock.settled_ends($1)"

# S608: made of constants; what a caller says is an argument.
_ENDS = f"""
SELECT w.ended_no, w.counts, {RUN_COLUMNS.replace("tenant,", "w.tenant,", 1)}, e.seq, e.body, e.hash,
       penstock.to_us(e.at)
FROM (
    SELECT r.*, $4 OR ((r.parent IS NULL OR r.parent_path = 'continued') AND r.code <> 'continued') AS counts
    FROM penstock.runs r
    WHERE r.tenant = $1 AND r.ended_no > $2 AND r.ended_no <= $3 ORDER BY r.ended_no LIMIT {_ENDS_LOOKED_AT}
) AS w
LEFT JOIN LATERAL (
    SELECT v.seq, v.body, v.hash, v.at FROM penstock.events v
    WHERE w.counts AND v.tenant = w.tenant AND v.run_id = w.id AND v.seq = w.last_seq OFFSET 0
) AS e ON true
ORDER BY w.ended_no"""  # noqa: S608


@dataclass(slots=True, frozen=True)
class _Source:
    """A stretch of an index: runs with ``fixed``, and with ``value`` in ``column`` when there is one, by id."""

    fixed: str = ""  # what its partial index is of
    column: str = ""
    value: object = None
    covers: frozenset[str] = field(default_factory=frozenset)  # fields of the filter that all its runs fulfil

    @property
    def bound(self) -> int:
        return LOOKED_AT_APART if self.column else LOOKED_AT_MOST


class _Statement:
    """A statement being written, and its arguments."""

    def __init__(self, tenant: str) -> None:
        self.args: list[object] = [tenant]

    def arg(self, value: object) -> str:
        """The placeholder of a value."""
        self.args.append(value)
        return f"${len(self.args)}"

    def stretch(self, source: _Source, where: RunFilter) -> tuple[str, str]:
        """The condition and the order of a source's runs, newest first."""
        low, high = _range(where)
        if source.column:
            value, keys = self.arg(source.value), f"({source.column}, id)"
            span = f"{keys} >= ({value}, {self.arg(low)}) AND {keys} < ({value}, {self.arg(high)})"
            order = f"{source.column} DESC, id DESC"
        else:
            span = f"id >= {self.arg(low)} AND id < {self.arg(high)}"
            order = "id DESC"
        return f"tenant = $1 AND {span}{f' AND {source.fixed}' if source.fixed else ''}", order

    def rest(self, source: _Source, where: RunFilter) -> str:
        """What of the filter has to be looked for in the source's rows; '' = nothing."""
        tests = {
            "status": ("status = {}", where.status and where.status.value),
            "outcome": ("outcome = {} AND status = 'ended'", where.outcome),
            "agent": ("agent = {}", where.agent),
            "root": ("root = {}", where.root),
            "parent": ("parent = {}", where.parent),
            "release": ("release = {}", where.release),
            "session": ("session = {}", where.session),
            "code": ("code = {}", where.code),
            "shown": ("penstock.shown(status, stop, outcome, waiting) = {}", where.shown),
            "waiting_for": (
                "status <> 'ended' AND position(convert_to({}, 'UTF8') IN waiting) > 0",
                where.waiting_for and f'"kind":"{where.waiting_for}"',
            ),
            "any_tag": ("tags @? {}::text::jsonpath", where.any_tag and _any_tag(where.any_tag)),
            "min_nano": ("nano >= {}", where.min_nano or None),
        }
        said = [
            test.format(self.arg(value))
            for name, (test, value) in tests.items()
            if value is not None and name not in source.covers
        ]
        said += [
            f"tags ->> {self.arg(name)}::text = {self.arg(value)}::text"
            for name, value in sorted(where.tags.items())
            if f"tags.{name}" not in source.covers
        ]
        return " AND ".join(said)


class PostgresLists:
    """Implements `penstock.ports.lists.Lists`; see there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, tenant: str, where: RunFilter, limit: int) -> Page:
        limit = min(limit, PAGE_MAX)
        sources = await self._sources(tenant, where)
        found: list[RunRow] = []
        looked_to: UUID | None = None
        for source in sources:
            theirs, edge = await self._read(tenant, source, where, limit + 1)
            found += theirs
            looked_to = edge if looked_to is None or (edge is not None and edge > looked_to) else looked_to
        found.sort(key=lambda row: row.id, reverse=True)
        if looked_to is not None:
            found = [row for row in found if row.id >= looked_to]
        if len(found) > limit:
            return Page(found[:limit], found[limit - 1].id)
        return Page(found, looked_to, looked_to)

    async def _read(
        self, tenant: str, source: _Source, where: RunFilter, limit: int
    ) -> tuple[list[RunRow], UUID | None]:
        """The source's newest runs that fit; and, when older ones may fit that were not looked at, how far that was."""
        made = _Statement(tenant)
        span, order = made.stretch(source, where)
        rest = made.rest(source, where)
        # Named, so that the planner knows that the rows come in that order, and stops when it has enough.
        key = f", {source.column} AS ordered_by" if source.column else ""
        looked_at = f"SELECT *{key} FROM penstock.runs WHERE {span} ORDER BY {order}"  # noqa: S608
        query = (
            f"SELECT {RUN_COLUMNS} FROM ({looked_at} LIMIT {source.bound if rest else limit}) AS w"  # noqa: S608
            f"{f' WHERE {rest}' if rest else ''} ORDER BY {'ordered_by DESC, ' if key else ''}id DESC LIMIT {limit}"
        )
        found = [rows.run_row(record) for record in await self._database.fetch(query, *made.args)]
        if len(found) >= limit:
            return found, found[-1].id
        return found, await self._edge(tenant, source, where) if rest else None

    async def _edge(self, tenant: str, source: _Source, where: RunFilter) -> UUID | None:
        """The last run that was looked at, when there are older ones."""
        made = _Statement(tenant)
        span, order = made.stretch(source, where)
        query = (
            f"SELECT id FROM penstock.runs WHERE {span} ORDER BY {order} "  # noqa: S608
            f"OFFSET {source.bound - 1} LIMIT 2"
        )
        found = await self._database.fetch(query, *made.args)
        return found[0][0] if len(found) == 2 else None

    async def _sources(self, tenant: str, where: RunFilter) -> list[_Source]:
        if where.parent is not None or where.root is not None:
            root = where.root
            if where.parent is not None:
                root = await self._database.value(_ROOT_OF, tenant, where.parent)
            if root is None or (where.root is not None and where.root != root):
                return []
            family = _Source("parent IS NOT NULL", "root", root, frozenset({"root"}))
            top = _Source("parent IS NULL", "root", root, frozenset({"root"}))
            return [family] if where.parent is not None else [family, replace(top, fixed=f"id = '{root}'", column="")]
        return _sources_of(where)

    async def sharing(self, tenant: str, where: RunFilter) -> Sharing:
        made = _Statement(tenant)
        windows, hits = [], []
        for number, source in enumerate(await self._sources(tenant, where)):
            span, order = made.stretch(source, where)
            rest = made.rest(source, where)
            bound = source.bound if rest else FACETS_OF
            needed = f"{_FACETED}, {_NEEDED}" if rest else _FACETED
            looked_at = f"SELECT {needed} FROM penstock.runs WHERE {span} ORDER BY {order} LIMIT {bound}"  # noqa: S608
            windows.append(f"window_{number} AS MATERIALIZED ({looked_at})")
            fits = f" WHERE {rest}" if rest else ""
            hit = f"SELECT {_FACET_COLUMNS} FROM window_{number}{fits}"  # noqa: S608
            hits.append((hit, f"window_{number}", bound))
        if not hits:
            return Sharing(0, 0, sampled=False)
        record = await self._database.row(_sharing(windows, hits, made, where), *made.args)
        assert record is not None
        return _shared(record)

    async def place(self, tenant: str, run: UUID) -> Place | None:
        record = await self._database.row(_PLACE, tenant, run)
        return None if record is None else Place(record[0], record[1])

    async def ends(self, tenant: str, after: int, limit: int, *, children: bool = False) -> Ends:
        settled = await self._database.value(_SETTLED, SETTLE_MS)
        if settled is None or settled <= after:
            return Ends([], after)
        found = await self._database.fetch(_ENDS, tenant, after, settled, children)
        items: list[Ended] = []
        for record in found:
            if not record[1]:
                continue
            last = Row(*record[-4:]) if record[-4] is not None else None
            items.append(Ended(rows.run_row(record[2:-4]), last))
            if len(items) == min(limit, PAGE_MAX):
                return Ends(items, record[0])
        return Ends(items, found[-1][0] if len(found) == _ENDS_LOOKED_AT else settled)


def _sources_of(where: RunFilter) -> list[_Source]:
    """Of the sources that together hold all runs that may fit, those that are read fastest."""
    may_have_ended = where.status in (None, Status.ENDED) and not where.waiting_for and where.shown not in SHOWN_OPEN
    is_ended = where.status is Status.ENDED or where.outcome is not None
    may_be_open = not is_ended and (where.shown is None or where.shown in SHOWN_OPEN)
    if (is_ended and not may_have_ended) or (where.outcome and where.shown and where.outcome != where.shown):
        return []
    if where.session:
        return [_Source("session <> ''", "session", where.session, frozenset({"session"}))]
    if where.code:
        return [_Source("code <> ''", "code", where.code, frozenset({"code"}))]
    unended = _Source("status <> 'ended'")
    if not may_have_ended:
        return [unended]
    ended = _ended_sources(where)
    if not ended:
        return [_Source()]
    return [*ended, unended] if may_be_open else ended


def _ended_sources(where: RunFilter) -> list[_Source]:
    outcome = where.outcome or (where.shown if where.shown not in SHOWN_OPEN else None)
    done = frozenset({"status"}) if where.status is Status.ENDED else frozenset[str]()
    if outcome and outcome != "succeeded":
        covers = done | {"outcome", "shown"}
        return [_Source("status = 'ended' AND outcome <> 'succeeded'", "outcome", outcome, covers)]
    if customer := where.tags.get("customer"):
        fixed = "status = 'ended' AND tags ? 'customer'"
        return [_Source(fixed, "(tags ->> 'customer')", customer, done | {"tags.customer"})]
    if where.agent:
        covers = done | {"agent"}
        kept = _Source("status = 'ended' AND pruned_at IS NULL", "agent", where.agent, covers)
        return [kept, replace(kept, fixed="pruned_at IS NOT NULL")]
    return []


def _range(where: RunFilter) -> tuple[UUID, UUID]:
    """The ids looked for: from the first, to before the second."""
    high = where.before or _LAST_ID
    low = max(where.from_id or UUID(int=0), first_id_at(where.since))
    return low, min(high, first_id_at(where.until)) if where.until else high


def _any_tag(value: str) -> str:
    """A path that finds a tag with exactly this value."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'$.* ? (@ == "{quoted}")'


_TAGGED = ("customer", "feature", "task_type")
_FACETED = "id, agent, release, coalesce(outcome, '') AS outcome, code, tags, created_at, status, stop, waiting"
_NEEDED = "root, parent, session, nano"
_FACET_COLUMNS = (
    "id, agent, release, outcome, code, created_at, penstock.shown(status, stop, outcome, waiting) AS shown, "
    + ", ".join(f"coalesce(tags ->> '{name}', '') AS {name}" for name in _TAGGED)
)


def _sharing(windows: Sequence[str], hits: Sequence[tuple[str, str, int]], made: _Statement, where: RunFilter) -> str:
    """One statement: the runs found, as many others of the same time, and what is counted of both."""
    # One pass over the rows for all facets: a row for each facet of each run would be seven times as many. Bins are cut
    # by date_bin, which counts in whole microseconds: to_us of each run would go through numerics.
    value = f"coalesce({', '.join(FACET_NAMES)})"
    name = " ".join(f"WHEN grouping({facet}) = 0 THEN '{facet}'" for facet in FACET_NAMES)
    sets = ", ".join(f"({facet})" for facet in FACET_NAMES)
    fits = made.rest(_Source(), where)
    found = "\n    UNION ALL ".join(query for query, _, _ in hits)
    bounded = " OR ".join(f"(SELECT count(*) FROM {window}) >= {bound}" for _, window, bound in hits)  # noqa: S608
    return f"""
WITH {", ".join(windows)}, found AS MATERIALIZED (
    SELECT * FROM ({found}) AS f ORDER BY id DESC LIMIT {FACETS_OF}
), edge AS MATERIALIZED (
    SELECT min(id::text)::uuid AS low, max(id::text)::uuid AS high, count(*) AS count, min(created_at) AS first,
           greatest(1000000, (penstock.to_us(max(created_at)) - penstock.to_us(min(created_at))) / {BINS} + 1) AS width
    FROM found
), others AS MATERIALIZED (
    SELECT {_FACET_COLUMNS} FROM (
        SELECT {_FACETED}, {_NEEDED} FROM penstock.runs
        WHERE tenant = $1 AND id >= (SELECT low FROM edge) AND id <= (SELECT high FROM edge)
        ORDER BY id DESC LIMIT {LOOKED_AT_MOST}
    ) AS r WHERE {f"NOT coalesce(({fits}), false)" if fits else "false"} LIMIT {FACETS_OF}
), counted AS (
    SELECT CASE {name} END AS name, {value} AS value, count(*) FILTER (WHERE hit) AS found,
           count(*) FILTER (WHERE NOT hit) AS others
    FROM (SELECT *, true AS hit FROM found UNION ALL SELECT *, false FROM others) AS s
    GROUP BY GROUPING SETS ({sets})
    HAVING {value} <> ''
), ranked AS (
    SELECT c.*, row_number() OVER (PARTITION BY c.name ORDER BY c.found DESC, c.value) AS place
    FROM counted c WHERE c.found > 0
), bins AS (
    SELECT penstock.to_us(b.begun) AS at, b.shown, b.count
    FROM (
        SELECT date_bin(e.width * interval '1 microsecond', f.created_at, e.first) AS begun, f.shown, count(*) AS count
        FROM found f CROSS JOIN edge e GROUP BY 1, 2
    ) AS b
)
SELECT e.count, (SELECT count(*) FROM others), e.count >= {FACETS_OF} OR {bounded}, e.width,
       (SELECT array_agg((r.name, r.value, r.found, r.others) ORDER BY r.name, r.place)
        FROM ranked r WHERE r.place <= {FACET_VALUES}),
       (SELECT array_agg((b.at, b.shown, b.count) ORDER BY b.at, b.shown) FROM bins b)
FROM edge e"""  # noqa: S608


def _shared(record: Sequence[Any]) -> Sharing:
    found, others, sampled, width, shared, bins = record
    return Sharing(
        found,
        others,
        sampled,
        [Shared(*item) for item in shared or ()],
        [Bin(*item) for item in bins or ()],
        width if found else 0,
    )
