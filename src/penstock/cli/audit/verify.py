"""``penstock audit verify``."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened_record
from penstock.cli.options import ArchiveFile, AsJson, Tenant
from penstock.cli.output import print_json, say
from penstock.cli.text import plural, safe
from penstock.kernel.errors import ChainBroken, UsageError

BROKEN_SHOWN = 20


def verify(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="One run; without it all of the tenant's.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="The runs of all tenants.")] = False,
    payloads: Annotated[
        bool,
        typer.Option(help="Also check payloads against what their events committed to, and snapshots against them."),
    ] = True,
    archive: ArchiveFile = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Verify hash chains and payloads; name the first bad event of each run that does not hold.

    A chain shows that its events are as they were written, as long as its head is. Somebody who can rewrite a run with
    its row leaves a chain that holds: against that its head must be kept elsewhere.
    """
    if everything and (run is not None or tenant is not None):
        raise UsageError("--all already means every run of every tenant", hint="leave out the id and --tenant")
    return execute(_verify(run, everything, payloads, archive, tenant, as_json))


async def _verify(
    run: str | None, everything: bool, payloads: bool, archive: Path | None, tenant: str | None, as_json: bool
) -> int:
    from penstock.views import audit as view

    async with opened_record(archive, tenant) as place:
        journal = place.journal
        if everything:
            audit = await view.verify_everything(journal, payloads=payloads)
        elif run is not None:
            found = await find_run(journal, place.tenant, run)
            audit = await view.verify_run(journal, place.tenant, found, payloads=payloads)
        else:
            audit = await view.verify_tenant(journal, place.tenant, payloads=payloads)
    if as_json:
        from penstock.cli.output import plain

        print_json({"ok": audit.ok, **plain(audit)})
        return ExitCode.OK if audit.ok else ExitCode.CHAIN
    erased = f", {plural(audit.pruned, 'run')} archived or pruned" if audit.pruned else ""
    erased += f", {plural(audit.erased, 'payload')} erased with their subjects" if audit.erased else ""
    kept = f", {plural(audit.snapshots, 'snapshot')}" if audit.snapshots else ""
    kept += f", {plural(audit.actions, 'action')}" if audit.actions else ""
    checked = (
        f"{plural(audit.runs, 'run')}, {plural(audit.events, 'event')}, {plural(audit.payloads, 'payload')}"
        f"{kept}{erased}"
    )
    if audit.ok:
        say(f"verified: {checked}")
        return ExitCode.OK
    for broken in audit.broken[:BROKEN_SHOWN]:
        whose = f"agent {safe(broken.agent)}, " if broken.agent else ""
        say(f"broken: {safe(broken.words)} ({whose}tenant {safe(broken.tenant)})")
    if len(audit.broken) > BROKEN_SHOWN:
        say(f"and {len(audit.broken) - BROKEN_SHOWN} more (--json names all)")
    what = "record" if any(not broken.agent for broken in audit.broken) else "run"
    raise ChainBroken(
        f"{plural(len(audit.broken), what)} of {checked} {'does' if len(audit.broken) == 1 else 'do'} not hold"
    )
