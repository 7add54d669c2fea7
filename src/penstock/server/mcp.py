"""The MCP proxy over streamable HTTP: who may ask is who has a Penstock key."""

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from penstock.agents.budget import Budget
from penstock.integrations.mcp.proxy.config import ProxyConfig
from penstock.integrations.mcp.proxy.session import Principal
from penstock.kernel.errors import PenstockError, PermissionMissing, TooManyFailures, Unauthenticated
from penstock.ports.journal import Journal
from penstock.server.access.caller import Caller
from penstock.server.access.doorkeeper import Doorkeeper
from penstock.server.listening import Uvicorn
from penstock.settings import Settings

if TYPE_CHECKING:
    from mcp.server import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PATH = "/mcp"
STATE = "penstock.principal"
SHUTDOWN_SECONDS = 3


class McpApp:
    """The ASGI application: keys first, then the SDK's sessions."""

    def __init__(
        self, server: "Server[Any]", config: ProxyConfig, journal: Journal, doorkeeper: Doorkeeper, settings: Settings
    ) -> None:
        self._config = config
        self._journal = journal
        self._doorkeeper = doorkeeper
        self.manager = _manager(server, settings)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        request = Request(scope)
        if request.url.path.rstrip("/") != PATH:
            await JSONResponse({"error": f"the MCP proxy is at {PATH}"}, 404)(scope, receive, send)
            return
        try:
            caller = await self._caller(request)
            principal = await self._principal(caller)
        except PenstockError as error:
            await _refusal(error)(scope, receive, send)
            return
        scope["user"] = _user(caller)
        scope.setdefault("state", {})[STATE] = principal
        await self.manager.handle_request(scope, receive, send)

    async def _caller(self, request: Request) -> Caller:
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise Unauthenticated("the request has no bearer key")
        return await self._doorkeeper.by_key(text.strip(), request.client.host if request.client else "")

    async def _principal(self, caller: Caller) -> Principal:
        """The agent, tags and budget that the key stands for: a key of the gateway those that it is bound to.

        Raises:
            PermissionMissing: it may neither submit runs nor use the gateway.
        """
        config, gateway = self._config, self._journal.gateway
        binding = await gateway.binding(caller.tenant, caller.key) if caller.key is not None else None
        caller.demand("runs:submit" if binding is None else "gateway:call")
        if binding is None:
            agent, tags, limits = config.agent_of(caller.name), {}, Budget()
        else:
            agent = next((agent for agent in config.agents if agent.name == binding.agent), config.nobody)
            limits = Budget(calls=binding.budget.calls or None, seconds=binding.budget.seconds or None)
            tags = binding.tags
        return Principal(
            caller.tenant,
            agent,
            caller.name,
            caller.actor,
            str(caller.credential),
            tags,
            limits if limits != Budget() else None,
        )


def _manager(server: "Server[Any]", settings: Settings) -> "StreamableHTTPSessionManager":
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    return StreamableHTTPSessionManager(
        app=server,
        session_idle_timeout=settings.mcp_session_idle_seconds,
        max_request_body_size=min(settings.http_body_max_bytes, 2 * settings.event_value_max_bytes),
        max_sessions=settings.mcp_sessions_max,
    )


def _user(caller: Caller) -> Any:
    """The caller as the SDK knows callers: it lets nobody into a session that another key has opened."""
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken

    return AuthenticatedUser(AccessToken(token="", client_id=str(caller.credential), scopes=[]))


def _refusal(error: PenstockError) -> JSONResponse:
    status, headers = 401, {"WWW-Authenticate": "Bearer"}
    if isinstance(error, PermissionMissing):
        status, headers = 403, {}
    elif isinstance(error, TooManyFailures):
        status, headers = 429, {}
    elif not isinstance(error, Unauthenticated):
        status, headers = (401, headers) if error.code.startswith("key_") else (503, {})
    body = {"code": error.code, "title": error.what, "detail": error.advice, "status": status}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def principal_of(ctx: Any) -> Principal:
    """Who makes a request, from the key that came with it."""
    principal: Principal = ctx.request.scope["state"][STATE]
    return principal


async def serve_http(app: McpApp, listener: socket.socket, started: Callable[[], None], stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set."""
    server = Uvicorn(app, timeout_graceful_shutdown=SHUTDOWN_SECONDS)
    async with app.manager.run():
        serving = asyncio.create_task(server.serve([listener]))
        stopping = asyncio.create_task(stop.wait())
        try:
            started()
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            await serving
        finally:
            stopping.cancel()
            listener.close()
