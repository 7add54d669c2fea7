"""Simulate seeds of the whole engine: `make sim SEEDS=100000`, or one of them with its trace: `make sim SEED=123`.

Every seed is one small world (tests/sim/world): workers, runs, a database and an outside, with faults. All cores are
used. A seed that breaks an invariant is printed with the command that replays it; the exit code is 1 then.
"""

import argparse
import collections
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.sim.world.coverage import table
from tests.sim.world.many import simulate
from tests.sim.world.seeds import Tally, run_seed

SHOWN = 10
"""Failing seeds that are printed."""


def one(seed: int) -> int:
    """Simulate one seed, with its trace."""
    report = run_seed(seed)
    for line in report.trace:
        print(line)
    for invariant, what in report.violations:
        print(f"{invariant}: {what}")
    print(f"seed {seed}: {len(report.violations)} invariants broken; fingerprint {report.digest[:16]}")
    return bool(report.violations)


def many(first: int, count: int, jobs: int) -> int:
    """Simulate many, and say what they exercised."""
    began, total = time.perf_counter(), Tally()
    for tally in simulate(first, count, jobs):
        for report in tally.failed[: max(0, SHOWN - len(total.failed))]:
            print(report.summary(), flush=True)
        total.merge(tally)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{total.seeds} of {count} seeds, {len(total.failed)} broken ")
    print(table(total.counts))
    seconds = time.perf_counter() - began
    print(f"{total.seeds} seeds from {first} in {seconds:.0f} s with {jobs} processes; {len(total.failed)} broken")
    broken = collections.Counter(report.violations[0][0] for report in total.failed)
    for invariant, number in broken.most_common():
        print(f"  {invariant}: {number}")
    return bool(total.failed)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed, with its trace")
    parser.add_argument("--seeds", type=int, default=2000, help="how many (default 2000)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    options = parser.parse_args()
    if options.seed is not None:
        return one(options.seed)
    return many(options.first, options.seeds, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
