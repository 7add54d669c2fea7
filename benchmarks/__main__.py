"""``python -m benchmarks [--quick] [--scale] [--only NAME …] [--dry] [--json FILE]``: measure, print, and keep it."""

import argparse
import asyncio
import importlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import results, server
from benchmarks.bench import Bench, Unavailable
from benchmarks.figures import Figure, table
from benchmarks.groups import GROUPS, Group, chosen
from benchmarks.machine import Machine, describe
from benchmarks.results import Measured

HERE = Path(__file__).resolve().parent
NAMES = tuple(group.name for group in GROUPS)


def main(arguments: Sequence[str]) -> int:
    """Run the measurements; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rough figures of small sizes; nothing is kept")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help="these groups, with what they need")
    parser.add_argument("--scale", action="store_true", help="what takes long: a million runs, viewers, a browser")
    parser.add_argument("--dry", action="store_true", help="print the figures; results.json and RESULTS.md stay")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of this call there, too")
    parser.add_argument("--list", action="store_true", help="what there is, and what it took the last time")
    options = parser.parse_args(arguments)
    if options.list:
        print(_listed())
        return 0
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may have to run as another account
        return asyncio.run(_measure(options, folder))


async def _measure(options: argparse.Namespace, folder: Path) -> int:
    groups = chosen(options.only or (), scale=options.scale)
    # All of them now: one that cannot be imported should not be found out after minutes.
    modules = {group: importlib.import_module(f"benchmarks.{group.name}") for group in groups}
    begun = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {words}", file=sys.stderr, flush=True)

    machine, commit = describe(folder), results.commit_of(HERE.parent)
    done: dict[str, Measured] = {}
    rates: dict[str, float] = {}
    for group in groups:
        # A server of its own for each: what a group leaves to be vacuumed is not the next one's cost.
        data = folder / group.name
        async with server.running(data) as running:
            version = await running.version()
            bench = Bench(running, folder, options.quick, say, rates)
            say(f"measuring {group.name}")
            try:
                one = await _measured(modules[group].measure, bench, machine, commit, version)
            except Unavailable as why:
                say(f"*** SKIPPED {group.name}: {why} ***")
            else:
                done[group.name] = one
                print(f"{table(one.figures)}\n", flush=True)
                if not options.quick and not options.dry:
                    # At once: what fails later does not take along what was measured before.
                    kept = results.merged(results.read(HERE / "results.json"), done, NAMES)
                    results.write(HERE, kept, NAMES)
        shutil.rmtree(data)
    say(f"{machine.identity()}; load before the start {machine.load:.2f}; commit {commit or 'unknown'}")
    if options.json:
        plain = {name: asdict(one) for name, one in done.items()}
        options.json.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


async def _measured(
    measure: Callable[[Bench], Awaitable[list[Figure]]], bench: Bench, machine: Machine, commit: str, version: str
) -> Measured:
    begun = time.monotonic()
    figures = await measure(bench)
    return Measured(
        measured=datetime.now(UTC).date().isoformat(),
        commit=commit,
        seconds=round(time.monotonic() - begun, 1),
        machine=machine.identity(),
        conditions=f"{machine.conditions()}; PostgreSQL {version}, embedded, on the same cores",
        load=round(machine.load, 2),
        figures=figures,
    )


def _listed() -> str:
    stored = results.read(HERE / "results.json")

    def line(group: Group) -> str:
        seconds = stored[group.name].seconds if group.name in stored else None
        took = "-" if seconds is None else f"{seconds:.0f} s"
        return f"{group.name:<18}{took:>7}  {'scale' if group.scale else '':<7}{group.words()}"

    return "\n".join(map(line, GROUPS))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
