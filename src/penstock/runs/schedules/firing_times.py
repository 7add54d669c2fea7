"""When a schedule's times are: cron patterns by the clocks of a time zone, and intervals. Pure.

Cron patterns are read as Debian's cron reads them (`cronsim`). Where a zone's clocks are put forward, a pattern with a
fixed hour and minute that falls into the gap fires when the gap is over; where they are put back, it fires once, at the
first of the two. A pattern with ``*`` in the minute or hour goes by elapsed time there: hours that come twice fire
twice, and those that are left out do not fire.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from penstock.kernel.errors import ScheduleInvalid
from penstock.kernel.randomness import seeded
from penstock.ports.schedules import Plan

SHORTEST_US = 1_000_000
LONGEST_US = 366 * 86_400 * 1_000_000
CATCH_UP_MAX = 1000
ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_CRON_FIELDS = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def check_plan(plan: Plan) -> None:
    """Refuse a plan that cannot be kept to.

    Raises:
        ScheduleInvalid: says what of it.
    """
    if bool(plan.cron) == bool(plan.every):
        raise ScheduleInvalid("a schedule has either a cron pattern or an interval", hint="give one of them")
    try:
        ZoneInfo(plan.timezone)
    except (OSError, ValueError, KeyError) as error:
        hint = "use an IANA name, for example Europe/Berlin or UTC"
        raise ScheduleInvalid(f"there is no time zone {plan.timezone[:100]!r}", hint=hint) from error
    if plan.cron:
        _check_cron(plan)
    elif not SHORTEST_US <= plan.every <= LONGEST_US:
        raise ScheduleInvalid("an interval is from 1 second to 366 days")
    if plan.end and plan.end <= max(plan.start, plan.anchor):
        raise ScheduleInvalid("the schedule ends before it starts")
    if not 0 <= plan.jitter <= LONGEST_US:
        raise ScheduleInvalid("the jitter is from 0 seconds to 366 days")
    if not 1 <= plan.catch_up <= CATCH_UP_MAX:
        raise ScheduleInvalid(f"catch_up is from 1 to {CATCH_UP_MAX:,}")
    if plan.max_runs < 0:
        raise ScheduleInvalid("max_runs is 0 (any number) or more")


def next_time(plan: Plan, after: int) -> int:
    """The first time after ``after`` (microseconds since the epoch); 0 when there is none."""
    return next(_times(plan, after), 0)


def times_until(plan: Plan, first: int, until: int, most: int) -> list[int]:
    """The latest ``most`` times from ``first``, which is one of the plan's, to ``until``, oldest first."""
    if first > until:
        return []
    reach = max(1, (plan.every or 3_600_000_000) * most)
    while True:
        since = max(first - 1, until - reach)
        found: list[int] = []
        for time in _times(plan, since):
            if time > until:
                break
            found.append(time)
        if len(found) >= most or since < first:
            return found[-most:]
        reach *= 8


def jitter_of(schedule: UUID, time: int, jitter: int) -> int:
    """How long the run of that time is put off, in microseconds: the same whenever it is asked for."""
    return seeded("schedule", str(schedule), time).randrange(jitter + 1) if jitter else 0


def _times(plan: Plan, after: int) -> Iterator[int]:
    after = max(after, plan.start - 1)
    for time in _every(plan, after) if plan.every else _cron(plan, after):
        if plan.end and time >= plan.end:
            return
        yield time


def _every(plan: Plan, after: int) -> Iterator[int]:
    time = plan.anchor
    if after >= time:
        time += ((after - time) // plan.every + 1) * plan.every
    while True:
        yield time
        time += plan.every


def _cron(plan: Plan, after: int) -> Iterator[int]:
    zone = ZoneInfo(plan.timezone)
    moment = (_EPOCH + timedelta(microseconds=after)).astimezone(UTC if plan.timezone == "UTC" else zone)
    for found in CronSim(_pattern(plan.cron), moment):
        time = (found.astimezone(UTC) - _EPOCH) // _MICROSECOND
        if time > after:  # from the second of two equal hours a fixed time is found in the first one
            yield time
            after = time


def _check_cron(plan: Plan) -> None:
    try:
        pattern = _pattern(plan.cron)
        CronSim(pattern, _EPOCH)
    except CronSimError as error:
        words = f"the cron pattern {plan.cron[:100]!r} cannot be read: {error}"
        hint = "minute hour day-of-month month day-of-week, for example '30 7 * * MON-FRI'"
        raise ScheduleInvalid(words, hint=hint) from error
    if not next_time(plan, plan.anchor):
        raise ScheduleInvalid(f"the cron pattern {plan.cron[:100]!r} names no time to come")


def _pattern(cron: str) -> str:
    pattern = ALIASES.get(cron.strip().lower(), cron)
    if len(pattern.split()) != _CRON_FIELDS:
        raise CronSimError(f"it has {len(pattern.split())} fields, not {_CRON_FIELDS}")
    return pattern
