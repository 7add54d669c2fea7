"""The queue in PostgreSQL passes the conformance suite, and what only a database can get wrong."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tests.contract.journal_world import Holder, new_run
from tests.contract.queue_suite import QueueSuite, drain, end, enter, runs_of
from tests.contract.test_journal_postgres import PostgresWorld

from penstock.adapters.postgres import migrate, queries, rows
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.kernel.errors import QueueFull
from penstock.kernel.ids import derived_id
from penstock.ports.controls import of_all
from penstock.ports.queue import BUCKET_SECONDS, Bounds
from penstock.ports.records import Answer, Claim, Move, Status, Stop

SHIFT = f"""
UPDATE penstock.pace SET bucket = bucket - ($1 / {BUCKET_SECONDS})::bigint, since = since - $1 * interval '1 second';
UPDATE penstock.queues SET counted_at = counted_at - $1 * interval '1 second',
    touched_at = touched_at - $1 * interval '1 second';
UPDATE penstock.runs SET created_at = created_at - $1 * interval '1 second'"""


class QueueWorld(PostgresWorld):
    async def advance(self, seconds: float) -> None:
        """Whole buckets only."""
        assert seconds % BUCKET_SECONDS == 0
        await super().advance(0)
        async with self.postgres.connection() as connection:
            for statement in SHIFT.split(";"):
                await connection.execute(statement, seconds)


@pytest.fixture
async def world(journal_dsn: str) -> AsyncIterator[QueueWorld]:
    journal = await open_journal(ConnectionSettings(journal_dsn, seal_tries=5))
    yield QueueWorld(journal)
    await journal.close()


class TestPostgresQueue(QueueSuite):
    pass


class TestCost:
    """Pages that a claim reads, which do not depend on how fast the machine is."""

    async def test_what_cannot_run_now_costs_a_claim_nothing(self, world: QueueWorld) -> None:
        """A hundred thousand idle sessions, a long one, and many that parked and paused runs hold."""
        await enter(world, runs_of("a", 10, session="s"))
        await enter(world, runs_of("a", 400))
        before = await _pages_of_claims(world)
        await _many(world, 100_000, "status = 'ended', session = 'idle' || i")
        await _many(world, 5_000, "status = 'parked', wake_at = NULL, session = 'held' || i, turn = 1")
        await _many(world, 5_000, "session = 's', turn = 2, place = i + 1000000000")
        await _many(world, 5_000, "stop = 'pause'")
        after = await _pages_of_claims(world)
        assert after <= 1.3 * before + 30, (before, after)

    async def test_a_killed_tenants_runs_are_walked_once(self, world: QueueWorld) -> None:
        await enter(world, runs_of("a", 400, tenant="globex"))
        before = await _pages_of_claims(world)
        await _many(world, 5_000, "rank = -1000 - i")
        await world.journal.stop_scope(of_all("acme"), Stop.KILL, "eve", "why")
        walks = [await _pages_of_claims(world, 1) for _ in range(4)]
        assert walks[0] > 5_000, "they were in the way"
        assert walks[-1] <= 1.3 * before + 30, (before, walks)

    async def test_a_deep_queue_costs_a_submission_nothing(self, world: QueueWorld) -> None:
        await enter(world, runs_of("a", 100))
        before = await _pages(world, ADMIT_ONE)
        await _many(world, 30_000, "customer = 'a', rank = i")
        await _pages(world, ADMIT_ONE)  # a session reads the catalogue before it first calls a function
        after = await _pages(world, ADMIT_ONE)
        assert after <= 1.5 * before + 20, (before, after)

    async def test_a_plan_made_while_the_queue_was_empty_stays_right(self, world: QueueWorld) -> None:
        worker = await world.worker()
        async with world.postgres.connection() as connection:
            await connection.execute("VACUUM ANALYZE penstock.runs")
            claim = await connection.prepare("SELECT id FROM penstock.claim($1, '{r1}', 64, 1)")
            for _ in range(8):
                await claim.fetch(worker)
            await _many(world, 20_000, "rank = i")
            before = await _fetched(connection)
            assert len(await claim.fetch(worker)) == 64
            assert await _fetched(connection) - before <= 2_000

    async def test_small_state_goes_away(self, world: QueueWorld) -> None:
        for number in range(30):
            await enter(world, runs_of(f"c{number}", 2, session=f"s{number}"))
        taken = [*await drain(world)]
        await end(world, *taken)
        await end(world, *await drain(world))
        await enter(world, runs_of("new", 50))
        last = await drain(world)
        await world.advance(70)
        async with world.postgres.connection() as connection:
            await connection.execute("DELETE FROM penstock.workers")
            await connection.execute("SELECT penstock.sweep_queue()")
            counts = {
                name: await connection.fetchval(f"SELECT count(*) FROM penstock.{name}")
                for name in ("sessions", "flows", "queues", "pace")
            }
        assert counts == {"sessions": 0, "flows": 1, "queues": 0, "pace": 1}
        assert len(last) == 50
        again = await enter(world, runs_of("c1", 1))
        row = await _rank(world, again[0])
        assert row > 0, "the virtual time is kept"


ADMIT_ONE = """penstock.admit('{acme}', '{clerk}', '{r1}', '{a}', '{0}', ARRAY[NULL]::text[], '{""}', '{0}',
    1000000, 1000000)"""


class TestConcurrency:
    async def test_submitters_claimers_and_appenders_at_once(self, world: QueueWorld) -> None:
        """Sessions, children, several customers, full queues; nothing deadlocks, each run is ended once, in order."""
        bounds = Bounds(150, 80)
        made: dict[UUID, tuple[str, int]] = {}
        ended: list[UUID] = []
        running: dict[str, UUID] = {}
        refused = 0
        submitting = 12

        async def submitter(number: int) -> None:
            nonlocal refused, submitting
            for turn in range(20):
                runs = [
                    *runs_of("a", 2, session=f"s{turn % 3}"),
                    *runs_of(f"c{number % 4}", 2),
                    *runs_of("b", 1, session=f"t{number}"),
                ]
                try:
                    await enter(world, runs, bounds)
                except QueueFull:
                    refused += 1
                    await asyncio.sleep(0.01)
                else:
                    made.update({run.id: (run.session, number) for run in runs})
            submitting -= 1

        async def worker() -> None:
            worker = await world.worker()
            idle = 0
            while idle < 5 or submitting:
                claims = await world.journal.claim(worker, ["r1"], 16)
                idle = 0 if claims else idle + 1
                if not claims:
                    await asyncio.sleep(0.01)
                await _work(world, claims, running, ended, made)

        await asyncio.gather(*(submitter(number) for number in range(12)), *(worker() for _ in range(4)))
        assert sorted(ended) == sorted(made), "each once, and none is left"
        assert refused, "the bound was reached"
        async with world.postgres.connection() as connection:
            assert (
                await connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
                == 0
            )
            assert await connection.fetchval("SELECT count(*) FROM penstock.sessions") == 0
            swapped = await connection.fetchval(
                "SELECT count(*) FROM penstock.runs a JOIN penstock.runs b USING (tenant, session)"
                " WHERE session <> '' AND a.place < b.place AND a.ended_at > b.ended_at"
            )
        assert swapped == 0, "sessions went in the order of submission"

    async def test_a_bound_holds_when_many_submit_at_once(self, world: QueueWorld) -> None:
        async def submitter() -> int:
            let_in = 0
            for _ in range(10):
                with contextlib.suppress(QueueFull):
                    let_in += len(await enter(world, runs_of("a", 3), Bounds(1000, 100)))
            return let_in

        assert sum(await asyncio.gather(*(submitter() for _ in range(8)))) == 99
        async with world.postgres.connection() as connection:
            ranks = await connection.fetchval("SELECT count(DISTINCT rank) FROM penstock.runs")
        assert ranks == 99, "no two of a customer's runs have one rank, or many connections would get many shares"

    async def test_a_submission_under_way_is_not_forgotten_by_its_session(self, world: QueueWorld) -> None:
        await enter(world, runs_of("", 1, session="s"))
        [claim] = await world.claim()
        late = new_run(session="s")
        async with world.postgres.connection() as connection, connection.transaction():
            await connection.fetchval(queries.CREATE_RUNS, *rows.new_run_columns([late]), [None])
            await end(world, claim)
            assert await world.claim() == []
        [claim] = await world.claim()
        assert claim.run == late.id

    async def test_an_older_worker_submits_and_claims_as_before(self, world: QueueWorld) -> None:
        """The functions that the first release calls, with its arguments."""
        await enter(world, runs_of("a", 200))
        run = new_run(tags={"customer": "b"}, session="s", priority=1)
        async with world.postgres.connection() as connection:
            arguments = [
                [run.tenant], [run.id], [run.agent], [run.release], [run.env], [run.format], [run.subject],
                [run.subject_key], [run.key], [""], [run.session], [run.priority], [None], [""], [run.id], [0],
                ['{"customer":"b"}'], [run.event.body], [run.event.hash],
            ]  # fmt: skip
            marks = ", ".join(f"${number}" for number in range(1, 20))
            assert await connection.fetchval(f"SELECT penstock.create_runs({marks})", *arguments) == 1
            claimed = await connection.fetch(
                "SELECT tenant, id, priority, wake_at FROM penstock.claim($1, $2::text[], $3, $4)",
                await world.worker(), ["r1"], 3, 1,
            )  # fmt: skip
        assert claimed[0]["id"] == run.id
        [depth] = await world.journal.queue.depths(agent="clerk", limit=1)
        assert (depth.customer, depth.queued) == ("a", 198)


class TestMigration:
    async def test_what_was_queued_before_goes_first_by_priority(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        everything = migrate.known_migrations()
        monkeypatch.setattr(migrate, "known_migrations", lambda: [item for item in everything if item.number <= 4])
        connection = await asyncpg.connect(database_url)
        await migrate.migrate(connection)
        old = [new_run(priority=priority) for priority in (0, 2, 1, 2)]
        create = queries.CREATE_RUNS.replace("create_ranked_runs", "create_runs").replace(", $20::bigint[]", "")
        for run in old:
            await connection.fetchval(create, *rows.new_run_columns([run]))
        await connection.close()
        monkeypatch.undo()
        journal = await open_journal(database_url)
        world = QueueWorld(journal)
        new = await enter(world, runs_of("a", 10))
        order = [claim.run for claim in await drain(world)]
        await journal.close()
        assert set(order[:2]) == {old[1].id, old[3].id}
        assert order[2] == old[2].id
        assert set(order) == {run.id for run in old} | set(new)
        assert order.index(old[0].id) <= 4


async def _work(
    world: QueueWorld,
    claims: list[Claim],
    running: dict[str, UUID],
    ended: list[UUID],
    made: dict[UUID, tuple[str, int]],
) -> None:
    """End each claimed run; one of five makes a child first. At most one run of a session is at work at a time."""
    for claim in claims:
        session, number = made.get(claim.run, ("", 0))
        if session:
            assert session not in running, "two of a session at once"
            running[session] = claim.run
        holder = Holder(world.journal, claim)
        if claim.parent is None and claim.run.int % 5 == 0:
            child = new_run(
                id=derived_id(claim.run, "c"), parent=claim.run, root=claim.run, tags={"customer": f"c{number % 4}"}
            )
            made[child.id] = ("", number)
            assert (await holder.append(children=[child])).answer is Answer.APPLIED
        running.pop(session, None)
        assert (await holder.append(move=Move(Status.ENDED, outcome="succeeded"))).answer is Answer.APPLIED
        ended.append(claim.run)


async def _many(world: QueueWorld, count: int, changes: str) -> None:
    """Many rows at once: copies of a queued run with these columns changed."""
    [model] = await world.journal.submit([new_run()])
    changed = dict(item.split(" = ", 1) for item in changes.split(", "))
    async with world.postgres.connection() as connection:
        names = [
            row[0]
            for row in await connection.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = 'penstock.runs'::regclass AND attnum > 0"
                " AND NOT attisdropped"
            )
        ]
        values = {name: f"r.{name}" for name in names} | {"id": "gen_random_uuid()"} | changed
        await connection.execute(
            f"INSERT INTO penstock.runs ({', '.join(names)})"
            f" SELECT {', '.join(values[name] for name in names)}"
            f" FROM penstock.runs r, generate_series(1, {count}) AS i WHERE r.id = '{model.id}'"
        )
        await connection.execute("DELETE FROM penstock.runs WHERE id = $1", model.id)
        await connection.execute("ANALYZE penstock.runs")


async def _pages_of_claims(world: QueueWorld, count: int = 3) -> float:
    """Pages read by a claim of 32, on average."""
    worker = await world.worker()
    call = f"penstock.claim('{worker}', '{{r1}}', 32, 1)"
    await _pages(world, call)
    return sum([await _pages(world, call) for _ in range(count)]) / count


async def _pages(world: QueueWorld, call: str) -> int:
    async with world.postgres.connection() as connection:
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT TEXT) SELECT * FROM {call}")
    found = re.search(r"Buffers: shared hit=(\d+)(?: read=(\d+))?", "\n".join(row[0] for row in rows))
    assert found is not None
    return int(found[1]) + int(found[2] or 0)


async def _fetched(connection: Any) -> int:
    """Index entries of ``runs`` read so far."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    total: int = await connection.fetchval(
        "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relid = 'penstock.runs'::regclass"
    )
    return total


async def _rank(world: QueueWorld, run: UUID) -> int:
    async with world.postgres.connection() as connection:
        rank: int = await connection.fetchval("SELECT rank FROM penstock.runs WHERE id = $1", run)
    return rank
