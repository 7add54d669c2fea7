"""Runs are killed while two worker processes make slow writes in them: after the seal nothing new starts."""

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from tests.crash.errand import Tools, make_errand
from tests.crash.person import at_the_desk
from tests.crash.processes import ended, finisher, platform, spawn, until
from tests.crash.record import TENANT, check_record, story
from tests.crash.world import World

from penstock.events import ModelIntent, ToolIntent, decode
from penstock.ports.controls import Scope, of_all, of_run
from penstock.ports.records import OpenIntent, RunFilter, Sealed, Status, Stop
from penstock.runs.client import Penstock
from penstock.settings import Settings

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

RUNS = 24


@pytest.fixture
async def penstock(world: World) -> AsyncIterator[Penstock]:
    """A client, with two worker processes that take every run whose tag is among the orphans."""
    settings = Settings(poll_seconds=0.1, database_pool_size=6)
    async with platform(world.dsn, settings, world) as opened:
        workers = [spawn(finisher, world.dsn, f"worker-{n}", {"worker_concurrency": RUNS}) for n in (1, 2)]
        try:
            yield opened
        finally:
            for worker in workers:
                worker.kill()
            await asyncio.gather(*(ended(worker) for worker in workers))


async def submit(penstock: Penstock, world: World, tags: list[str], customer: str = "bob") -> dict[UUID, str]:
    """Runs with these tags, which the workers may take at once, of a customer."""
    tools = Tools(world)
    runs = {}
    for tag in tags:
        errand = make_errand(tag, tools)
        for item in errand.agents:
            penstock.registry.add(item)
        runs[await penstock.submit(errand.main, tag, tags={"customer": customer})] = tag
    async with world.connection() as connection:
        await connection.executemany("INSERT INTO world.orphans VALUES ($1)", [(tag,) for tag in tags])
    return runs


async def working(world: World, tags: list[str]) -> bool:
    """Whether every run has begun to write."""
    begun = await world.ask("SELECT count(DISTINCT tag) FROM world.starts WHERE tag = ANY ($1)", tags)
    return bool(begun == len(tags))


async def assert_sealed(penstock: Penstock, world: World, sealed: Sealed, runs: dict[UUID, str]) -> None:
    """No intent is newer than the seal, and no call was made after it whose intent was not on the list."""
    assert sealed.sealed, sealed.blockers
    for run in runs:
        rows = await penstock.journal.tape(TENANT, run)
        late = [row for row in rows if row.at > sealed.at and isinstance(decode(row.body), ToolIntent | ModelIntent)]
        assert not late, story(rows)
    known = {(item.run, item.path, item.attempt) for item in sealed.open_intents}
    after = await world.all(
        "SELECT run, path, attempt FROM world.starts WHERE at > penstock.from_us($1) AND tag = ANY ($2)",
        sealed.at,
        list(runs.values()),
    )
    assert {tuple(start) for start in after} <= known
    effects = await world.all(
        "SELECT run, path, attempt FROM world.effects WHERE at > penstock.from_us($1) AND tag = ANY ($2)",
        sealed.at,
        list(runs.values()),
    )
    assert {tuple(effect) for effect in effects} <= known


async def spent(world: World, tags: list[str]) -> int:
    total = await world.ask("SELECT sum(nano)::bigint FROM world.model_calls WHERE tag = ANY ($1)", tags)
    return int(total or 0)


async def outcome_of(penstock: Penstock, run: UUID) -> str | None:
    row = await penstock.journal.get_run(TENANT, run)
    assert row is not None
    return row.outcome


async def test_killed_runs_start_nothing_more_and_others_go_on(penstock: Penstock, world: World) -> None:
    chance = random.Random(4)
    runs = await submit(penstock, world, [f"slow.{number}" for number in range(RUNS)])
    await until(lambda: working(world, list(runs.values())))
    victims = chance.sample(sorted(runs), 6)

    async def kill(run: UUID) -> tuple[UUID, Sealed]:
        await asyncio.sleep(chance.uniform(0, 0.6))
        return run, await penstock.kill(run, actor="clerk", reason="test")

    for run, sealed in await asyncio.gather(*(kill(run) for run in victims)):
        assert {item.run for item in sealed.open_intents} <= {run}
        assert await penstock.quiesced(of_run(TENANT, run), timeout_seconds=150)
        await assert_sealed(penstock, world, sealed, {run: runs[run]})
    for run in runs:
        result = await penstock.result(run, timeout_seconds=150)
        assert result.outcome == ("killed" if run in victims else "succeeded"), result
        await check_record(penstock, run)
    for run in runs.keys() - set(victims):
        assert await world.counter(runs[run], "ship") == 12


