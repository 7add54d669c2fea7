"""What a worker's own limit on runs at a time does to the overhead of a step when there is more work than it can do."""

from typing import Any

from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure

GROUP = "Overload of one worker"
TARGET_MS = 25.0
OUT_OF_REACH_MS = 60_000.0
"""A target that is always met: the limit stays at its maximum."""


async def measure(bench: Bench) -> list[Figure]:
    """The same flood of runs, with the limit at its maximum and with one that moves."""
    fixed = await _flood(bench, OUT_OF_REACH_MS)
    moved = await _flood(bench, TARGET_MS)
    note = f"300 runs at a time allowed, each step with 1 ms of computing; over {moved['seconds']:.0f} s after a third"
    held = f"it held {moved['limit']} runs at the end; {moved['rate'] / fixed['rate']:.2f} times the runs a second"
    return [
        Figure(GROUP, "overhead per step, P99, fixed at 300", fixed["p99"] * 1000, "ms", "none", note),
        Figure(GROUP, "overhead per step, P99, adaptive", moved["p99"] * 1000, "ms", "none", held),
        Figure(GROUP, "overhead per step, P50, adaptive", moved["p50"] * 1000, "ms", f"{TARGET_MS:g} ms at P90", ""),
        Figure(GROUP, "runs a second, adaptive", moved["rate"], "", "no fewer than with a fixed limit", ""),
    ]


async def _flood(bench: Bench, target_ms: float) -> dict[str, Any]:
    child = await Child.start("concurrency_worker", dsn=bench.server.dsn, target_ms=target_ms)
    bench.say(f"a flood, with a target of {target_ms:,.0f} ms")
    said = await child.asked(str(bench.seconds(40, 20)))
    await child.stop()
    return said
