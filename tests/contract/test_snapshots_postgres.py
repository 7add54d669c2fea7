"""Snapshots in PostgreSQL pass the conformance suite, and read no more than they give."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.contract.snapshots_suite import SnapshotsSuite, snapshot_of, state_of
from tests.contract.test_journal_postgres import PostgresWorld
from tests.unit.test_snapshot import Counter, crash, finish, looker

import penstock
from penstock import Settings
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.gates.snapshots.state import State
from penstock.ports.records import Claim
from penstock.runs.work import loading
from penstock.runs.work.beginning import begin
from penstock.views.audit import verify_run


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresSnapshots(SnapshotsSuite):
    pass


async def test_a_run_goes_on_from_its_snapshot(journal_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real statements: taken while the run goes on, used by the next worker, gone at the run's end."""
    monkeypatch.setattr(loading, "LONG_EVENTS", 20)
    begun: list[int] = []

    def noted(claim: Claim, tape: Any, log: Any, services: Any, state: State | None) -> Any:
        begun.append(state.engine.seq if state is not None else 0)
        return begin(claim, tape, log, services, state)

    monkeypatch.setattr("penstock.runs.work.executor.begin", noted)
    model = Counter(60)
    agent = looker(model)
    settings = Settings(database_url=journal_dsn, poll_seconds=0.05, snapshot_every_events=40)
    async with penstock.open(settings, agents=[agent]) as platform:
        platform.start_worker("first")
        run = await platform.submit(agent, "go")
        await model.stands.wait()
        await crash(platform)
        [snapshot] = (await platform.journal.snapshots.latest([("default", run)])).values()
        audit = await verify_run(platform.journal, "default", run)
        assert audit.ok, audit.broken
        assert audit.snapshots == 1
        model.asked.clear()
        assert await finish(platform, model, run) == "60 steps"
        assert begun == [0, snapshot.seq]
        assert model.asked == [60]
        assert await platform.journal.snapshots.latest([("default", run)]) == {}


async def test_a_row_whose_payload_was_lost_is_seen_to_have_none(world: PostgresWorld) -> None:
    """The two are written one after the other, and neither commit is flushed."""
    holder = await world.held()
    state = state_of(holder)
    assert await world.journal.snapshots.put(snapshot_of(holder, state), state)
    async with world.postgres.connection() as connection:
        await connection.execute("DELETE FROM penstock.payloads")
    assert holder.key in await world.journal.snapshots.latest([holder.key])
    assert await world.journal.snapshots.payloads([(state.tenant, state.subject, state.address)], 1) == {}
