"""This process's shares of the budgets above the task, and its turns with the store."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from penstock.events import Amount
from penstock.gates.budgets.listing import Listing
from penstock.gates.budgets.share import Cover, Hold, Refusal, Share, Waiter, take
from penstock.gates.order.branches import outside_runs
from penstock.kernel.clock import Clock
from penstock.kernel.errors import JournalError
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import jitter
from penstock.ports.budgets import Ask, Budget, Budgets, Exchange, Standing, Triple
from penstock.settings import Settings

LOOK_SECONDS: Final = 1.0
"""How often a holder asks the store when nothing presses: what others want of it, and what has changed."""
PRESSED_SECONDS: Final = 0.05
"""The same while somebody waits for room, here or elsewhere."""
IDLE_SECONDS: Final = 30.0
"""After so long without a call a share goes back."""
TOUCHED_MAX: Final = 500
"""Accounts that the store is asked about in one turn although nothing is wanted of them."""
STORE_AWAY_SECONDS: Final = 0.5
FORGET_SECONDS: Final = 3600.0
KEEP_US: Final = 100 * 24 * 3600 * 1_000_000
"""How long accounts are kept whose period is over, or whose run was not heard of."""
FORGOTTEN_AT_ONCE: Final = 10_000


class Shares:
    """The budgets above the task in one process.

    A reservation is a few subtractions while the shares hold it. Else the call waits for the next turn with the store,
    which grants more, or until calls under way give back what they did not use; it is refused when the account is
    spent, or after ``budget_wait_seconds``.
    """

    def __init__(self, store: Budgets, clock: Clock, settings: Settings) -> None:
        self.listing = Listing(store, clock, self.share)
        self._store = store
        self._clock = clock
        self._settings = settings
        self._holder = new_id(clock)
        self._fresh = True
        self._shares: dict[tuple[str, int], Share] = {}
        self._left: dict[UUID, list[tuple[str, int]]] = {}  # shares of holders that we were
        self._leaving: list[tuple[str, int]] = []
        self._pump: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._forgot_ns = 0

    def apply(self, tenant: str) -> bool:
        """Whether there may be budgets of that tenant; known to be none without asking anybody, as it is with most."""
        return self.listing.may_apply(tenant)

    def share(self, tenant: str, account: int) -> Share:
        """Our share of an account; nothing is granted to a new one yet."""
        known = self._shares.get((tenant, account))
        if known is None:
            known = self._shares[tenant, account] = Share(tenant, account, self._holder)
            known.used_ns = self._clock.boot_ns()
            self._tend()
        return known

    async def cover(self, tenant: str, agent: str, tags: Mapping[str, str], root: str) -> Cover | None:
        """The shares that calls of that agent, tags and family are reserved from; None when no budget covers them."""
        cover = self.listing.known(tenant, agent, tags, root)
        return await self.listing.cover(tenant, agent, tags, root) if cover is False else cover

    async def reserve(
        self, tenant: str, agent: str, tags: Mapping[str, str], amount: Amount, root: str = "", *, calls: int = 1
    ) -> Hold | Refusal | None:
        """Reserve for one call, whoever makes it; waits for room. None: no budget covers it.

        Args:
            tags: of the call; ``key`` is that of the program which makes it.
            amount: the most it can use.
            root: the top run of its family; of budgets for each run.
        """
        asked = amount.nano, amount.tokens, calls
        while True:
            cover = await self.cover(tenant, agent, tags, root)
            if cover is None or not (cover.counting or amount.nano or amount.tokens):
                return None
            got: Hold | Share | Refusal | None = take(cover, asked)
            if isinstance(got, Share):
                got = await self.room(cover, asked, got)
            if got is not None:
                return got

    async def room(self, cover: Cover, amount: Triple, lacking: Share) -> Hold | Refusal | None:
        """Wait in line for what a share does not hold now. None: try again, the shares are others now."""
        now_ns = self._clock.boot_ns()
        refusal = self._known_spent(lacking, amount, now_ns)
        if refusal is not None:
            return refusal
        waiter = Waiter(cover, amount, now_ns + int(self._settings.budget_wait_seconds * 1e9))
        lacking.waiting.append(waiter)
        for share in cover.shares:
            share.touched = True
        self._tend()
        self._news.set()
        try:
            return await waiter.ready
        except BaseException:
            ready = waiter.ready
            if ready.done() and not ready.cancelled() and isinstance(hold := ready.result(), Hold):
                self.release(hold)
            ready.cancel()
            self._next(lacking)
            raise

    def _known_spent(self, share: Share, amount: Triple, now_ns: int) -> Refusal | None:
        """The refusal, when the store has just said that the account is spent, and its limits are still those."""
        budget, standing = share.budget, share.standing
        if budget is None or standing is None or budget.limits != standing.limits:
            return None
        part = _over(standing.used, amount, standing.limits)
        if part is None or now_ns - share.heard_ns >= LOOK_SECONDS * 1e9:
            return None
        return _refusal(share, budget, standing, part, amount[part], spent=True)

    def release(self, hold: Hold) -> None:
        """Its call is not made."""
        if hold.live:
            hold.live = False
            self._give_back(hold)

    def dropped(self, hold: Hold) -> None:
        """Its intent was not written."""
        self._give_back(hold)

    def _give_back(self, hold: Hold) -> None:
        nano, tokens, calls = hold.amount
        for share in hold.shares:
            share.open -= 1
            if self._shares.get((share.tenant, share.account)) is share:
                share.add(nano, tokens, calls)
                self._next(share)

    def settled(
        self, tenant: str, account: int, holder: UUID, reserved: Triple, used: Triple, *, was_ours: bool
    ) -> None:
        """The outcome that replaces a reservation by what was used is durable, charged to that holder's row."""
        if holder is not self._holder and holder != self._holder:  # a row that goes back to its account
            return
        share = self._shares.get((tenant, account)) or self.share(tenant, account)
        share.open -= was_ours and share.open > 0
        share.free_nano += reserved[0] - used[0]
        share.free_tokens += reserved[1] - used[1]
        share.free_calls += reserved[2] - used[2]
        share.touched = True
        if share.waiting:
            self._next(share)

    @property
    def holder(self) -> UUID:
        """Who we are to the store; another one after our shares were lost."""
        return self._holder

    def lost(self, holder: UUID) -> None:
        """The store does not know of what that holder thinks it was granted: begin anew as another."""
        if holder != self._holder:
            return
        shares, self._shares = self._shares, {}
        self._left[holder] = list(shares)
        self._holder, self._fresh = new_id(self._clock), True
        self.listing.forget()
        for share in shares.values():
            for waiter in share.waiting:
                _answer(waiter, None)
        self._tend()

    def _next(self, share: Share) -> None:
        """Serve those in line, in order, as far as it goes."""
        while share.waiting:
            waiter = share.waiting[0]
            if waiter.ready.done():
                share.waiting.popleft()
                continue
            got = take(waiter.cover, waiter.amount, share)
            if got is share:
                return
            share.waiting.popleft()
            if isinstance(got, Hold):
                waiter.ready.set_result(got)
            else:
                got.waiting.append(waiter)
                self._news.set()

    def _tend(self) -> None:
        if self._pump is None:
            with contextlib.suppress(RuntimeError):  # outside of a loop nobody waits
                self._pump = asyncio.get_running_loop().create_task(self._serve(), context=outside_runs())

    async def _serve(self) -> None:
        """Take turns with the store while there are shares."""
        try:
            while self._shares or self._left:
                try:
                    await self._turn()
                except JournalError:
                    self._refuse_late()
                    await self._clock.sleep(jitter(STORE_AWAY_SECONDS / 2, STORE_AWAY_SECONDS))
                    continue
                await self._rest()
        finally:
            self._pump = None

    async def _turn(self) -> None:
        lease = self._settings.lease_seconds
        while self._left:
            holder, keys = next(iter(self._left.items()))
            asks = [Ask(tenant, account, leave=True) for tenant, account in keys]
            await self._store.exchange(holder, lease, asks, fresh=False)
            del self._left[holder]
        self._news.clear()
        self._leave_idle()
        asks = self._asks()
        me, fresh = self._holder, self._fresh
        try:
            answer = await self._store.exchange(me, lease, asks, fresh=fresh)
        except JournalError:  # what was to be given back is still ours, as far as anybody knows
            left = [(ask.tenant, ask.account) for ask in asks if ask.leave]
            self._leaving += [key for key in left if key not in self._shares]
            raise
        if me != self._holder:
            return
        if not answer.alive:
            self.lost(me)
            return
        self._fresh = False
        self._hear(answer, asks)
        if self._clock.boot_ns() - self._forgot_ns >= FORGET_SECONDS * 1e9:
            self._forgot_ns = self._clock.boot_ns()
            await self._store.forget(answer.now - KEEP_US, FORGOTTEN_AT_ONCE)

    def _leave_idle(self) -> None:
        """Shares that nobody has used for a while are given back."""
        before = self._clock.boot_ns() - int(IDLE_SECONDS * 1e9)
        idle = [
            key
            for key, share in self._shares.items()
            if share.used_ns < before and share.open <= 0 and not share.waiting and not share.touched
        ]
        if idle:
            self.listing.forget_covers()
            for key in idle:
                del self._shares[key]
                self._leaving.append(key)

    def _asks(self) -> list[Ask]:
        asks = [Ask(tenant, account, leave=True) for tenant, account in self._leaving]
        now_ns = self._clock.boot_ns()
        self._leaving.clear()
        looks = 0
        for share in self._shares.values():
            waiting = [waiter for waiter in share.waiting if not waiter.ready.done()]
            keep = share.give_up() if share.wanted and share.has_some() else None
            if waiting:
                used = share.taken
                least = _added(used, waiting[0].amount)
                ample = used
                for waiter in waiting:
                    ample = _added(ample, waiter.amount)
                asks.append(Ask(share.tenant, share.account, least, ample, keep))
            elif keep is not None:
                asks.append(Ask(share.tenant, share.account, keep=keep))
            elif share.touched and looks < TOUCHED_MAX:
                looks += 1
                asks.append(Ask(share.tenant, share.account))
            else:
                continue
            share.touched, share.used_ns = False, now_ns
        return asks

    def _hear(self, answer: Exchange, asks: list[Ask]) -> None:
        self.listing.heard(answer.now, answer.change)
        tenants = {ask.account: ask.tenant for ask in asks}
        tenants.update({account: tenant for tenant, account in self._shares})
        wanted = {standing.account for standing in answer.standings if standing.wanted}
        for share in self._shares.values():
            share.wanted = share.account in wanted
        for standing in answer.standings:
            ours = self._shares.get((tenants.get(standing.account, ""), standing.account))
            if ours is None:
                continue
            if standing.gone:
                self._gone(ours)
                continue
            ours.standing, ours.heard_ns = standing, self._clock.boot_ns()
            ours.grant(standing.granted)
            self._next(ours)
            self._refuse_spent(ours, standing)
        self._refuse_late()

    def _gone(self, share: Share) -> None:
        """Its budget was removed, and limits nothing any more."""
        self._shares.pop((share.tenant, share.account), None)
        self.listing.forget()
        for waiter in share.waiting:
            _answer(waiter, None)
        share.waiting.clear()

    def _refuse_spent(self, share: Share, standing: Standing) -> None:
        for waiter in list(share.waiting):
            part = _over(standing.used, waiter.amount, standing.limits)
            if part is not None:
                self._refuse(share, waiter, part, spent=True)
        self._next(share)

    def _refuse_late(self) -> None:
        """Those who have waited for as long as a call may."""
        now = self._clock.boot_ns()
        for share in list(self._shares.values()):
            for waiter in list(share.waiting):
                if waiter.give_up_ns <= now and not waiter.ready.done():
                    self._refuse(share, waiter, _short(share, waiter.amount), spent=False)

    def _refuse(self, share: Share, waiter: Waiter, part: int, *, spent: bool) -> None:
        if share.budget is None:
            return
        _answer(waiter, _refusal(share, share.budget, share.standing, part, waiter.amount[part], spent=spent))
        if waiter in share.waiting:
            share.waiting.remove(waiter)

    async def _rest(self) -> None:
        """Until it is worth while to ask again."""
        pressed = any(share.waiting or share.wanted for share in self._shares.values())
        left = jitter(PRESSED_SECONDS / 2, PRESSED_SECONDS) if pressed else LOOK_SECONDS
        over = asyncio.ensure_future(self._clock.sleep(left))
        heard = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait((over, heard) if not pressed else (over,), return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            heard.cancel()

    async def close(self) -> None:
        """Give everything back."""
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()
            await asyncio.wait({pump})
        shares, self._shares = self._shares, {}
        asks = [Ask(tenant, account, leave=True) for tenant, account in [*shares, *self._leaving]]
        if asks and not self._fresh:
            with contextlib.suppress(JournalError):
                await self._store.exchange(self._holder, self._settings.lease_seconds, asks, fresh=False)
        await self.listing.close()


def _refusal(share: Share, budget: Budget, standing: Standing | None, part: int, asked: int, *, spent: bool) -> Refusal:
    limit = budget.limits[part] if standing is None else standing.limits[part]
    used = 0 if standing is None else standing.used[part] + (0 if spent else standing.held[part])
    return Refusal(budget, share, part, asked, max(0, limit - used), share.until, spent)


def _answer(waiter: Waiter, what: Hold | Refusal | None) -> None:
    if not waiter.ready.done():
        waiter.ready.set_result(what)


def _added(one: Triple, other: Triple) -> Triple:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _short(share: Share, amount: Triple) -> int:
    """Which limited part of an amount a share does not hold."""
    limits = share.budget.limits if share.budget is not None else (1, 1, 1)
    limited = [part for part in range(3) if limits[part]]
    return next((part for part in limited if share.free[part] < amount[part]), limited[0] if limited else 0)


def _over(used: Triple, amount: Triple, limits: Triple) -> int | None:
    """Which part of an amount an account has no room for, whatever is given back."""
    for part in range(3):
        if limits[part] and used[part] + amount[part] > limits[part]:
            return part
    return None
