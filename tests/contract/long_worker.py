"""A process that goes on with long runs and says how much memory that took.

``python -m tests.contract.long_worker DSN CAPACITY RUNS`` prints the growth of its peak resident memory, in bytes.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import penstock
from penstock import Run, Settings, agent, tool
from penstock.ports.records import RunFilter, Status

NOTES = 600
RESULTS = 60
RESULT_BYTES = 1_000_000


@agent("note-taker", version="1")
async def note_taker(run: Run, value: int) -> int:
    """Many notes, then one more that nobody has recorded yet."""
    for _ in range(NOTES + 1):
        await run.record("note", lambda: 1)
    return value


@tool(effect="read", repeatable=True)
async def large(number: int) -> str:
    """A large result."""
    return f"{number:06} " * (RESULT_BYTES // 7)


@tool(effect="read", repeatable=True)
async def gate(number: int) -> int:
    """Where the run stands until its process is gone; the next one finds it open."""
    if os.environ.get("GATE") != "open":
        await asyncio.Event().wait()
    return number


@agent("large-reader", version="1")
async def large_reader(run: Run, value: int) -> int:
    """Many large results, none of which it keeps."""
    total = 0
    for number in range(RESULTS):
        total += len(await run.call(large, number))
    await run.call(gate, 1)
    return total


def peak_bytes() -> int:
    """The most memory this process has had. Not ``ru_maxrss``, which begins with that of the process it came from."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


async def main(dsn: str, capacity: str, runs: str) -> None:
    """Take the runs on all at once; end when all have ended."""
    settings = Settings(database_url=dsn, tapes_max_bytes=int(capacity), poll_seconds=0.05)
    offered: list[Any] = [note_taker, large_reader]
    async with penstock.open(settings, agents=offered) as platform:
        before = peak_bytes()
        platform.start_worker("long")
        async with asyncio.timeout(120):
            while True:
                rows = await platform.journal.list_runs("default", RunFilter(status=Status.ENDED), 100)
                if len(rows) == int(runs):
                    break
                await asyncio.sleep(0.05)
        assert {row.outcome for row in rows} == {"succeeded"}, rows
        sys.stdout.write(f"{peak_bytes() - before}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
