"""``penstock runs show``."""

from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, find_run, opened_record
from penstock.cli.options import ArchiveFile, AsJson, RunId, Tenant
from penstock.cli.output import note, print_json
from penstock.cli.scopes import held_by


def show(
    run: RunId,
    full: Annotated[bool, typer.Option("--full", help="Inputs and outputs whole, and every change of hands.")] = False,
    children: Annotated[bool, typer.Option(help="Draw the runs that it delegated to, too.")] = True,
    archive: ArchiveFile = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Draw a run's span tree: goal, reasoning, calls with what they cost and what the rules said, output."""
    return execute(_show(run, full, children, archive, tenant, as_json))


async def _show(run: str, full: bool, children: bool, archive: Path | None, tenant: str | None, as_json: bool) -> int:
    from penstock.views.trace import read_trace

    held = ""
    async with opened_record(archive, tenant) as place:
        journal = place.journal
        found = await find_run(journal, place.tenant, run)
        trace = await read_trace(journal, place.tenant, found, children=children)
        row = await journal.get_run(place.tenant, found) if archive is None else None
        if row is not None:
            held = held_by(row, await journal.controls.wide(place.tenant))
    if as_json:
        print_json(trace)
    else:
        from penstock.cli.drawing import console, draw

        console().print(draw(trace, full=full))
        if held:
            note(f"held by a {held}")
    return ExitCode.OK
