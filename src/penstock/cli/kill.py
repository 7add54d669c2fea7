"""``penstock kill``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened
from penstock.cli.options import Actor, AsJson, Reason, Tenant, actor_or_account
from penstock.cli.output import note, print_json
from penstock.cli.sealing import as_json_of, print_quiesced, print_sealed
from penstock.kernel.errors import UsageError

if TYPE_CHECKING:
    from penstock.ports.records import Sealed
    from penstock.runs.client import Penstock
    from penstock.views.open_calls import OpenCall


def kill(
    run: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The run's id, or the beginning of it.", show_default=False)
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Everything; with --tenant, everything of a tenant.")
    ] = False,
    reason: Reason = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the calls under way are over.")] = False,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Stop one run with its children, or everything, at once.

    Prints since when nothing new starts (sealed), and which calls were under way then. With --wait also when they are
    over (quiesced), and which of them are in doubt. Runs that were killed stay killed.
    """
    if (run is None) == (not everything):
        raise UsageError(
            "kill takes the id of a run, or --all", hint="for example: penstock kill --all --reason incident"
        )
    if not reason.strip():
        raise UsageError("a kill needs --reason", hint="it goes on the record, for whoever asks why")
    return execute(_kill(run, reason, wait, actor_or_account(actor), tenant, as_json))


async def _kill(run: str | None, reason: str, wait: bool, actor: str, tenant: str | None, as_json: bool) -> int:
    async with opened(tenant) as platform:
        if run is None:
            found = None
            sealed = await platform.kill_everything(actor=actor, reason=reason, tenant=tenant)
        else:
            found = await find_run(platform.journal, platform.tenant, run)
            sealed = await platform.kill(found, actor=actor, reason=reason)
        scope = f"run {found}" if found else f"everything of tenant {tenant}" if tenant else "everything"
        if not as_json:
            print_sealed(f"kill of {scope}", sealed)
        calls = await _quiesce(platform, sealed) if wait else None
    if as_json:
        doubts = [call for call in calls or () if call.status == "in_doubt"]
        ended = {"quiesced": calls is not None, "calls": calls, "in_doubt": doubts} if wait else {}
        print_json({"scope": scope, "run": found, "tenant": tenant, **as_json_of(sealed), **ended})
    elif calls is not None:
        print_quiesced(calls)
    if run is None and not as_json:
        note(f"lift it with: penstock resume --all{f' --tenant {tenant}' if tenant else ''}")
    return ExitCode.OK if sealed.sealed else ExitCode.FAILED


async def _quiesce(platform: "Penstock", sealed: "Sealed") -> "list[OpenCall]":
    """Wait until each call that was under way has an outcome, or can have none any more from the call itself."""
    import asyncio

    from penstock.views.open_calls import look_up

    while True:
        calls = await look_up(platform.journal, sealed.open_intents)
        if all(call.status != "open" for call in calls):
            return calls
        await asyncio.sleep(platform.services.settings.poll_seconds / 4)
