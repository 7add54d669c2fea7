"""Worker processes killed in the middle of pydantic-ai's loop: the run goes on from its tape on another worker."""

import signal
from collections import Counter
from pathlib import Path

import pytest
from tests.crash.pydantic_agents import Case, booker
from tests.crash.workers import Workers

from penstock import Settings
from penstock.runs.submit import Request
from penstock.views.audit import verify_run
from penstock.wiring import open_penstock

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

PLACES = ("look-2", "model-1", "book-effect")
SOON = {"PENSTOCK_START_ALLOWANCE_SECONDS": "1", "PENSTOCK_DOUBT_MARGIN_SECONDS": "0.1"}


async def test_a_killed_workers_runs_ask_no_model_and_no_tool_again(database_url: str, tmp_path: Path) -> None:
    settings = Settings(database_url=database_url, poll_seconds=0.1)
    cases = []
    for place in PLACES:
        folder = tmp_path / place
        folder.mkdir()
        (folder / place).touch()
        cases.append(Case(folder=str(folder), doom=place))
    async with open_penstock(settings) as platform:
        runs = []
        async with Workers(database_url, "tests.crash.pydantic_agents", 1, SOON) as workers:
            for case in cases:  # one after the other: each death is its own run's
                (run,) = await platform.submit_many([Request(booker, case)])
                runs.append(run)
                result = await platform.result(run, timeout_seconds=150)
                assert (result.outcome, result.output) == ("succeeded", "booked"), case
            assert workers.deaths == [-signal.SIGKILL] * len(PLACES)
        for run in runs:
            assert (await verify_run(platform.journal, "default", run)).ok
    for case in cases:
        world = Path(case.folder)
        counts = Counter((world / "log").read_text().split())
        assert len(list(world.glob("booking-*"))) == 1, case
        again = {place for place, count in counts.items() if count > 1}
        # What was in flight is repeated, and what had no outcome on the record yet; everything before is not. Reads
        # begin while the answer that asked for them is still on its way there.
        allowed = {"book-effect": {"book-entry", "book-effect"}, "look-2": {"model-0", "look-1", "look-2"}}
        assert case.doom in again, case
        assert again <= allowed.get(case.doom, {case.doom}), (case, counts)
        assert max(counts.values()) == 2
