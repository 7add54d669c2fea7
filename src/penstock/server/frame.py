"""What every request passes, whatever it asks for: bounds, who asks, the request's id, log and metrics."""

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.kernel.clock import wall_seconds
from penstock.kernel.errors import PenstockError, RequestTimedOut, ServerBusy
from penstock.kernel.ids import new_id
from penstock.server.exchange import Exchange, path_of
from penstock.server.limits import STRANGERS_BODY_MAX_BYTES, bounded, check_head
from penstock.server.problems import problem, unexpected

if TYPE_CHECKING:
    from penstock.server.context import Server

OPEN_PATHS = frozenset({"/v1/sign-in", "/v1/sign-in/oidc", "/v1/sign-in/oidc/callback"})
"""Below /v1 all else needs a key or a session, also what is not there: a stranger learns no more than 401."""
PROBLEMS = "/v1/problems/"
PROBES = frozenset({"/healthz", "/readyz"})

_access = logging.getLogger("penstock.server.access")


class Frame:
    """The outermost part of the application."""

    def __init__(self, app: ASGIApp, server: "Server", root_path: str = "") -> None:
        self._app = app
        self._server = server
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._root_path:
            scope["root_path"] = self._root_path
        server = self._server
        exchange = scope["penstock"] = Exchange(new_id(server.platform.services.clock).hex)
        begun = wall_seconds()
        server.metrics.begun()
        answer = _Answer(exchange, send)
        try:
            await self._serve(scope, receive, answer)
        finally:
            if exchange.seat is not None:
                exchange.seat.leave()
            seconds = wall_seconds() - begun
            route = route_of(scope)
            server.metrics.ended(scope["method"], route, exchange.status, seconds)
            server.log(
                {
                    "request": exchange.id,
                    "method": scope["method"],
                    "route": route,
                    "status": exchange.status,
                    "ms": round(seconds * 1000, 2),
                    "bytes": exchange.size,
                    "actor": exchange.actor,
                }
            )

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        seconds = self._server.settings.http_request_seconds
        failed: Exception
        timeout = answer.timeout = asyncio.timeout(seconds)
        try:
            async with timeout:
                await self._pass_on(scope, receive, answer)
            return
        except TimeoutError as error:
            failed = RequestTimedOut(f"there was no answer within {seconds:g} s") if timeout.expired() else error
        except Exception as error:  # noqa: BLE001 - whatever it is becomes an answer
            failed = error
        answer.timeout = None
        if answer.exchange.status:
            raise failed
        request = Request(scope, receive)
        said = problem(request, failed) if isinstance(failed, PenstockError) else unexpected(request, failed)
        await said(scope, receive, answer)

    async def _pass_on(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        server = self._server
        check_head(scope)
        most, seats = server.settings.http_body_max_bytes, server.seats
        if path_of(scope) in OPEN_PATHS:
            most, seats = min(most, STRANGERS_BODY_MAX_BYTES), server.strangers
        receive = bounded(scope, receive, most)
        answer.exchange.seat = seats.take()
        if server.stopping.is_set() and path_of(scope) not in PROBES:
            raise ServerBusy("the server is stopping")
        if _is_guarded(path_of(scope)):
            answer.exchange.caller = await server.doorkeeper.caller(Request(scope))
        await self._app(scope, receive, answer)


class _Answer:
    """``send`` that notes what is answered, and adds what every answer has."""

    def __init__(self, exchange: Exchange, send: Send) -> None:
        self.exchange = exchange
        self.timeout: asyncio.Timeout | None = None
        """Of the time until the answer begins."""
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.exchange.status = message["status"]
            if self.timeout is not None:
                self.timeout.reschedule(None)
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.exchange.id
            headers.setdefault("X-Content-Type-Options", "nosniff")
            headers.setdefault("Cache-Control", "no-store")
            headers.setdefault("Referrer-Policy", "no-referrer")
            headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
            headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        elif message["type"] == "http.response.body":
            self.exchange.size += len(message.get("body", b""))
        await self._send(message)


def _is_guarded(path: str) -> bool:
    return path.startswith("/v1/") and path not in OPEN_PATHS and not path.startswith(PROBLEMS)


def route_of(scope: Scope) -> str:
    """The template of the route that answered; '' = none, so that addresses never become labels."""
    path = getattr(scope.get("route"), "path", "")
    return path if isinstance(path, str) else ""


def log_line(fields: dict[str, Any]) -> None:
    """Write one line of the access log, as JSON. Never content, never a query: they may hold what is private."""
    _access.info("%s", json.dumps(fields))
