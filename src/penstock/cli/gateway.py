"""``penstock gateway``: programs' model calls, metered and journalled, by a change of their base URL."""

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import AsJson
from penstock.cli.output import note, print_json
from penstock.cli.text import plural

if TYPE_CHECKING:
    from penstock.integrations.gateway.gateway import Gateway
    from penstock.runs.client import Penstock
    from penstock.server.gateway.serving import GatewayServing


RUNS_AT_A_TIME = 20_000
"""Held runs that do not keep the gateway from taking over those of one that was lost."""


def gateway(
    config: Annotated[
        Path | None,
        typer.Option(help="Its providers and models, a TOML file; default: the providers whose keys are set."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 = any that is free.", min=0, max=65535)] = 8322,
    name: Annotated[
        str | None, typer.Option(help="Its name, unique among live workers; default host-pid.", show_default=False)
    ] = None,
    listen_publicly: Annotated[
        bool, typer.Option("--listen-publicly", help="Allow a --host that others can reach.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Pass model calls on to their providers, each through the model gate, until told to stop.

    Programs use http://HOST:PORT/openai/v1 or http://HOST:PORT/anthropic as their base URL, and as their key one that
    `penstock keys add NAME --gateway` made. The providers' keys stay here.

    On SIGTERM or Ctrl-C it takes no more calls and lets those under way end for PENSTOCK_DRAIN_SECONDS; a second signal
    ends it where it stands, and another gateway charges what was under way at its maximum.
    """
    from penstock.integrations.gateway.config import read_config
    from penstock.server import serving
    from penstock.wiring import environment

    serving.check_host(host, publicly=listen_publicly)
    read_config(config, environment())  # what is wrong with it is said before anything is opened
    listener = serving.bind(host, port)
    called = name or f"gateway-{socket.gethostname()}-{os.getpid()}"
    try:
        return execute(_serve(config, listener, called, as_json), fast=True)
    finally:
        listener.close()


async def _serve(config: Path | None, listener: socket.socket, name: str, as_json: bool) -> int:
    from penstock.server.gateway.app import GatewayApp
    from penstock.server.gateway.opening import opened_gateway
    from penstock.server.gateway.serving import GatewayServing
    from penstock.wiring import environment, tune_worker_process

    tune_worker_process()
    async with contextlib.AsyncExitStack() as stack:
        # Appends wait for company only while others are under way: a lone call waits for nobody.
        platform = await stack.enter_async_context(opened(batch_linger_ms=0.0, worker_concurrency=RUNS_AT_A_TIME))
        gateway, doorkeeper = await stack.enter_async_context(opened_gateway(platform, config, environment(), name))
        serving = GatewayServing(GatewayApp(gateway, doorkeeper), listener, platform.services.settings)
        _Stopping(platform, gateway, serving, as_json)
        await serving.run(lambda: _announce(listener, gateway, name, as_json))
    if as_json:
        print_json({"state": "stopped"})
    else:
        note("stopped")
    return ExitCode.OK


def _announce(listener: socket.socket, gateway: "Gateway", name: str, as_json: bool) -> None:
    from penstock.server.serving import address_of

    url = address_of(listener).rstrip("/")
    providers = {known: item.upstream.base_url for known, item in gateway.targets.providers.items()}
    if as_json:
        urls = {"openai": f"{url}/openai/v1", "anthropic": f"{url}/anthropic"}
        print_json({"state": "serving", "url": url, "base_urls": urls, "worker": name, "upstreams": providers})
        return
    note(f"penstock gateway serves {url} in front of {plural(len(providers), 'provider')}: {', '.join(providers)}")
    note(f"base URLs: {url}/openai/v1 and {url}/anthropic; keys: penstock keys add NAME --gateway")


class _Stopping:
    """The first signal ends in order, the second at once."""

    def __init__(self, platform: "Penstock", gateway: "Gateway", serving: "GatewayServing", as_json: bool) -> None:
        self._asked = False
        self._platform = platform
        self._gateway = gateway
        self._serving = serving
        self._as_json = as_json
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask, number)

    def ask(self, number: signal.Signals) -> None:
        """End, or leave."""
        if self._asked:
            os._exit(128 + number)
        self._asked = True
        if not self._as_json:
            note(f"stopping: {plural(len(self._gateway.runs), 'run')} in hand (again: leave at once)")
        self._gateway.runs.refuse()
        self._serving.stop()
