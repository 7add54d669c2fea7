"""Scopes are killed while two worker processes write in them: see `benchmarks.kill`, which does so fifty times."""

import asyncio
from pathlib import Path

import pytest
from benchmarks.child import Child
from benchmarks.kill import KINDS, race_all

pytestmark = pytest.mark.timeout(120)


async def test_no_intent_and_no_write_of_the_scope_begins_after_the_seal(journal_dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "starts"
    options = {"dsn": journal_dsn, "file": str(file)}
    starting = (Child.start("kill_worker", name=f"w-{number}", **options) for number in range(2))
    workers = await asyncio.gather(*starting)
    try:
        found = await race_all(journal_dsn, file, ["tool", "environment", "everything"], runs=10)
    finally:
        for worker in workers:
            worker.kill()
    assert {race.kind for race in found} <= set(KINDS)
    for race in found:
        assert (race.intents, race.starts) == (0, 0), race
        assert race.seen > 20, "nothing was going on"
        assert race.seconds < 1.0
