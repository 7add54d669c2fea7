"""What every store of budgets must do. Subclasses give a `BudgetsWorld`."""

import asyncio
from typing import Any

from tests.contract.journal_world import CLOCK, LEASE, Holder, World

from penstock.kernel.errors import ShareLost
from penstock.kernel.ids import new_id
from penstock.ports.budgets import (
    EACH,
    OTHER,
    SPREAD,
    AccountKey,
    Ask,
    Budget,
    Charge,
    Exchange,
    Standing,
    Triple,
)
from penstock.ports.journal import Journal
from penstock.ports.records import Answer, Move, Status
from penstock.ports.webhooks import Endpoint

LIMIT = 1_000_000


class Spender:
    """A holder of shares."""

    def __init__(self, journal: Journal, tenant: str = "acme") -> None:
        self.budgets, self.tenant = journal.budgets, tenant
        self.id = new_id(CLOCK)
        self.fresh = True

    async def ask(self, account: int, least: int | None = None, **fields: Any) -> Standing:
        """One turn, about nano-dollars of one account; what was granted is in the answer."""
        wanted = None if least is None else (least, 0, 0)
        exchange = await self.turn(Ask(self.tenant, account, wanted, **fields))
        assert exchange.alive
        return exchange.standings[0]

    async def turn(self, *asks: Ask, lease: float = LEASE) -> Exchange:
        exchange = await self.budgets.exchange(self.id, lease, list(asks), fresh=self.fresh)
        self.fresh = False
        return exchange

    def reserve(self, account: int, nano: int, calls: int = 1) -> Charge:
        return Charge(account, self.id, held_nano=nano, held_calls=calls)

    def settle(self, account: int, reserved: int, used: int) -> Charge:
        return Charge(account, self.id, held_nano=-reserved, held_calls=-1, nano=used, calls=1)


class BudgetsWorld(World):
    """A journal with budgets. Subclasses know the store."""

    async def budget(self, name: str = "all", **fields: Any) -> Budget:
        usual: dict[str, Any] = {"nano": LIMIT, "period": "total"}
        return await self.journal.budgets.put(Budget("acme", name, **(usual | fields)), "ops")

    async def account(self, budget: Budget, *who: str, since: int = 0, until: int = 0) -> int:
        key = AccountKey(budget.tenant, budget.id, who, since, until)
        return (await self.journal.budgets.open([key]))[0][0]

    async def one(self, **fields: Any) -> int:
        """The only account of a new budget."""
        return await self.account(await self.budget(**fields))

    def spender(self) -> Spender:
        return Spender(self.journal)

    async def sums(self, name: str = "all") -> tuple[Triple, Triple]:
        """What the newest account of a budget says: spent and held."""
        account = (await self.journal.budgets.accounts("acme", name))[0]
        return account.used, account.held


