"""``penstock mcp``: an MCP server before others, whose every call passes the tool gate."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import configured, execute, opened
from penstock.cli.options import AsJson
from penstock.cli.output import note, print_json
from penstock.cli.text import plural
from penstock.kernel.errors import UsageError

if TYPE_CHECKING:
    from penstock.integrations.mcp.proxy.config import ProxyConfig
    from penstock.runs.client import Penstock


def mcp(  # noqa: PLR0917 - each parameter is an option of the command
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="Which servers, tools and agents there are.")
    ],
    http: Annotated[
        bool, typer.Option("--http", help="Serve streamable HTTP, with Penstock keys, instead of this process's pipes.")
    ] = False,
    host: Annotated[str, typer.Option(help="With --http: the address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="With --http: the port; 0 = any that is free.", min=0, max=65535)] = 8322,
    listen_publicly: Annotated[
        bool, typer.Option("--listen-publicly", help="Allow a --host that others can reach.")
    ] = False,
    agent: Annotated[
        str | None,
        typer.Option(help="On pipes: which of the file's agents the client is; default `mcp`.", show_default=False),
    ] = None,
    worker: Annotated[str | None, typer.Option(help="The worker's name; default host-pid.", show_default=False)] = None,
    pin: Annotated[
        bool, typer.Option("--pin", help="Agree to what the servers say of their tools now; write it down, and end.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Serve the tools of other MCP servers, each call through the tool gate, until told to stop.

    Without --http it speaks MCP on standard input and output, for the client that started it, and says everything else
    on standard error. A session is a run: `penstock runs`, `approvals` and `kill` see its calls.
    """
    from penstock.integrations.mcp.installed import require

    require()
    from penstock.integrations.mcp.proxy.config import read_config
    from penstock.server import serving
    from penstock.wiring import environment

    if agent is not None and http:
        raise UsageError("--agent is for a client on pipes; with --http the key says who it is", hint="leave it out")
    said = read_config(config, configured(), environment())
    if pin:
        return execute(_pin(said, as_json))
    if http:
        serving.check_host(host, publicly=listen_publicly)
    _log_to_stderr()
    plan = _Plan(said, agent, worker or f"mcp-{socket.gethostname()}-{os.getpid()}", as_json)
    listener = serving.bind(host, port) if http else None
    return execute(_serve(plan, listener), fast=True)


@dataclass(slots=True)
class _Plan:
    config: "ProxyConfig"
    agent: str | None
    worker: str
    as_json: bool


async def _pin(config: "ProxyConfig", as_json: bool) -> int:
    from penstock.integrations.mcp.server import pin

    try:
        changes = await pin(*config.servers)
    finally:
        await _close(config)
    if as_json:
        print_json({"file": str(config.lock), "changed": changes})
        return ExitCode.OK
    for server, tools in changes.items():
        note(f"{server}: " + (f"agreed to {', '.join(tools)}" if tools else "as before"))
    note(f"wrote {config.lock}")
    return ExitCode.OK


async def _close(config: "ProxyConfig") -> None:
    await asyncio.gather(*(server.close() for server in config.servers), return_exceptions=True)


async def _serve(plan: _Plan, listener: socket.socket | None) -> int:
    from penstock import __version__
    from penstock.integrations.mcp.proxy.serving import Proxy, offered_tools
    from penstock.integrations.mcp.proxy.session import Principal
    from penstock.integrations.mcp.proxy.sessions import Sessions
    from penstock.server.mcp import principal_of

    config = plan.config
    try:
        async with opened() as platform:
            tools = await offered_tools(config)
            who = config.named(plan.agent) if plan.agent else config.default
            here = Principal(platform.tenant, who, "", "mcp")
            working: asyncio.Task[None] | None = None
            try:
                async with Sessions(platform) as sessions:
                    principal = principal_of if listener is not None else lambda ctx: here
                    proxy = Proxy(config, sessions, tools, principal, __version__)
                    working = asyncio.create_task(platform.work(plan.worker))
                    await _until_told(plan, platform, proxy, listener, working)
            finally:
                if working is not None:
                    if platform.worker is not None:
                        platform.worker.drain()
                    await asyncio.wait({working})
            if not working.cancelled():
                working.result()
    finally:
        await _close(config)
    return ExitCode.OK


async def _until_told(
    plan: _Plan, platform: "Penstock", proxy: Any, listener: socket.socket | None, working: "asyncio.Task[None]"
) -> None:
    """Serve until the client goes, a signal comes, or the worker cannot work."""
    from mcp.server.stdio import stdio_server

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    working.add_done_callback(lambda _: stop.set())
    names = sorted({name for tools in proxy.tools.values() for name in tools})
    if listener is not None:
        from penstock.server.access.doorkeeper import Doorkeeper
        from penstock.server.mcp import PATH, McpApp, serve_http
        from penstock.server.serving import address_of

        services = platform.services
        doorkeeper = Doorkeeper(platform.journal.access, services.clock, services.settings)
        url = address_of(listener).rstrip("/") + PATH

        def started() -> None:
            if plan.as_json:
                print_json({"state": "serving", "url": url, "worker": plan.worker, "tools": names})
            else:
                note(f"the MCP proxy serves {plural(len(names), 'tool')} at {url}; a client needs a key: penstock keys")

        app = McpApp(proxy.server, plan.config, platform.journal, doorkeeper, services.settings)
        await serve_http(app, listener, started, stop)
        return
    note(f"the MCP proxy serves {plural(len(names), 'tool')} on its pipes")

    async def speak() -> None:
        async with stdio_server() as (read, write):
            await proxy.server.run(read, write, proxy.server.create_initialization_options())

    tasks = {asyncio.create_task(speak()), asyncio.create_task(stop.wait())}
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        for task in done:
            task.result()


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("penstock")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
