"""Environments in PostgreSQL pass the conformance suite; two workers share a database, and no run."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.contract.environments_suite import EnvironmentsSuite
from tests.contract.test_journal_postgres import PostgresWorld

from penstock import Run, Settings, ToolContext, agent, tool
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.events import RunSubmitted, decode
from penstock.kernel.errors import EnvironmentForeign
from penstock.ports.records import RunFilter, Status
from penstock.runs.client import Penstock
from penstock.runs.replaying.adopt import adopt
from penstock.wiring import assemble

SECRETS = {"production": "pk-live-5f1d0c", "staging": "sk-test-a93b77"}


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[PostgresWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield PostgresWorld(journal)
    await journal.close()


class TestPostgresEnvironments(EnvironmentsSuite):
    pass


moved: list[tuple[str, str]] = []


@tool(effect="write", risk="low", permission="auto", in_doubt="idempotent", secrets=["bank_key"])
async def pay(cents: int, context: ToolContext) -> dict[str, str]:
    """Pay."""
    moved.append((context.environment, context.secret("bank_key")))
    return {"with": context.secret("bank_key")}


@agent("payer", version="1")
async def payer(run: Run, cents: int) -> dict[str, str]:
    paid: dict[str, str] = await run.call(pay, cents=cents)
    return paid


@agent("parent", version="1")
async def parent(run: Run, cents: int) -> dict[str, str]:
    await run.sleep(0.01)
    paid: dict[str, str] = await run.call(payer, cents)
    return paid


@contextlib.asynccontextmanager
async def worker(dsn: str, environment: str, file: Path) -> AsyncIterator[Penstock]:
    settings = Settings(environment=environment, environments=file, poll_seconds=0.05, schedule_poll_seconds=0.05)
    async with assemble(await open_journal(dsn), settings, agents=[payer, parent]) as platform:
        platform.start_worker(f"in-{environment}")
        await platform.enlisted()
        yield platform


async def test_two_workers_of_one_database_each_keep_to_their_own(
    world: PostgresWorld, journal_dsn: str, tmp_path: Path
) -> None:
    """The same agents, the same database: runs, their children and what schedules make act where they belong; and no
    secret is in any row."""
    lines = []
    for environment, value in SECRETS.items():
        (tmp_path / environment).write_text(f"{value}\n")
        lines.append(f'[{environment}.secrets]\nbank_key = {{file = "{tmp_path / environment}"}}\n')
    file = tmp_path / "environments.toml"
    file.write_text("\n".join(lines))
    moved.clear()
    async with worker(journal_dsn, "staging", file) as staging, worker(journal_dsn, "production", file) as production:
        runs = [(platform, await platform.submit(parent, 1)) for platform in (staging, production) for _ in range(3)]
        for platform in (staging, production):
            name = platform.services.settings.environment
            await platform.schedules.add(f"of-{name}", payer, 2, every=timedelta(hours=1), max_runs=1)
            await platform.schedules.fire(f"of-{name}")
        for platform, run in runs:
            result = await platform.result(run, timeout_seconds=30)
            assert result.output == {"with": "[secret bank_key]"}
        while len(moved) < 8:
            await production.services.clock.sleep(0.02)
        with pytest.raises(EnvironmentForeign, match="of-production is of the environment production"):
            await staging.schedules.add("of-production", payer, 3, every=timedelta(hours=1), replace=True)
    assert sorted(moved) == [("production", SECRETS["production"])] * 4 + [("staging", SECRETS["staging"])] * 4
    rows = await world.journal.list_runs("default", RunFilter(), 100)
    assert sorted(row.env for row in rows) == ["production"] * 7 + ["staging"] * 7
    for row in rows:
        first = decode((await world.journal.tape("default", row.id))[0].body)
        assert isinstance(first, RunSubmitted)
        assert first.env == row.env
    assert await holders_of(world, *SECRETS.values()) == []
    assert any("payloads" in name for name in await holders_of(world, "[secret bank_key]"))  # so they would be seen


async def holders_of(world: PostgresWorld, *values: str) -> list[str]:
    """The tables with a row that holds one of these values, in any form in which a row shows itself."""
    found = []
    async with world.postgres.connection() as connection:
        tables = await connection.fetch(
            "SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'penstock' AND c.relkind = 'r'"
        )
        assert len(tables) > 20
        for table in tables:
            for value in values:
                shown = f"SELECT count(*) FROM {table['name']} t WHERE t::text LIKE $1 OR t::text LIKE $2"
                if await connection.fetchval(shown, f"%{value}%", f"%{value.encode().hex()}%"):
                    found.append(table["name"])
    return found


async def test_a_run_is_adopted_in_its_environment_alone(world: PostgresWorld) -> None:
    platform: Any = assemble(world.postgres, Settings(environment="staging"))
    run = await platform.submit(payer, 1)
    row = await world.journal.get_run("default", run)
    assert row is not None
    assert row.status is Status.QUEUED
    foreign = dataclasses.replace(row, env="production")
    with pytest.raises(EnvironmentForeign, match="is of the environment production, and this"):
        await adopt(platform.services, foreign, [payer], actor="ops")
