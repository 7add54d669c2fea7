"""``penstock runs stranded``."""

from typing import Annotated

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, note, plain, print_json, say
from penstock.cli.text import safe
from penstock.kernel.errors import InputInvalid

LIMIT_MAX = 10_000
RELEASES_EXPLAINED, WORKERS_NAMED = 20, 3
"""Releases of which it is said why workers do not run them, and how many of those workers are named."""


def stranded(
    limit: Annotated[int, typer.Option(help=f"How many, at most {LIMIT_MAX}.")] = 100,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """List runs that go on nowhere: no live worker of their environment offers the release they began with."""
    if not 1 <= limit <= LIMIT_MAX:
        raise InputInvalid(f"--limit is {limit}", hint=f"give a number from 1 to {LIMIT_MAX}")
    return execute(_stranded(limit, tenant, as_json))


async def _stranded(limit: int, tenant: str | None, as_json: bool) -> int:
    from penstock.runs.releases import stranded as find
    from penstock.views.lines import duration

    async with opened_journal(tenant) as place:
        found = await find(place.journal, place.tenant, limit)
        now = await place.journal.now()
        released = list(dict.fromkeys(item.release for item in found.runs))[:RELEASES_EXPLAINED]
        refusals = [await place.journal.rollouts.refusals(release, WORKERS_NAMED) for release in released]
    why = [refusal for group in refusals for refusal in group]
    if as_json:
        print_json({**plain(found), "why": plain(why)})
        return ExitCode.OK
    if found.runs:
        table = [
            (str(item.run), item.agent, item.release, item.status, f"{duration(max(0, now - item.since))}")
            for item in found.runs
        ]
        say(columns(("ID", "AGENT", "RELEASE", "STATE", "SINCE"), table, drop=("STATE",)))
        if found.more:
            note(f"there are more than {limit}: --limit shows them")
        for refusal in why:
            note(safe(f"{refusal.worker} does not run {refusal.release[:12]}: {refusal.why}"))
        note("start a worker with code of that release, in the run's environment; or let a run go on under other code:")
        note("  penstock runs adopt ID --app MODULE   (cancel: penstock runs cancel ID)")
    else:
        note("no stranded runs")
    if found.silent:
        note(f"workers of an older release do not say what they offer, and may take these: {', '.join(found.silent)}")
    return ExitCode.OK