class BudgetSuite:
    async def test_budgets_are_made_changed_listed_and_removed(self, world: BudgetsWorld) -> None:
        budgets = world.journal.budgets
        before = await budgets.change()
        made = await world.budget(
            "b", match={"customer": EACH, "agent": "clerk"}, period="month", timezone="Europe/Oslo"
        )
        other = await world.budget("a", tokens=5)
        assert [item.name for item in await budgets.budgets("acme")] == ["a", "b"]
        assert (await budgets.budgets("acme"))[1] == made
        assert await budgets.budgets("zeta") == []
        changed = await world.budget("a", tokens=7, at_end="park")
        assert (changed.id, changed.tokens, changed.at_end) == (other.id, 7, "park")
        assert await budgets.remove("acme", "a")
        assert not await budgets.remove("acme", "a")
        assert not await budgets.remove("zeta", "b")
        assert [item.name for item in await budgets.budgets(None)] == ["b"]
        assert await budgets.change() >= before + 4

    async def test_one_that_counts_something_else_begins_anew(self, world: BudgetsWorld) -> None:
        account, holder, spender = await world.one(), await world.held(), world.spender()
        await spender.ask(account, 50)
        await holder.append(charges=[spender.reserve(account, 50)])
        again = await world.budget(match={"agent": "clerk"})
        assert await world.journal.budgets.accounts("acme", "all") == []
        assert (await spender.ask(account)).gone
        assert (await spender.ask(await world.account(again), 1)).used == (0, 0, 0)

    async def test_an_account_is_found_again_and_one_for_each_value(self, world: BudgetsWorld) -> None:
        budget = await world.budget(match={"customer": EACH})
        first, second = await world.account(budget, "ada"), await world.account(budget, "ben")
        assert first != second
        assert await world.account(budget, "ada") == first
        assert await world.account(budget, "ada", since=5, until=9) not in (first, second)
        shown = await world.journal.budgets.accounts("acme", "all", since=10)
        assert [account.who for account in shown] == [{"customer": "ben"}, {"customer": "ada"}]
        assert [account.id for account in await world.journal.budgets.accounts("acme", "all", 1, after=second)] == [
            first
        ]
        assert await world.journal.budgets.accounts("zeta", "all") == []

    async def test_of_a_budget_that_is_gone_there_is_no_account(self, world: BudgetsWorld) -> None:
        budget = await world.budget()
        await world.journal.budgets.remove("acme", "all")
        assert await world.account(budget) == 0
        stranger = AccountKey("zeta", (await world.budget("b")).id, ())
        assert await world.journal.budgets.open([stranger]) == [(0, ())]

    async def test_too_many_values_share_one_account(self, world: BudgetsWorld, monkeypatch: Any) -> None:
        for place in ("penstock.adapters.memory.budgets", "penstock.adapters.postgres.budgets"):
            monkeypatch.setattr(f"{place}.ACCOUNTS_MAX", 3)
        budget = await world.budget(match={"user": EACH})
        keys = [AccountKey("acme", budget.id, (f"u{number}",)) for number in range(6)]
        opened = await world.journal.budgets.open(keys)
        assert [who for _, who in opened] == [("u0",), ("u1",), ("u2",), (OTHER,), (OTHER,), (OTHER,)]
        assert len({number for number, _ in opened}) == 4
        assert await world.journal.budgets.open(keys[1:2]) == opened[1:2]


