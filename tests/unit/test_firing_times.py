"""When a schedule's times are: cron by the clocks of a zone, gaps and folds included, and intervals."""

from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.kernel.errors import ScheduleInvalid
from penstock.ports.schedules import Plan
from penstock.runs.schedules.firing_times import check_plan, jitter_of, next_time, times_until

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
BERLIN = "Europe/Berlin"
ID = UUID(int=1)


def at(text: str, zone: str = "UTC") -> int:
    """A moment as microseconds since the epoch."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1e6)


def following(plan: Plan, after: int, count: int) -> list[str]:
    """The next times by the clocks of the plan's zone."""
    found = []
    for _ in range(count):
        after = next_time(plan, after)
        found.append(datetime.fromtimestamp(after / 1e6, UTC).astimezone(ZoneInfo(plan.timezone)).isoformat())
    return found


def test_a_time_that_the_clocks_leave_out_comes_when_the_gap_is_over() -> None:
    """On 29 March 2026 the clocks of Berlin go from 02:00 to 03:00."""
    plan = Plan(cron="30 2 * * *", timezone=BERLIN)
    assert following(plan, at("2026-03-28T00:00", BERLIN), 3) == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_a_time_that_the_clocks_show_twice_comes_once_at_the_first() -> None:
    """On 25 October 2026 they go from 03:00 back to 02:00."""
    plan = Plan(cron="30 2 * * *", timezone=BERLIN)
    assert following(plan, at("2026-10-25T00:00", BERLIN), 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


@pytest.mark.parametrize("after", ["2026-10-25T00:31", "2026-10-25T01:00", "2026-10-25T01:15", "2026-10-25T01:45"])
def test_from_within_the_second_of_two_equal_hours_the_first_does_not_come_again(after: str) -> None:
    plan = Plan(cron="30 2 * * *", timezone=BERLIN)
    assert following(plan, at(after), 1) == ["2026-10-26T02:30:00+01:00"]


def test_a_pattern_with_a_star_goes_by_elapsed_time() -> None:
    plan = Plan(cron="0 * * * *", timezone=BERLIN)
    assert following(plan, at("2026-10-25T01:30", BERLIN), 3) == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]
    assert following(plan, at("2026-03-29T01:30", BERLIN), 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-29T04:00:00+02:00",
    ]


def test_two_times_in_one_gap_are_one() -> None:
    plan = Plan(cron="0,30 2 * * *", timezone=BERLIN)
    assert following(plan, at("2026-03-29T00:00", BERLIN), 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:00:00+02:00",
    ]


def test_names_and_aliases() -> None:
    assert following(Plan(cron="30 7 * * mon-fri"), at("2026-11-20T08:00"), 1) == ["2026-11-23T07:30:00+00:00"]
    assert following(Plan(cron="@Daily"), at("2026-11-20T08:00"), 1) == ["2026-11-21T00:00:00+00:00"]
    assert following(Plan(cron="0 0 L * *"), at("2027-02-01T08:00"), 1) == ["2027-02-28T00:00:00+00:00"]


def test_an_interval_counts_from_its_anchor_whatever_the_clocks_do() -> None:
    anchor = at("2026-03-28T12:00", BERLIN)
    plan = Plan(every=DAY, anchor=anchor, timezone=BERLIN)
    assert next_time(plan, anchor - 1) == anchor
    assert next_time(plan, anchor) == anchor + DAY
    assert next_time(plan, anchor + 5 * DAY + 1) == anchor + 6 * DAY
    assert following(plan, anchor, 1) == ["2026-03-29T13:00:00+02:00"]


def test_nothing_comes_before_the_start_nor_from_the_end_on() -> None:
    plan = Plan(cron="0 * * * *", start=at("2026-11-20T10:00"), end=at("2026-11-20T12:00"))
    assert next_time(plan, at("2026-01-01T00:00")) == at("2026-11-20T10:00")
    assert next_time(plan, at("2026-11-20T10:00")) == at("2026-11-20T11:00")
    assert next_time(plan, at("2026-11-20T11:00")) == 0


@pytest.mark.parametrize(
    "plan", [Plan(cron="7 * * * *"), Plan(every=HOUR), Plan(cron="@monthly"), Plan(cron="* * * * *")]
)
@pytest.mark.parametrize("most", [1, 3, 50])
def test_the_latest_times_are_those_that_counting_finds(plan: Plan, most: int) -> None:
    first, until = next_time(plan, at("2026-08-01T00:00")), at("2026-11-20T10:30")
    if plan.cron == "* * * * *":
        first = next_time(plan, until - 100 * MINUTE)
    counted = []
    time = first
    while time <= until:
        counted.append(time)
        time = next_time(plan, time)
    assert times_until(plan, first, until, most) == counted[-most:]


def test_there_is_none_before_the_first() -> None:
    plan = Plan(every=HOUR)
    assert times_until(plan, 5 * HOUR, 5 * HOUR - 1, 10) == []
    assert times_until(plan, 5 * HOUR, 5 * HOUR, 10) == [5 * HOUR]


@settings(max_examples=60)
@given(
    after=st.integers(at("2026-03-28T00:00"), at("2026-10-27T00:00")),
    cron=st.sampled_from(["30 2 * * *", "0,30 1-3 * * *", "*/20 * * * *", "15 */2 * * *", "5 3 * * SUN"]),
    zone=st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "UTC"]),
)
def test_times_only_go_forward_and_none_lies_between_two(after: int, cron: str, zone: str) -> None:
    plan = Plan(cron=cron, timezone=zone)
    first = next_time(plan, after)
    second = next_time(plan, first)
    assert after < first < second
    assert next_time(plan, first - 1) == first
    assert next_time(plan, (first + second) // 2) == second


def test_jitter_is_the_same_whenever_it_is_asked_for() -> None:
    drawn = [jitter_of(ID, time * HOUR, 10 * MINUTE) for time in range(200)]
    assert drawn == [jitter_of(ID, time * HOUR, 10 * MINUTE) for time in range(200)]
    assert all(0 <= value <= 10 * MINUTE for value in drawn)
    assert max(drawn) - min(drawn) > 8 * MINUTE
    assert jitter_of(ID, HOUR, 0) == 0


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(), "either"),
        (Plan(cron="* * * * *", every=HOUR), "either"),
        (Plan(cron="* * * *"), "4 fields"),
        (Plan(cron="0 * * * * *"), "6 fields"),
        (Plan(cron="61 * * * *"), "minute"),
        (Plan(cron="0 0 30 2 *"), "day-of-month"),
        (Plan(cron="0 0 */20 * 1L"), "no time to come"),
        (Plan(cron="* * * * *", timezone="Mars/Olympus"), "time zone"),
        (Plan(cron="* * * * *", timezone="../../etc/passwd"), "time zone"),
        (Plan(cron="* * * * *", timezone=""), "time zone"),
        (Plan(every=SECOND - 1), "1 second"),
        (Plan(every=367 * DAY), "366 days"),
        (Plan(every=HOUR, start=10, end=10), "before it starts"),
        (Plan(every=HOUR, jitter=-1), "jitter"),
        (Plan(every=HOUR, catch_up=0), "catch_up"),
        (Plan(every=HOUR, catch_up=1001), "catch_up"),
        (Plan(every=HOUR, max_runs=-1), "max_runs"),
    ],
)
def test_a_plan_that_cannot_be_kept_to_is_refused(plan: Plan, words: str) -> None:
    with pytest.raises(ScheduleInvalid, match=words):
        check_plan(plan)
