"""Sessions go back to before a bad release wrote to them: memory and state, over nothing but what was looked at."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from penstock import Agent, Settings
from penstock.journal.documents import read
from penstock.ports.controls import Scope
from penstock.ports.model import ModelRequest
from penstock.ports.records import Status, Stop
from penstock.runs.client import Penstock
from penstock.runs.rollouts.releasing import Releasing
from penstock.runs.rollouts.rollback import roll_back
from penstock.runs.rollouts.sessions import take_back
from penstock.runs.rollouts.signing import Keyring, make_key
from penstock.testing import ScriptedModel
from penstock.wiring import open_in_memory

KEEP = 50


def told(request: ModelRequest) -> str:
    return request.messages[0].text


DESK = Agent("desk", model=ScriptedModel([told], "m", repeat=True), instructions="As coded.", memory="session")


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Penstock]:
    make_key(tmp_path / "key.pem")
    settings = Settings(poll_seconds=0.02, release_key_file=tmp_path / "key.pem")
    async with open_in_memory(settings, agents=[DESK]) as opened:
        yield opened


def releasing(platform: Penstock) -> Releasing:
    return Releasing(platform.journal, "default", Keyring.of(platform.services.settings))


async def live(platform: Penstock, text: str) -> str:
    made = releasing(platform)
    release = (await made.draft(DESK, "ann", prompts={"instructions": text})).id
    await made.submit(release, "ann")
    await made.approve(release, "ben")
    await made.promote(release, "ben")
    platform.services.rollouts._asked_ns = None  # type: ignore[union-attr]
    return release


async def say(platform: Penstock, session: str, text: str) -> None:
    run = await platform.submit(DESK, text, session=session)
    assert (await platform.result(run, timeout_seconds=20)).outcome == "succeeded"


async def remembered(platform: Penstock, session: str) -> bytes:
    found = await platform.journal.documents.get("default", "memory", session)
    assert found is not None
    return read(found.latest) or b""


async def test_memory_goes_back_to_before_the_release_wrote_to_it_and_only_there(platform: Penstock) -> None:
    await say(platform, "old", "one")
    await say(platform, "untouched", "one")
    before = await remembered(platform, "old")
    bad = await live(platform, "Bad.")
    await say(platform, "old", "two")
    await say(platform, "new", "hello")
    assert b"Bad." in await remembered(platform, "old")
    untouched = await platform.journal.documents.get("default", "memory", "untouched")

    made, journal = releasing(platform), platform.journal
    done = await roll_back(made, journal, "default", "desk", "ops", sessions=True, keep=KEEP)
    assert (done.bad, done.sessions.documents, done.sessions.failed) == ([bad], 2, [])
    assert await remembered(platform, "old") == before
    assert await remembered(platform, "new") == b"{}"
    assert await platform.journal.documents.get("default", "memory", "untouched") == untouched

    platform.services.rollouts._asked_ns = None  # type: ignore[union-attr]
    await say(platform, "old", "three")
    await say(platform, "new", "three")
    for session in ("old", "new"):
        assert b"Bad." not in await remembered(platform, session)
        assert b"As coded." in await remembered(platform, session)
    again = await take_back(journal, "default", [bad], "ops", KEEP)
    assert (again.documents, again.failed) == (0, []), "what came after a rollback is not taken back by the next"
    assert b"three" in await remembered(platform, "old")


async def test_a_write_that_comes_between_is_not_lost_unseen(
    platform: Penstock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document is looked at again; what was written upon the bad content goes, and is told."""
    await say(platform, "s", "one")
    before = await remembered(platform, "s")
    bad = await live(platform, "Bad.")
    await say(platform, "s", "two")
    store, count = platform.journal.rollouts, 0
    real = store.written

    async def written(*args: Any) -> Any:
        """Somebody writes just after the list was read."""
        nonlocal count
        found = await real(*args)
        count += 1
        if count == 1:
            await say(platform, "s", "three")
        return found

    monkeypatch.setattr(store, "written", written)
    done = await take_back(platform.journal, "default", [bad], "ops", KEEP)
    assert (done.documents, done.versions, done.failed) == (1, 2, [])
    assert await remembered(platform, "s") == before


async def test_what_is_not_kept_any_more_is_said_and_left_as_it_is(platform: Penstock) -> None:
    await say(platform, "s", "one")
    bad = await live(platform, "Bad.")
    for number in range(3):
        await say(platform, "s", f"bad {number}")
    documents = platform.journal.documents
    found = await documents.get("default", "memory", "s")
    assert found is not None
    assert await documents.restore("default", "memory", "s", found.latest.version, "ops", 2) is not None
    after = await remembered(platform, "s")
    done = await take_back(platform.journal, "default", [bad], "ops", KEEP)
    assert done.documents == 0
    assert ["not kept any more" in item.why for item in done.failed] == [True]
    assert await remembered(platform, "s") == after


async def test_runs_under_way_are_stopped_by_their_release_when_that_is_asked_for(platform: Penstock) -> None:
    bad = await live(platform, "Bad.")
    scope = Scope("agent", "default", "desk")
    await platform.stop(scope, Stop.PAUSE, actor="ops")
    run = await platform.submit(DESK, "hello", session="s")
    done = await roll_back(
        releasing(platform), platform.journal, "default", "desk", "ops", runs="kill", sessions=True, keep=KEEP
    )
    assert [stop.sealed for stop in done.stops] == [True]
    await platform.resume(scope, actor="ops")
    await asyncio.sleep(0.3)
    row = await platform.journal.get_run("default", run)
    assert row is not None
    assert (row.release, row.status, row.last_seq) == (bad, Status.QUEUED, 1), "the stop is of its release"
    await platform.resume(Scope("release", "default", bad), actor="ops")
    assert (await platform.result(run, timeout_seconds=20)).outcome == "succeeded"
