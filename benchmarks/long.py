"""A run of ten thousand steps whose worker is killed: how long from the next claim to its first live call.

With snapshots, and without: there the whole tape is replayed.
"""

import asyncpg

from benchmarks.bench import Bench
from benchmarks.child import Child
from benchmarks.figures import Figure

GROUP = "Long runs"
STEPS, QUICK_STEPS = 10_000, 1_000
EVERY = 1_000
_EVENTS = "SELECT last_seq FROM penstock.runs WHERE tenant = 'default' AND agent = 'bench-long' AND key = 'long'"
_AGAIN = "UPDATE penstock.runs SET key = NULL WHERE key = 'long'"


async def measure(bench: Bench) -> list[Figure]:
    """See the module.

    Raises:
        RuntimeError: the run did not go on.
    """
    steps = QUICK_STEPS if bench.quick else STEPS
    seconds = {}
    events = 0
    for words, every in (("without", 0), ("with", EVERY)):
        bench.say(f"a run of {steps:,} steps, {words} snapshots")
        options = {"dsn": bench.server.dsn, "steps": steps, "every": every}
        maker = await Child.start("long_worker", name=f"maker-{words}", goes_on=False, **options)
        maker.tell("go")
        await maker.until(lambda said: "reached" in said)
        maker.kill()
        successor = await Child.start("long_worker", name=f"successor-{words}", goes_on=True, **options)
        successor.tell("go")
        await successor.until(lambda said: "seconds" in said)
        if successor.said["outcome"] != "succeeded":
            raise RuntimeError(f"the long run ended as {successor.said['outcome']}")
        seconds[words] = successor.said["seconds"]
        successor.kill()
        connection = await asyncpg.connect(bench.server.dsn)
        events = await connection.fetchval(_EVENTS)
        await connection.execute(_AGAIN)
        await connection.close()
    note = f"{steps:,} steps of the standard loop, {events:,} events; from the claim to the first live call"
    return [
        Figure(GROUP, "a long run goes on from its snapshot", seconds["with"], "s", "1 s", note),
        Figure(GROUP, "the same, replayed from its whole tape", seconds["without"], "s", "", note),
        Figure(GROUP, "ratio", seconds["without"] / seconds["with"], "×", "", "snapshots off : on"),
    ]
