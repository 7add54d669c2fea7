"""Budgets in simulated time: many processes at once, and processes that die, stall, and lose what they ask or hear.

The same simulation as the benchmark's `budgets`, small: see `benchmarks/budgets_simulated.py`.
"""

from collections.abc import Sequence
from uuid import UUID

import pytest
from benchmarks.budgets_books import Plan
from benchmarks.budgets_simulated import World
from benchmarks.virtual_time import VirtualClock, VirtualLoop

from penstock import Settings
from penstock.adapters.memory.budgets import MemoryBudgets
from penstock.events import Amount
from penstock.gates.budgets.share import Hold, Refusal
from penstock.gates.budgets.shares import IDLE_SECONDS, LOOK_SECONDS, Shares
from penstock.kernel.errors import JournalError
from penstock.kernel.ids import new_id
from penstock.ports.budgets import AccountKey, Ask, Budget, Exchange

TENANT = "t"


def test_budgets_are_used_up_and_never_overspent() -> None:
    """Calls are under a hundredth of each budget, use less than they reserve, and wait for others to settle."""
    world = World(Plan(customers=3, features=3, processes=3, calls_a_second=600, seconds=3.0, shared=10.0))
    world.run()
    assert world.truth.over <= 0
    assert len(world.used_when_refused) == 3
    assert min(world.used_when_refused.values()) >= 0.95
    assert (world.leaked, world.apart) == (0, 0)
    assert 0 < world.counts.refused < world.counts.asked


@pytest.mark.parametrize("seed", [1, 2])
def test_no_reservation_is_leaked_or_doubled(seed: int) -> None:
    world = World(
        Plan(
            customers=5, features=2, processes=5, calls_a_second=400, incidents=1_000, limit=40, shared=1.5,
            crash_every=0.4, stall_every=0.2, seed=seed,
        )
    )  # fmt: skip
    world.run()
    counts = world.counts
    assert min(counts.crashes, counts.stalls, counts.interrupted, counts.lost_appends, counts.lost_turns) > 0
    assert min(counts.retries, counts.at_maximum, counts.refused) > 0
    assert (world.leaked, world.apart) == (0, 0)
    assert world.truth.over <= 0


class _Lossy(MemoryBudgets):
    """Loses so many turns in which a share is given back."""

    def __init__(self, clock: VirtualClock, losses: int) -> None:
        super().__init__(clock.now_us)
        self.losses = losses

    async def exchange(self, holder: UUID, lease_seconds: float, asks: Sequence[Ask], *, fresh: bool) -> Exchange:
        if self.losses and any(ask.leave for ask in asks):
            self.losses -= 1
            raise JournalError("what was asked is lost")
        return await super().exchange(holder, lease_seconds, asks, fresh=fresh)


def test_an_idle_share_is_given_back_although_the_store_was_away() -> None:
    loop = VirtualLoop()
    clock = VirtualClock(loop)

    async def go() -> None:
        store = _Lossy(clock, losses=2)
        budget = await store.put(Budget(TENANT, "org", period="total", nano=1_000), "ops")
        other_one = await store.put(Budget(TENANT, "other", {"customer": "b"}, "total", nano=1_000), "ops")
        shares = Shares(store, clock, Settings())
        hold = await shares.reserve(TENANT, "clerk", {}, Amount(0, 0, 10))
        assert isinstance(hold, Hold)
        shares.release(hold)
        [(account, _), (other, _)] = await store.open(
            [AccountKey(TENANT, budget.id, ()), AccountKey(TENANT, other_one.id, ())]
        )
        shares.share(
            TENANT, other
        ).open = 1  # something of it is in use, so that the process goes on renewing its lease
        await clock.sleep(IDLE_SECONDS + 10 * LOOK_SECONDS)
        assert store.losses == 0
        asked = await store.exchange(new_id(clock), 10, [Ask(TENANT, account, (1_000, 0, 0))], fresh=True)
        assert asked.standings[0].granted[0] == 1_000
        await shares.close()

    try:
        loop.run_until_complete(go())
    finally:
        loop.close()


class _Away(MemoryBudgets):
    """Answers nobody who wants a share."""

    async def exchange(self, holder: UUID, lease_seconds: float, asks: Sequence[Ask], *, fresh: bool) -> Exchange:
        raise JournalError("the store is away")


def test_a_refusal_while_the_store_is_away_names_what_is_limited() -> None:
    """Nothing was ever granted: the money that is not limited is not what is lacking."""
    loop = VirtualLoop()
    clock = VirtualClock(loop)

    async def go() -> None:
        store = _Away(clock.now_us)
        await store.put(Budget(TENANT, "org", period="total", calls=1), "ops")
        shares = Shares(store, clock, Settings(budget_wait_seconds=2))
        refusal = await shares.reserve(TENANT, "clerk", {}, Amount(0, 0, 10))
        assert isinstance(refusal, Refusal)
        assert (refusal.part, refusal.spent) == (2, False)
        await shares.close()

    try:
        loop.run_until_complete(go())
    finally:
        loop.close()
