"""``python -m benchmarks [--quick] [--only NAME …] [--json FILE]``: measure, print, and keep the figures."""

import argparse
import asyncio
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import server
from benchmarks.bench import Bench
from benchmarks.figures import Figure, table
from benchmarks.machine import describe

HERE = Path(__file__).resolve().parent
MEASUREMENTS = (
    "startup",
    "gates",
    "adapter",
    "append",
    "fairness",
    "parked",
    "runs",
    "pydantic_ai_runs",
    "concurrency",
    "peer",
    "staircase",
    "long",
)
"""Modules in this folder, in the order in which they are run; `peer` needs what `runs` found."""
SCALE = ("recovery", "crowd", "stored")
"""Those that take long and fill a disk with ten gigabytes: measured with --scale, alone."""
MARKS = ("<!-- figures: written by make bench -->", "<!-- end of figures -->")
SCALE_MARKS = ("<!-- figures: written by make bench ARGS=--scale -->", "<!-- end of figures of scale -->")


def main(arguments: Sequence[str]) -> int:
    """Run the measurements; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rough figures in a minute and a half; RESULTS.md stays")
    parser.add_argument(
        "--only", nargs="+", choices=MEASUREMENTS + SCALE, help="these measurements alone; RESULTS.md stays"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--scale", action="store_true", help="what takes long: ten thousand runs, a million runs")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL may have to run as another account
        return asyncio.run(_measure(options, folder))


async def _measure(options: argparse.Namespace, folder: Path) -> int:
    names = options.only or (SCALE if options.scale else MEASUREMENTS)
    # All of them now: one that cannot be imported should not be found out after minutes.
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names}
    begun = time.monotonic()

    def say(words: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {words}", file=sys.stderr, flush=True)

    machine = describe(folder)
    figures: list[Figure] = []
    async with server.running(folder / "data") as running:
        version = await running.version()
        bench = Bench(running, folder, options.quick, say)
        for name, module in modules.items():
            say(f"measuring {name}")
            figures += await module.measure(bench)
    seconds = time.monotonic() - begun
    when = datetime.now(UTC).date().isoformat()
    words = (
        f"Measured on {when} in {seconds:.0f} s: {machine.words()} PostgreSQL {version}, embedded, on the same cores."
    )
    plain = {
        "measured": when,
        "seconds": round(seconds, 1),
        "quick": options.quick,
        "machine": asdict(machine),
        "postgresql": version,
        "figures": [asdict(figure) for figure in figures],
    }
    print(f"{words}\n\n{table(figures)}")
    if options.json:
        _write_json(options.json, plain)
    if not options.quick and not options.only:
        _write_json(HERE / ("results-scale.json" if options.scale else "results.json"), plain)
        _write_results(f"{words}\n\n{table(figures)}", *(SCALE_MARKS if options.scale else MARKS))
    return 0


def _write_json(path: Path, plain: dict[str, object]) -> None:
    path.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_results(text: str, begin: str, end: str) -> None:
    """Put the figures between the marks of RESULTS.md; what people wrote around them stays."""
    path = HERE / "RESULTS.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
