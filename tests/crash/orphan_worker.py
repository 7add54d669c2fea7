"""A worker that is killed right after it has written the end of a run whose child goes on."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from uuid import UUID

from tests.families import AGENTS, SOON

from penstock.adapters.postgres.journal import open_journal
from penstock.gates.run.services import Services
from penstock.ports.records import Claim
from penstock.runs.work import executor
from penstock.wiring import assemble


async def _die(services: Services, claim: Claim, children: Sequence[UUID]) -> None:
    if children:
        os.kill(os.getpid(), signal.SIGKILL)


async def main(dsn: str) -> None:
    """Work until killed."""
    setattr(executor, "cancel_children", _die)  # noqa: B010 - the name as the executor holds it
    journal = await open_journal(dsn, prepare=False)
    async with assemble(journal, SOON, agents=AGENTS) as platform:
        await platform.work("doomed")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
