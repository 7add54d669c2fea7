"""A process that archives and prunes is killed at each boundary between its steps: nothing is lost, nothing double."""

import asyncio
from collections import Counter
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from tests.crash.archiver import archive_and_die

from penstock import Run, Settings, agent
from penstock.adapters.postgres.journal import open_journal
from penstock.journal.archive import Archive, Part
from penstock.ports.records import RunFilter
from penstock.ports.retention import Action, Policy
from penstock.runs.client import Penstock
from penstock.runs.retention import retention
from penstock.runs.retention.retention import Round
from penstock.views.audit import verify_everything
from penstock.wiring import assemble

BOUNDARIES_MAX = 100
ROUND_SECONDS = 60


@agent("clerk", version="1")
async def clerk(run: Run, value: str) -> str:
    return str(await run.record("said", lambda: value * 50))


async def new_runs(platform: Penstock) -> list[UUID]:
    """Three runs that have ended: one its own subject, two of one named subject, with content that both refer to."""
    runs = [
        await platform.submit(clerk, "alone"),
        *[await platform.submit(clerk, "shared", subject="c-1") for _ in "ab"],
    ]
    for run in runs:
        await platform.result(run, timeout_seconds=150)
    return runs


def archived(folder: Path) -> Counter[UUID]:
    """How often each run is in a whole archive. All archives must verify, to the last payload."""
    found: Counter[UUID] = Counter()
    for path in folder.glob("*.zst"):
        with Archive(path) as archive:
            archive.check()
            for part in archive.parts:
                archive.verify(part)
                assert part.keyed
                found[part.run] += 1
    return found


async def test_nothing_is_lost_or_doubled_wherever_the_archiver_dies(
    journal_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0)
    settings = Settings(poll_seconds=0.02, retention_every_seconds=30 * 86_400)
    connection = await asyncpg.connect(journal_dsn)
    async with assemble(await open_journal(journal_dsn), settings, agents=[clerk]) as platform:
        platform.start_worker("w")
        await platform.journal.retention.put_policy(Policy("default", "", Action.ARCHIVE, 0))
        died = 0
        for boundary in range(1, BOUNDARIES_MAX):
            folder = tmp_path / str(boundary)
            folder.mkdir()
            runs = await new_runs(platform)
            killed = await asyncio.to_thread(archive_and_die, journal_dsn, folder, boundary, ROUND_SECONDS)
            await nothing_is_lost(platform, folder, runs)
            await connection.execute("UPDATE penstock.retention_turn SET lease_until = '-infinity'")  # its time is over
            assert await Round(platform.services, folder, 0).run() is not None
            assert archived(folder) == Counter(runs), f"after boundary {boundary}"
            assert all(path.suffix == ".zst" for path in folder.iterdir()), f"after boundary {boundary}"
            for table in ("events", "payloads", "inbox"):
                assert not await connection.fetchval(f"SELECT count(*) FROM penstock.{table}"), table
            assert (await verify_everything(platform.journal)).ok
            if not killed:
                break
            died += 1
        assert 15 < died < BOUNDARIES_MAX - 2, died
    await connection.close()


async def nothing_is_lost(platform: Penstock, folder: Path, runs: list[UUID]) -> None:
    """Right after a kill each run is whole in the journal, or marked, and in an archive that is whole."""
    audit = await verify_everything(platform.journal)
    assert audit.ok, audit.broken
    rows = {row.id: row for row in await platform.journal.list_runs("default", RunFilter(), 1000)}
    pending = {part.run for path in [*folder.glob("*.zst"), *folder.glob("*.pending")] for part in _parts(path)}
    for run in runs:
        if rows[run].pruned_at is None:
            assert (await platform.result(run)).outcome == "succeeded"
        else:
            assert run in pending


def _parts(path: Path) -> list[Part]:
    with Archive(path) as archive:
        archive.check()
        return list(archive.parts)
