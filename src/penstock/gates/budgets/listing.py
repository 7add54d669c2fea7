"""Which budgets there are, as this process knows, and which of their accounts a call counts in."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final, Literal

from penstock.gates.budgets.share import Cover, Share
from penstock.gates.order.branches import outside_runs
from penstock.kernel.clock import Clock
from penstock.kernel.errors import JournalError
from penstock.kernel.randomness import jitter
from penstock.ports.budgets import AccountKey, Budget, Budgets, period_at

FRESH_NS: Final = 1_000_000_000
"""At this age it is asked whether budgets have changed; calls go on with those that are known."""
REFRESH_NS: Final = 2 * FRESH_NS
"""How old the budgets may be that a call is checked against: a change reaches all processes within this time."""
COVERS_KEPT: Final = 20_000
ACCOUNTS_KEPT: Final = 50_000


class Listing:
    """The budgets by tenant, and the shares that calls are reserved from.

    Args:
        share: gives this process's share of an account.
    """

    def __init__(self, store: Budgets, clock: Clock, share: Callable[[str, int], Share]) -> None:
        self._store = store
        self._clock = clock
        self._share = share
        self._by_tenant: dict[str, list[Budget]] = {}
        self._of_runs: set[str] = set()  # tenants with budgets of each run
        self._change = -1
        self._read_ns: int | None = None
        self._offset_us = clock.now_us() - clock.boot_ns() // 1000  # this machine's guess, until the store answers
        self._reading: asyncio.Task[None] | None = None
        self._covers: dict[tuple[object, ...], Cover | None] = {}
        self._accounts: dict[AccountKey, tuple[int, tuple[str, ...]]] = {}

    def now(self) -> int:
        """The store's time as far as this process knows it, microseconds."""
        return self._clock.boot_ns() // 1000 + self._offset_us

    @property
    def change(self) -> int:
        """How often budgets had been changed when they were read."""
        return self._change

    def may_apply(self, tenant: str) -> bool:
        """Whether there may be budgets of that tenant."""
        read_ns = self._read_ns
        if read_ns is None or self._clock.boot_ns() - read_ns >= FRESH_NS:
            return True
        return tenant in self._by_tenant

    def known(self, tenant: str, agent: str, tags: Mapping[str, str], root: str) -> Cover | Literal[False] | None:
        """The cover, without asking anybody; False = the store has to be asked."""
        read_ns, now_ns = self._read_ns, self._clock.boot_ns()
        if read_ns is None or now_ns - read_ns >= FRESH_NS:
            self._read_soon()
            if read_ns is None or now_ns - read_ns >= REFRESH_NS:
                return False
        if tenant not in self._by_tenant:
            return None
        key = (tenant, agent, root if tenant in self._of_runs else "", *tags.items())
        cover = self._covers.get(key)
        if cover is None:
            return None if key in self._covers else False
        return False if cover.until and cover.until <= now_ns // 1000 + self._offset_us else cover

    async def cover(self, tenant: str, agent: str, tags: Mapping[str, str], root: str) -> Cover | None:
        """The cover, its accounts opened where they are not known."""
        while True:
            await self._be_fresh()
            now = self.now()
            if len(self._accounts) >= ACCOUNTS_KEPT:
                self._accounts.clear()
            budgets = [budget for budget in self._by_tenant.get(tenant, ()) if budget.covers(agent, tags)]
            keys = [
                AccountKey(
                    tenant, budget.id, budget.who(agent, tags, root), *period_at(budget.period, budget.timezone, now)
                )
                for budget in budgets
            ]
            change = self._change
            if not await self._opened([key for key in keys if key not in self._accounts]):
                self._read_ns, self._change = None, -1  # a budget was removed meanwhile
            elif change == self._change and all(key in self._accounts for key in keys):
                cover = self._make(budgets, keys)
                if len(self._covers) >= COVERS_KEPT:
                    self._covers.clear()
                self._covers[(tenant, agent, root if tenant in self._of_runs else "", *tags.items())] = cover
                return cover

    def heard(self, now: int, change: int) -> None:
        """The store has said what time it is, and how often budgets were changed."""
        self._offset_us = now - self._clock.boot_ns() // 1000
        if change == self._change:
            self._read_ns = self._clock.boot_ns()
        else:
            self._read_soon()

    def forget_covers(self) -> None:
        """The shares are others now."""
        self._covers.clear()

    def forget(self) -> None:
        """Ask the store for everything anew."""
        self._covers.clear()
        self._accounts.clear()
        self._read_ns, self._change = None, -1

    def _make(self, budgets: list[Budget], keys: list[AccountKey]) -> Cover | None:
        if not budgets:
            return None
        shares: dict[int, Share] = {}
        for budget, key in zip(budgets, keys, strict=True):
            number, who = self._accounts[key]
            share = shares[number] = self._share(key.tenant, number)
            share.budget, share.who, share.until = budget, who, key.until
        ends = [key.until for key in keys if key.until]
        return Cover(list(shares.values()), min(ends, default=0))

    async def _opened(self, keys: list[AccountKey]) -> bool:
        """Whether there are such accounts."""
        if not keys:
            return True
        try:
            found = await self._store.open(keys)
        except JournalError:
            await self._clock.sleep(jitter(0.1, 0.5))
            return False
        for key, (number, who) in zip(keys, found, strict=True):
            if number:
                self._accounts[key] = number, who
        return all(number for number, _ in found)

    async def _be_fresh(self) -> None:
        while self._read_ns is None or self._clock.boot_ns() - self._read_ns >= REFRESH_NS:
            reading = self._read_soon()
            await asyncio.wait({reading})
            if self._read_ns is None:  # budgets that nobody could read yet may forbid the call
                await self._clock.sleep(jitter(0.1, 0.5))

    def _read_soon(self) -> "asyncio.Task[None]":
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read(), context=outside_runs())
            self._reading.add_done_callback(self._has_read)
        return self._reading

    def _has_read(self, task: "asyncio.Task[None]") -> None:
        del task
        self._reading = None

    async def _read(self) -> None:
        try:
            change = await self._store.change()
            if change != self._change:
                found = await self._store.budgets(None)
                by_tenant: dict[str, list[Budget]] = {}
                for budget in found:
                    by_tenant.setdefault(budget.tenant, []).append(budget)
                self._by_tenant, self._change = by_tenant, change
                self._of_runs = {budget.tenant for budget in found if budget.period == "run"}
                self._covers.clear()
            self._read_ns = self._clock.boot_ns()
        except JournalError:
            if self._read_ns is not None:
                self._read_ns = self._clock.boot_ns()  # the store is away: what was known is good for a while

    async def close(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
