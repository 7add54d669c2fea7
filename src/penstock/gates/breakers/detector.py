"""When a circuit trips: what its conditions count, call by call, and the evidence that a mean has risen.

A mean over its limit is not enough: costs of calls are heavy-tailed, and the mean of fifty of them is over twice its
expectation now and then by accident. So the mean must be over its limit *and* the evidence for it be strong. The
evidence is an e-detector: ``M = (M + 1) * e`` with the bet ``e = 1 + BET * (x / m - 1)``, which nobody can win on
average while costs ``x`` are not negative and their mean is at most ``m``; so ``M`` reaches a threshold ``A`` less than
once in ``A`` calls, whatever the costs' distribution (the average run length under the null is at least ``A``).
``m`` is half-way between what is expected and the limit: a baseline that was learned a little low does no harm.

Source: J. Shin, A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric framework for sequential change detection",
New England Journal of Statistics in Data Science 2(2), 2024, §2 (Shiryaev-Roberts e-detectors); the bet:
I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 86(1), 2024, §4.
"""

from collections import deque
from collections.abc import Sequence

from penstock.ports.breakers import ALARM_CALLS, Condition, Tally, add_tally

BET = 0.5
MEAN_LEAST = 10
"""Costs that a rolling mean is of at least."""
BUCKETS = 64
"""Parts of a window of time: what is counted is over at most this share too long."""
EVIDENCE_MAX = 1e200  # it has long been enough, and products of two of them are still numbers


class Rolling:
    """Sum and number of at least the last ``size`` values (all, while there are fewer)."""

    __slots__ = ("_parts", "count", "size", "total")

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self.total = 0
        self._parts: deque[tuple[int, int]] = deque()

    def add(self, count: int, total: int) -> None:
        """So many more values, with that sum."""
        parts = self._parts
        parts.append((count, total))
        self.count += count
        self.total += total
        while self.count - parts[0][0] >= self.size:
            first, amount = parts.popleft()
            self.count -= first
            self.total -= amount

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0


class Timed:
    """Calls, and an amount of them, within the last seconds. Time in microseconds; it does not go back."""

    __slots__ = ("_parts", "_width", "amount", "calls")

    def __init__(self, seconds: float) -> None:
        self._width = max(1, int(seconds * 1e6 / BUCKETS))
        self._parts: deque[list[int]] = deque()
        self.calls = 0
        self.amount = 0

    def add(self, at: int, calls: int, amount: int) -> None:
        """So many calls, with that amount."""
        part = at // self._width
        parts = self._parts
        if parts and parts[-1][0] >= part:
            last = parts[-1]
            last[1] += calls
            last[2] += amount
        else:
            parts.append([part, calls, amount])
        self.calls += calls
        self.amount += amount
        while parts[0][0] < part - BUCKETS:
            _, first, gone = parts.popleft()
            self.calls -= first
            self.amount -= gone


class Met:
    """A condition that is met, and its figures."""

    __slots__ = ("condition", "figures", "words")

    def __init__(self, condition: Condition, words: str, **figures: float) -> None:
        self.condition = condition
        self.words = words
        self.figures = figures


