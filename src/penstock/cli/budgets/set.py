"""``penstock budgets set``, ``raise`` and ``remove``."""

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.budgets.options import (
    BudgetName,
    Calls,
    ForTenant,
    Tokens,
    Usd,
    as_plain,
    limit_words,
    match_words,
    one_of,
    parsed_match,
)
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import Actor, AsJson, actor_or_account
from penstock.cli.output import note, print_json
from penstock.cli.text import safe

if TYPE_CHECKING:
    from penstock.ports.budgets import Budget


def set_budget(  # noqa: PLR0917 - each parameter is an option of the command
    name: BudgetName,
    usd: Usd = "0",
    tokens: Tokens = 0,
    calls: Calls = 0,
    match: Annotated[
        list[str] | None,
        typer.Option(
            "--match",
            metavar="NAME=VALUE",
            help="Only calls of that agent=, customer=, feature=, task_type=, key= or own tag; * = an account of each"
            " value; several: repeat it.",
        ),
    ] = None,
    period: Annotated[str, typer.Option("--period", help="run, hour, day, month or total.")] = "month",
    timezone: Annotated[str, typer.Option("--timezone", help="Of the period, for example Europe/Berlin.")] = "UTC",
    at_end: Annotated[
        str, typer.Option("--at-end", help="stop: runs end as exhausted; park: they wait until it is raised.")
    ] = "stop",
    tenant: ForTenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Set a budget that all workers share, or change it; all of it is replaced.

    A call is made only when the most it can cost fits in every budget that covers it. What was spent stays counted,
    unless match, period or time zone change: then it begins anew.
    """
    from penstock.kernel.money import nano_usd
    from penstock.ports.budgets import AT_ENDS, PERIODS, Budget

    budget = Budget(
        tenant or "",
        name,
        parsed_match(match or []),
        one_of(period, PERIODS, "period"),
        timezone,
        nano_usd(usd),
        tokens,
        calls,
        one_of(at_end, AT_ENDS, "--at-end"),
    )
    return execute(_set(budget, actor_or_account(actor), as_json))


async def _set(budget: "Budget", actor: str, as_json: bool) -> int:
    from dataclasses import replace

    from penstock.runs import budgets

    async with opened() as platform:
        owner = budget.tenant or platform.services.settings.tenant
        made = await budgets.set_budget(platform.journal.budgets, replace(budget, tenant=owner), actor)
    return _told(made, as_json)


def _told(budget: "Budget", as_json: bool) -> int:
    if as_json:
        print_json(as_plain(budget, []))
    else:
        covers = match_words(dict(budget.match))
        note(safe(f"{budget.name}: {covers}; {limit_words(budget)}; in force on every worker within 2 s"))
    return ExitCode.OK


def raise_budget(
    name: BudgetName,
    usd: Usd = "0",
    tokens: Tokens = 0,
    calls: Calls = 0,
    tenant: ForTenant = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> int:
    """Add to the limits that a budget has. Runs that wait for it go on."""
    from penstock.kernel.money import nano_usd

    return execute(_raise(name, (nano_usd(usd), tokens, calls), tenant, actor_or_account(actor), as_json))


async def _raise(name: str, more: tuple[int, int, int], tenant: str | None, actor: str, as_json: bool) -> int:
    from penstock.runs import budgets

    async with opened() as platform:
        owner = tenant or platform.services.settings.tenant
        nano, tokens, calls = more
        raised = await budgets.raise_budget(
            platform.journal.budgets, owner, name, actor, nano=nano, tokens=tokens, calls=calls
        )
    return _told(raised, as_json)


def remove(name: BudgetName, tenant: ForTenant = None, as_json: AsJson = False) -> int:
    """Lift a budget, and forget what was spent of it. Runs that wait for it go on."""
    return execute(_remove(name, tenant, as_json))


async def _remove(name: str, tenant: str | None, as_json: bool) -> int:
    from penstock.kernel.errors import BudgetUnknown

    async with opened() as platform:
        owner = tenant or platform.services.settings.tenant
        if not await platform.journal.budgets.remove(owner, name):
            raise BudgetUnknown(f"there is no budget {name[:100]!r}")
    if as_json:
        print_json({"tenant": owner, "name": name, "removed": True})
    else:
        note(safe(f"{name}: nothing is limited by it any more"))
    return ExitCode.OK
