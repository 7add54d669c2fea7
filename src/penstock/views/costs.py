"""What was spent, by customer, feature, agent, task type, model or release, and how that went over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from penstock.ports.journal import Journal
from penstock.ports.usage import CLASSES, COUNTS, GROUPS_MAX, HOUR, OF_CALLS, Group, bounded_by

BINS_MAX = 200
"""Bins of one series, at most."""
SERIES_MAX = 12
"""Values of one series that have a line of their own; the others are `OTHERS`."""
OTHERS = "*"
"""Stands for all other values in a series. No tag, agent or model is told from it by name alone."""
DAY = 24 * HOUR
BY_HOUR = 50 * HOUR
"""Longer stretches begin with a day (UTC), and their series is by days."""
_HEAD = (
    "nano_usd",
    "nano_usd_at_maximum",
    "tokens_in",
    "tokens_out",
    "runs",
    "model_calls",
    "nano_usd_before",
    "dearest_run",
)


@dataclass(slots=True, frozen=True)
class Spending:
    """Tokens and nano-dollars."""

    tokens_in: int = 0
    tokens_out: int = 0
    nano: int = 0
    nano_at_maximum: int = 0
    classes: dict[str, int] = field(default_factory=dict)  # of the tokens, by `penstock.ports.usage.CLASSES`


@dataclass(slots=True, frozen=True)
class CostRow:
    """What one value, or one combination of values, has spent. ``value``: the first of ``values``; ``before_nano``: in
    the stretch of the same length before."""

    value: str
    used: Spending
    runs: int
    model_calls: int
    before_nano: int
    dearest: UUID | None
    values: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class CostPoint:
    """What was spent in one bin of time, by value."""

    at: int
    nano: dict[str, int]


@dataclass(slots=True, frozen=True)
class Costs:
    """Times in microseconds since the epoch; the range begins and ends with whole hours, but that it ends now.

    ``rows`` are dearest first, at most `GROUPS_MAX`; what is in no row is in ``others``. ``live_nano`` of ``total`` was
    spent by runs that have not ended or are not counted yet; ``partial``: by more of them than were added up, or by
    runs of which it is not known yet whether the filter is true of them. ``series`` is by the first dimension.
    """

    since: int
    until: int
    as_of: int
    by: tuple[str, ...]
    rows: list[CostRow]
    others: Spending
    total: Spending
    total_runs: int
    width: int
    series: list[CostPoint]
    counted_until: int
    live_nano: int = 0
    partial: bool = False


@dataclass(slots=True)
class _Sums:
    groups: dict[tuple[str, ...], Group] = field(default_factory=dict)

    def add(self, group: Group) -> None:
        known = self.groups.get(group.values)
        if known is None:
            self.groups[group.values] = replace(group, classes=dict(group.classes))
            return
        known.runs += group.runs
        for name in COUNTS:
            setattr(known, name, getattr(known, name) + getattr(group, name))
        for name, count in group.classes.items():
            known.classes[name] = known.classes.get(name, 0) + count

    def dearest_first(self) -> list[Group]:
        return sorted(self.groups.values(), key=lambda group: (-group.nano, -group.runs, group.values))


async def read_costs(
    journal: Journal,
    tenant: str,
    by: str | Sequence[str],
    *,
    since: int | None = None,
    until: int | None = None,
    where: Mapping[str, str] | None = None,
) -> Costs:
    """What the tenant's runs have spent.

    Args:
        by: one of `penstock.ports.usage.DIMENSIONS` or ``tag.`` with a tag's name, or up to `BY_MAX` of them at once.
        since: default: seven days before ``until``; it is brought down to the beginning of its hour, or, of more than
            two days, of its day.
        until: default: now, and then what runs have spent that go on is in it.
        where: by dimension the only value that counts, such as ``{"agent": "support-desk"}``.

    Raises:
        ValueError: ``by`` or ``where`` names no dimension, or the range is empty.
    """
    by = bounded_by(by)
    usage, now, wanted = journal.usage, await journal.now(), dict(where or {})
    end = now if until is None else until
    start = end - 7 * DAY if since is None else since
    start -= start % (HOUR if end - start <= BY_HOUR else DAY)
    # Nothing has ended yet that is still to come: the day of now is a whole one, as far as it goes.
    over = end if end < now else end + -end % DAY
    if start >= end:
        raise ValueError("the range ends before it begins")
    place = await usage.place(tenant)
    sums, before = _Sums(), _Sums()
    for group in await usage.sums(tenant, by, start, over, wanted):
        sums.add(group)
    length = end - start
    for group in await usage.sums(tenant, by, start - length, start, wanted):
        before.add(group)
    live_nano, live_runs, partial = 0, 0, False
    if end >= now:
        live = await usage.live(tenant, by, wanted)
        live_nano, partial = sum(group.nano for group in live.groups), live.partial
        live_runs = sum(group.runs for group in live.groups)
        for group in live.groups:
            sums.add(group)
    groups = [group for group in sums.dearest_first() if group.runs or group.nano or group.tokens_in]
    runs = sum(group.runs for group in groups)
    if set(by) & set(OF_CALLS):
        # A run that called two models stands with each of them.
        runs = sum(group.runs for group in await usage.sums(tenant, "agent", start, over, wanted)) + live_runs
    names = list(dict.fromkeys(group.value for group in groups))[:SERIES_MAX]
    width = _width(length)
    series = await usage.series(tenant, by[0], start, over, width, names, wanted)
    earlier = {group.values: group.nano for group in before.groups.values()}
    return Costs(
        since=start,
        until=end,
        as_of=now,
        by=by,
        rows=[_row(group, earlier.get(group.values, 0)) for group in groups[:GROUPS_MAX]],
        others=_spending(groups[GROUPS_MAX:]),
        total=_spending(groups),
        total_runs=runs,
        width=width,
        series=_points(series, start, end, width),
        counted_until=place.until if place is not None else 0,
        live_nano=live_nano,
        partial=partial,
    )


def costs_csv(costs: Costs) -> str:
    """The rows as comma-separated values (RFC 4180), money as integer nano-dollars.

    A value that a spreadsheet would take for a formula is quoted by an apostrophe.
    """
    import csv
    import io

    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow((*costs.by, *_HEAD))
    for row in costs.rows:
        used = row.used
        figures = (used.nano, used.nano_at_maximum, used.tokens_in, used.tokens_out)
        values = map(cell, row.values or (row.value,))
        writer.writerow((*values, *figures, row.runs, row.model_calls, row.before_nano, row.dearest or ""))
    others = costs.others
    if others.nano or others.tokens_in:
        figures = (others.nano, others.nano_at_maximum, others.tokens_in, others.tokens_out)
        writer.writerow((OTHERS, *[""] * (len(costs.by) - 1), *figures, "", "", "", ""))
    return out.getvalue()


def cell(value: str) -> str:
    """A value that a spreadsheet does not take for a formula."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _width(length: int) -> int:
    """Hours up to `BY_HOUR`; beyond, the fewest days that make no more than `BINS_MAX` bins."""
    if length <= BY_HOUR:
        return HOUR
    return -(-length // (BINS_MAX * DAY)) * DAY


def _points(series: list[tuple[int, str | None, int]], start: int, end: int, width: int) -> list[CostPoint]:
    """Every bin of the range, also those in which nothing was spent."""
    points = {at: CostPoint(at, {}) for at in range(start, end, width)}
    for at, value, nano in series:
        if nano:
            points[at].nano[OTHERS if value is None else value] = nano
    return list(points.values())


def _row(group: Group, before: int) -> CostRow:
    spent = _spending([group])
    return CostRow(group.value, spent, group.runs, group.model_calls, before, group.dearest, group.values)


def _spending(groups: list[Group]) -> Spending:
    return Spending(
        sum(group.tokens_in for group in groups),
        sum(group.tokens_out for group in groups),
        sum(group.nano for group in groups),
        sum(group.nano_at_maximum for group in groups),
        {name: total for name in CLASSES if (total := sum(group.classes.get(name, 0) for group in groups))},
    )
