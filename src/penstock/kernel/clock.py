"""Time. Nothing else in the package reads a clock."""

import asyncio
import time
from functools import partial
from typing import Protocol


class Clock(Protocol):
    """What the engine needs to know of time."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC. For people and for records; may jump."""
        ...

    def boot_ns(self) -> int:
        """Nanoseconds since boot, counting suspension; never jumps. For start allowances."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend the calling task for at least ``seconds``."""
        ...


class SystemClock:
    """The machine's clocks."""

    # CLOCK_BOOTTIME goes on while the machine is suspended; CLOCK_MONOTONIC does not. macOS has only the latter.
    _boot = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    # No method of ours in between: a worker reads it eighty times a run.
    boot_ns = staticmethod(partial(time.clock_gettime_ns, _boot))

    def now_us(self) -> int:
        return time.time_ns() // 1000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def cpu_seconds() -> float:
    """CPU time of this process, in seconds; for benchmarks and reports."""
    return time.process_time()


def wall_seconds() -> float:
    """A monotonic reading in seconds, for durations within one process."""
    return time.perf_counter()
