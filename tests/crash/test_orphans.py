"""A parent's worker dies between the parent's end and the cancelling of its children: no child is left behind."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from tests.families import AGENTS, SOON, busy

from penstock.adapters.postgres.journal import open_journal
from penstock.ports.records import RunFilter, Status
from penstock.views.failure_tree import read_failure_tree
from penstock.wiring import assemble


async def test_children_of_a_parent_whose_worker_was_killed_at_its_end(journal_dsn: str) -> None:
    root = Path(__file__).parents[2]
    async with assemble(await open_journal(journal_dsn, prepare=False), SOON, agents=AGENTS) as platform:
        run = await platform.submit(busy, 0.3)
        doomed = subprocess.Popen([sys.executable, "-m", "tests.crash.orphan_worker", journal_dsn], cwd=root)
        assert await asyncio.to_thread(doomed.wait, 30) == -signal.SIGKILL
        row = await platform.journal.get_run("default", run)
        children = await platform.journal.list_runs("default", RunFilter(parent=run), 10)
        assert row is not None
        assert (row.outcome, [child.outcome for child in children]) == ("exhausted", [None]), "the gap is there"

        platform.start_worker("heir")
        async with asyncio.timeout(20):
            while (child := await platform.journal.get_run("default", children[0].id)) and child.outcome is None:
                await asyncio.sleep(0.02)
        assert child is not None
        assert (child.status, child.outcome) == (Status.ENDED, "cancelled")
        tree = await read_failure_tree(platform.journal, "default", child.id)
        assert (tree.cause.run, tree.way[-1].run) == (run, child.id)
        async with asyncio.timeout(20):
            while (await platform.journal.waits.follow_up(10)).ended:
                await asyncio.sleep(0.02)
