"""``penstock cache show``."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, note, print_json, say

if TYPE_CHECKING:
    from penstock.ports.cache import Count
    from penstock.views.cache import CacheReport


def show(
    days: Annotated[int, typer.Option(help="The last so many days.", min=1, max=92)] = 7,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Show how often the cache served, what that saved, and what providers read of prompts from caches of their own."""
    return execute(_show(days, tenant, as_json))


async def _show(days: int, tenant: str | None, as_json: bool) -> int:
    from penstock.views.cache import DAY, read_cache

    async with opened_journal(tenant) as place:
        now = await place.journal.now()
        report = await read_cache(place.journal, place.tenant, now - days * DAY)
    if as_json:
        print_json(_document(report))
    elif report.rows:
        _print(report)
    else:
        note("nothing was counted in that time")
    return ExitCode.OK


def _document(report: "CacheReport") -> dict[str, Any]:
    return {
        "since": report.since,
        "until": report.until,
        "entries": report.held.entries,
        "bytes": report.held.bytes,
        "rows": [{"gate": row.gate, "agent": row.agent, "name": row.name, **_figures(row)} for row in report.rows],
        "left_out": report.left_out,
        "total": _figures(report.total),
    }


def _figures(count: "Count") -> dict[str, Any]:
    from penstock.ports.cache import FIGURES
    from penstock.views.cache import hit_rate, prompt_cache_rate

    known = dataclasses.asdict(count)
    return {
        **{figure: known[figure] for figure in FIGURES},
        "hit_rate": hit_rate(count),
        "prompt_cache_rate": prompt_cache_rate(count),
    }


def _print(report: "CacheReport") -> None:
    table = [(row.agent, row.name, *_cells(row)) for row in report.rows]
    table.append(("(all)", "", *_cells(report.total)))
    head = ("AGENT", "MODEL OR TOOL", "SERVED", "MADE", "HIT RATE", "SAVED", "PROMPTS READ FROM PROVIDER'S CACHE")
    say(columns(head, table))
    held = report.held
    note(f"{held.entries:,} answer{' is' if held.entries == 1 else 's are'} kept, {held.bytes:,} bytes")
    if report.left_out:
        note(f"{report.left_out:,} further rows are not shown; --json shows no more of them")


def _cells(count: "Count") -> tuple[str, ...]:
    from penstock.kernel.money import show_usd
    from penstock.views.cache import hit_rate, prompt_cache_rate

    rate, prompts = hit_rate(count), prompt_cache_rate(count)
    return (
        f"{count.hits:,}",
        f"{count.misses:,}",
        "-" if rate is None else f"{rate:.1%}",
        show_usd(count.saved_nano) if count.saved_nano else "-",
        "-" if prompts is None else f"{prompts:.1%}",
    )
