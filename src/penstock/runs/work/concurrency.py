"""How many runs may keep a worker busy at a time: as many as leave the engine's own overhead within its target.

A run that waits for its model or a tool costs the engine nothing and is not counted, so a worker may hold thousands.

The rule is that of Gradient2 in Netflix's concurrency-limits (https://github.com/Netflix/concurrency-limits; E. Landau,
W. Thurston, T. Bozarth, "Performance Under Load", 2018), with a stated target where that has the long-term latency:

    gradient  = clamp(target / overhead, 1/5, 1)
    new limit = limit * gradient + sqrt(limit)
    limit     = (1 - smoothing) * limit + smoothing * new limit

What it looks at is not how long calls take, which is the model's affair, but what the engine adds to a step: how long
an intent takes to be durable, and how late the event loop is. At the fixed point the gradient is ``1 - 1/sqrt(limit)``,
so the overhead settles slightly above the figure aimed at; that is why `AIM` is below the target. Far below the target
the limit doubles instead, as TCP does in slow start.

A slow disk makes every append slow, however few runs there are. Taking on less would help nobody: when half as many
runs at a time have not made the overhead smaller, it is not theirs, and the target gives way to it for a while.
"""

import math
from collections import deque

AIM = 0.8  # of the target
SMOOTHING = 0.3
GRADIENT_MIN = 0.2
HASTE = 0.5  # smoothing on the way down when the overhead is several times what is aimed at: a flood does not wait
FAR = 0.5  # a gradient below this
EASE = 0.5  # an overhead below this share of what is aimed at: the limit doubles
QUANTILE = 0.9
SAMPLES_MIN = 20  # a window closes with so many samples ...
WINDOW_SECONDS = 0.5  # ... when it is at least so old
QUIET_SECONDS = 2.0  # or with fewer at this age
SAMPLES_MAX = 1000  # of a window; of more, the latest
BUSY_SHARE = 0.5  # a limit that is used by less than this is not what holds the worker back: it does not grow
RELIEF = 0.8  # half as many runs must bring the overhead below this share, or they are not its cause
GIVE_WAY = 1.5  # the target becomes so many times an overhead that is not the runs'
FORGET = 0.995  # of which so much is left after each window


class ConcurrencyLimit:
    """The number of runs that may keep a worker busy, moved by measured overhead. Pure: time comes with the samples.

    Args:
        most: upper bound, and where it starts.
        least: lower bound; overhead that something else causes does not starve a worker.
        target_seconds: what the engine may add to a step.
    """

    def __init__(self, most: int, least: int, target_seconds: float) -> None:
        self.most = most
        self.least = min(least, most)
        self.target_seconds = target_seconds
        self.overhead_seconds = 0.0
        """Of the last window, at its 90th percentile."""
        self._limit = float(most)
        self._samples: deque[float] = deque(maxlen=SAMPLES_MAX)
        self._opened_ns: int | None = None
        self._busiest = 0
        self._fall: tuple[float, float] | None = None  # limit and overhead when the limit began to fall
        self._foreign_seconds = 0.0  # overhead that does not come from the number of runs

    @property
    def value(self) -> int:
        """Runs at a time, now."""
        return int(self._limit)

    def observe(self, overhead_seconds: float, running: int, now_ns: int) -> None:
        """One measurement, with how many runs were busy then; ``now_ns`` is any clock that never jumps."""
        if self._opened_ns is None:
            self._opened_ns = now_ns
        self._samples.append(max(0.0, overhead_seconds))
        self._busiest = max(self._busiest, running)
        age = (now_ns - self._opened_ns) / 1e9
        if age >= WINDOW_SECONDS and (age >= QUIET_SECONDS or len(self._samples) >= SAMPLES_MIN):
            self._close_window()

    def _close_window(self) -> None:
        samples = sorted(self._samples)
        overhead = self.overhead_seconds = samples[min(len(samples) - 1, int(len(samples) * QUANTILE))]
        aim = max(AIM * self.target_seconds, GIVE_WAY * self._foreign_seconds)
        gradient = max(GRADIENT_MIN, min(1.0, aim / overhead)) if overhead else 1.0
        held = self._limit
        if gradient < 1.0:
            # What is not in use cannot be what is too much: it goes at once, by half at most.
            held = min(held, max(self._busiest, held / 2))
        if gradient < 1.0 or self._busiest >= held * BUSY_SHARE:
            aimed = held * gradient + math.sqrt(held)
            share = HASTE if gradient < FAR else SMOOTHING
            moved = 2 * held if overhead <= EASE * aim else (1 - share) * held + share * aimed
            self._limit = min(self.most, max(self.least, moved))
        self._foreign_seconds *= FORGET
        self._judge_fall(gradient, overhead)
        self._samples.clear()
        self._opened_ns, self._busiest = None, 0

    def _judge_fall(self, gradient: float, overhead: float) -> None:
        if gradient == 1.0:
            self._fall = None
        elif self._fall is None:
            self._fall = self._limit, overhead
        elif self._limit <= self._fall[0] / 2:
            if overhead > RELIEF * self._fall[1]:
                self._foreign_seconds = overhead
            self._fall = None
