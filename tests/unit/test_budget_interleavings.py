"""Any interleaving of holders that ask, reserve, settle, die and come back as zombies keeps the accounts' promises."""

import asyncio
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.adapters.memory.budgets import MemoryBudgets
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import ShareLost
from penstock.kernel.ids import new_id
from penstock.ports.budgets import AccountKey, Ask, Budget, Charge

LIMIT = 300
LEASE = 1.0
HOLDERS = 3
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, HOLDERS - 1), st.integers(1, 300)),
        st.tuples(st.just("keep"), st.integers(0, HOLDERS - 1), st.integers(0, 200)),
        st.tuples(st.just("reserve"), st.integers(0, HOLDERS - 1), st.integers(1, 150)),
        st.tuples(st.just("settle"), st.integers(0, HOLDERS - 1), st.integers(0, 200)),
        st.tuples(st.just("wait"), st.just(0), st.integers(1, 1500)),
        st.tuples(st.just("leave"), st.integers(0, HOLDERS - 1), st.just(0)),
        st.tuples(st.just("limit"), st.just(0), st.sampled_from([300, 200, 400])),
    ),
    min_size=15,
    max_size=60,
)


class Books:
    """The store, and what has truly been reserved and spent. A holder whose lease was over goes on as it was."""

    def __init__(self) -> None:
        self.us = 1_800_000_000_000_000
        self.store = MemoryBudgets(lambda: self.us)
        self.holders: list[UUID] = [new_id(SystemClock()) for _ in range(HOLDERS)]
        self.open: list[int] = []
        self.spent = self.calls = 0
        self.limit = self.most = LIMIT
        self.account = 0

    async def begin(self) -> None:
        budget = await self.store.put(Budget("t", "b", period="total", nano=LIMIT), "ops")
        self.account = (await self.store.open([AccountKey("t", budget.id, ())]))[0][0]
        for holder in self.holders:
            await self.store.exchange(holder, LEASE, [], fresh=True)

    async def step(self, what: str, who: int, amount: int) -> None:
        holder = self.holders[who]
        if what == "ask":
            await self.store.exchange(holder, LEASE, [Ask("t", self.account, (amount, 0, 0))], fresh=False)
        elif what == "keep":
            await self.store.exchange(holder, LEASE, [Ask("t", self.account, keep=(amount, 0, 0))], fresh=False)
        elif what == "leave":
            await self.store.exchange(holder, LEASE, [Ask("t", self.account, leave=True)], fresh=False)
        elif what == "wait":
            self.us += amount * 1000
        elif what == "limit":
            self.limit = amount
            await self.store.put(Budget("t", "b", period="total", nano=amount), "ops")
        elif what == "reserve":
            self._reserve(holder, amount)
        elif self.open:
            reserved = self.open.pop()
            used = min(amount, reserved)
            charge = Charge(self.account, holder, -reserved, 0, -1, used, 0, 1)
            self.store.charge("t", [charge])
            self.spent, self.calls = self.spent + used, self.calls + 1

    def _reserve(self, holder: UUID, amount: int) -> None:
        before = self.spent + sum(self.open)
        try:
            self.store.charge("t", [Charge(self.account, holder, amount, 0, 1)])
        except ShareLost:
            return
        self.open.append(amount)
        assert before + amount <= self.limit, "a reservation was let through that the limit does not hold"

    async def check(self) -> None:
        [account] = await self.store.accounts("t", "b")
        assert account.used == (self.spent, 0, self.calls)
        assert account.held == (sum(self.open), 0, len(self.open))

    async def the_rest_can_be_had(self) -> None:
        """Once all is settled and everybody else is gone, whatever is not spent can be granted to one."""
        self.us += int(10 * LEASE * 1e6)
        last = new_id(SystemClock())
        left = max(0, self.limit - self.spent - sum(self.open))
        exchange = await self.store.exchange(last, LEASE, [Ask("t", self.account, (left, 0, 0))], fresh=True)
        assert exchange.standings[0].granted[0] == left
        exchange = await self.store.exchange(last, LEASE, [Ask("t", self.account, (left + 1, 0, 0))], fresh=False)
        assert exchange.standings[0].granted[0] == left


@settings(max_examples=200)
@given(STEPS)
def test_no_interleaving_overspends_or_loses_anything(steps: list[tuple[str, int, int]]) -> None:
    async def go() -> None:
        books = Books()
        await books.begin()
        for step in steps:
            await books.step(*step)
            await books.check()
        await books.the_rest_can_be_had()

    asyncio.run(go())


@settings(max_examples=40)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 6))
def test_many_small_shares_use_all_of_it(wants: list[int], holders: int) -> None:
    """Each in turn asks for its next call and spends it: nobody is refused while there is room for its call."""

    async def go() -> None:
        books = Books()
        await books.begin()
        people: list[dict[str, Any]] = [{"id": new_id(SystemClock()), "used": 0} for _ in range(holders)]
        for person in people:
            await books.store.exchange(person["id"], 100.0, [], fresh=True)
        spent = 0
        for number in range(80):
            want, person = wants[number % len(wants)], people[number % holders]
            for other in people:
                keep = Ask("t", books.account, keep=(other["used"], 0, 0))
                await books.store.exchange(other["id"], 100.0, [keep], fresh=False)
            ask = Ask("t", books.account, (person["used"] + want, 0, 0))
            exchange = await books.store.exchange(person["id"], 100.0, [ask], fresh=False)
            fits = exchange.standings[0].granted[0] >= person["used"] + want
            assert fits == (spent + want <= LIMIT)
            if fits:
                books.store.charge("t", [Charge(books.account, person["id"], want, 0, 1)])
                books.store.charge("t", [Charge(books.account, person["id"], -want, 0, -1, want, 0, 1)])
                person["used"] += want
                spent += want

    asyncio.run(go())
