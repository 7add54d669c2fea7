"""Circuit breakers: what one costs a call, after how many calls it trips when costs are five times the baseline, and
how often it trips on traffic that stays as it was.

Costs are log-normal, the baseline is learned from the first 500 calls, and each stream has a seed of its own. "Streams"
are of 10,000 calls each; the mean of the last 50 alone is shown beside it, to say what the evidence is for.
"""

import random

from benchmarks.bench import Bench
from benchmarks.figures import Figure, quantile
from penstock.gates.breakers.detector import Detector
from penstock.kernel.clock import cpu_seconds
from penstock.ports.breakers import Condition

GROUP = "Circuit breakers"
SIGMAS = (0.5, 1.0, 1.5)
"""Of the logarithm: a coefficient of variation of 0.5, 1.3 and 2.9."""
CALLS = 10_000
MEAN_NANO = 1_000_000
MEAN = Condition("cost_mean", limit=2.0, calls=50, baseline=500)
ALL = (
    MEAN,
    Condition("failures", limit=5),
    Condition("error_rate", limit=0.5, calls=20, seconds=60),
    Condition("latency", limit=0.05, calls=20, seconds=60, slow_seconds=30),
)


async def measure(bench: Bench) -> list[Figure]:
    """All of it, by simulation."""
    streams = 40 if bench.quick else 1000
    figures = [_cost(bench)]
    for sigma in SIGMAS:
        bench.say(f"{streams} streams of log-normal costs, sigma {sigma}")
        false, naive, delays = 0, 0, []
        for seed in range(streams):
            tripped, over, delay = _stream(random.Random(f"{sigma}/{seed}"), sigma)
            false += tripped
            naive += over
            if delay:
                delays.append(delay)
        said = f"log-normal, sigma {sigma:g}"
        figures += [
            Figure(
                GROUP,
                f"false trips, {said}",
                false / streams * 100,
                "% of streams",
                "at most 0.1",
                f"{false} of {streams} streams of 10,000 calls",
            ),
            Figure(GROUP, f"over twice by the mean of 50 alone, {said}", naive / streams * 100, "% of streams"),
            Figure(GROUP, f"calls until it trips at five times, median, {said}", quantile(delays, 0.5), "calls"),
            Figure(GROUP, f"calls until it trips at five times, P99, {said}", quantile(delays, 0.99), "calls"),
        ]
    return figures


def _stream(chance: random.Random, sigma: float) -> tuple[bool, bool, int]:
    """Whether a stationary stream tripped it, whether the rolling mean alone would have, and the delay afterwards."""
    detector, lately, total, over = Detector([MEAN]), [0.0] * 50, 0.0, False
    for number in range(CALLS):
        cost = chance.lognormvariate(-sigma * sigma / 2, sigma) * MEAN_NANO
        if detector.call(number, int(cost), 0, failed=False) is not None:
            return True, True, 0
        total += cost - lately[number % 50]
        lately[number % 50] = cost
        over = over or (number >= 50 and total / 50 > 2 * MEAN_NANO)
    for number in range(1, CALLS):
        cost = chance.lognormvariate(-sigma * sigma / 2, sigma) * MEAN_NANO * 5
        if detector.call(CALLS + number, int(cost), 0, failed=False) is not None:
            return False, over, number
    return False, over, CALLS


def _cost(bench: Bench) -> Figure:
    count = 20_000 if bench.quick else 200_000
    best = float("inf")
    for _ in range(3):
        detector = Detector(ALL)
        began = cpu_seconds()
        for number in range(count):
            detector.call(number * 1000, MEAN_NANO, 5_000, failed=False)
        best = min(best, (cpu_seconds() - began) / count)
    return Figure(GROUP, "one call, four conditions", best * 1e6, "µs of CPU", "under 5")
