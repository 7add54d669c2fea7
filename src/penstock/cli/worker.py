"""``penstock worker``: works on runs until it is told to stop."""

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.loading import load_agents
from penstock.cli.opening import execute, opened
from penstock.cli.options import AsJson
from penstock.cli.output import note, print_json
from penstock.cli.text import plural
from penstock.kernel.errors import PenstockError

if TYPE_CHECKING:
    from penstock.agents.definition import Definition
    from penstock.runs.client import Penstock


def worker(
    target: Annotated[
        str, typer.Argument(metavar="MODULE[:ATTR]", help="Where the agents are; all of a module's, or one.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Its name, unique among live workers; default host-pid.", show_default=False)
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Runs at a time; default PENSTOCK_WORKER_CONCURRENCY.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Work on the runs of these agents until told to stop.

    On SIGTERM or Ctrl-C it takes on nothing more and hands its runs back: at once those between calls, those with a
    call in flight when it has ended, or after PENSTOCK_DRAIN_SECONDS. A second signal ends it where it stands, and
    other workers go on with its runs when its lease is over.
    """
    agents = load_agents(target)
    called = name or f"{socket.gethostname()}-{os.getpid()}"
    return execute(_work(agents, called, concurrency, as_json, target), fast=True)


async def _work(agents: "list[Definition]", name: str, concurrency: int | None, as_json: bool, target: str) -> int:
    from penstock.cli.alone import command_for
    from penstock.wiring import tune_worker_process

    tune_worker_process()
    async with opened(agents=agents, worker_concurrency=concurrency) as platform:
        working = asyncio.create_task(platform.work(name, launch=command_for(target)))
        stopping = _Stopping(platform, as_json)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.ask, number)
        started = asyncio.create_task(_announce(platform, name, as_json))
        try:
            await working
        finally:
            started.cancel()
        if not stopping.asked:
            why = "an agent would not let go of its task"
            raise PenstockError(f"the worker {name} had to stop: {why}", hint="start another; its runs go on there")
    if as_json:
        print_json({"worker": name, "state": "drained"})
    else:
        note("drained")
    return ExitCode.OK


async def _announce(platform: "Penstock", name: str, as_json: bool) -> None:
    """Say that it works, once the journal has accepted its name."""
    await asyncio.sleep(0)  # the task that starts the worker comes first
    assert platform.worker is not None
    await platform.worker.enlisted.wait()
    registry = platform.registry
    if as_json:
        print_json({"worker": name, "state": "working", "agents": registry.names, "releases": registry.releases})
    else:
        note(f"worker {name} works on {plural(len(registry.names), 'agent')}: {', '.join(registry.names)}")


class _Stopping:
    """The first signal drains, the second ends the process."""

    def __init__(self, platform: "Penstock", as_json: bool) -> None:
        self.asked = False
        self._platform = platform
        self._as_json = as_json

    @property
    def tainted(self) -> bool:
        worker = self._platform.worker
        return worker is not None and worker.tainted > 0

    def ask(self, number: signal.Signals) -> None:
        if self.asked:
            os._exit(128 + number)
        self.asked = True
        worker = self._platform.worker
        if worker is not None:
            if not self._as_json:
                note(f"draining: {plural(len(worker.running), 'run')} in hand (again: leave at once)")
            worker.drain()
