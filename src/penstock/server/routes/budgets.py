"""Budgets above the task: setting them, how their accounts stand, and what one would have stopped."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from penstock.kernel.errors import BudgetUnknown, CursorInvalid, RequestInvalid
from penstock.ports.budgets import LEVELS, Account, Budget
from penstock.runs.budgets import NAME_MAX, check_budget, find_budget, set_budget
from penstock.server.access.caller import Caller, needs
from penstock.server.context import Here, Server
from penstock.server.schemas.base import Limit
from penstock.server.schemas.budgets import (
    BudgetAccount,
    BudgetAccountPage,
    BudgetPage,
    BudgetPreview,
    BudgetRemoved,
    BudgetSet,
    PreviewAccount,
    PreviewAsked,
    SharedBudget,
)
from penstock.views import budgets as views
from penstock.views.costs import DAY

STRETCH_MAX = 400 * DAY
ACCOUNTS_SHOWN = 20
"""Accounts that come with a budget in the list."""

router = APIRouter(prefix="/v1/budgets", tags=["budgets"])

Reader = Annotated[Caller, needs("costs:read")]
Setter = Annotated[Caller, needs("budgets:set")]
Name = Annotated[str, Path(min_length=1, max_length=NAME_MAX)]
Cursor = Annotated[str | None, Query(max_length=NAME_MAX)]


@router.get("")
async def budgets_list(
    server: Here, caller: Reader, cursor: Cursor = None, limit: Annotated[Limit, Query()] = 100
) -> BudgetPage:
    """The tenant's budgets by name, each with its newest accounts: what is spent, held and left."""
    known = [
        item for item in await server.journal.budgets.budgets(caller.tenant) if cursor is None or item.name > cursor
    ]
    page = known[:limit]
    items = [await _shown(server, budget) for budget in page]
    return BudgetPage(items=items, next=page[-1].name if len(known) > limit else None)


@router.post("/preview")
async def budgets_preview(server: Here, caller: Reader, body: PreviewAsked) -> BudgetPreview:
    """What a budget would have stopped, from the sums of what runs have spent. Nothing is set."""
    budget = _budget(caller.tenant, "preview", body)
    check_budget(budget)
    until = await server.journal.now() if body.until is None else body.until
    since = max(0, until - 7 * DAY) if body.since is None else body.since
    if not 0 < until - since <= STRETCH_MAX:
        raise RequestInvalid("the time that is asked about is empty, or longer than 400 days")
    found = await views.preview(server.journal, budget, since, until)
    return BudgetPreview(
        since=found.since,
        until=found.until,
        accounts=found.accounts,
        over_nano=found.over_nano,
        over_runs=found.over_runs,
        stopped=[PreviewAccount.model_validate(item, from_attributes=True) for item in found.stopped],
        partial=found.partial,
    )


@router.get("/{name}")
async def budgets_get(server: Here, caller: Reader, name: Name) -> SharedBudget:
    """One budget, with its newest accounts."""
    return await _shown(server, await find_budget(server.journal.budgets, caller.tenant, name))


@router.put("/{name}")
async def budgets_set(server: Here, caller: Setter, name: Name, body: BudgetSet) -> SharedBudget:
    """Make or change a budget; in force on every worker within two seconds. Runs that wait for it go on."""
    made = await set_budget(server.journal.budgets, _budget(caller.tenant, name, body), caller.actor)
    await server.actions.record(caller, "budget.set", name, body.model_dump())
    return await _shown(server, made)


@router.delete("/{name}")
async def budgets_remove(server: Here, caller: Setter, name: Name) -> BudgetRemoved:
    """Lift a budget and forget its accounts. Runs that wait for it go on."""
    if not await server.journal.budgets.remove(caller.tenant, name):
        raise BudgetUnknown(f"there is no budget {name!r}")
    await server.actions.record(caller, "budget.remove", name)
    return BudgetRemoved(name=name)


@router.get("/{name}/accounts")
async def budgets_accounts(
    server: Here,
    caller: Reader,
    name: Name,
    over: Annotated[bool, Query(description="those too whose period is over")] = False,
    cursor: Annotated[str | None, Query(max_length=20)] = None,
    limit: Annotated[Limit, Query()] = 100,
) -> BudgetAccountPage:
    """A budget's accounts, the newest first."""
    budget = await find_budget(server.journal.budgets, caller.tenant, name)
    if cursor is not None and not cursor.isdecimal():
        raise CursorInvalid("the cursor is none of this list")
    after = int(cursor or 0)
    if after >= 2**63:
        raise CursorInvalid("the cursor is none of this list")
    if over:
        found = await server.journal.budgets.accounts(caller.tenant, name, limit, after=after)
    else:
        found = await views.current(server.journal, budget, limit, after)
    more = str(found[-1].id) if len(found) == limit else None
    return BudgetAccountPage(items=[_account(budget, item) for item in found], next=more)


def _budget(tenant: str, name: str, body: BudgetSet) -> Budget:
    return Budget(tenant, name, body.match, body.period, body.timezone, body.nano, body.tokens, body.calls, body.at_end)


async def _shown(server: Server, budget: Budget) -> SharedBudget:
    found = await views.current(server.journal, budget, ACCOUNTS_SHOWN + 1)
    return SharedBudget(
        name=budget.name,
        match=dict(budget.match),
        period=budget.period,
        timezone=budget.timezone,
        nano=budget.nano,
        tokens=budget.tokens,
        calls=budget.calls,
        at_end=budget.at_end,
        thresholds=list(LEVELS),
        accounts=[_account(budget, item) for item in found[:ACCOUNTS_SHOWN]],
        more_accounts=len(found) > ACCOUNTS_SHOWN,
    )


def _account(budget: Budget, account: Account) -> BudgetAccount:
    left = [
        max(0, limit - used - held) if limit else None
        for limit, used, held in zip(budget.limits, account.used, account.held, strict=True)
    ]
    return BudgetAccount(
        id=account.id,
        who=account.who,
        since=account.since,
        until=account.until,
        nano=account.used[0],
        tokens=account.used[1],
        calls=account.used[2],
        held_nano=account.held[0],
        held_tokens=account.held[1],
        held_calls=account.held[2],
        left_nano=left[0],
        left_tokens=left[1],
        left_calls=left[2],
        used_percent=round(views.used_percent(account, budget), 2),
        threshold=account.told,
    )
