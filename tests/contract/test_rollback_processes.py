"""A rollback is in effect within a second in processes that work and submit, and that nobody has told of it."""

import asyncio
import sys
import time
from pathlib import Path
from uuid import UUID

from tests.contract.rollout_worker import desk, settings

from penstock.ports.records import RunFilter
from penstock.runs.rollouts.releasing import Releasing
from penstock.runs.rollouts.signing import Keyring, make_key
from penstock.wiring import open_penstock

SCRIPT = Path(__file__).with_name("rollout_worker.py")
PROCESSES = 2
SECOND = 1_000_000_000


class Submitting:
    """One of the processes, and what it has submitted: when, and which run."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.submitted: list[tuple[int, UUID]] = []
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, dsn: str, key: Path, name: str) -> "Submitting":
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, str(SCRIPT), dsn, str(key), name]
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            begun, run = line.split()
            self.submitted.append((int(begun), UUID(run.decode())))

    def since(self, moment: int) -> list[tuple[int, UUID]]:
        """What was submitted from then on."""
        return [item for item in self.submitted if item[0] >= moment]

    async def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), 30)
        await self._reading


async def test_no_run_that_is_submitted_a_second_later_gets_the_release(journal_dsn: str, tmp_path: Path) -> None:
    make_key(tmp_path / "key.pem")
    mine = settings(journal_dsn, str(tmp_path / "key.pem"))
    async with open_penstock(mine) as platform:
        releases = Releasing(platform.journal, "default", Keyring.of(mine))
        good, bad = [
            (await releases.draft(desk, "ann", prompts={"instructions": text})).id for text in ("Good.", "Bad.")
        ]
        for release in (good, bad):
            await releases.submit(release, "ann")
            await releases.approve(release, "ben")
            await releases.promote(release, "ben")
        starting = [Submitting.start(journal_dsn, tmp_path / "key.pem", f"w{number}") for number in range(PROCESSES)]
        processes = await asyncio.gather(*starting)

        async with asyncio.timeout(30):
            while not all(len(process.submitted) > 5 for process in processes):
                await asyncio.sleep(0.02)
        done = await releases.roll_back("desk", "ops", reason="it is bad")
        answered = time.time_ns()
        assert (done.bad, done.live) == ([bad], good)
        async with asyncio.timeout(60):
            while not all(len(process.since(answered + SECOND)) >= 10 for process in processes):
                await asyncio.sleep(0.05)
        await asyncio.gather(*(process.end() for process in processes))

        rows = {row.id: row for row in await platform.journal.list_runs("default", RunFilter(), 1000)}
        of = {run: (begun, rows[run].release) for process in processes for begun, run in process.submitted}
        late = [begun - answered for begun, release in of.values() if release == bad and begun > answered]
        assert max(late, default=0) < 0.5 * SECOND, "by construction it is a quarter of one"
        after = [release for begun, release in of.values() if begun >= answered + SECOND]
        assert len(after) >= 10 * PROCESSES
        assert set(after) == {good}
        assert {release for _, release in of.values()} == {good, bad}
        # What had begun went on, on both sides, on workers that know both.
        ended = [row for row in rows.values() if row.status.value == "ended"]
        assert {row.outcome for row in ended} == {"succeeded"}
        assert {row.release for row in ended} == {good, bad}
