"""``penstock serve``: the API and the console, and a worker in the same process."""

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.loading import load_agents
from penstock.cli.opening import configured, execute
from penstock.cli.options import AsJson
from penstock.cli.output import note, print_json, say
from penstock.cli.text import plural
from penstock.kernel.errors import PenstockError, UsageError

if TYPE_CHECKING:
    from penstock.agents.definition import Definition
    from penstock.runs.client import Penstock
    from penstock.runs.work.poison import Handover, Launch
    from penstock.server.serving import Serving
    from penstock.settings import Settings


def serve(  # noqa: PLR0917 - each parameter is an option of the command
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODULE[:ATTR]]...", help="Where agents are that are worked on here.", show_default=False
        ),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Work simulated tickets, in a database of their own.")] = False,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 = any that is free.", min=0, max=65535)] = 8321,
    worker: Annotated[str | None, typer.Option(help="The worker's name; default host-pid.", show_default=False)] = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Work on nothing here; workers do elsewhere.")] = False,
    listen_publicly: Annotated[
        bool, typer.Option("--listen-publicly", help="Allow a --host that others can reach.")
    ] = False,
    console: Annotated[
        bool, typer.Option("--console/--no-console", help="Build the console where it is not built, in a checkout.")
    ] = True,
    root_path: Annotated[str, typer.Option(help="The path under which a proxy serves it.", show_default=False)] = "",
    gateway: Annotated[
        Path | None,
        typer.Option(help="Serve the gateway too, below /gateway, as this TOML file says.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Serve the API and the console, and work on the runs of these agents, until told to stop.

    On the first start it makes a key with the role admin for the tenant and shows it, once, on standard output; logs go
    to standard error. On SIGTERM or Ctrl-C it takes no more requests, tells streams to come again, and its worker hands
    its runs back, as `penstock worker` does; a second signal ends it where it stands.
    """
    from penstock.server import serving

    serving.check_host(host, publicly=listen_publicly)
    if worker is not None and no_worker:
        raise UsageError("--worker names a worker and --no-worker forbids one", hint="leave one of them out")
    if root_path and (not root_path.startswith("/") or root_path.endswith("/")):
        raise UsageError(
            f"the root path {root_path!r} does not begin, or ends, with a slash", hint="write it as /penstock"
        )
    plan = _Plan(
        {target: load_agents(target) for target in targets or ()},
        None if no_worker else worker or f"{socket.gethostname()}-{os.getpid()}",
        root_path,
        console,
        as_json,
        gateway,
    )
    _log_to_stderr()
    listener = serving.bind(host, port)
    try:
        return execute(_serve(plan, listener, demo=demo), fast=True)
    finally:
        listener.close()


@dataclass(slots=True)
class _Plan:
    """What the command line asks for. ``agents`` by where they were found; ``reach``: variables with which other
    commands see the same runs, where those that are set do not."""

    agents: "dict[str, list[Definition]]"
    worker: str | None
    root_path: str
    console: bool
    as_json: bool
    gateway: Path | None = None
    reach: dict[str, str] = field(default_factory=dict)
    background: list[Callable[["Penstock"], Awaitable[None]]] = field(default_factory=list)

    @property
    def all_agents(self) -> "list[Definition]":
        return [agent for found in self.agents.values() for agent in found]

    def launch(self) -> "Launch | None":
        """Processes for runs that are tried alone, where it is known which module defines their agents."""
        from penstock.cli.alone import command_for

        targets = {agent.name: target for target, found in self.agents.items() for agent in found}
        if not targets:
            return None

        def command(handover: "Handover") -> Any:
            return command_for(targets.get(handover.claim.agent, next(iter(targets.values()))))(handover)

        return command


async def _serve(plan: _Plan, listener: socket.socket, *, demo: bool) -> int:
    from penstock.wiring import open_penstock, tune_worker_process

    tune_worker_process()
    settings = configured()
    if demo:
        from penstock.demo.endless import demo_settings

        settings = demo_settings(settings)
        plan.reach["PENSTOCK_TENANT"] = settings.tenant
        if settings.database_url is None:
            plan.reach["PENSTOCK_DATA_DIR"] = str(settings.data_dir)
    async with contextlib.AsyncExitStack() as stack:
        platform = await stack.enter_async_context(open_penstock(settings, agents=plan.all_agents))
        if demo:
            from penstock.demo.endless import DemoDesk

            desk = await stack.enter_async_context(DemoDesk.opened(settings))
            platform.registry.add(desk.agent)
            plan.background.append(desk.work)
        return await _serve_platform(plan, platform, listener, settings)


async def _serve_platform(plan: _Plan, platform: "Penstock", listener: socket.socket, settings: "Settings") -> int:
    from penstock.server.app import create_app
    from penstock.server.serving import Serving, address_of

    app = create_app(platform, root_path=plan.root_path)
    has_work = plan.worker is not None and bool(platform.registry.names)
    working = asyncio.create_task(platform.work(plan.worker or "", launch=plan.launch())) if has_work else None
    async with _gateway_before(app, plan, platform) as front:
        serving = Serving(app, listener, settings, front)
        stopping = _Stopping(platform, serving, plan)
        if working is not None:
            working.add_done_callback(lambda _: serving.stop())
        up = asyncio.Event()
        plan.background.append(partial(_announce, plan, up, address_of(listener, plan.root_path), working is not None))
        async with _going_on(plan, platform, app.state.server.console):
            await serving.run(up.set)
    if working is not None:
        if platform.worker is not None:
            platform.worker.drain()
        await working
        if not stopping.asked:
            raise PenstockError(
                f"the worker {plan.worker} had to stop: an agent would not let go of its task",
                hint="start again; its runs go on there",
            )
    if plan.as_json:
        print_json({"state": "stopped"})
    else:
        note("stopped")
    return ExitCode.OK


@contextlib.asynccontextmanager
async def _gateway_before(app: Any, plan: _Plan, platform: "Penstock") -> AsyncIterator[Any]:
    """What takes the gateway's requests before the API sees them, when there is to be a gateway; else None."""
    if plan.gateway is None:
        yield None
        return
    from penstock.server.gateway.app import GatewayApp
    from penstock.server.gateway.front import PREFIX, Front
    from penstock.server.gateway.opening import opened_gateway
    from penstock.wiring import environment

    await asyncio.sleep(0)  # the task that starts the worker comes first
    name = f"gateway-{socket.gethostname()}-{os.getpid()}"
    async with opened_gateway(platform, plan.gateway, environment(), name) as (gateway, doorkeeper):
        yield Front(app, GatewayApp(gateway, doorkeeper, PREFIX))


@contextlib.asynccontextmanager
async def _going_on(plan: _Plan, platform: "Penstock", console: Any) -> AsyncIterator[None]:
    """What goes on beside serving: the console's build, the demo's tickets."""
    from penstock.server.console_build import build_console

    tasks: list[asyncio.Future[Any]] = [asyncio.create_task(build_console(console, note))] if plan.console else []
    tasks += [asyncio.ensure_future(work(platform)) for work in plan.background]
    for task in tasks:
        task.add_done_callback(_say_if_failed)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _say_if_failed(task: "asyncio.Future[Any]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logging.getLogger("penstock").error("what goes on beside serving has failed", exc_info=error)


async def _announce(plan: _Plan, up: asyncio.Event, url: str, works: bool, platform: "Penstock") -> None:
    """Say that requests are taken. The first key is made now: one that was made by a start that fails would be lost."""
    from penstock.server.access.keys import make_first_admin

    await up.wait()
    services = platform.services
    tenant, environment = platform.tenant, services.settings.environment
    key = await make_first_admin(platform.journal.access, services.clock, tenant, services.settings.keys_max)
    names = platform.registry.names
    if plan.as_json:
        shown = {"state": "serving", "url": url, "tenant": tenant, "environment": environment}
        who = {"admin_key": key, "worker": plan.worker if works else None, "agents": names}
        print_json({**shown, **who, "variables": plan.reach})
        return
    note(f"penstock serves {url} (tenant {tenant}, environment {environment})")
    if works:
        note(f"worker {plan.worker} works on {plural(len(names), 'agent')}: {', '.join(names)}")
    else:
        note("no worker runs here: start one with `penstock worker MODULE`")
    if plan.reach:
        named = " ".join(f"{name}={shlex.quote(value)}" for name, value in plan.reach.items())
        note(f"other commands see these runs after: export {named}")
    if key is not None:
        say(f"admin key, shown this once: {key}")
        note(f"sign in at {url} with it; more keys: penstock keys make NAME --role ROLE")
    else:
        note(f"sign in at {url} with a key that was made before, or make one: penstock keys make NAME --role ROLE")


class _Stopping:
    """The first signal ends in order, the second at once."""

    def __init__(self, platform: "Penstock", serving: "Serving", plan: _Plan) -> None:
        self.asked = False
        self._platform = platform
        self._serving = serving
        self._plan = plan
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask, number)

    def ask(self, number: signal.Signals) -> None:
        """End, or leave."""
        if self.asked:
            os._exit(128 + number)
        self.asked = True
        worker = self._platform.worker
        if not self._plan.as_json:
            held = plural(len(worker.running), "run") + " in hand" if worker else "no worker"
            note(f"stopping: {held} (again: leave at once)")
        self._serving.stop()
        if worker is not None and self._plan.gateway is None:  # under its lease are the gateway's calls
            worker.drain()


def _log_to_stderr() -> None:
    """The server's log: one line each; those of requests are JSON objects."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name, level in (("penstock", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level)
    bare = logging.StreamHandler(sys.stderr)
    bare.setFormatter(logging.Formatter("%(message)s"))
    access = logging.getLogger("penstock.server.access")
    access.addHandler(bare)
    access.propagate = False
