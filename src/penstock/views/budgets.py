"""Budgets above the task, for people: how their accounts stand, and what one would have stopped."""

from dataclasses import dataclass, field

from penstock.kernel.errors import BudgetInvalid
from penstock.ports.budgets import AGENT, EACH, OTHER, Account, Budget, period_at
from penstock.ports.journal import Journal
from penstock.ports.usage import DIMENSIONS, HourRow

PAGE = 1_000
ROWS_MAX = 200_000
"""Rows of sums that a preview reads; beyond it the answer is partial."""
SHOWN_MAX = 1_000
"""Accounts that a preview names: those with most beyond the limit."""


@dataclass(slots=True)
class Stopped:
    """An account of a preview: what was used, and what of it a budget would have refused."""

    who: dict[str, str]
    since: int
    until: int
    nano: int = 0
    tokens: int = 0
    calls: int = 0
    runs: int = 0
    over_nano: int = 0
    over_tokens: int = 0
    over_calls: int = 0
    over_runs: int = 0
    first_over_at: int = 0  # the hour in which it would have begun to refuse; 0 = never


@dataclass(slots=True)
class Preview:
    """What a budget would have stopped. ``partial``: there was more to read than is read."""

    since: int
    until: int
    accounts: int = 0
    stopped: list[Stopped] = field(default_factory=list)
    over_nano: int = 0
    over_runs: int = 0
    partial: bool = False


def used_percent(account: Account, budget: Budget) -> float:
    """How much of the limit that is used up furthest is spent."""
    return max(
        (100 * used / limit for used, limit in zip(account.used, budget.limits, strict=True) if limit), default=0.0
    )


async def current(journal: Journal, budget: Budget, limit: int = 100, after: int = 0) -> list[Account]:
    """Accounts of a budget whose period is not over, the newest first."""
    now = await journal.now()
    return await journal.budgets.accounts(budget.tenant, budget.name, limit, since=now, after=after)


async def preview(journal: Journal, budget: Budget, since: int, until: int) -> Preview:
    """What a budget would have stopped between two times, by the sums of runs that ended then.

    Sums are by the hour, so of the hour in which the limit is reached that part is counted as over which is; its runs
    count as stopped from the next hour on. A period that began before ``since`` counts from ``since``.

    Raises:
        BudgetInvalid: it is of each run, of which the sums know nothing.
    """
    if budget.period == "run":
        raise BudgetInvalid("what a budget of each run would have stopped is not known from sums by the hour")
    where = {name: value for name, value in budget.match.items() if value != EACH and name in DIMENSIONS}
    accounts: dict[tuple[tuple[str, ...], int], Stopped] = {}
    found = Preview(since, until)
    after = None
    read = 0
    while True:
        rows = await journal.usage.hours(budget.tenant, since, until, where, after, PAGE)
        for row in rows:
            _count(accounts, budget, row)
        read += len(rows)
        if len(rows) < PAGE:
            break
        if read >= ROWS_MAX:
            found.partial = True
            break
        after = rows[-1].hour, rows[-1].slot
    found.accounts = len(accounts)
    stopped = [account for account in accounts.values() if account.first_over_at]
    found.over_nano = sum(account.over_nano for account in stopped)
    found.over_runs = sum(account.over_runs for account in stopped)
    found.stopped = sorted(stopped, key=lambda account: -account.over_nano)[:SHOWN_MAX]
    return found


def _count(accounts: dict[tuple[tuple[str, ...], int], Stopped], budget: Budget, row: HourRow) -> None:
    known = dict(zip(DIMENSIONS, row.values, strict=True))
    tags = row.tags | {name: value for name, value in known.items() if name not in (AGENT, "model", "release", "kind")}
    agent = known[AGENT]
    if not budget.covers(agent, tags):
        return
    who = budget.who(agent, tags, "")
    begin, end = period_at(budget.period, budget.timezone, row.hour)
    account = accounts.get((who, begin))
    if account is None:
        if len(accounts) >= ROWS_MAX:
            who = (OTHER,) * len(who)
        account = accounts.setdefault((who, begin), Stopped(dict(zip(budget.each, who, strict=True)), begin, end))
    was_over = account.first_over_at != 0 and account.first_over_at < row.hour
    account.runs += row.runs
    account.over_runs += row.runs if was_over else 0
    account.nano += row.nano
    account.tokens += row.tokens_in + row.tokens_out
    account.calls += row.model_calls
    over = [
        max(0, used - limit) if limit else 0
        for used, limit in zip((account.nano, account.tokens, account.calls), budget.limits, strict=True)
    ]
    if not any(over):
        return
    account.first_over_at = account.first_over_at or row.hour
    if was_over:  # everything from then on, whichever limit it was
        account.over_nano += row.nano
        account.over_tokens += row.tokens_in + row.tokens_out
        account.over_calls += row.model_calls
    else:
        account.over_nano, account.over_tokens, account.over_calls = max(account.over_nano, over[0]), over[1], over[2]
