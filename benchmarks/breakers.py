"""Circuit breakers: what one costs a call, after how many calls it trips when costs are five times the baseline, and
how often it trips on traffic that stays as it was.

Costs are log-normal, the baseline is learned from the first 500 calls, and each stream has a seed of its own. "Streams"
are of 10,000 calls each; the mean of the last 50 alone is shown beside it, to say what the evidence is for.

Drift is measured on recorded text: the 10,003 customers' questions of Banking77, as if they were answers. Shuffled,
they are stationary, whatever they say; each stream learns from its first 500 and is followed to its end, or until it
trips. What it is to find: the questions of half of the intents give way to those of the other half; or every second
answer becomes the same refusal.
"""

import random

import numpy as np

from benchmarks.bench import Bench
from benchmarks.figures import Figure, quantile
from penstock.adapters.embeddings import WordLlamaEmbedder
from penstock.adapters.simulated.examples import Question, banking77
from penstock.gates.breakers.detector import Detector
from penstock.gates.breakers.drifting import Drift
from penstock.kernel.clock import cpu_seconds
from penstock.ports.breakers import ALARM_CALLS, Condition
from penstock.ports.embeddings import Vectors

GROUP = "Circuit breakers"
SIGMAS = (0.5, 1.0, 1.5)
"""Of the logarithm: a coefficient of variation of 0.5, 1.3 and 2.9."""
CALLS = 10_000
MEAN_NANO = 1_000_000
DRIFT = Condition("drift", baseline=500)
SETTLED = 2_000
"""Answers after which something changes."""
REFUSAL = "I am sorry, I cannot help with that."
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
    bench.say("drift, on Banking77")
    return figures + _drift(40 if bench.quick else 500)


def _drift(streams: int) -> list[Figure]:
    embedder = WordLlamaEmbedder()
    questions: list[Question] = [*banking77("examples"), *banking77("tickets")]
    points = np.stack([embedder.embed([question.text])[0] for question in questions])
    refusal = embedder.embed([REFUSAL])[0]
    intents = sorted({question.category for question in questions})
    false, calls, others, refusals = 0, 0, [], []
    for seed in range(streams):
        chance = random.Random(f"drift/{seed}")
        order = chance.sample(range(len(points)), len(points))
        tripped = _followed(embedder, [points[place] for place in order])
        false += tripped is not None
        calls += len(order) - DRIFT.baseline if tripped is None else tripped - DRIFT.baseline + 1
        if seed < streams // 5:
            kept = set(chance.sample(intents, len(intents) // 2))
            before = [place for place in order if questions[place].category in kept][:SETTLED]
            after = [place for place in order if questions[place].category not in kept]
            others.append(_delay(embedder, [points[place] for place in [*before, *after]]))
            mixed = [points[place] for place in order]
            mixed[SETTLED::2] = [refusal] * len(mixed[SETTLED::2])
            refusals.append(_delay(embedder, mixed))
    said = f"{false} of {streams} streams, {calls:,} answers; designed for less than one in {ALARM_CALLS:,} answers"
    return [
        Figure(GROUP, "false alarms of drift, per million answers", false / calls * 1e6, "", "under 0.1", said),
        Figure(GROUP, "answers until drift trips, other intents, median", quantile(others, 0.5), "answers"),
        Figure(GROUP, "answers until drift trips, other intents, P99", quantile(others, 0.99), "answers"),
        Figure(GROUP, "answers until drift trips, every second refused, median", quantile(refusals, 0.5), "answers"),
        Figure(GROUP, "answers until drift trips, every second refused, P99", quantile(refusals, 0.99), "answers"),
    ]


def _followed(embedder: WordLlamaEmbedder, answers: list[Vectors]) -> int | None:
    """The place of the answer that tripped it, None = none did."""
    drift, detector = Drift(embedder, DRIFT.baseline, b""), Detector([DRIFT])
    for number, point in enumerate(answers):
        if drift.has_learned:
            if detector.answer(drift.e_value(point)) is not None:
                return number
        elif (reference := drift.learn(point)) is not None:
            drift.adopt(reference)
    return None


def _delay(embedder: WordLlamaEmbedder, answers: list[Vectors]) -> int:
    """After how many answers of the changed part it trips; all of them when it does not."""
    tripped = _followed(embedder, answers)
    return (len(answers) if tripped is None else tripped) - SETTLED + 1


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
