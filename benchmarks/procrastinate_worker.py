"""A measured peer process: the LangGraph ticket as a job of a procrastinate worker, what a team would build today.

``python -m benchmarks.procrastinate_worker '{"dsn": …, "pool": …, "first": …, "step": …}'``, then a `Trial` in JSON a
line. Each process works on a queue of its own, filled before the clock starts: sharing one could only cost it more.
A trial is as many jobs as should take its seconds, by the pace of the one before.
"""

import contextlib
import json
import sys

import procrastinate
import uvloop
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.bench import clock
from benchmarks.peer_worker import graph, one
from benchmarks.trial import Tickets, Trial, serve

FIRST_GUESS = 20.0  # jobs a second, for the size of the first trial only


async def work(dsn: str, pool: int, first: int, step: int) -> None:
    """One trial after another until told to stop."""
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    opened: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
        dsn, min_size=pool, max_size=pool, kwargs=options, open=False
    )
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn, min_size=4, max_size=pool))
    tickets = Tickets(first, step)
    graphs = [graph(AsyncPostgresSaver(opened)) for _ in range(pool)]
    pace = FIRST_GUESS

    @app.task(name="desk", queue=f"desk-{first}")
    async def desk(number: int, mode: str) -> None:
        await one(graphs[number // step % pool], number, mode)

    async def attempt(trial: Trial) -> float:
        nonlocal pace
        jobs = [{"number": tickets.take(), "mode": trial.mode} for _ in range(max(1, int(pace * trial.seconds)))]
        await desk.batch_defer_async(*jobs)
        begun = clock()
        await app.run_worker_async(
            queues=[f"desk-{first}"], concurrency=trial.concurrency, wait=False, install_signal_handlers=False
        )
        took = clock() - begun
        pace = len(jobs) / took
        return took

    async with opened, app.open_async():
        await AsyncPostgresSaver(opened).setup()
        with contextlib.suppress(procrastinate.exceptions.ConnectorException):  # the other process was first
            await app.schema_manager.apply_schema_async()
        await serve(tickets, attempt)


if __name__ == "__main__":
    uvloop.run(work(**json.loads(sys.argv[1])))