class Detector:
    """The conditions of one circuit in one generation. Each kind occurs at most once.

    Attributes:
        pending: what was observed here since it was last taken away, to be reported.
        base_samples, base_nano: of the costs that the expected mean is learned from.
    """

    def __init__(self, conditions: Sequence[Condition], base_samples: int = 0, base_nano: int = 0) -> None:
        by_kind = {condition.kind: condition for condition in conditions}
        self.mean = by_kind.get("cost_mean")
        self._failures = by_kind.get("failures")
        self._rate = by_kind.get("cost_rate")
        self._errors = by_kind.get("error_rate")
        self._latency = by_kind.get("latency")
        self.drift = by_kind.get("drift")
        self._slow_us = int(self._latency.slow_seconds * 1e6) if self._latency else 0
        self._costs = Rolling(self.mean.calls) if self.mean else None
        self._spent = Timed(self._rate.seconds) if self._rate else None
        self._failed = Timed(self._errors.seconds) if self._errors else None
        self._slowed = Timed(self._latency.seconds) if self._latency else None
        self._in_a_row = 0
        self._risen = 0.0
        self._far = 0.0
        self.base_samples = base_samples
        self.base_nano = base_nano
        self.learn = self.mean.baseline if self.mean is not None and not self.mean.expected else 0
        """How many costs are learned from."""
        self.pending = Tally()

    @property
    def expected(self) -> int:
        """The mean that is expected, nano-dollars; 0 = it is still being learned."""
        if self.mean is None:
            return 0
        if self.mean.expected:
            return self.mean.expected
        return max(1, self.base_nano // self.base_samples) if self.base_samples >= self.learn else 0

    def call(self, at: int, nano: int, latency_us: int, *, failed: bool) -> Met | None:
        """One call has ended; the condition that is met by that."""
        pending = self.pending
        slow = 0 < self._slow_us < latency_us
        pending.calls += 1
        pending.nano += nano
        pending.slow += slow
        if failed:
            pending.errors += 1
            pending.tail += 1
            self._in_a_row += 1
        else:
            pending.tail = self._in_a_row = 0
        if self._spent is not None:
            self._spent.add(at, 1, nano)
        if self._failed is not None:
            self._failed.add(at, 1, failed)
        if self._slowed is not None:
            self._slowed.add(at, 1, slow)
        if self.mean is not None and self.mean.of == "call":
            self._cost(nano)
        return self.met()

    def run(self, nano: int) -> Met | None:
        """A run has ended, and cost so much in all."""
        if self.mean is None or self.mean.of != "run":
            return None
        self._cost(nano)
        return self.met()

    def answer(self, e_value: float) -> Met | None:
        """An answer was as far off as this e-value says."""
        pending = self.pending
        pending.far_gain = min(pending.far_gain * e_value, EVIDENCE_MAX)
        pending.far_start = min((pending.far_start + 1) * e_value, EVIDENCE_MAX)
        self._far = min((self._far + 1) * e_value, EVIDENCE_MAX)
        return self.met()

    def _cost(self, nano: int) -> None:
        pending = self.pending
        pending.samples += 1
        pending.sampled += nano
        assert self._costs is not None
        assert self.mean is not None
        self._costs.add(1, nano)
        expected = self.expected
        if not expected:
            self.base_samples += 1
            self.base_nano += nano
            return
        bet = 1 + BET * (nano / (expected * (1 + self.mean.limit) / 2) - 1)
        pending.gain = min(pending.gain * bet, EVIDENCE_MAX)
        pending.start = min((pending.start + 1) * bet, EVIDENCE_MAX)
        self._risen = min((self._risen + 1) * bet, EVIDENCE_MAX)

    def absorb(self, at: int, tally: Tally) -> Met | None:
        """What another worker observed."""
        self._in_a_row = self._in_a_row + tally.calls if tally.errors == tally.calls else tally.tail
        if self._spent is not None:
            self._spent.add(at, tally.calls, tally.nano)
        if self._failed is not None:
            self._failed.add(at, tally.calls, tally.errors)
        if self._slowed is not None:
            self._slowed.add(at, tally.calls, tally.slow)
        if self._costs is not None and tally.samples:
            self._costs.add(tally.samples, tally.sampled)
        self._risen = min(self._risen * tally.gain + tally.start, EVIDENCE_MAX)
        self._far = min(self._far * tally.far_gain + tally.far_start, EVIDENCE_MAX)
        return self.met()

    def learned(self, samples: int, nano: int) -> None:
        """The costs that all workers have reported to the baseline; what is pending here is not among them yet."""
        if self.learn and samples >= self.learn:  # for good, and the same for all
            self.base_samples, self.base_nano = samples, nano
        elif self.base_samples < self.learn:
            self.base_samples = samples + self.pending.samples
            self.base_nano = nano + self.pending.sampled

    def take(self) -> Tally:
        """What is to be reported; from here on it is counted anew."""
        taken, self.pending = self.pending, Tally()
        return taken

    def put_back(self, tally: Tally) -> None:
        """It could not be reported."""
        add_tally(tally, self.pending)
        self.pending = tally

    def met(self) -> Met | None:
        """The first condition that is met now."""
        if self._failures is not None and self._in_a_row >= self._failures.limit:
            return Met(self._failures, f"{self._in_a_row} calls failed in a row", failures=self._in_a_row)
        mean = self.mean
        if mean is not None and self._risen >= ALARM_CALLS:
            assert self._costs is not None
            costs, expected = self._costs, self.expected
            if costs.count >= min(MEAN_LEAST, mean.calls) and expected and costs.mean > mean.limit * expected:
                words = f"the last {costs.count} {mean.of}s cost {costs.mean / expected:.3g} times what is expected"
                figures = {"mean_nano": costs.mean, "expected_nano": expected, "calls": costs.count}
                return Met(mean, words, **figures, factor=mean.limit, evidence=self._risen)
        if self._rate is not None and self._spent is not None and self._spent.amount > self._rate.limit:
            words = f"{self._spent.amount / 1e9:.6g} USD were spent within {self._rate.seconds:g} s"
            return Met(self._rate, words, nano=self._spent.amount, limit=self._rate.limit, seconds=self._rate.seconds)
        by_share = None
        if self._failed is not None and self._failed.amount:
            by_share = _share(self._errors, self._failed, "failed")
        if by_share is None and self._slowed is not None and self._slowed.amount:
            by_share = _share(self._latency, self._slowed, "were slow")
        if by_share is not None:
            return by_share
        if self.drift is not None and self._far >= ALARM_CALLS:
            return Met(self.drift, "answers have drifted away from those of the baseline", evidence=self._far)
        return None

    def is_good(self, nano: int, latency_us: int, *, failed: bool) -> bool:
        """Whether a single call gives no reason to stay open: what a probe is judged by."""
        mean, expected = self.mean, self.expected
        dear = mean is not None and mean.of == "call" and bool(expected) and nano > mean.limit * expected
        return not failed and not dear and not 0 < self._slow_us < latency_us


def _share(condition: Condition | None, counted: Timed, verb: str) -> Met | None:
    """Whether too large a share of what was counted did so."""
    if condition is None or counted.calls < condition.calls or counted.amount <= condition.limit * counted.calls:
        return None
    words = f"{counted.amount} of {counted.calls} calls within {condition.seconds:g} s {verb}"
    return Met(condition, words, share=counted.amount / counted.calls, limit=condition.limit, calls=counted.calls)
