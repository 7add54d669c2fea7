"""Kill, cancel and pause in the database, up to the moment from which no intent commits any more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import asyncpg

from penstock.adapters.postgres import queries
from penstock.adapters.postgres.database import Database
from penstock.kernel.canonical import stable_json
from penstock.kernel.clock import Clock, wall_seconds
from penstock.kernel.errors import JournalUnavailable, PenstockError, RunUnknown
from penstock.kernel.ids import new_id
from penstock.ports.controls import HELD_BY_TOOL_STOPS, Scope
from penstock.ports.records import OpenIntent, Sealed, Stop

T = TypeVar("T")

PAUSE_SECONDS = 0.02
PAUSE_MAX_SECONDS = 0.2
"""Between tries: writers catch up."""
TERMINATE_WAIT_SECONDS = 0.2
NO_RUN = UUID(int=0)
"""Stands in the controls of scopes; see 0020_controls.sql."""
WOKEN_AT_ONCE = 500
COLUMNS = {"agent": "agent", "release": "release", "session": "session", "customer": "customer", "environment": "env"}
"""Where a run's row has what a scope names."""


async def stop_run(
    database: Database,
    clock: Clock,
    tenant: str,
    run: UUID,
    stop: Stop,
    *,
    actor: str,
    reason: str,
    control: UUID | None = None,
) -> Sealed:
    """Put a stop upon a run, and unless it is a pause upon its descendants, generation by generation.

    Raises:
        RunUnknown: no such run for this tenant.
    """
    control = control or new_id(clock)
    scope: set[UUID] = set()
    blockers: list[str] = []
    generation = [run]
    while generation:

        async def stop_generation(runs: list[UUID] = generation) -> list[UUID]:
            rows = await database.fetch(queries.STOP_RUNS, tenant, runs, stop.value, database.settings.seal_wait_ms)
            return [row[0] for row in rows]

        found, blockers = await _insist(database, stop_generation, rows_too=True)
        if found is None:
            break
        if not found and not scope:
            raise RunUnknown(f"there is no run {run} for tenant {tenant!r}")
        if not scope:
            await database.fetch(queries.ADD_CONTROL, control, tenant, run, stop.value, actor, reason, "", "", None)
        scope.update(found)
        if stop is Stop.PAUSE:
            break
        rows = await database.fetch(queries.CHILDREN, tenant, found, run)
        generation = [row[0] for row in rows if row[0] not in scope]
    at = await database.value(queries.NOW)
    await database.fetch(queries.NOTE_SEAL, control, None if blockers else at, blockers)
    still_open = await _open_intents(database, tenant, list(scope or {run}))
    return Sealed(control, sealed=not blockers, at=at, open_intents=still_open, blockers=blockers)


async def stop_scope(
    database: Database,
    clock: Clock,
    scope: Scope,
    stop: Stop,
    *,
    actor: str,
    reason: str,
    control: UUID | None = None,
) -> Sealed:
    """Put a control in force, and wait until no append that missed it is under way.

    The control commits first: it holds for every append that begins from then on, also when sealing does not succeed.
    """
    control = control or new_id(clock)
    is_first_form = scope.kind in ("tenant", "everything") and stop is Stop.KILL
    run, kind, name = (None, "", "") if is_first_form else (NO_RUN, scope.kind, scope.name)
    await database.fetch(queries.ADD_CONTROL, control, scope.tenant, run, stop.value, actor, reason, kind, name, None)

    async def seal() -> int:
        at: int = await database.value(queries.SEAL, database.settings.seal_wait_ms)
        return at

    at, blockers = await _insist(database, seal, rows_too=False)
    await database.fetch(queries.NOTE_SEAL, control, at, blockers)
    still_open = await open_intents(database, scope)
    if at is None:
        now = await database.value(queries.NOW)
        return Sealed(control, sealed=False, at=now, open_intents=still_open, blockers=blockers)
    return Sealed(control, sealed=True, at=at, open_intents=still_open)


async def open_intents(database: Database, scope: Scope) -> list[OpenIntent]:
    """Intents without an outcome of a scope; of a run with its descendants, of a tool its own alone."""
    if (run := scope.run) is not None:
        family = {run}
        generation = [run]
        while generation:
            rows = await database.fetch(queries.CHILDREN, scope.tenant, generation, run)
            generation = [row[0] for row in rows if row[0] not in family]
            family.update(generation)
        return await _open_intents(database, scope.tenant, list(family))
    if (column := COLUMNS.get(scope.kind)) is not None:
        rows = await database.fetch(queries.HOLDING_INTENTS.format(column), scope.tenant, scope.name)
        return await _open_intents(database, scope.tenant, [row[0] for row in rows])
    if scope.kind == "tool":
        found = await _open_intents(database, scope.tenant, None)
        return [intent for intent in found if intent.name == scope.name]
    return await _open_intents(database, scope.tenant, None)


async def wake_for_tool(database: Database, tenant: str | None, tool: str) -> None:
    """A stop of a tool was lifted: let the runs that wait for that go on. One that is just being put away, and is not
    found here, looks again by itself."""
    marks = [stable_json({"kind": kind, "name": tool})[1:-1] for kind in HELD_BY_TOOL_STOPS]
    after = NO_RUN
    while rows := await database.fetch(queries.WAKE_FOR_TOOL, tenant, after, marks, WOKEN_AT_ONCE):
        after = max(row[0] for row in rows)


async def _open_intents(database: Database, tenant: str | None, runs: list[UUID] | None) -> list[OpenIntent]:
    return [OpenIntent(*row) for row in await database.fetch(queries.OPEN_INTENTS, tenant, runs)]


async def _insist(
    database: Database, action: Callable[[], Awaitable[T]], *, rows_too: bool
) -> tuple[T | None, list[str]]:
    """Try until the locks are had; then name and terminate who is in the way and try again.

    None and the blockers when that does not help.
    """
    began = wall_seconds()
    result = await _try(database, action)
    if result is not None:
        return result, []
    waited = wall_seconds() - began
    blockers = await _blockers(database, rows_too, waited)
    named = [words for _, words in blockers]
    for pid, _ in blockers:
        try:
            await database.fetch(queries.TERMINATE, pid)
        except PenstockError as error:
            named.append(f"session {pid} could not be terminated: {error.what}")
    await asyncio.sleep(TERMINATE_WAIT_SECONDS)
    result = await _try(database, action)
    if result is not None:
        return result, []
    return None, named or ["no session could be named; look at pg_stat_activity"]


async def _try(database: Database, action: Callable[[], Awaitable[T]]) -> T | None:
    pause = PAUSE_SECONDS
    for _ in range(database.settings.seal_tries):
        try:
            return await action()
        except JournalUnavailable as error:
            if not isinstance(error.__cause__, (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)):
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, PAUSE_MAX_SECONDS)
    return None


async def _blockers(database: Database, rows_too: bool, for_seconds: float) -> list[tuple[int, str]]:
    rows = await database.fetch(queries.BLOCKERS, rows_too, for_seconds)
    return [
        (pid, f"session {pid} ({name or 'unnamed'}, {state}) in a transaction for {age:.1f} s")
        for pid, name, state, age in rows
    ]
