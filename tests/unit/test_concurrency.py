"""The limit on runs at a time finds what a worker can carry, stays there, and follows when that changes."""

import itertools
import random
from collections.abc import Callable

import pytest

from penstock.runs.work.concurrency import ConcurrencyLimit

TARGET = 0.025
Plant = Callable[[float], float]
"""Overhead in seconds of a worker that holds so many runs."""


_ticks = itertools.count(20_000_000, 20_000_000)


def knee(capacity: float, base: float = 0.002) -> Plant:
    """A queue: the overhead grows slowly up to the capacity, and in proportion to what is beyond it."""

    def overhead(running: float) -> float:
        utilisation = min(0.9, running / capacity)
        return base / (1 - utilisation) + max(0.0, running - capacity) * base

    return overhead


def drive(limit: ConcurrencyLimit, plant: Plant, seconds: float, *, demand: float = 1e9, seed: int = 1) -> list[int]:
    """The limit after each simulated second; every step is measured with 30 % of noise."""
    noise = random.Random(seed)
    shown = []
    for tick in range(int(seconds * 50)):
        running = int(min(limit.value, demand))
        limit.observe(plant(running) * noise.uniform(0.7, 1.3), running, next(_ticks))
        if tick % 50 == 49:
            shown.append(limit.value)
    return shown


@pytest.mark.parametrize("capacity", [20, 60, 200, 800])
def test_it_converges_to_what_keeps_the_overhead_within_the_target(capacity: int) -> None:
    limit = ConcurrencyLimit(1000, 4, TARGET)
    plant = knee(capacity)
    settled = drive(limit, plant, 60)[30:]
    assert max(plant(value) for value in settled) <= TARGET * 1.2
    best = max(value for value in range(1, 1001) if plant(value) <= TARGET)
    assert min(settled) >= best * 0.75, "it does not give away what could be carried"


@pytest.mark.parametrize("seed", range(5))
def test_it_does_not_oscillate(seed: int) -> None:
    settled = drive(ConcurrencyLimit(1000, 4, TARGET), knee(200), 90, seed=seed)[30:]
    assert max(settled) - min(settled) <= 0.15 * max(settled)


def test_overload_brings_it_down_within_seconds_and_relief_brings_it_back() -> None:
    limit = ConcurrencyLimit(400, 8, TARGET)
    assert drive(limit, knee(1000), 5)[-1] == 400
    down = drive(limit, knee(40), 15)
    assert down[-1] <= 45
    back = drive(limit, knee(1000), 60)
    assert back[-1] == 400


def test_far_below_the_target_it_doubles() -> None:
    limit = ConcurrencyLimit(10_000, 8, TARGET)
    drive(limit, lambda running: running * 0.1, 20)
    assert limit.value < 100
    assert drive(limit, lambda running: 0.001, 8)[-1] == 10_000


def test_load_that_no_limit_relieves_enough_does_not_push_it_below_the_least() -> None:
    limit = ConcurrencyLimit(400, 8, TARGET)
    assert drive(limit, lambda running: running * 0.1, 60)[-1] == 8


@pytest.mark.parametrize("overhead", [0.06, 5.0])
def test_a_slow_disk_does_not_starve_the_worker(overhead: float) -> None:
    """An overhead that is the same for any number of runs is not theirs: fewer of them would only do less."""
    shown = drive(ConcurrencyLimit(400, 8, TARGET), lambda running: overhead, 120)
    assert min(shown) >= 100
    assert max(shown[-20:]) > 300


def test_a_slow_moment_of_an_idle_worker_leaves_room_for_a_flood() -> None:
    limit = ConcurrencyLimit(400, 8, TARGET)
    drive(limit, knee(1000), 10, demand=3)
    drive(limit, lambda running: 0.2, 2, demand=3)
    assert limit.value >= 30


def test_a_limit_that_nobody_uses_does_not_grow() -> None:
    limit = ConcurrencyLimit(400, 8, TARGET)
    drive(limit, knee(30), 30)
    low = limit.value
    assert drive(limit, knee(1000), 30, demand=3)[-1] == low


def test_it_starts_at_the_most_and_never_leaves_its_bounds() -> None:
    limit = ConcurrencyLimit(50, 100, TARGET)
    assert (limit.value, limit.least) == (50, 50)
    assert set(drive(limit, knee(5), 10)) == {50}


def test_no_sample_is_lost_when_little_is_going_on() -> None:
    limit = ConcurrencyLimit(100, 1, TARGET)
    for second in range(12):
        limit.observe(1.0, 100, second * 1_000_000_000)
    assert limit.value < 100
