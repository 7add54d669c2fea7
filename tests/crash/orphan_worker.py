"""A worker that is killed right after it has written the end of a run whose child goes on."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from uuid import UUID

from tests.families import AGENTS, SOON

from penstock.adapters.postgres.journal import open_journal
from penstock.gates.run.context import RunContext
from penstock.runs.work import executor
from penstock.wiring import assemble


async def _die(ctx: RunContext, children: Sequence[UUID], nano: int) -> None:
    if children:
        os.kill(os.getpid(), signal.SIGKILL)


async def main(dsn: str) -> None:
    """Work until killed."""
    setattr(executor, "after_end", _die)  # noqa: B010 - the name as the executor holds it
    journal = await open_journal(dsn, prepare=False)
    async with assemble(journal, SOON, agents=AGENTS) as platform:
        await platform.work("doomed")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