class GrantSuite:
    async def test_what_is_asked_for_is_granted_and_some_ahead(self, world: BudgetsWorld) -> None:
        account, spender = await world.one(), world.spender()
        standing = await spender.ask(account, 10)
        assert standing.granted[0] == LIMIT // SPREAD
        assert standing.limits == (LIMIT, 0, 0)
        more = await spender.ask(account, 400_000)
        assert more.granted[0] == 400_000

    async def test_no_more_is_granted_than_there_is(self, world: BudgetsWorld) -> None:
        account = await world.one()
        granted = 0
        for _ in range(60):
            granted += (await world.spender().ask(account, 20_000)).granted[0]
            assert granted <= LIMIT
        assert granted > LIMIT - 20_000

    async def test_the_last_of_it_can_be_had(self, world: BudgetsWorld) -> None:
        account, spender = await world.one(), world.spender()
        assert (await spender.ask(account, LIMIT)).granted[0] == LIMIT
        assert (await spender.ask(account, LIMIT + 1)).granted[0] == LIMIT
        assert (await world.spender().ask(account, 1)).granted[0] == 0

    async def test_nothing_is_granted_where_one_limit_of_two_is_short(self, world: BudgetsWorld) -> None:
        account, spender = await world.one(tokens=5), world.spender()
        exchange = await spender.turn(Ask("acme", account, (10, 6, 0)))
        assert exchange.standings[0].granted[:2] == (0, 0)
        assert (await spender.turn(Ask("acme", account, (10, 5, 0)))).standings[0].granted[1] == 5

    async def test_what_others_do_not_use_is_wanted_and_given_back(self, world: BudgetsWorld) -> None:
        account, rich, poor = await world.one(), world.spender(), world.spender()
        await rich.ask(account, 900_000)
        assert not (await poor.ask(account, 10)).wanted
        assert (await poor.ask(account, 300_000)).wanted
        other = await world.one(name="other")
        exchange = await rich.turn(Ask("acme", other))
        assert [standing.account for standing in exchange.standings] == [other, account]
        assert exchange.standings[1].granted[0] == 900_000
        await rich.ask(account, keep=(100_000, 0, 0))
        assert (await poor.ask(account, 300_000)).granted[0] >= 300_000

    async def test_while_it_is_wanted_nobody_is_granted_more_than_needed(self, world: BudgetsWorld) -> None:
        account, first, second = await world.one(), world.spender(), world.spender()
        await first.ask(account, 900_000)
        await second.ask(account, 300_000)
        await first.ask(account, keep=(0, 0, 0))
        assert (await second.ask(account, 300_000)).granted[0] == 300_000
        assert (await first.ask(account, 7)).granted[0] == 7

    async def test_what_is_used_cannot_be_given_back(self, world: BudgetsWorld) -> None:
        account, spender, holder = await world.one(), world.spender(), await world.held()
        await spender.ask(account, 600)
        await holder.append(charges=[spender.reserve(account, 500)])
        assert (await spender.ask(account, keep=(0, 0, 0))).granted[0] == 500

    async def test_a_holder_that_is_gone_leaves_what_it_did_not_use(self, world: BudgetsWorld) -> None:
        account, dead, holder = await world.one(), world.spender(), await world.held()
        await dead.turn(Ask("acme", account, (LIMIT, 0, 0)), lease=1.0)
        await holder.append(charges=[dead.reserve(account, 300)])
        living = world.spender()
        assert (await living.ask(account, 1)).granted[0] == 0
        await world.advance(2)
        standing = await living.ask(account, LIMIT - 300)
        assert (standing.granted[0], standing.held[0]) == (LIMIT - 300, 300)
        assert (await living.ask(account, LIMIT - 299)).granted[0] == LIMIT - 300
        assert not (await dead.turn()).alive

    async def test_whoever_leaves_leaves_at_once(self, world: BudgetsWorld) -> None:
        account, leaving, holder = await world.one(), world.spender(), await world.held()
        await leaving.ask(account, LIMIT)
        await holder.append(charges=[leaving.reserve(account, 300)])
        await leaving.ask(account, leave=True)
        assert (await world.spender().ask(account, LIMIT - 300)).granted[0] == LIMIT - 300

    async def test_a_limit_that_is_lowered_holds_at_once(self, world: BudgetsWorld) -> None:
        account, spender, holder = await world.one(), world.spender(), await world.held()
        await spender.ask(account, 500_000)
        await holder.append(charges=[spender.reserve(account, 300)])
        await world.budget(nano=250)
        answer = await holder.append(charges=[spender.reserve(account, 1)])
        assert isinstance(answer.error, ShareLost)
        assert (await spender.ask(account, 301)).granted[0] == 300
        assert await world.sums() == ((0, 0, 0), (300, 0, 1))
        await world.budget(nano=400)
        assert (await spender.ask(account, 301)).granted[0] >= 301

    async def test_a_first_limit_of_a_kind_holds_at_once(self, world: BudgetsWorld) -> None:
        account, spender, holder = await world.one(), world.spender(), await world.held()
        await spender.ask(account, 500)
        await holder.append(charges=[spender.reserve(account, 1)])
        await world.budget(calls=1)
        assert (await holder.append(charges=[spender.reserve(account, 1)])).answer is Answer.REFUSED