async def test_a_paused_customers_runs_stand_still_and_all_go_on_afterwards(penstock: Penstock, world: World) -> None:
    others = await submit(penstock, world, [f"slow.{number}" for number in range(RUNS // 2)])
    mine = await submit(penstock, world, [f"slow.{RUNS + number}" for number in range(RUNS // 2)], "ada")
    await until(lambda: working(world, [*others.values(), *mine.values()]))
    scope = Scope("customer", TENANT, "ada")
    sealed = await penstock.stop(scope, Stop.PAUSE, actor="clerk", reason="test")
    late = await submit(penstock, world, ["slow.late"], "ada")
    for run in others:
        assert (await penstock.result(run, timeout_seconds=150)).outcome == "succeeded"
    assert await penstock.quiesced(scope, timeout_seconds=150)
    await assert_sealed(penstock, world, sealed, mine)
    for run in [*mine, *late]:
        row = await penstock.journal.get_run(TENANT, run)
        assert row is not None
        assert row.status in (Status.QUEUED, Status.PARKED), "handed back, and given out to nobody"
    assert await penstock.resume(scope, actor="clerk") == 1
    for run, tag in {**mine, **late}.items():
        assert (await penstock.result(run, timeout_seconds=150)).outcome == "succeeded"
        await check_record(penstock, run)
        assert await world.counter(tag, "ship") == 12


async def test_everything_stands_still_until_it_is_resumed(penstock: Penstock, world: World) -> None:
    runs = await submit(penstock, world, [f"slow.{number}" for number in range(RUNS)])
    held = await submit(penstock, world, ["held.1", "held.2"])

    async def waiting() -> list[UUID]:
        return [row.id for row in await penstock.journal.list_runs(TENANT, RunFilter(waiting_for="approval"), 10)]

    await until(lambda: working(world, list(runs.values())))
    await until(lambda: _same(waiting, set(held)))
    sealed = await penstock.kill_everything(actor="clerk", reason="test")
    assert sealed.open_intents, "nothing was going on"
    late = await submit(penstock, world, ["slow.late"])
    assert await penstock.quiesced(of_all(None), timeout_seconds=150)
    money, shipped = await spent(world, list(runs.values())), await world.ask("SELECT count(*) FROM world.effects")
    await assert_sealed(penstock, world, sealed, runs)
    for run in runs:
        assert (await penstock.result(run, timeout_seconds=150)).outcome == "killed"
    await _outlive_open_intents(penstock, sealed.open_intents)
    assert await spent(world, list(runs.values())) == money
    assert await world.ask("SELECT count(*) FROM world.effects") == shipped
    assert await waiting() == sorted(held, reverse=True)
    assert await outcome_of(penstock, next(iter(late))) is None

    assert await penstock.resume_everything(actor="clerk") == 1
    async with at_the_desk(penstock, world):
        for run in [*held, *late]:
            result = await penstock.result(run, timeout_seconds=150)
            assert result.outcome == "succeeded", story(await penstock.journal.tape(TENANT, run))
    for run in [*runs, *held, *late]:
        await check_record(penstock, run)
    assert [await world.counter(tag, "refund") for tag in held.values()] == [1, 1]


async def _same(found: object, wanted: set[UUID]) -> bool:
    return set(await found()) == wanted  # type: ignore[operator]


async def _outlive_open_intents(penstock: Penstock, open_intents: list[OpenIntent]) -> None:
    """Wait until even the slowest of them could not be on its way any more."""
    last = max(item.ends_by for item in open_intents)

    async def over() -> bool:
        rows = await penstock.journal.list_runs(TENANT, RunFilter(status=Status.RUNNING), 100)
        return not rows and await penstock.journal.now() > last

    await until(over)
