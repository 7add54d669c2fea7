"""``penstock costs by``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.costs.stretch import DIMENSIONS, Only, Since, only_of, seconds
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened_journal
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, note, print_json, say
from penstock.kernel.errors import UsageError
from penstock.kernel.money import show_usd

if TYPE_CHECKING:
    from penstock.views.costs import Costs, Spending


def by(
    dimension: Annotated[str, typer.Argument(metavar="BY", help=f"{DIMENSIONS}; several with commas.")],
    since: Since = "7d",
    only: Only = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values instead of text.")] = False,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Show what runs have spent: those that ended by the hour of their end, those that go on until now.

    KIND tells what was paid for: work, retry, fallback, hedge, failed, cancelled, lost, cached, judge, shadow,
    embedding, tool. Tags of your own are counted by when PENSTOCK_COSTS_TAGS names them.

    BEFORE is the stretch of the same length before. Money that was charged at the maximum, because the real figure was
    lost, is marked by "≤".
    """
    if as_csv and as_json:
        raise UsageError("--csv and --json contradict each other")
    return execute(_by(dimension.split(","), seconds(since), only_of(only or []), as_csv, as_json, tenant))


async def _by(
    names: list[str], length: int, where: dict[str, str], as_csv: bool, as_json: bool, tenant: str | None
) -> int:
    from penstock.ports.usage import bounded_by, bounded_where
    from penstock.views.costs import costs_csv, read_costs

    try:
        bounded_by(names)
        bounded_where(where)
    except ValueError as error:
        raise UsageError(str(error), hint=f"{DIMENSIONS}, or up to four of them with commas") from error
    async with opened_journal(tenant) as place:
        now = await place.journal.now()
        since = now - length * 1_000_000
        costs = await read_costs(place.journal, place.tenant, names, since=since, where=where)
    if as_json:
        print_json(costs)
    elif as_csv:
        say(costs_csv(costs).rstrip("\r\n"))
    elif costs.rows:
        say(_table(costs))
    else:
        note("nothing was spent in that time")
    if costs.partial:
        note("this is not all: runs that go on have spent more, which cannot be told by this yet")
    return ExitCode.OK


def _table(costs: "Costs") -> str:
    rows = [
        (
            *(value or "-" for value in row.values),
            _money(row.used),
            f"{row.runs:,}",
            f"{row.model_calls:,}",
            f"{row.used.tokens_in:,}+{row.used.tokens_out:,}",
            show_usd(row.before_nano),
            str(row.dearest or "-"),
        )
        for row in costs.rows
    ]
    rest = [""] * (len(costs.by) - 1)
    if costs.others.nano:
        rows.append(("(others)", *rest, _money(costs.others), "", "", "", "", ""))
    rows.append(("(all)", *rest, _money(costs.total), f"{costs.total_runs:,}", "", "", "", ""))
    head = (*(name.upper() for name in costs.by), "SPENT", "RUNS", "CALLS", "TOKENS", "BEFORE", "DEAREST")
    return columns(head, rows, drop=("DEAREST", "TOKENS", "CALLS"))


def _money(spent: "Spending") -> str:
    return ("≤" if spent.nano_at_maximum else "") + show_usd(spent.nano)
