"""Budgets above the task: checked, set and raised."""

import re
from dataclasses import replace
from zoneinfo import ZoneInfo

from penstock.kernel.errors import BudgetInvalid, BudgetUnknown
from penstock.ports.budgets import AGENT, AT_ENDS, DIMENSIONS_MAX, PERIODS, Budget, Budgets

NAME_MAX = 100
VALUE_MAX = 300
DIMENSION = re.compile(rf"{AGENT}|key|customer|feature|task_type|user|kind|x_[a-z0-9_]{{1,30}}")
"""What calls can be told apart by: the tags that `penstock.runs.submit` takes, and the one of the gateway's keys. A
budget over any other covers nothing, ever, and nobody would see that."""
LIMIT_MAX = 10**18
"""A thousand million dollars in nano-dollars: sums of accounts stay within 64 bits."""


def check_budget(budget: Budget) -> None:
    """Refuse a budget that cannot be kept.

    Raises:
        BudgetInvalid: says what of it.
    """
    if not _is_text(budget.name, NAME_MAX) or "/" in budget.name:
        raise BudgetInvalid(
            f"{budget.name[:NAME_MAX]!r} is no name of a budget", hint=f"1 to {NAME_MAX} printable characters, no /"
        )
    if len(budget.match) > DIMENSIONS_MAX:
        raise BudgetInvalid(f"it is counted by {len(budget.match)} dimensions", hint=f"name at most {DIMENSIONS_MAX}")
    for name, value in budget.match.items():
        if not _is_text(name, NAME_MAX) or not _is_text(value or "x", VALUE_MAX):
            raise BudgetInvalid(
                f"{name[:NAME_MAX]!r}={value[:NAME_MAX]!r} matches nothing",
                hint=f"{AGENT}, or the name of a tag, and its value, or * for each value",
            )
        if not DIMENSION.fullmatch(name):
            hint = f"{AGENT}, key, customer, feature, task_type, user, kind, or a tag of your own such as x_team"
            raise BudgetInvalid(f"no call has a {name[:NAME_MAX]!r}", hint=hint)
    if budget.period not in PERIODS:
        raise BudgetInvalid(f"there is no period {budget.period[:50]!r}", hint=f"one of {', '.join(PERIODS)}")
    try:
        ZoneInfo(budget.timezone)
    except (OSError, ValueError, KeyError) as error:
        hint = "use an IANA name, for example Europe/Berlin or UTC"
        raise BudgetInvalid(f"there is no time zone {budget.timezone[:100]!r}", hint=hint) from error
    if budget.at_end not in AT_ENDS:
        raise BudgetInvalid(f"a budget's end is to {budget.at_end[:50]!r}", hint="stop or park")
    if any(not 0 <= limit <= LIMIT_MAX for limit in budget.limits):
        raise BudgetInvalid("a limit is negative or too large", hint=f"at most {LIMIT_MAX:,}")
    if not any(budget.limits):
        raise BudgetInvalid("it limits nothing", hint="limit dollars, tokens or calls")


def _is_text(text: str, most: int) -> bool:
    return 0 < len(text) <= most and text.isprintable()


async def set_budget(budgets: Budgets, budget: Budget, actor: str) -> Budget:
    """Make or change a budget.

    Raises:
        BudgetInvalid: it cannot be kept.
        InputInvalid: there are too many.
    """
    check_budget(budget)
    return await budgets.put(budget, actor)


async def find_budget(budgets: Budgets, tenant: str, name: str) -> Budget:
    """The tenant's budget of that name.

    Raises:
        BudgetUnknown: there is none.
    """
    known = {budget.name: budget for budget in await budgets.budgets(tenant)}
    if name not in known:
        raise BudgetUnknown(f"there is no budget {name[:NAME_MAX]!r}")
    return known[name]


async def raise_budget(
    budgets: Budgets, tenant: str, name: str, actor: str, *, nano: int = 0, tokens: int = 0, calls: int = 0
) -> Budget:
    """Add to the limits that a budget has; runs that wait for it go on.

    Raises:
        BudgetUnknown: there is none of that name.
        BudgetInvalid: it has no limit of a kind that is to be raised.
    """
    known = await find_budget(budgets, tenant, name)
    if not (nano or tokens or calls):
        raise BudgetInvalid("nothing is added", hint="say how much, in dollars, tokens or calls")
    raised = []
    for kind, limit, more in zip(("dollars", "tokens", "calls"), known.limits, (nano, tokens, calls), strict=True):
        if more and not limit:
            raise BudgetInvalid(f"the budget {name!r} does not limit {kind}", hint="set it anew with such a limit")
        raised.append(limit + more)
    return await set_budget(budgets, replace(known, nano=raised[0], tokens=raised[1], calls=raised[2]), actor)
