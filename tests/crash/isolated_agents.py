"""A synchronous write, made in a process of its own, that can end its worker or itself at a chosen point of the call.

Importable on its own, as the process imports it. ``ISOLATED_FOLDER`` and ``ISOLATED_DOOM`` come with the environment;
a doom strikes once, whoever makes the call again.
"""

import os
import signal
import time
from pathlib import Path

from tests.crash.ledger import Ledger

from penstock import IdempotencyKey, Run, ToolContext, agent, tool
from penstock.agents.function import FunctionAgent
from penstock.agents.tool import Tool

FOLDER, DOOM = "ISOLATED_FOLDER", "ISOLATED_DOOM"
TIMEOUT = 0.8
LONG_SECONDS = 30.0
"""Longer than anything may go on after its time-out."""


def _world() -> Ledger:
    return Ledger(Path(os.environ[FOLDER]))


def reach(stage: str, tag: str) -> None:
    """Where the process is in its call. ``kill-worker-at-entry``, ``stop-worker-at-entry``, ``kill-self-after-effect``,
    ``hang-after-effect``, and so on."""
    how, _, where = os.environ.get(DOOM, "").partition("@")
    if where != stage:
        return
    try:
        (Path(os.environ[FOLDER]) / "struck" / tag).symlink_to(str(os.getpid()))
    except FileExistsError:
        return
    if how == "kill-self":
        os.kill(os.getpid(), signal.SIGKILL)
    if how in ("kill-worker", "kill-worker-and-hang"):
        os.kill(os.getppid(), signal.SIGKILL)
    if how == "stop-worker":
        os.kill(os.getppid(), signal.SIGSTOP)
    if how in ("hang", "kill-worker-and-hang"):
        time.sleep(LONG_SECONDS)


def _write(name: str, tag: str, context: ToolContext, *, once: bool) -> str:
    world = _world()
    world.call(name, tag, context)
    reach("entry", tag)
    if once:
        world.effect_once(name, context)
    else:
        world.effect(name, tag, context)
    reach("effect", tag)
    return "done"


async def was_confirmed(tag: str) -> bool:
    """The look-up of `confirmed`."""
    return _world().happened("confirmed", tag) > 0


@tool(permission="auto", in_doubt="keyed", timeout_seconds=TIMEOUT)
def keyed(tag: str, key: IdempotencyKey, context: ToolContext) -> str:
    """A receiver that knows its keys."""
    return _write("keyed", tag, context, once=True)


@tool(permission="auto", in_doubt="confirm", confirm=was_confirmed, timeout_seconds=TIMEOUT)
def confirmed(tag: str, context: ToolContext) -> str:
    """One that can be asked."""
    return _write("confirmed", tag, context, once=False)


@tool(permission="auto", timeout_seconds=TIMEOUT)
def escalated(tag: str, context: ToolContext) -> str:
    """One of which only a person can tell."""
    return _write("escalated", tag, context, once=False)


WAYS: dict[str, Tool[..., str]] = {"keyed": keyed, "confirmed": confirmed, "escalated": escalated}


def make_writer(tag: str, way: str) -> FunctionAgent:
    """The agent of the run with this tag. Its release is its own, so that nobody else's worker takes it."""

    @agent(f"writer-{tag}", version=tag)
    async def writer(run: Run, value: str) -> str | None:
        answer: str | None = await run.call(WAYS[way], value)
        return answer

    return writer
