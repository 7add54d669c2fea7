"""The machine on which the figures were measured: without it they mean nothing."""

import os
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from benchmarks.figures import quantile

PACKAGES = (
    "penstock",
    "asyncpg",
    "msgspec",
    "uvloop",
    "pydantic-ai-slim",
    "dbos",
    "langgraph",
    "langgraph-checkpoint-postgres",
    "procrastinate",
    "psycopg",
)
FLUSHES = 200


@dataclass(slots=True, frozen=True)
class Machine:
    """What of a machine decides such figures. ``load`` is the run queue of the minute before: above 0.5, other work
    took part."""

    processor: str
    cores: int
    memory_gib: float
    system: str
    python: str
    flush_us: float  # median time of writing 8 KiB and flushing it to the disk of the temporary folder
    load: float
    packages: dict[str, str]

    def identity(self) -> str:
        """What tells it from another machine, for people."""
        return f"{self.processor}, {self.cores} cores, {self.memory_gib:.0f} GiB, {self.system}, {self.python}"

    def conditions(self) -> str:
        """What else was there when it was asked."""
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        return f"writing 8 KiB and flushing it takes {self.flush_us:,.0f} µs (median); {packages}"


def describe(folder: Path) -> Machine:
    """This machine; ``folder`` lies on the disk that the database will use."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=psutil.virtual_memory().total / 2**30,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        flush_us=_flush_us(folder / "flush"),
        load=os.getloadavg()[0],
        packages={name: metadata.version(name) for name in PACKAGES},
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _flush_us(path: Path) -> float:
    block = os.urandom(8192)
    samples = []
    with path.open("wb", buffering=0) as file:
        for _ in range(FLUSHES):
            begun = time.perf_counter()
            file.write(block)
            os.fdatasync(file.fileno()) if hasattr(os, "fdatasync") else os.fsync(file.fileno())
            samples.append(time.perf_counter() - begun)
    path.unlink()
    return quantile(samples, 0.5) * 1e6
