"""What the gates cost: one decision with all guards, and one whole call on the journal in memory."""

import json
from collections.abc import Callable
from typing import Any

from benchmarks import ticket
from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure

GROUP = "Gates"


async def measure(bench: Bench) -> list[Figure]:
    """In a process of its own: nothing else may run beside it on its event loop."""
    child = await Child.start("gates_worker")
    bench.say("gate decisions")
    decisions = await child.asked(json.dumps({"what": "decisions", "runs": 300 if bench.quick else 3000}))
    bench.say("whole gate calls in memory")
    whole = await child.asked(json.dumps({"what": "whole", "runs": 500 if bench.quick else 4000}))
    await child.stop()
    calls = ticket.MODEL_CALLS + ticket.TOOL_CALLS
    figures = []
    for gate, words in (("model", "plan of the attempt, rules, reservation"), ("tool", "rules, reservation")):
        found = decisions[gate]
        note = f"{words}; P99 {found['p99']:.1f} µs; {found['count']:,} decisions in real runs, {found['rules']}"
        figures.append(Figure(GROUP, f"a decision of the {gate} gate", found["median"], "µs, median", "50 µs", note))
    figures.append(
        Figure(
            GROUP,
            "a whole gate call in memory",
            whole["cpu"] / whole["runs"] / calls * 1e6,
            "µs of CPU",
            note=f"a run's CPU divided by its {calls} calls: claim, agent loop, gates, events, hashes, payloads, group "
            f"commit, in-memory journal; {whole['runs']:,} runs, {whole['cpu'] / whole['runs'] * 1e3:.2f} ms each",
        )
    )
    return figures


def timed(function: Callable[..., Any], clock_ns: Callable[[], int], took: Callable[[int], None]) -> Callable[..., Any]:
    """The function, telling how many nanoseconds each call of it took."""

    def measured(*args: Any, **kwargs: Any) -> Any:
        begun = clock_ns()
        try:
            return function(*args, **kwargs)
        finally:
            took(clock_ns() - begun)

    return measured