class ChargeSuite:
    async def test_reserving_and_settling_add_up(self, world: BudgetsWorld) -> None:
        account, spender, holder = await world.one(), world.spender(), await world.held()
        await spender.ask(account, 1000)
        await holder.append(charges=[spender.reserve(account, 600)])
        assert await world.sums() == ((0, 0, 0), (600, 0, 1))
        await holder.append(charges=[spender.settle(account, 600, 17)])
        assert await world.sums() == ((17, 0, 1), (0, 0, 0))

    async def test_what_a_share_does_not_hold_is_refused_with_its_event(self, world: BudgetsWorld) -> None:
        account, spender = await world.one(), world.spender()
        poor, mate = await world.claimed(2)
        granted = (await spender.ask(account, 10)).granted[0]
        refused, fine = await world.journal.append(
            [
                poor.batch(charges=[spender.reserve(account, granted + 1)]),
                mate.batch(charges=[spender.reserve(account, 1)]),
            ]
        )
        assert (refused.answer, fine.answer) == (Answer.REFUSED, Answer.APPLIED)
        assert isinstance(refused.error, ShareLost)
        assert await world.sums() == ((0, 0, 0), (1, 0, 1))
        assert len(await world.check_chain(*poor.key)) == 1

    async def test_a_holder_without_a_share_reserves_nothing(self, world: BudgetsWorld) -> None:
        account, holder = await world.one(), await world.held()
        assert isinstance((await holder.append(charges=[world.spender().reserve(account, 1)])).error, ShareLost)

    async def test_a_batch_sent_again_is_charged_once(self, world: BudgetsWorld) -> None:
        account, spender, holder = await world.one(), world.spender(), await world.held()
        await spender.ask(account, 1000)
        batch = holder.batch(charges=[spender.reserve(account, 600)])
        for _ in range(3):
            assert [answer.answer for answer in await world.journal.append([batch])] == [Answer.APPLIED]
        assert await world.sums() == ((0, 0, 0), (600, 0, 1))

    async def test_a_batch_that_is_not_accepted_charges_nothing(self, world: BudgetsWorld) -> None:
        account, spender, holder = await world.one(), world.spender(), await world.held()
        await spender.ask(account, 1000)
        stale = holder.batch(holder.note("late"), charges=[spender.reserve(account, 600)])
        await holder.append(move=Move(Status.QUEUED))
        await world.reclaim(holder.run)
        assert [answer.answer for answer in await world.journal.append([stale])] == [Answer.FENCED]
        assert await world.sums() == ((0, 0, 0), (0, 0, 0))

    async def test_another_settles_what_the_first_reserved(self, world: BudgetsWorld) -> None:
        account, first, second = await world.one(), world.spender(), world.spender()
        holder = await world.held()
        await first.turn(Ask("acme", account, (1000, 0, 0)), lease=1.0)
        await holder.append(charges=[first.reserve(account, 1000)])
        await world.advance(2)
        await second.ask(account, 1)
        await holder.append(charges=[second.settle(account, 1000, 200)])
        assert await world.sums() == ((200, 0, 1), (0, 0, 0))
        await second.ask(account, leave=True)
        assert (await world.spender().ask(account, LIMIT - 200)).granted[0] == LIMIT - 200

    async def test_more_than_was_reserved_is_charged_and_nobody_else_gets_it(self, world: BudgetsWorld) -> None:
        """A provider that says it used more than the call's maximum is believed."""
        account, spender, holder = await world.one(), world.spender(), await world.held()
        await spender.ask(account, 10)
        await holder.append(charges=[spender.reserve(account, 10)])
        await holder.append(charges=[spender.settle(account, 10, LIMIT - 5)])
        assert (await world.spender().ask(account, 6)).granted[0] == 0
        assert (await world.spender().ask(account, 5)).granted[0] == 5

    async def test_a_removed_budget_charges_nothing(self, world: BudgetsWorld) -> None:
        account, spender, holder = await world.one(), world.spender(), await world.held()
        await spender.ask(account, 10)
        await world.journal.budgets.remove("acme", "all")
        assert (await holder.append(charges=[spender.reserve(account, 10)])).answer is Answer.APPLIED

    async def test_the_account_of_another_tenant_cannot_be_charged(self, world: BudgetsWorld) -> None:
        account, spender = await world.one(), world.spender()
        await spender.ask(account, 1000)
        stranger = await world.held(tenant="zeta")
        assert (await stranger.append(charges=[spender.reserve(account, 600)])).answer is Answer.APPLIED
        assert await world.sums() == ((0, 0, 0), (0, 0, 0))

    async def test_many_at_once_reserve_no_more_than_there_is(self, world: BudgetsWorld) -> None:
        account = await world.one(nano=1000)
        holders = await world.claimed(12)
        spenders = [world.spender() for _ in range(4)]

        async def spend(number: int, holder: Holder) -> int:
            spender, made = spenders[number % 4], 0
            for _ in range(8):
                used = 30 * (made + 1)
                await spender.ask(account, used * 3)
                answer = await holder.append(charges=[spender.reserve(account, 30)])
                made += answer.answer is Answer.APPLIED
            return made

        made = sum(await asyncio.gather(*(spend(number, holder) for number, holder in enumerate(holders))))
        used, held = await world.sums()
        assert (used[0], held[0]) == (0, 30 * made)
        assert 0 < 30 * made <= 1000


