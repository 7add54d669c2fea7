"""``penstock run``: one agent, one input, one result."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.loading import load_agent
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, Tenant, actor_or_account
from penstock.cli.output import note, print_json, say
from penstock.cli.text import brief, plural, safe, whole
from penstock.kernel.errors import AgentInvalid, InputInvalid, PenstockError, UsageError

if TYPE_CHECKING:
    from penstock.agents.budget import Budget
    from penstock.agents.definition import Definition
    from penstock.runs.client import Penstock
    from penstock.runs.result import Result


def run(  # noqa: PLR0917 - each parameter is an option of the command
    agent: Annotated[str, typer.Argument(metavar="MODULE:AGENT", help="Where the agent is.")],
    value: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="Its input: text, or JSON if it takes no text; - reads standard input."),
    ],
    key: Annotated[
        str | None,
        typer.Option(help="Idempotency key: the same key and input give the same run.", show_default=False),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="customer, feature, task_type, user, kind, or x_…; repeatable.",
            show_default=False,
        ),
    ] = None,
    budget_usd: Annotated[
        str | None, typer.Option(metavar="USD", help="Money it may use, such as 0.10.", show_default=False)
    ] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="Tokens it may use.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(help="Model turns it may take.", show_default=False)] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another model than the agent's.", show_default=False)
    ] = None,
    tenant: Tenant = None,
    actor: Actor = None,
    wait: Annotated[bool, typer.Option(help="Work on it here and wait for its end; else only submit it.")] = True,
    in_memory: Annotated[bool, typer.Option("--in-memory", help="Without a database; nothing is kept.")] = False,
    as_json: AsJson = False,
) -> int:
    """Run an agent on one input, in this process, and print its output.

    The run is durable: when this process dies, a worker that offers the agent goes on with it.
    """
    if in_memory and not wait:
        raise UsageError("--in-memory with --no-wait would do nothing", hint="leave one of them out")
    definition = load_agent(agent)
    if model is not None:
        definition = _with_model(definition, model)
    options = {
        "key": key,
        "tags": tags_of(tag or []),
        "budget": _budget(definition, budget_usd, budget_tokens, steps),
        "actor": actor_or_account(actor),
    }
    return execute(_run(definition, input_of(definition, value), options, tenant, wait, in_memory, as_json))


async def _run(
    agent: "Definition",
    value: Any,
    options: dict[str, Any],
    tenant: str | None,
    wait: bool,
    in_memory: bool,
    as_json: bool,
) -> int:
    async with opened(tenant, agents=[agent], in_memory=in_memory) as platform:
        if wait:
            _check_model(platform, agent)
        run_id = await platform.submit(agent, value, **options)
        if not wait:
            if as_json:
                print_json({"run": run_id, "agent": agent.name})
            else:
                say(str(run_id))
            return ExitCode.OK
        if not as_json:
            note(f"run {run_id} of {agent.name}")
        result = await _wait(platform, run_id, as_json)
    if result is None:
        note(f"interrupted; the run goes on when a worker offers {agent.name}: penstock runs tail {run_id}")
        return ExitCode.INTERRUPTED
    if as_json:
        print_json({**dataclasses.asdict(result), "totals": result.totals, "partial": result.partial})
    else:
        _show(result)
    return ExitCode.OK if result.ok else ExitCode.FAILED


async def _wait(platform: "Penstock", run_id: UUID, as_json: bool) -> "Result | None":
    """Work until the run has ended; None when interrupted first."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, lambda: _interrupt(interrupted))
    loop.add_signal_handler(signal.SIGTERM, lambda: _interrupt(interrupted))
    worker = asyncio.create_task(platform.work(f"run-{socket.gethostname()}-{os.getpid()}"))
    ended = asyncio.create_task(platform.result(run_id))
    told = asyncio.create_task(_tell(platform, run_id, as_json))
    stop = asyncio.create_task(interrupted.wait())
    try:
        await asyncio.wait({worker, ended, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not (ended.done() or stop.done()):
            await worker  # it raises what is wrong, or it lost its lease
            raise PenstockError(f"this worker had to let go of run {run_id}", hint=f"see `penstock runs show {run_id}`")
        return await ended if ended.done() else None
    finally:
        for task in (ended, told, stop):
            task.cancel()
        await asyncio.gather(ended, told, stop, return_exceptions=True)
        if platform.worker is not None:
            platform.worker.drain()
        with contextlib.suppress(PenstockError):
            await worker


def _interrupt(interrupted: asyncio.Event) -> None:
    if interrupted.is_set():
        os._exit(ExitCode.INTERRUPTED)
    interrupted.set()
    note("stopping; calls in flight may end first (again: leave at once)")


async def _tell(platform: "Penstock", run_id: UUID, as_json: bool) -> None:
    """Say on standard error what goes on: on a terminal every event, elsewhere only that a person is waited for."""
    from penstock.cli.following import follow, follow_line
    from penstock.events import ApprovalRequested, RunEnded, RunSubmitted

    follows = sys.stderr.isatty() and not as_json
    async for event in follow(platform.journal, platform.tenant, run_id):
        if follows and not isinstance(event, RunSubmitted | RunEnded):
            note(follow_line(event))
        if isinstance(event, ApprovalRequested) and not as_json:
            words = "approve" if event.question == "may_run" else "happened"
            note(f"waiting for a person: {safe(event.tool)}: penstock approvals {words} {event.approval}")


def _show(result: "Result") -> None:
    totals = result.totals
    if result.ok:
        say(whole(result.output))
    else:
        note(f"{result.outcome}[{result.code}]: {safe(result.reason)}")
        if result.partial:
            note(f"partial output: {brief(result.output, 2000)}")
        for label, words in (("missing", result.missing), ("needed", result.needed)):
            if words:
                note(f"{label}: {safe('; '.join(words))}")
    used = [plural(totals.steps, "step"), plural(totals.tool_calls, "tool call"), f"{totals.tokens:,} tokens"]
    note(f"{result.outcome} · {' · '.join(used)} · {result.cost} · penstock runs show {result.run}")


def input_of(agent: "Definition", text: str) -> Any:
    """The input as the agent's type wants it: the text itself, or else the JSON value that it is."""
    if text == "-":
        data = sys.stdin.buffer.read()
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise InputInvalid(f"standard input is not UTF-8: byte {error.start}", hint="convert it first") from error
    try:
        agent.plain_input(text)
    except InputInvalid:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        agent.plain_input(value)
        return value
    return text


def tags_of(given: list[str]) -> dict[str, str]:
    """The tags that ``--tag NAME=VALUE`` gave.

    Raises:
        UsageError: one of them is malformed, or given twice.
    """
    tags: dict[str, str] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UsageError(f"--tag {item!r} is not NAME=VALUE", hint="for example --tag customer=acme")
        if name in tags:
            raise UsageError(f"--tag {name} is given twice")
        tags[name] = value
    return tags


def _budget(agent: "Definition", usd: str | None, tokens: int | None, steps: int | None) -> "Budget | None":
    """The agent's own budget with what the command line says instead."""
    given: dict[str, Any] = {"usd": usd, "tokens": tokens, "steps": steps}
    changes = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(agent.limits, **changes) if changes else None


def _check_model(platform: "Penstock", agent: "Definition") -> None:
    """Find the agent's model before the run is made, rather than fail it at once.

    Raises:
        ModelUnknown, ProviderInvalid: there is none of that name, or it cannot be called from here.
    """
    model = getattr(agent, "model", None)
    if isinstance(model, str):
        platform.services.models.find(model)


def _with_model(agent: "Definition", model: str) -> "Definition":
    from penstock.agents.agent import Agent

    if not isinstance(agent, Agent):
        raise AgentInvalid(
            f"{agent.name} is a function that names its models itself", hint="leave out --model, or change its code"
        )
    return agent.with_model(model)
