"""``penstock kill`` and ``penstock pause``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened
from penstock.cli.options import Actor, AsJson, Reason, Tenant, actor_or_account
from penstock.cli.output import note, print_json
from penstock.cli.scopes import (
    Agent,
    Customer,
    Environment,
    Everything,
    Release,
    Session,
    Tool,
    chosen,
    is_known,
    scope_of,
)
from penstock.cli.sealing import as_json_of, print_quiesced, print_sealed
from penstock.cli.text import safe
from penstock.kernel.errors import UsageError

if TYPE_CHECKING:
    from penstock.ports.controls import Scope, ScopeKind
    from penstock.ports.records import Sealed
    from penstock.runs.client import Penstock
    from penstock.views.open_calls import OpenCall

Wait = Annotated[bool, typer.Option("--wait", help="Wait until the calls under way are over.")]


def kill(
    run: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The run's id, or the beginning of it.", show_default=False)
    ] = None,
    *,
    everything: Everything = False,
    agent: Agent = None,
    release: Release = None,
    tool: Tool = None,
    session: Session = None,
    customer: Customer = None,
    environment: Environment = None,
    reason: Reason = "",
    wait: Wait = False,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Stop one run with its children, all runs of a scope, or all calls of a tool, at once.

    Prints since when nothing new starts (sealed), and which calls were under way then. With --wait also when they are
    over (quiesced), and which of them are in doubt. Runs that were killed stay killed. A tool that was killed is denied
    to all runs, which go on without it, until it is resumed.
    """
    if not reason.strip():
        raise UsageError("a kill needs --reason", hint="it goes on the record, for whoever asks why")
    choice = chosen(
        everything=everything,
        agent=agent,
        release=release,
        tool=tool,
        session=session,
        customer=customer,
        environment=environment,
    )
    if (run is None) == (choice is None):
        raise UsageError(
            "kill takes the id of a run, or a scope", hint="for example: penstock kill --agent desk --reason incident"
        )
    order = _Order("kill", run, choice, actor_or_account(actor), reason)
    return execute(_stop(order, tenant, wait=wait, as_json=as_json))


def pause(
    *,
    everything: Everything = False,
    agent: Agent = None,
    release: Release = None,
    tool: Tool = None,
    session: Session = None,
    customer: Customer = None,
    environment: Environment = None,
    reason: Reason = "",
    wait: Wait = False,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Hold back all runs of a scope until it is resumed. What is under way stops before its next call. Of a tool: runs
    that come to call it wait."""
    choice = chosen(
        everything=everything,
        agent=agent,
        release=release,
        tool=tool,
        session=session,
        customer=customer,
        environment=environment,
    )
    if choice is None:
        raise UsageError("pause takes a scope", hint="for one run: penstock runs pause ID")
    return execute(
        _stop(_Order("pause", None, choice, actor_or_account(actor), reason), tenant, wait=wait, as_json=as_json)
    )


@dataclass(frozen=True)
class _Order:
    action: str
    run: str | None
    choice: "tuple[ScopeKind, str] | None"
    actor: str
    reason: str


async def _stop(order: _Order, tenant: str | None, *, wait: bool, as_json: bool) -> int:
    from penstock.ports.controls import of_run
    from penstock.ports.records import Stop

    async with opened(tenant) as platform:
        if order.choice is not None:
            scope = scope_of(order.choice, platform.tenant, tenant)
            sealed = await platform.stop(scope, Stop(order.action), actor=order.actor, reason=order.reason)
        else:
            run = await find_run(platform.journal, platform.tenant, order.run or "")
            scope = of_run(platform.tenant, run)
            sealed = await platform.kill(run, actor=order.actor, reason=order.reason)
        if not as_json:
            print_sealed(f"{order.action} of {scope}", sealed)
            if not await is_known(platform.journal, scope):
                note(f"no run of {safe(str(scope))} was ever submitted: is the name right?")
        calls = await _quiesce(platform, sealed) if wait else None
    if as_json:
        doubts = [call for call in calls or () if call.status == "in_doubt"]
        ended = {"quiesced": calls is not None, "calls": calls, "in_doubt": doubts} if wait else {}
        print_json({"scope": str(scope), "run": scope.run, "tenant": tenant, **as_json_of(sealed), **ended})
    elif calls is not None:
        print_quiesced(calls)
    if order.choice is not None and not as_json:
        note(f"lift it with: {_lifting(scope, tenant)}")
    return ExitCode.OK if sealed.sealed else ExitCode.FAILED


def _lifting(scope: "Scope", tenant: str | None) -> str:
    from penstock.runs.stopping import option_of

    return f"penstock resume {option_of(scope)}" + (f" --tenant {tenant}" if tenant else "")


async def _quiesce(platform: "Penstock", sealed: "Sealed") -> "list[OpenCall]":
    """Wait until each call that was under way has an outcome, or can have none any more from the call itself."""
    import asyncio

    from penstock.views.open_calls import look_up

    while True:
        calls = await look_up(platform.journal, sealed.open_intents)
        if all(call.status != "open" for call in calls):
            return calls
        await asyncio.sleep(platform.services.settings.poll_seconds / 4)
