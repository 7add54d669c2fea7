"""The program of a process that executes one run: ``python -m penstock.cli.alone MODULE[:ATTR] ASSIGNMENT``.

Started by `penstock worker` for a run that several workers were lost over. Not for people: the run must be held by the
worker that starts it.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from penstock.cli.exits import ExitCode, exit_code_of
from penstock.cli.loading import load_agents
from penstock.cli.opening import execute, opened
from penstock.cli.output import note
from penstock.kernel.errors import PenstockError
from penstock.runs.work.alone import Assignment
from penstock.runs.work.poison import PUT_AWAY, Handover


class _Task(msgspec.Struct, frozen=True):
    """The second argument, as JSON. ``report`` is the descriptor on which `PUT_AWAY` is said."""

    tenant: str
    run: UUID
    holder: UUID
    epoch: int
    worker: UUID
    report: int


def command_for(target: str) -> Callable[[Handover], Sequence[str]]:
    """What makes the command line of such a process, for the agents that ``target`` names."""

    def command(handover: Handover) -> Sequence[str]:
        claim = handover.claim
        task = _Task(claim.tenant, claim.run, handover.holder, claim.epoch, handover.worker, handover.report)
        return [sys.executable, "-m", "penstock.cli.alone", target, msgspec.json.encode(task).decode()]

    return command


def main(arguments: Sequence[str]) -> int:
    """Execute the run; the exit code."""
    target, text = arguments
    task = msgspec.json.decode(text, type=_Task)
    os.set_inheritable(task.report, False)
    try:
        return execute(_execute(target, task), fast=True)
    except PenstockError as error:
        note(f"error[{error.code}]: {error.what}")
        return exit_code_of(error)


async def _execute(target: str, task: _Task) -> int:
    def put_away() -> None:
        with contextlib.suppress(OSError):  # whoever started this has gone: its run is in order all the same
            os.write(task.report, PUT_AWAY)

    assignment = Assignment(task.tenant, task.run, task.holder, task.epoch, task.worker)
    async with opened(agents=load_agents(target), worker_concurrency=1) as platform:
        worker = platform.lone_worker(f"alone-{task.worker}", assignment, put_away)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.drain)
        await worker.run()
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
