"""What of a tenant's budgets and breakers is seen at a glance: accounts near their end, circuits that are open.

Breakers are read again when one has changed. Accounts are read again after `LOOK_SECONDS`, or after `SHARE` times as
long as reading them took when that is longer.
"""

from collections import OrderedDict
from dataclasses import dataclass

from penstock.kernel.clock import Clock
from penstock.ports.breakers import Breaker, Circuit, View
from penstock.ports.budgets import LIST_MAX, Account, Budget
from penstock.ports.journal import Journal
from penstock.views.budgets import current, used_percent

LOOK_SECONDS = 5.0
SHARE = 20
BUDGETS_MAX = 50
"""Budgets, by name, whose accounts are looked at; of each the newest `LIST_MAX`."""
NEAR_PERCENT = 90.0
TENANTS_MAX = 1_000


@dataclass(slots=True, frozen=True)
class Near:
    """Accounts that are over `NEAR_PERCENT`: how many, and the fullest of them."""

    count: int
    budget: Budget
    account: Account
    percent: float

    @property
    def words(self) -> str:
        """Such as ``budget 'inbox' (customer acme) is at 91 %``."""
        who = ", ".join(f"{name} {value or '(none)'}" for name, value in self.account.who.items())
        stands = "is at its end" if self.percent >= 100 else f"is at {int(self.percent)} %"
        words = f"budget {self.budget.name!r}" + (f" ({who})" if who else "") + f" {stands}"
        if self.count == 1:
            return words
        return f"{self.count:,} accounts of budgets are over {NEAR_PERCENT:.0f} %: {words}"


@dataclass(slots=True, frozen=True)
class Shut:
    """Circuits that are not closed: how many, and the one that is open for longest."""

    count: int
    breaker: Breaker
    circuit: Circuit
    now: int

    @property
    def words(self) -> str:
        """Such as ``breaker 'spending' of customer acme is open``."""
        scope = self.breaker.scope.replace("_", " ")
        state = self.circuit.state(self.now).replace("_", "-")
        words = f"breaker {self.breaker.name!r} of {scope} {self.circuit.value} is {state}"
        return words if self.count == 1 else f"{self.count:,} circuit breakers are open: {words}"


@dataclass(slots=True, frozen=True)
class Limits:
    """``day_nano``: what the whole tenant may spend in a day (UTC), nano-dollars; 0 = there is no such budget."""

    day_nano: int = 0
    near: Near | None = None


class SpendingLimits:
    """The limits of all tenants, read for whoever asks."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._view: View | None = None
        self._kept: OrderedDict[str, tuple[Limits, int]] = OrderedDict()

    async def shut(self, tenant: str, now: int) -> Shut | None:
        """The tenant's circuits that are open or half-open; ``now``: the store's clock."""
        view = self._view
        if view is None or view.version != await self._journal.breakers.version():
            view = self._view = await self._journal.breakers.view()
        breakers = {item.name: item for item in view.breakers if item.tenant == tenant}
        found = [item for item in view.circuits if item.tenant == tenant and item.is_open and item.name in breakers]
        if not found:
            return None
        first = min(found, key=lambda item: (item.opened_at, item.name, item.value))
        return Shut(len(found), breakers[first.name], first, now)

    async def limits(self, tenant: str) -> Limits:
        """The day's budget of the tenant, and accounts near their end."""
        known = self._kept.get(tenant)
        begun = self._clock.boot_ns()
        if known is not None and begun < known[1]:
            return known[0]
        budgets = await self._journal.budgets.budgets(tenant)
        day = [item.nano for item in budgets if not item.match and item.period == "day" and item.timezone == "UTC"]
        limits = Limits(min(filter(None, day), default=0), await self._near(budgets))
        now = self._clock.boot_ns()
        self._kept[tenant] = limits, now + max(int(LOOK_SECONDS * 1e9), SHARE * (now - begun))
        self._kept.move_to_end(tenant)
        while len(self._kept) > TENANTS_MAX:
            self._kept.popitem(last=False)
        return limits

    async def _near(self, budgets: list[Budget]) -> Near | None:
        found: list[tuple[float, Budget, Account]] = []
        for budget in [item for item in budgets if item.period != "run"][:BUDGETS_MAX]:
            for account in await current(self._journal, budget, LIST_MAX):
                percent = used_percent(account, budget)
                if percent >= NEAR_PERCENT:
                    found.append((percent, budget, account))
        if not found:
            return None
        percent, budget, account = max(found, key=lambda item: item[0])
        return Near(len(found), budget, account, percent)
