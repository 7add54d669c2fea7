"""``penstock budgets ls`` and ``penstock budgets show``."""

from typing import Annotated

import typer

from penstock.cli.budgets.options import (
    BudgetName,
    ForTenant,
    as_plain,
    limit_words,
    match_words,
    used_words,
)
from penstock.cli.exits import ExitCode
from penstock.cli.opening import execute, opened
from penstock.cli.options import AsJson
from penstock.cli.output import columns, note, print_json, say
from penstock.cli.text import safe

NEWEST = 3
"""Accounts of a budget that the list shows."""


def ls(tenant: ForTenant = None, as_json: AsJson = False) -> int:
    """List the budgets: what they cover, what they allow, and how their newest accounts stand."""
    return execute(_ls(tenant, as_json))


async def _ls(tenant: str | None, as_json: bool) -> int:
    from penstock.views.budgets import current

    async with opened() as platform:
        owner = tenant or platform.services.settings.tenant
        found = []
        for budget in await platform.journal.budgets.budgets(owner):
            accounts = await current(platform.journal, budget, NEWEST + 1)
            found.append((budget, accounts))
    if as_json:
        print_json([as_plain(budget, accounts[:NEWEST]) for budget, accounts in found])
    elif found:
        table = []
        for budget, accounts in found:
            stands = [used_words(account, budget) for account in accounts[:1]] or ["nothing spent"]
            more = len(accounts) - 1
            count = "" if more < 1 else f"; {NEWEST} or more accounts" if more >= NEWEST else f"; {more + 1} accounts"
            table.append(
                (safe(budget.name), safe(match_words(dict(budget.match))), limit_words(budget), stands[0] + count)
            )
        say(columns(("NAME", "COVERS", "ALLOWS", "USED"), table, drop=("COVERS",)))
    else:
        note("no budgets; `penstock budgets set monthly --usd 500` sets one")
    return ExitCode.OK


def show(
    name: BudgetName,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Accounts to show, at most.")] = 20,
    over: Annotated[bool, typer.Option("--over", help="Accounts whose period is over, too.")] = False,
    tenant: ForTenant = None,
    as_json: AsJson = False,
) -> int:
    """Show a budget and its accounts, the newest first."""
    return execute(_show(name, limit, over, tenant, as_json))


async def _show(name: str, limit: int, over: bool, tenant: str | None, as_json: bool) -> int:
    from datetime import UTC, datetime

    from penstock.runs.budgets import find_budget
    from penstock.views.budgets import current, used_percent

    async with opened() as platform:
        budgets = platform.journal.budgets
        budget = await find_budget(budgets, tenant or platform.services.settings.tenant, name)
        if over:
            accounts = await budgets.accounts(budget.tenant, name, limit)
        else:
            accounts = await current(platform.journal, budget, limit)
    if as_json:
        print_json(as_plain(budget, accounts))
        return ExitCode.OK
    zone = "" if budget.timezone == "UTC" else f" ({budget.timezone})"
    covers = match_words(dict(budget.match))
    say(safe(f"{budget.name}: {covers}; {limit_words(budget)}{zone}; at its end: {budget.at_end}"))
    table = [
        (
            safe(", ".join(f"{key}={value}" for key, value in sorted(account.who.items())) or "all"),
            f"{datetime.fromtimestamp(account.until / 1e6, UTC):%Y-%m-%d %H:%M}" if account.until else "-",
            used_words(account, budget),
            f"{used_percent(account, budget):.0f} %",
        )
        for account in accounts
    ]
    if table:
        say(columns(("ACCOUNT", "UNTIL (UTC)", "USED", "%"), table, drop=("UNTIL (UTC)",)))
    else:
        note("nothing was spent")
    return ExitCode.OK
