"""``penstock costs by``."""

import re
from typing import TYPE_CHECKING, Annotated, cast

import typer

from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import AsJson, Tenant
from penstock.cli.output import columns, note, print_json, say
from penstock.kernel.errors import UsageError
from penstock.kernel.money import show_usd

if TYPE_CHECKING:
    from penstock.ports.usage import By
    from penstock.views.costs import Costs, Spending

_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
_LENGTH = re.compile(r"(\d{1,6})([hdw])", re.ASCII)
Only = Annotated[list[str] | None, typer.Option("--only", metavar="NAME=VALUE", help="Only what was spent with it.")]


def by(
    dimension: Annotated[str, typer.Argument(metavar="BY", help="customer, feature, agent, task_type, model, release")],
    since: Annotated[str, typer.Option(help="How far back: hours, days or weeks, such as 12h, 7d, 4w.")] = "7d",
    only: Only = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values instead of text.")] = False,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Show what runs have spent: those that ended by the hour of their end, those that go on until now.

    BEFORE is the stretch of the same length before. Money that was charged at the maximum, because the real figure was
    lost, is marked by "≤".
    """
    if as_csv and as_json:
        raise UsageError("--csv and --json contradict each other")
    return execute(_by(dimension, _seconds(since), _filter(only or []), as_csv, as_json, tenant))


async def _by(
    dimension: str, seconds: int, where: dict[str, str], as_csv: bool, as_json: bool, tenant: str | None
) -> int:
    from penstock.views.costs import costs_csv, is_dimension, read_costs

    for name in (dimension, *where):
        if not is_dimension(name):
            raise UsageError(
                f"costs cannot be told by {name!r}", hint="customer, feature, agent, task_type, model, release"
            )
    async with opened(tenant) as platform:
        now = await platform.journal.now()
        since = now - seconds * 1_000_000
        costs = await read_costs(platform.journal, platform.tenant, cast("By", dimension), since=since, where=where)
    if as_json:
        print_json(costs)
    elif as_csv:
        say(costs_csv(costs).rstrip("\r\n"))
    elif costs.rows:
        say(_table(costs))
    else:
        note("nothing was spent in that time")
    if costs.partial:
        note("too many runs go on to add them all up: what the oldest have spent so far is left out")
    return ExitCode.OK


def _table(costs: "Costs") -> str:
    rows = [
        (
            row.value or "-",
            _money(row.used),
            f"{row.runs:,}",
            f"{row.model_calls:,}",
            f"{row.used.tokens_in:,}+{row.used.tokens_out:,}",
            show_usd(row.before_nano),
            str(row.dearest or "-"),
        )
        for row in costs.rows
    ]
    if costs.others.nano:
        rows.append(("(others)", _money(costs.others), "", "", "", "", ""))
    rows.append(("(all)", _money(costs.total), f"{costs.total_runs:,}", "", "", "", ""))
    head = (costs.by.upper(), "SPENT", "RUNS", "CALLS", "TOKENS", "BEFORE", "DEAREST")
    return columns(head, rows, drop=("DEAREST", "TOKENS", "CALLS"))


def _money(spent: "Spending") -> str:
    return ("≤" if spent.nano_at_maximum else "") + show_usd(spent.nano)


def _seconds(text: str) -> int:
    found = _LENGTH.fullmatch(text)
    if found is None or int(found[1]) == 0 or int(found[1]) * _UNITS[found[2]] > 3660 * 86_400:
        raise UsageError(
            f"--since is {text!r}", hint="give hours, days or weeks, such as 12h, 7d, 4w; ten years at most"
        )
    return int(found[1]) * _UNITS[found[2]]


def _filter(texts: list[str]) -> dict[str, str]:
    where = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--only is {text!r}", hint="give a name and a value, such as agent=support-desk")
        where[name] = value
    return where
