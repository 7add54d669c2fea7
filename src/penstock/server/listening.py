"""uvicorn as every server here runs it: requests bounded, signals left to the process."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from penstock.server.protocol import BoundedProtocol
from penstock.settings import Settings

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
"""How long a connection may be idle between requests: longer than proxies keep theirs, so that they end it, not we."""


class Uvicorn(uvicorn.Server):
    """Leaves signals to the process: there is more to end than connections. ``up`` is set when it takes requests."""

    def __init__(self, app: Any, **config: Any) -> None:
        """``config``: what `uvicorn.Config` takes besides. What an application's lifespan holds is its holder's to
        enter, so that what fails there is said as what it is."""
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                ws="none",
                loop="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                **config,
            )
        )
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listening:
    """An application on a socket, behind the proxies that the settings trust."""

    def __init__(self, app: Any, listener: socket.socket, settings: Settings, **config: Any) -> None:
        """``config``: as for `Uvicorn`."""
        self._listener = listener
        proxies = [item.strip() for item in settings.trusted_proxies.split(",") if item.strip()]
        self._uvicorn = Uvicorn(
            app,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies,
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
            backlog=BACKLOG,
            **config,
        )

    async def run(self, started: Callable[[], None]) -> None:
        """Serve until `stop` is called; ``started`` is called when requests are taken."""
        tasks = [
            asyncio.create_task(self._uvicorn.serve([self._listener])),
            asyncio.create_task(self._uvicorn.up.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._uvicorn.started:
                started()
            await tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            self._listener.close()

    def stop(self) -> None:
        """Take no more connections, finish what is under way for as long as workers drain, then return from `run`."""
        self._uvicorn.should_exit = True
