"""Listening for the gateway alone."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from penstock.server.protocol import BoundedProtocol
from penstock.server.serving import BACKLOG, KEEP_ALIVE_SECONDS, allow_many_files
from penstock.settings import Settings


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class GatewayServing:
    """The gateway's application on a socket."""

    def __init__(self, app: Any, listener: socket.socket, settings: Settings) -> None:
        allow_many_files()
        self._listener = listener
        proxies = [item.strip() for item in settings.trusted_proxies.split(",") if item.strip()]
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                ws="none",
                loop="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
                backlog=BACKLOG,
            )
        )

    async def run(self, started: Callable[[], None]) -> None:
        """Serve until `stop` is called; ``started`` is called when requests are taken."""
        serving = asyncio.create_task(self._uvicorn.serve([self._listener]))
        up = asyncio.create_task(self._uvicorn.up.wait())
        try:
            await asyncio.wait({serving, up}, return_when=asyncio.FIRST_COMPLETED)
            if self._uvicorn.started:
                started()
            await serving
        finally:
            up.cancel()
            serving.cancel()
            self._listener.close()

    def stop(self) -> None:
        """Take no more connections, finish what is under way for as long as workers drain, then return from `run`."""
        self._uvicorn.should_exit = True
