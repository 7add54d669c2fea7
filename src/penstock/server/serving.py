"""Listening: sockets, uvicorn, and an orderly end."""

import asyncio
import contextlib
import ipaddress
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI

from penstock.kernel.errors import InputInvalid, ListensPublicly
from penstock.server.context import Server
from penstock.server.protocol import BoundedProtocol
from penstock.settings import Settings

FILES_WANTED = 65_536
BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
"""How long a connection may be idle between requests: longer than proxies keep theirs, so that they end it, not we."""


def check_host(host: str, *, publicly: bool) -> None:
    """Refuse to listen beyond this machine unless it is said to be meant.

    Raises:
        ListensPublicly: it is not.
    """
    if publicly or host == "localhost":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    raise ListensPublicly(f"{host} is not a loopback address: everybody who reaches this machine could ask the server")


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound; port 0 = any that is free.

    Raises:
        InputInvalid: there is no such address here, or somebody else listens there.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError, OverflowError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise InputInvalid(
            f"cannot listen on {host} port {port}: {words}", hint="choose another --port or --host"
        ) from None


def address_of(listener: socket.socket, root_path: str = "") -> str:
    """The URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}{root_path}/"


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the process: there is more to end than connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Serving:
    """An application on a socket."""

    def __init__(self, app: FastAPI, listener: socket.socket, settings: Settings, front: Any = None) -> None:
        """``front``: an ASGI application that takes some requests itself and gives the others to ``app``."""
        allow_many_files()
        self._app = app
        self._server: Server = app.state.server
        self._listener = listener
        proxies = [item.strip() for item in settings.trusted_proxies.split(",") if item.strip()]
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                front or app,
                http=BoundedProtocol,
                ws="none",
                loop="none",
                lifespan="off",  # entered here, so that what fails there is said as what it is
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=proxies,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
                backlog=BACKLOG,
            )
        )

    async def run(self, started: Callable[[], None]) -> None:
        """Serve until `stop` is called; ``started`` is called when requests are taken."""
        async with self._app.router.lifespan_context(self._app):
            await self._serve(started)

    async def _serve(self, started: Callable[[], None]) -> None:
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
        """Take no more connections, tell streams to come again elsewhere, finish what is under way for as long as
        workers drain, then return from `run`."""
        self._server.stopping.set()
        self._uvicorn.should_exit = True


def allow_many_files() -> None:
    """Raise the process's soft limit on open files: each viewer of a stream is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
