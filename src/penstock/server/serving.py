"""The server on a socket, and an orderly end."""

import contextlib
import ipaddress
import resource
import socket
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from penstock.kernel.errors import InputInvalid, ListensPublicly
from penstock.server.context import Server
from penstock.server.listening import BACKLOG, Listening
from penstock.settings import Settings

FILES_WANTED = 65_536


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


class Serving(Listening):
    """The server's application on a socket."""

    def __init__(self, app: FastAPI, listener: socket.socket, settings: Settings, front: Any = None) -> None:
        """``front``: an ASGI application that takes some requests itself and gives the others to ``app``."""
        allow_many_files()
        super().__init__(front or app, listener, settings)
        self._app = app
        self._server: Server = app.state.server

    async def run(self, started: Callable[[], None]) -> None:
        """Serve until `stop` is called; ``started`` is called when requests are taken."""
        async with self._app.router.lifespan_context(self._app):
            await super().run(started)

    def stop(self) -> None:
        """Take no more connections, tell streams to come again elsewhere, finish what is under way for as long as
        workers drain, then return from `run`."""
        self._server.stopping.set()
        super().stop()


def allow_many_files() -> None:
    """Raise the process's soft limit on open files: each viewer of a stream is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
