"""``penstock runs cancel | pause | resume | release``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened_journal
from penstock.cli.options import Actor, AsJson, Reason, RunId, Tenant, actor_or_account
from penstock.cli.output import note, print_json, say
from penstock.cli.sealing import as_json_of, print_sealed
from penstock.kernel.errors import UsageError


def cancel(run: RunId, reason: Reason = "", actor: Actor = None, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """End a run and its children as cancelled. Nothing new starts in them from here on."""
    return execute(_stop("cancel", run, reason, actor_or_account(actor), tenant, as_json))


def pause(run: RunId, reason: Reason = "", actor: Actor = None, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Let a run start nothing more until it is resumed; its children go on."""
    return execute(_stop("pause", run, reason, actor_or_account(actor), tenant, as_json))


def resume(run: RunId, actor: Actor = None, tenant: Tenant = None, as_json: AsJson = False) -> int:
    """Take a pause off a run."""
    return execute(_resume(run, actor_or_account(actor), tenant, as_json))


def release(
    run: RunId,
    to: Annotated[
        str | None, typer.Option("--to", metavar="RELEASE", help="Go on under another release.", show_default=False)
    ] = None,
    actor: Actor = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Let a quarantined run be taken by a worker again, after what was wrong with it is mended."""
    return execute(_release(run, to, actor_or_account(actor), tenant, as_json))


async def _stop(how: str, run: str, reason: str, actor: str, tenant: str | None, as_json: bool) -> int:
    from penstock.ports.records import Status, Stop

    async with opened_journal(tenant) as place:
        journal = place.journal
        found = await find_run(journal, place.tenant, run)
        row = await journal.get_run(place.tenant, found)
        if row is not None and row.status is Status.ENDED and row.code != "continued":
            raise UsageError(f"run {found} has ended already, as {row.outcome}")
        sealed = await journal.stop_run(place.tenant, found, Stop(how), actor, reason)
    if as_json:
        print_json({"run": found, "stop": how, **as_json_of(sealed)})
    else:
        print_sealed(f"{how} of run {found}", sealed)
    return ExitCode.OK if sealed.sealed else ExitCode.FAILED


async def _resume(run: str, actor: str, tenant: str | None, as_json: bool) -> int:
    async with opened_journal(tenant) as place:
        found = await find_run(place.journal, place.tenant, run)
        resumed = await place.journal.resume_run(place.tenant, found, actor)
    if not resumed:
        raise UsageError(f"run {found} is not paused", hint="a cancel or kill stays; see `penstock runs show`")
    if as_json:
        print_json({"run": found, "resumed": True})
    else:
        say(f"resumed run {found}")
    return ExitCode.OK


async def _release(run: str, to: str | None, actor: str, tenant: str | None, as_json: bool) -> int:
    async with opened_journal(tenant) as place:
        found = await find_run(place.journal, place.tenant, run)
        released = await place.journal.release_quarantine(place.tenant, found, to, actor)
    if not released:
        raise UsageError(f"run {found} is not quarantined", hint="see `penstock runs ls --status quarantined`")
    if as_json:
        print_json({"run": found, "released": True, "release": to})
    else:
        say(f"released run {found}")
        note("a worker that offers its agent goes on with it")
    return ExitCode.OK
