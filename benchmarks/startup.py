"""How long somebody waits who starts: importing the package, and a first run on the embedded PostgreSQL."""

import asyncio
import shutil
import statistics
import sys
from pathlib import Path

from benchmarks.bench import Bench, clock
from benchmarks.figures import Figure

GROUP = "Starting"
IMPORTS = (
    ("python itself", "pass", ""),
    ("`import penstock`", "import penstock", "0.3 s"),
    ("`from penstock import Agent, tool, Budget`", "from penstock import Agent, tool, Budget", ""),
)


async def measure(bench: Bench) -> list[Figure]:
    """Every sample is a process of its own, with the files in the system's cache."""
    return [*await _imports(bench), *await _first_runs(bench)]


async def _imports(bench: Bench) -> list[Figure]:
    samples: dict[str, list[float]] = {name: [] for name, _, _ in IMPORTS}
    times = 5 if bench.quick else 15
    for _ in range(times):
        # In turn, so that what else happens on the machine happens to all of them.
        for name, code, _ in IMPORTS:
            samples[name].append(await _seconds("-c", code))
    figures = []
    for name, _, aim in IMPORTS:
        note = f"median of {times} processes; the quickest {min(samples[name]):.3f} s; Python's own start included"
        figures.append(Figure(GROUP, name, statistics.median(samples[name]), "s", aim, note))
    return figures


async def _first_runs(bench: Bench) -> list[Figure]:
    bench.say("first runs on an embedded server")
    fresh, again = [], []
    for number in range(1 if bench.quick else 3):
        folder = bench.folder / f"first-{number}"
        fresh.append(await _first_run(folder))
        again.append(await _first_run(folder))
        shutil.rmtree(folder)
    running = await _first_run(bench.folder / "data")
    return [
        Figure(
            GROUP,
            "first run, from nothing",
            statistics.median(fresh),
            "s",
            "2 s",
            f"a new process: import, `initdb`, start, schema, one five-step run, its result; median of {len(fresh)}",
        ),
        Figure(
            GROUP,
            "first run, data exist",
            statistics.median(again),
            "s",
            note="the same folder again: the server has to be started",
        ),
        Figure(GROUP, "first run, server runs", running, "s", note="another process shares its server already"),
    ]


async def _first_run(folder: Path) -> float:
    """Seconds from the start of a process to its first result."""
    begun = clock()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.first_run", str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    line = await process.stdout.readline()
    took = clock() - begun
    if line.strip() != b"succeeded" or await process.wait() != 0:
        raise RuntimeError(f"the first run said {line!r}")
    return took


async def _seconds(*arguments: str) -> float:
    begun = clock()
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    if await process.wait() != 0:
        raise RuntimeError(f"python {' '.join(arguments)} failed")
    return clock() - begun
