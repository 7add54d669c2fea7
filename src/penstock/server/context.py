"""What the routes of one server share."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from penstock.ports.journal import Journal
from penstock.runs.client import Penstock
from penstock.server.access.doorkeeper import Doorkeeper
from penstock.server.access.oidc import Oidc
from penstock.server.access.sessions import Sessions
from penstock.server.action_log import ActionLog
from penstock.server.console_files import ConsoleFiles
from penstock.server.gauges import Gauges
from penstock.server.limits import STRANGERS_MAX, Seats
from penstock.server.metrics import Metrics
from penstock.server.reading import Reading
from penstock.server.stream.hub import Hub
from penstock.server.submitting import Submitter
from penstock.server.waiters import Presence, Replays, Waiters
from penstock.settings import Settings


@dataclass(slots=True)
class Server:
    """Held in ``app.state.server``; routes take it as ``server: Here``.

    Attributes:
        platform: the journal, the agents of this process, perhaps a worker.
        strangers: the places of those who sign in; ``seats`` are for all others.
        stopping: set when the process is to end: streams tell their readers to come again, and end.
        hub: the streams.
        reading: skeletons of runs, and overviews, read once for all callers.
        parts: what goes on as long as the application is up; entered when it starts, left in reverse when it ends.
        log: takes one line of the access log.
    """

    platform: Penstock
    doorkeeper: Doorkeeper
    sessions: Sessions
    oidc: Oidc
    actions: ActionLog
    seats: Seats
    metrics: Metrics
    gauges: Gauges
    console: ConsoleFiles
    hub: Hub
    reading: Reading
    log: Callable[[dict[str, Any]], None]
    strangers: Seats = field(default_factory=lambda: Seats(STRANGERS_MAX))
    submitter: Submitter = field(default_factory=Submitter)
    waiters: Waiters = field(default_factory=Waiters)
    presence: Presence = field(default_factory=Presence)
    replays: Replays = field(default_factory=Replays)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    parts: list[Callable[[], AbstractAsyncContextManager[Any]]] = field(default_factory=list)

    @property
    def journal(self) -> Journal:
        return self.platform.journal

    @property
    def settings(self) -> Settings:
        return self.platform.services.settings


async def server_of(request: Request) -> Server:
    """The server that a request came to. A coroutine: plain functions are called in a thread, which takes longer than
    all else that a request needs."""
    server = request.app.state.server
    assert isinstance(server, Server)
    return server


Here = Annotated[Server, Depends(server_of)]
"""``server: Here`` in a route."""
