"""`create_app`: the whole API on one open platform."""

import contextlib
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, APIRouter, iter_route_contexts

from penstock.kernel.errors import ServerError
from penstock.runs.client import Penstock
from penstock.server.access.caller import Demand, openly
from penstock.server.access.doorkeeper import Doorkeeper
from penstock.server.access.oidc import Oidc
from penstock.server.access.sessions import Sessions
from penstock.server.action_log import ActionLog
from penstock.server.console_files import ConsoleFiles
from penstock.server.context import Server
from penstock.server.frame import Frame, log_line
from penstock.server.gauges import Gauges
from penstock.server.limits import Seats
from penstock.server.mails.telling import Telling
from penstock.server.metrics import Metrics
from penstock.server.openapi import describe
from penstock.server.problems import add_handlers
from penstock.server.reading import Reading
from penstock.server.stream.hub import Hub
from penstock.server.stream.topics import topics_of
from penstock.server.webhooks.deliveries import Deliveries

ROUTES = (
    "health",
    "me",
    "keys",
    "actions",
    "audit",
    "metrics",
    "description",
    "streams",
    "runs",
    "run_steering",
    "results",
    "reports",
    "payloads",
    "trace",
    "approvals",
    "cases",
    "people",
    "controls",
    "agents",
    "sessions",
    "overview",
    "costs",
    "budgets",
    "breakers",
    "release_confirming",
    "release_drafting",
    "releases",
    "policies",
    "cache",
    "webhooks",
)
"""Modules of `penstock.server.routes`, in the order of the API's description. Each has a ``router``."""


def create_app(platform: Penstock, *, log: Callable[[dict[str, Any]], None] = log_line, root_path: str = "") -> FastAPI:
    """The application. It is up while its lifespan is entered; the platform stays its owner's.

    Args:
        platform: open already; with a worker, or without.
        log: takes one line of the access log.
        root_path: under which a proxy serves it, such as ``/penstock``.

    Raises:
        ServerError: a route does not say who may ask for it.
    """
    services = platform.services
    metrics = Metrics()
    reading = Reading.of(platform)
    platform.writer.on_answer = metrics.appended
    doorkeeper = Doorkeeper(services.journal.access, services.clock, services.settings)
    server = Server(
        platform=platform,
        doorkeeper=doorkeeper,
        sessions=Sessions(services.journal, doorkeeper, services.clock, services.settings),
        oidc=Oidc(services.settings, services.clock),
        actions=ActionLog(services.journal.actions),
        seats=Seats(services.settings.http_concurrency),
        metrics=metrics,
        gauges=Gauges(metrics, platform),
        console=ConsoleFiles(),
        hub=Hub(services.journal, topics_of(platform, reading), viewers_max=services.settings.stream_viewers_max),
        reading=reading,
        log=log,
    )
    server.parts.append(server.hub.going)
    server.parts.append(reading.going)
    server.parts.append(Deliveries(services.journal, services.clock, services.settings).going)
    server.parts.append(Telling(services.journal, services.reader, services.clock, services.settings).going)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(server.actions.close)
            for part in server.parts:
                await stack.enter_async_context(part())
            try:
                yield
            finally:
                server.stopping.set()

    app = FastAPI(
        title="Penstock",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
    )
    app.state.server = server
    for name in ROUTES:
        router: APIRouter = import_module(f"penstock.server.routes.{name}").router
        app.include_router(router)
    _check_guarded(app)
    app.router.default = server.console
    add_handlers(app)
    app.add_middleware(Frame, server=server, root_path=root_path)
    describe(app)
    return app


def _operation_id(route: APIRoute) -> str:
    """The name of the route's function: noun and verb, such as ``runs_list``."""
    return route.name


def _check_guarded(app: FastAPI) -> None:
    for route in iter_route_contexts(app.routes):
        if demands_of(route) is None:
            raise ServerError(f"the route {route.path} does not say who may ask for it")


def demands_of(route: Any) -> frozenset[str] | None:
    """The permissions that a route demands; empty = open to all, {''} = signed in; None = it does not say."""
    calls = [item.call for item in route.dependant.dependencies]
    demanded = frozenset(call.permission for call in calls if isinstance(call, Demand))
    if not demanded and openly not in calls:
        return None
    return demanded
