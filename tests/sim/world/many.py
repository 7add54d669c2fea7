"""Many seeds, in several processes, and what they exercised."""

import gc
import multiprocessing
from collections.abc import Iterator

from tests.sim.world.seeds import Tally, run_seed

CHUNK = 25
"""Seeds that a process takes at a time."""
CHUNKS_OF_A_PROCESS = 40
"""Then another takes its place: what dead processes of a simulation leave behind is never quite collected."""


def chunk(seeds: range) -> Tally:
    """Simulate some seeds, here."""
    tally = Tally()
    collecting = gc.isenabled()
    gc.disable()  # between seeds it would look through everything that was ever imported
    try:
        for seed in seeds:
            tally.add(run_seed(seed))
    finally:
        if collecting:
            gc.enable()
    gc.collect()
    return tally


def simulate(first: int, count: int, jobs: int) -> Iterator[Tally]:
    """Simulate ``count`` seeds from ``first`` on in ``jobs`` processes; the tally of each chunk as it is done."""
    chunks = [range(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]
    if jobs == 1:
        yield from map(chunk, chunks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=CHUNKS_OF_A_PROCESS) as pool:
        yield from pool.imap_unordered(chunk, chunks)
