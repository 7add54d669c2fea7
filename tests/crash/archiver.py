"""A process that archives and prunes what is due, and is killed at a given boundary between two of its steps."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock import Settings
from penstock.adapters.postgres.journal import open_journal
from penstock.adapters.postgres.retention import PostgresRetention
from penstock.journal.archive_writer import ArchiveWriter
from penstock.runs.retention import archiving, retention
from penstock.runs.retention.retention import Round
from penstock.wiring import assemble

STEPS: tuple[tuple[Any, str], ...] = (
    (ArchiveWriter, "begin"),
    (ArchiveWriter, "end"),
    (ArchiveWriter, "finish"),
    (archiving, "_read_back"),
    (archiving, "_move"),
    (archiving, "_settle"),
    (PostgresRetention, "mark"),
    (PostgresRetention, "empty"),
    (PostgresRetention, "drop_payloads"),
    (PostgresRetention, "set_emptied"),
    (PostgresRetention, "sweep"),
    (PostgresRetention, "end_turn"),
)
"""Before each call of these is a boundary, and so it is after those that others see at once."""
SEEN_AT_ONCE = ("mark", "_move", "_settle")

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


def archive_and_die(dsn: str, folder: Path, boundary: int, timeout_seconds: float) -> bool:
    """Make one round in a process that is killed at that boundary, counted from 1; False: it came to its end first."""
    process = _context.Process(target=_work, args=(dsn, folder, boundary))
    process.start()
    process.join(timeout_seconds)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"a round had not come to boundary {boundary} in {timeout_seconds} s")
    assert process.exitcode in (0, -signal.SIGKILL), f"exit code {process.exitcode}"
    return process.exitcode != 0


def _work(dsn: str, folder: Path, boundary: int) -> None:
    passed = 0

    def pass_boundary() -> None:
        nonlocal passed
        passed += 1
        if passed == boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    for place, name in STEPS:
        setattr(place, name, _watched(getattr(place, name), pass_boundary, after=name in SEEN_AT_ONCE))
    retention.PAUSE_SECONDS = 0
    asyncio.run(_round(dsn, folder))


def _watched(step: Callable[..., Any], pass_boundary: Callable[[], None], *, after: bool) -> Callable[..., Any]:
    if asyncio.iscoroutinefunction(step):

        async def watched_async(*args: Any, **kwargs: Any) -> Any:
            pass_boundary()
            result = await step(*args, **kwargs)
            if after:
                pass_boundary()
            return result

        return watched_async

    def watched(*args: Any, **kwargs: Any) -> Any:
        pass_boundary()
        result = step(*args, **kwargs)
        if after:
            pass_boundary()
        return result

    return watched


async def _round(dsn: str, folder: Path) -> None:
    async with assemble(await open_journal(dsn, prepare=False), Settings()) as platform:
        assert await Round(platform.services, folder, 0).run() is not None
