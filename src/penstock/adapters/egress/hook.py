"""Holds what this process does with Python's sockets to lists of egress.

By an audit hook (PEP 578), which the interpreter calls before a socket connects, sends to an address or resolves a
name, whichever library asked for it. It cannot be taken away again, and is not there before the first list is in force.
What does not go through Python's sockets is not seen: C libraries with networking of their own (libpq, uvloop, gRPC's
core) and other programs.
"""

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

from penstock.adapters.egress.guard import Egress
from penstock.kernel.errors import EgressDenied, EnvironmentInvalid

_INTERNET = (socket.AF_INET, socket.AF_INET6)
_LOCAL = tuple(int(getattr(socket, name)) for name in ("AF_UNIX", "AF_NETLINK") if hasattr(socket, name))
_CHAIN_MAX = 50
OWN_MAX = 1000
"""Servers that this process is configured to call, at most."""

_logger = logging.getLogger("penstock.egress")


class _Process:
    """What this process is held to."""

    lists: tuple[Egress, ...] = ()
    own: ClassVar[dict[tuple[str, int], None]] = {}
    is_hooked = False


_process = _Process()


@contextlib.contextmanager
def enforced(egress: Egress) -> Iterator[None]:
    """While the block runs, this process connects to what the list allows, and every other list in force allows too.

    Raises:
        EnvironmentInvalid: the event loop that runs connects past Python's sockets.
    """
    enforce(egress)
    try:
        yield
    finally:
        lift(egress)


def enforce(egress: Egress) -> None:
    """Put a list in force until it is lifted; see `enforced`."""
    with contextlib.suppress(RuntimeError):
        if type(asyncio.get_running_loop()).__module__.partition(".")[0] == "uvloop":
            raise EnvironmentInvalid(
                "egress cannot be kept to on uvloop, which connects past Python's sockets",
                hint="run the program on asyncio's own event loop",
            )
    if not _process.is_hooked:
        _process.is_hooked = True
        _wrap_resolving()
        sys.addaudithook(_hear)
    for host, port in _process.own:
        egress.allow_also(host, port, own=True)
    _process.lists = (*_process.lists, egress)


def lift(egress: Egress) -> None:
    """Take a list out of force."""
    _process.lists = tuple(known for known in _process.lists if known is not egress)


def allow_also(host: str, port: int = 0, *, own: bool = False) -> None:
    """Let the lists in force allow a host that the installation itself is to reach; see `Egress.allow_also`."""
    for egress in _process.lists:
        egress.allow_also(host, port, own=own)


def allow_url(url: str) -> None:
    """Let lists allow the server of an HTTP address that is configured: those in force, and those to come."""
    parts = urlsplit(url)
    with contextlib.suppress(ValueError):  # a port that is none
        host, port = parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)
        if host and len(_process.own) < OWN_MAX:
            _process.own[host, port] = None
            allow_also(host, port, own=True)


def denial_in(error: BaseException | None) -> EgressDenied | None:
    """The denied connection that an error came of, wherever libraries have put it; None = it came of none."""
    waiting, seen = [error], 0
    while waiting and seen < _CHAIN_MAX:
        found = waiting.pop()
        seen += 1
        if isinstance(found, EgressDenied):
            return found
        if found is None:
            continue
        waiting += [found.__cause__, found.__context__, _reason(found)]
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
    return None


def _reason(error: BaseException) -> BaseException | None:
    reason = getattr(error, "reason", None)  # urllib's
    return reason if isinstance(reason, BaseException) else None


def _hear(event: str, args: tuple[Any, ...]) -> None:
    check = _CHECKS.get(event)
    if check is None or not _process.lists:
        return
    for egress in _process.lists:
        try:
            check(egress, args)
        except EgressDenied as error:
            _logger.warning("%s", error.what)
            raise


def _connects(egress: Egress, args: tuple[Any, ...]) -> None:
    sock, address = args[0], args[1]
    if address is None:  # a message over a socket that is connected
        return
    family = int(getattr(sock, "family", 0))
    if family in _LOCAL:
        return
    if family not in _INTERNET or not isinstance(address, tuple) or len(address) < 2:
        raise EgressDenied(f"this environment does not let sockets of family {family} connect", target=str(family))
    host, port = _text(address[0]), address[1]
    if type(port) is not int:
        raise EgressDenied(f"this environment does not let {host!r} be reached", target=host)
    egress.check_address({"": "0.0.0.0", "<broadcast>": "255.255.255.255"}.get(host, host), port)  # noqa: S104


def _resolves(egress: Egress, args: tuple[Any, ...]) -> None:
    host, port = args[0], args[1] if len(args) > 1 else 0
    if host is None or host in ("", b""):  # an address to listen on
        return
    known = port if type(port) is int else int(port) if isinstance(port, str | bytes) and port.isdigit() else 0
    egress.check_name(_text(host), known)


_CHECKS: dict[str, Callable[[Egress, tuple[Any, ...]], None]] = {
    "socket.connect": _connects,
    "socket.sendto": _connects,
    "socket.sendmsg": _connects,
    "socket.getaddrinfo": _resolves,
    "socket.gethostbyname": _resolves,
    "socket.gethostbyaddr": _resolves,
}


def _text(host: Any) -> str:
    if isinstance(host, bytes | bytearray):
        return bytes(host).decode("ascii", "replace")
    return str(host)


def _wrap_resolving() -> None:
    """Have resolved addresses remembered. A library that took the functions before has them resolve, too; but nothing
    they lead to is known here, and connecting to it is denied."""
    resolve, by_name = socket.getaddrinfo, socket.gethostbyname

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        found = resolve(host, *args, **kwargs)
        if _process.lists and host is not None:
            addresses = [entry[4][0] for entry in found if entry[0] in _INTERNET]
            for egress in _process.lists:
                egress.remember(_text(host), map(str, addresses))
        return found

    def gethostbyname(hostname: Any) -> str:
        found = by_name(hostname)
        for egress in _process.lists:
            egress.remember(_text(hostname), [found])
        return found

    socket.getaddrinfo = getaddrinfo
    socket.gethostbyname = gethostbyname
