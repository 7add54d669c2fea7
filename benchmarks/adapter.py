"""What the adapter adds to a call of a real provider's model: CPU of our conversion, beside the SDK's own."""

import json

from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure

GROUP = "Model adapter"


async def measure(bench: Bench) -> list[Figure]:
    """In a process of its own: the providers' libraries take memory and time to import."""
    bench.say("model adapter")
    child = await Child.start("adapter_worker")
    found = await child.asked(json.dumps({"calls": 200 if bench.quick else 2000}))
    await child.stop()
    ours, bare = found["ours"] * 1e6, found["bare"] * 1e6
    return [
        Figure(
            GROUP,
            "added by the adapter",
            ours - bare,
            "µs of CPU a call",
            note=f"{ours:,.0f} µs through the adapter, {bare:,.0f} µs calling the library's test model with converted "
            "messages; six messages, two tools",
        ),
        Figure(GROUP, "token bound of the prompt", found["bound"] * 1e6, "µs of CPU a call", note="the same messages"),
        Figure(
            GROUP,
            "a call over the wire",
            found["wire"] * 1e6,
            "µs of CPU a call",
            note="openai SDK against an HTTP server in the same process, which is included",
        ),
    ]
