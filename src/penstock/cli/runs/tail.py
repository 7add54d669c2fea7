"""``penstock runs tail``."""

import json
import sys
from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened_journal
from penstock.cli.options import RunId, Tenant
from penstock.cli.output import note, plain, say


def tail(
    run: RunId,
    follow: Annotated[bool, typer.Option(help="Wait for more until the run has ended.")] = True,
    tenant: Tenant = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line and event.")] = False,
) -> int:
    """Print a run's events as they are written, until it has ended or was quarantined."""
    return execute(_tail(run, follow, tenant, as_json))


async def _tail(run: str, wait: bool, tenant: str | None, as_json: bool) -> int:
    from penstock.cli.following import follow, follow_line
    from penstock.events import RunEnded, kind_of

    last = None
    async with opened_journal(tenant) as place:
        found = await find_run(place.journal, place.tenant, run)
        async for event in follow(place.journal, place.tenant, found, wait=wait):
            last = event
            if as_json:
                sys.stdout.write(json.dumps({"kind": kind_of(event), **plain(event)}) + "\n")
                sys.stdout.flush()
            else:
                say(follow_line(event))
    if wait and not as_json and not isinstance(last, RunEnded):
        note(f"the run was set aside for a person: penstock runs show {found}")
    return ExitCode.OK
