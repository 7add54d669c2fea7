"""A replay beside a server's other work: in a thread with an event loop of its own.

The agent's code and the reading of its tape cannot hold up the server's loop there, except for the turns that Python's
interpreter gives to each thread. What the journal is asked goes over to the loop that its connections belong to.
"""

import asyncio
import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from penstock.gates.run.services import Services
from penstock.journal.payloads import PayloadReader
from penstock.ports.agents import AgentDef
from penstock.ports.journal import Journal
from penstock.ports.records import RunRow
from penstock.runs.replaying.replay import Replayed, replay


class _Over:
    """A store of another loop."""

    def __init__(self, store: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        known = getattr(self._store, name)
        if not inspect.iscoroutinefunction(known):
            return known if callable(known) else _Over(known, self._loop)

        async def call(*args: Any, **kwargs: Any) -> Any:
            there = asyncio.run_coroutine_threadsafe(known(*args, **kwargs), self._loop)
            return await asyncio.wrap_future(there)

        return call


async def replay_aside(services: Services, row: RunRow, agents: Sequence[AgentDef], *, seconds: float) -> Replayed:
    """`replay`, within a time.

    Raises:
        TimeoutError: it took longer. Code that never waits is left to itself, and keeps its thread.
        PenstockError: as `replay`.
    """
    loop = asyncio.get_running_loop()

    async def bounded() -> Replayed:
        journal = cast("Journal", _Over(services.journal, loop))
        there = replace(services, journal=journal, reader=PayloadReader(journal))
        async with asyncio.timeout(seconds):
            return await replay(there, row, agents)

    return await asyncio.wait_for(asyncio.to_thread(asyncio.run, bounded()), seconds + 1.0)
