"""When a budget's period begins and ends: time zones, clock changes, the ends of months."""

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.ports.budgets import Period, period_at

HOUR = 3_600_000_000
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe",
    "Pacific/Apia", "Atlantic/Azores", "America/Havana", "Africa/Cairo",
)  # fmt: skip


def us(text: str, zone: str = "UTC", fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("period", "zone", "at", "begin", "end"),
    [
        ("day", "UTC", "2026-03-01T00:00", "2026-03-01T00:00", "2026-03-02T00:00"),
        ("day", "America/New_York", "2026-03-08T12:00", "2026-03-08T00:00", "2026-03-09T00:00"),
        ("month", "Europe/Berlin", "2026-03-31T23:59:59", "2026-03-01T00:00", "2026-04-01T00:00"),
        ("month", "Europe/Berlin", "2026-04-01T00:00", "2026-04-01T00:00", "2026-05-01T00:00"),
        ("month", "UTC", "2026-12-31T23:59:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("month", "Asia/Kathmandu", "2026-02-28T23:59", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("hour", "Asia/Kathmandu", "2026-02-28T23:59", "2026-02-28T23:00", "2026-03-01T00:00"),
    ],
)
def test_it_holds_the_moment_in_local_time(period: Period, zone: str, at: str, begin: str, end: str) -> None:
    assert period_at(period, zone, us(at, zone)) == (us(begin, zone), us(end, zone))


def test_a_month_in_which_the_clocks_change_has_an_hour_less_or_more() -> None:
    for month, hours in (("2026-03", 31 * 24 - 1), ("2026-10", 31 * 24 + 1), ("2026-06", 30 * 24)):
        begin, end = period_at("month", "Europe/Berlin", us(f"{month}-15T12:00", "Europe/Berlin"))
        assert end - begin == hours * HOUR


def test_a_clock_change_over_the_end_of_a_month_leaves_no_gap() -> None:
    """Azores 1993: the clocks of a Sunday at the end of a month; and any last hour before a month that turns."""
    zone = "Europe/Berlin"
    last = period_at("month", zone, us("2024-03-31T23:30", zone))
    first = period_at("month", zone, us("2024-04-01T00:30", zone))
    assert last[1] == first[0]


def test_a_day_whose_midnight_is_skipped_begins_at_its_first_moment() -> None:
    begin, end = period_at("day", "America/Sao_Paulo", us("2018-11-04T12:00", "America/Sao_Paulo"))
    assert datetime.fromtimestamp(begin / 1e6, ZoneInfo("America/Sao_Paulo")).isoformat() == "2018-11-04T01:00:00-02:00"
    assert end - begin == 23 * HOUR


def test_an_hour_that_comes_twice_is_two_hours() -> None:
    first = period_at("hour", "Europe/Berlin", us("2026-10-25T02:30", "Europe/Berlin", fold=0))
    second = period_at("hour", "Europe/Berlin", us("2026-10-25T02:30", "Europe/Berlin", fold=1))
    assert first[1] == second[0]


def test_of_a_run_and_of_all_time_there_is_no_end() -> None:
    assert period_at("run", "UTC", 5) == period_at("total", "UTC", 5) == (0, 0)


@given(
    st.sampled_from(["hour", "day", "month"]),
    st.sampled_from(ZONES),
    st.integers(us("1990-01-01"), us("2050-01-01")),
)
def test_every_moment_is_in_its_period_and_the_next_one_follows(period: Period, zone: str, at: int) -> None:
    begin, end = period_at(period, zone, at)
    assert begin <= at < end
    if period != "hour":  # a change by half an hour makes hours overlap
        assert period_at(period, zone, begin) == period_at(period, zone, end - 1) == (begin, end)
        assert period_at(period, zone, end)[0] == end


def test_a_year_of_days_has_no_gap() -> None:
    for zone in ZONES:
        at, days = us("2024-01-01T12:00", zone), []
        while at < us("2025-01-02T12:00", zone):
            days.append(period_at("day", zone, at))
            at = days[-1][1]
        assert all(one[1] == other[0] for one, other in pairwise(days))
        assert len(days) == 368
