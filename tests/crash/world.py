"""The world outside that effects change, in tables of its own, and the places where a process meets its end.

An effect and its counter are one transaction of the effect's own connection. So the counters say what really happened,
whoever was killed when.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import asyncpg

SCHEMA = """
CREATE SCHEMA world;
CREATE TABLE world.effects (
    id bigserial PRIMARY KEY, tag text NOT NULL, tool text NOT NULL, key text NOT NULL, path text NOT NULL,
    run uuid NOT NULL, attempt integer NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE world.starts (
    tag text NOT NULL, tool text NOT NULL, path text NOT NULL, run uuid NOT NULL, attempt integer NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE world.counters (tag text, tool text, n integer NOT NULL, PRIMARY KEY (tag, tool));
CREATE TABLE world.keys (key text PRIMARY KEY);
CREATE TABLE world.states (tag text PRIMARY KEY, value text NOT NULL);
CREATE TABLE world.model_calls (tag text NOT NULL, nano bigint NOT NULL);
CREATE TABLE world.orphans (tag text PRIMARY KEY);
CREATE TABLE world.census (tag text PRIMARY KEY, appends integer NOT NULL, effects integer NOT NULL)
"""

Stage = Literal["before", "after", "entry", "uncommitted", "committed"]


@dataclass(frozen=True, slots=True)
class Doom:
    """Where a process ends, or stops: before or after its n-th append, at a stage of its n-th effect, at a stage of the
    n-th call of one tool (``call:pay``), or before or after the append of a tool's n-th intent (``intent:pay``)."""

    what: str
    n: int
    stage: Stage
    signal: int = signal.SIGKILL


class Fate:
    """Counts what this process does, and ends it where its doom says."""

    def __init__(self, doom: Doom | None = None) -> None:
        self.doom = doom
        self.appends = 0
        self.effects = 0

    def next_append(self) -> int:
        self.appends += 1
        return self.appends

    def next_effect(self) -> int:
        self.effects += 1
        return self.effects

    def reach(self, what: str, n: int, stage: Stage) -> None:
        doom = self.doom
        if doom is not None and (doom.what, doom.n, doom.stage) == (what, n, stage):
            os.kill(os.getpid(), doom.signal)


class World:
    """The outside, as one process reaches it."""

    def __init__(self, dsn: str, fate: Fate | None = None) -> None:
        self.dsn = dsn
        self.fate = fate or Fate()

    async def make(self) -> None:
        """Create its tables."""
        async with self.connection() as connection:
            await connection.execute(SCHEMA)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.dsn, statement_cache_size=0, timeout=20)
        try:
            yield connection
        finally:
            connection.terminate()

    @asynccontextmanager
    async def effect(self, tag: str, tool: str, context: Any, *, slow_seconds: float = 0.0) -> AsyncIterator[Any]:
        """One call of a tool: the block's statements and the counter are committed together."""
        n = self.fate.next_effect()

        def reach(stage: Stage) -> None:
            self.fate.reach("effect", n, stage)
            self.fate.reach(f"call:{tool}", context.attempt, stage)

        reach("entry")
        async with self.connection() as connection:
            call = (tag, tool, context.path, context.run, context.attempt)
            await connection.execute(
                "INSERT INTO world.starts (tag, tool, path, run, attempt) VALUES ($1, $2, $3, $4, $5)", *call
            )
            if slow_seconds:
                await asyncio.sleep(slow_seconds)
            async with connection.transaction():
                yield connection
                reach("uncommitted")
            reach("committed")

    @staticmethod
    async def count(connection: Any, tag: str, tool: str, context: Any) -> None:
        """The effect itself, inside its transaction."""
        await connection.execute(
            "INSERT INTO world.effects (tag, tool, key, path, run, attempt) VALUES ($1, $2, $3, $4, $5, $6)",
            tag,
            tool,
            context.key,
            context.path,
            context.run,
            context.attempt,
        )
        await connection.execute(
            "INSERT INTO world.counters VALUES ($1, $2, 1) ON CONFLICT (tag, tool) DO UPDATE SET n = counters.n + 1",
            tag,
            tool,
        )

    async def ask(self, query: str, *args: object) -> Any:
        """First value of a query."""
        async with self.connection() as connection:
            return await connection.fetchval(query, *args)

    async def all(self, query: str, *args: object) -> list[Any]:
        """Rows of a query."""
        async with self.connection() as connection:
            rows: list[Any] = await connection.fetch(query, *args)
            return rows

    async def counter(self, tag: str, tool: str) -> int:
        """How often the effect happened."""
        return await self.ask("SELECT n FROM world.counters WHERE tag = $1 AND tool = $2", tag, tool) or 0
