"""When a circuit trips: each condition at its edge, on traffic that is heavy-tailed, and seen by several workers."""

import random
from typing import Any

import msgspec
import pytest

from penstock.gates.breakers.detector import Detector, Met
from penstock.ports.breakers import Condition, Tally, add_tally
from penstock.runs.breakers import filled

SECOND = 1_000_000
MEAN = Condition("cost_mean", limit=2.0, calls=50, expected=1000)
LEARNED = Condition("cost_mean", limit=2.0, calls=50, baseline=500)


def feed(detector: Detector, costs: list[int]) -> int | None:
    """How many calls it took to trip."""
    for count, cost in enumerate(costs, 1):
        if detector.call(count * SECOND, cost, 0, failed=False):
            return count
    return None


def lognormal(chance: random.Random, mean: float, sigma: float, count: int) -> list[int]:
    return [int(mean * chance.lognormvariate(-sigma * sigma / 2, sigma)) for _ in range(count)]


def test_failures_are_counted_in_a_row() -> None:
    detector = Detector([Condition("failures", limit=3)])
    for failed in (True, True, False, True, True):
        assert detector.call(0, 0, 0, failed=failed) is None
    met = detector.call(0, 0, 0, failed=True)
    assert met is not None
    assert met.figures == {"failures": 3}


@pytest.mark.parametrize(
    ("condition", "call"),
    [
        (Condition("error_rate", limit=0.5, calls=10, seconds=60), {"failed": True}),
        (Condition("latency", limit=0.5, calls=10, seconds=60, slow_seconds=2), {"latency_us": 2 * SECOND + 1}),
    ],
)
def test_a_share_needs_a_least_count_and_counts_what_is_lately(condition: Condition, call: dict[str, Any]) -> None:
    def one(detector: Detector, at: int, **said: Any) -> Met | None:
        given: dict[str, Any] = {"nano": 0, "latency_us": 2 * SECOND, "failed": False} | said
        return detector.call(at, **given)

    detector = Detector([condition])
    bad = [one(detector, number * SECOND, **call) for number in range(10)]
    assert [bool(met) for met in bad] == [False] * 9 + [True]
    detector = Detector([condition])
    for number in range(5):
        assert one(detector, number * SECOND, **call) is None
    for number in range(5, 30):
        assert one(detector, number * SECOND) is None
    later = [one(detector, (200 + number) * SECOND, **call) for number in range(10)]
    assert [bool(met) for met in later] == [False] * 9 + [True], "those of before are forgotten"


def test_money_within_a_time() -> None:
    detector = Detector([Condition("cost_rate", limit=1000, seconds=10)])
    assert all(detector.call(number * SECOND, 90, 0, failed=False) is None for number in range(100))
    assert detector.call(100 * SECOND, 200, 0, failed=False) is not None


def test_five_times_the_expected_trips_within_a_few_calls() -> None:
    assert feed(Detector([MEAN]), [1000] * 5000) is None
    detector = Detector([MEAN])
    feed(detector, [1000] * 200)
    taken = feed(detector, [5000] * 100)
    assert taken is not None
    assert taken <= 22


def test_a_rise_below_the_factor_never_trips() -> None:
    assert feed(Detector([MEAN]), [1900] * 20_000) is None


def test_nothing_trips_before_the_baseline_is_learned() -> None:
    detector = Detector([LEARNED])
    assert feed(detector, [1000] * 300 + [9000] * 199) is None
    assert detector.expected == 0
    feed(detector, [1000])
    assert detector.expected == (301 * 1000 + 199 * 9000) // 500


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5])
def test_stationary_heavy_tails_do_not_trip_and_five_times_do(sigma: float) -> None:
    """See `benchmarks` for the rates; here that a few seeds behave."""
    for seed in range(12):
        chance = random.Random(seed)
        detector = Detector([LEARNED])
        assert feed(detector, lognormal(chance, 1e6, sigma, 3000)) is None
        assert feed(detector, lognormal(chance, 5e6, sigma, 3000)) is not None


def test_a_mean_of_fifty_alone_would_trip() -> None:
    """Why there is evidence: the rolling mean alone is over its limit on stationary traffic, sooner or later."""
    over = 0
    for seed in range(12):
        costs = lognormal(random.Random(seed), 1e6, 1.5, 3000)
        over += any(sum(costs[end - 50 : end]) / 50 > 2e6 for end in range(50, 3000))
    assert over >= 6


def test_tallies_of_workers_add_up_to_what_one_would_have_seen() -> None:
    """In blocks, in their order: the same counts, the same evidence."""
    chance = random.Random(1)
    conditions = [MEAN, Condition("failures", limit=1000)]
    alone, one, two = Detector(conditions), Detector(conditions), Detector(conditions)
    blocks = []
    for block in range(40):
        worker = (one, two)[block % 2]
        for _ in range(chance.randrange(1, 6)):
            cost, failed = chance.randrange(3000), chance.random() < 0.3
            alone.call(0, cost, 0, failed=failed)
            worker.call(0, cost, 0, failed=failed)
        blocks.append(worker.take())
    third = Detector(conditions)
    for tally in blocks:
        third.absorb(0, tally)
    whole = Tally()
    for tally in blocks:
        add_tally(whole, msgspec.structs.replace(tally))
    assert (whole.calls, whole.nano, whole.errors, whole.tail) == (
        alone.pending.calls,
        alone.pending.nano,
        alone.pending.errors,
        alone.pending.tail,
    )
    assert whole.gain == pytest.approx(alone.pending.gain)
    assert whole.start == pytest.approx(alone.pending.start)
    assert third._risen == pytest.approx(alone._risen)
    assert third._in_a_row == alone._in_a_row


def test_two_workers_learn_one_baseline() -> None:
    detector = Detector([LEARNED])
    for _ in range(100):
        detector.call(0, 1000, 0, failed=False)
    reported = detector.take()
    for _ in range(10):
        detector.call(0, 1000, 0, failed=False)
    detector.learned(100 + 450, (100 + 450) * 2000)
    assert reported.samples == 100
    assert detector.expected == 2000, "those of all that were reported"


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        (Condition("failures"), {"limit": 5.0}),
        (Condition("cost_mean"), {"limit": 2.0, "calls": 50, "baseline": 500}),
        (Condition("cost_mean", expected=7), {"limit": 2.0, "calls": 50, "baseline": 0, "expected": 7}),
        (Condition("error_rate"), {"limit": 0.5, "calls": 20, "seconds": 60.0}),
        (Condition("latency", slow_seconds=3), {"limit": 0.05, "calls": 20, "seconds": 60.0}),
    ],
)
def test_defaults(given: Condition, whole: dict[str, Any]) -> None:
    made = filled(given)
    assert {name: getattr(made, name) for name in whole} == whole
    assert filled(made) == made