class NoticeSuite:
    async def test_a_threshold_is_told_once(self, world: BudgetsWorld) -> None:
        endpoint = Endpoint(
            "acme", new_id(CLOCK), "https://a.example", ("budget.threshold",), "", "", b"x" * 32, "ops", 0
        )
        await world.journal.webhooks.add(endpoint, 10)
        account, spender, holder = await world.one(nano=100), world.spender(), await world.held()
        for used in (60, 15, 5, 12):
            await spender.ask(account, 100)
            await holder.append(charges=[spender.reserve(account, used)])
            await holder.append(charges=[spender.settle(account, used, used)])
            await spender.ask(account)
        told = await world.journal.webhooks.deliveries("acme", endpoint.id, None, None, 10)
        assert len(told) == 2
        assert sorted(b'"level"' in item.facts for item in told) == [True, True]

    async def test_a_change_wakes_who_waits_for_it(self, world: BudgetsWorld) -> None:
        account, holder = await world.one(), await world.held()
        number = await world.journal.budgets.wait("acme", account, holder.run, "3")
        await holder.append(move=Move(Status.PARKED))
        await world.budget(nano=2 * LIMIT)
        letters = (await world.journal.letters([holder.key]))[holder.key]
        assert [(item.dedup, item.kind) for item in letters] == [(f"budget:3:{account}:{number}", "budget")]
        assert await world.status(holder) is Status.QUEUED
        assert await world.journal.budgets.change() > number

    async def test_a_removal_wakes_too(self, world: BudgetsWorld) -> None:
        account, holder = await world.one(), await world.held()
        await world.journal.budgets.wait("acme", account, holder.run, "3")
        await holder.append(move=Move(Status.PARKED))
        await world.journal.budgets.remove("acme", "all")
        assert await world.status(holder) is Status.QUEUED

    async def test_old_accounts_in_which_nothing_is_held_are_forgotten(self, world: BudgetsWorld) -> None:
        budget, holder, spender = await world.budget(period="day"), await world.held(), world.spender()
        held, _, open_ = [await world.account(budget, since=day, until=day + 5) for day in (5, 15, 95)]
        await spender.ask(held, 10)
        await holder.append(charges=[spender.reserve(held, 10)])
        await spender.ask(held, leave=True)
        assert await world.journal.budgets.forget(50, 10) == 1
        assert {account.id for account in await world.journal.budgets.accounts("acme", "all")} == {held, open_}


class BudgetsSuite(BudgetSuite, GrantSuite, ChargeSuite, NoticeSuite):
    """All of it."""
