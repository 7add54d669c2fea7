"""Budgets above the task, through the gates: what they refuse, what waits, what parks, and what is on the record."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock import Agent, Run, Settings, agent, tool
from penstock.events import Amount, ModelIntent, ModelOutcome, RunEnded, decode
from penstock.gates.budgets.share import Hold
from penstock.kernel.money import nano_usd
from penstock.ports.budgets import EACH, Account
from penstock.ports.budgets import Budget as Shared
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.testing import ScriptedModel, in_memory

SOON = Settings(budget_wait_seconds=0.5, park_after_seconds=0.05, poll_seconds=0.02)
DEAR = Price(10_000.0, 10_000.0, source="test")
TENANT = "default"


class Slow(ScriptedModel):
    """Answers when it is told to, or after a moment; knows how many asked at a time."""

    def __init__(self, seconds: float = 0.0, **fields: Any) -> None:
        super().__init__(["Done."], repeat=True, price=DEAR, **fields)
        self.seconds, self.going, self.most = seconds, 0, 0

    async def request(self, request: ModelRequest) -> ModelResponse:
        self.going += 1
        self.most = max(self.most, self.going)
        try:
            await asyncio.sleep(self.seconds)
            return await super().request(request)
        finally:
            self.going -= 1


@asynccontextmanager
async def platform(settings: Settings = SOON, **budgets: dict[str, Any]) -> AsyncIterator[Penstock]:
    async with in_memory(settings) as made:
        for name, fields in budgets.items():
            await put(made, name, **fields)
        yield made


async def put(made: Penstock, name: str = "org", **fields: Any) -> Shared:
    return await made.journal.budgets.put(Shared(TENANT, name, **({"period": "total"} | fields)), "ops")


async def account(made: Penstock, name: str = "org") -> Account:
    return (await made.journal.budgets.accounts(TENANT, name))[0]


def clerk(model: ScriptedModel, **fields: Any) -> Agent:
    return Agent("clerk", model=model, instructions="Answer.", **fields)


async def test_what_is_over_is_refused_and_ends_the_run_as_exhausted() -> None:
    async with platform(org={"calls": 2}) as made:
        desk = clerk(Slow())
        ends = [await desk.run("hi") for _ in range(3)]
        assert [end.outcome for end in ends] == ["succeeded", "succeeded", "exhausted"]
        assert ends[2].code == "over_shared_calls"
        assert "'org'" in ends[2].reason
        assert (await account(made)).used[2] == 2
        row = await made.journal.get_run(TENANT, ends[2].run)
        assert row is not None
        await replay(made.services, row, [desk])
        assert (await account(made)).used[2] == 2


async def test_money_is_charged_to_the_nano_dollar() -> None:
    async with platform(
        org={"nano": nano_usd("1")}, mine={"nano": nano_usd("1"), "match": {"customer": "ada"}}
    ) as made:
        end = await clerk(Slow()).run("hi", tags={"customer": "ada"})
        other = await clerk(Slow()).run("hi", tags={"customer": "ben"})
        assert (await account(made, "mine")).used[0] == end.totals.nano > 0
        assert (await account(made)).used[0] == end.totals.nano + other.totals.nano
        assert (await account(made)).held == (0, 0, 0)


async def test_a_call_must_fit_in_all_that_cover_it() -> None:
    async with platform(org={"calls": 100}, each={"calls": 1, "match": {"customer": EACH}}) as made:
        desk = clerk(Slow())
        for customer, outcome in (("ada", "succeeded"), ("ada", "exhausted"), ("ben", "succeeded"), ("", "succeeded")):
            assert (await desk.run("hi", tags={"customer": customer} if customer else {})).outcome == outcome
        assert (await account(made)).used[2] == 3
        assert (await account(made)).held[2] == 0


async def test_a_budget_of_each_run_counts_a_run_with_its_children() -> None:
    async with platform(family={"calls": 2, "period": "run"}) as made:
        child = clerk(Slow())

        @agent("parent")
        async def parent(run: Run, times: int) -> str:
            for _ in range(times):
                await run.call(child, "hi")
            return "done"

        assert (await parent.run(2)).outcome == "succeeded"
        assert (await parent.run(2)).outcome == "succeeded"
        assert (await parent.run(3)).outcome != "succeeded"
        assert {item.used[2] for item in await made.journal.budgets.accounts(TENANT, "family")} == {2}


async def test_an_unknown_price_is_refused_under_a_money_budget() -> None:
    class Unpriced(ScriptedModel):
        def price(self) -> Price | None:
            return None

    async with platform(org={"nano": nano_usd("1")}):
        end = await clerk(Unpriced(["hi"])).run("hi")
        assert (end.outcome, end.code) == ("failed", "price_unknown")
    async with platform(org={"tokens": 100_000}):
        assert (await clerk(Unpriced(["hi"])).run("hi")).outcome == "succeeded"


async def test_side_by_side_none_is_refused_that_fits() -> None:
    """Each call may use far more than it does: with all of them in flight the budget could not hold them."""
    model = Slow(0.005)
    async with platform(org={"nano": nano_usd("0.2")}, settings=Settings(budget_wait_seconds=20)) as made:
        desk = clerk(model)
        ends = await asyncio.gather(*(desk.run("hi") for _ in range(100)))
        assert {end.outcome for end in ends} == {"succeeded"}
        assert (await account(made)).used[0] == sum(end.totals.nano for end in ends)
        assert 1 < model.most < 100


async def test_a_call_that_would_wait_for_too_long_is_refused() -> None:
    async with platform(org={"calls": 1}) as made:
        slow, quick = clerk(Slow(1.5)), Agent("quick", model=Slow(name="a:quick"), instructions="Answer.")
        first = asyncio.create_task(slow.run("hi"))
        while not (await made.journal.budgets.accounts(TENANT, "org") and (await account(made)).held[2]):
            await asyncio.sleep(0.01)
        end = await quick.run("hi")
        assert (end.outcome, end.code) == ("exhausted", "over_shared_calls")
        assert "hold it" in end.reason
        assert (await first).outcome == "succeeded"


@pytest.mark.parametrize("raise_it", [True, False])
async def test_a_run_waits_until_the_budget_is_raised_or_removed(raise_it: bool) -> None:
    async with platform(org={"calls": 1, "at_end": "park"}) as made:
        desk = clerk(Slow())
        await desk.run("hi")
        run = await made.submit(desk, "hi")
        while (row := await made.journal.get_run(TENANT, run)) is None or row.status != "parked":
            await asyncio.sleep(0.01)
        assert b'"budget"' in row.waiting
        if raise_it:
            await put(made, calls=2, at_end="park")
        else:
            await made.journal.budgets.remove(TENANT, "org")
        assert (await made.result(run)).outcome == "succeeded"


async def test_a_budget_that_is_raised_between_the_refusal_and_the_wait_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with platform(org={"calls": 1, "at_end": "park"}) as made:
        assert made.services.budgets is not None
        desk, budgets, listing = clerk(Slow()), made.journal.budgets, made.services.budgets.listing
        await desk.run("hi")
        wait, asked = budgets.wait, []

        async def raised_first(*args: Any) -> int:
            asked.append(args)
            if len(asked) == 1:
                await put(made, calls=2, at_end="park")  # which finds nobody who waits
                while listing.change != await budgets.change():  # and of which this process hears now
                    listing.heard(listing.now(), await budgets.change())
                    await asyncio.sleep(0)
            return await wait(*args)

        monkeypatch.setattr(budgets, "wait", raised_first)
        assert (await made.result(await made.submit(desk, "hi"), timeout_seconds=10)).outcome == "succeeded"
        assert asked


async def test_calls_of_tools_count_where_calls_are_limited() -> None:
    done: list[int] = []

    @tool(effect="write", permission="auto", in_doubt="idempotent")
    async def act(n: int) -> str:
        """Do it."""
        done.append(n)
        return "ok"

    @tool(effect="read")
    async def look(n: int) -> str:
        """Look."""
        return "ok"

    @agent("hands")
    async def hands(run: Run, times: int) -> str:
        for n in range(times):
            await run.call(look if n % 2 else act, n)
        return "done"

    async with platform(org={"calls": 3}, money={"nano": 1000}) as made:
        assert (await hands.run(3)).outcome == "succeeded"
        end = await hands.run(1)
        assert (end.outcome, end.code) == ("exhausted", "over_shared_calls")
        assert done == [0, 2]
        assert (await account(made)).used == (0, 0, 3)
        assert (await account(made)).held == (0, 0, 0)
        assert (await account(made, "money")).used == (0, 0, 0)


async def test_the_record_says_where_a_call_was_charged() -> None:
    async with platform(org={"calls": 5}, cust={"tokens": 10**6, "match": {"customer": EACH}}) as made:
        end = await clerk(Slow()).run("hi", tags={"customer": "ada"})
        events = [decode(row.body) for row in await made.journal.tape(TENANT, end.run)]
        intent = next(event for event in events if isinstance(event, ModelIntent))
        ids = {(await account(made, name)).id for name in ("org", "cust")}
        assert set(intent.charged) == ids
        assert [rule for rule in intent.passed if rule.startswith("shared_budget@")] == ["shared_budget@1"]


async def test_who_has_no_run_can_reserve_too() -> None:
    async with platform(org={"calls": 1, "match": {"key": "k-1"}}) as made:
        shares = made.services.budgets
        assert shares is not None
        assert await shares.reserve(TENANT, "gateway", {"key": "k-2"}, Amount(1, 1, 1)) is None
        hold = await shares.reserve(TENANT, "gateway", {"key": "k-1"}, Amount(1, 1, 1))
        waiting = asyncio.create_task(shares.reserve(TENANT, "gateway", {"key": "k-1"}, Amount(1, 1, 1)))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        assert isinstance(hold, Hold)
        shares.release(hold)
        second = await waiting
        assert isinstance(second, Hold)
        assert second.accounts == hold.accounts


async def test_a_budget_of_another_tenant_is_none() -> None:
    async with in_memory(SOON) as made:
        await made.journal.budgets.put(Shared("zeta", "org", calls=1), "ops")
        desk = clerk(Slow())
        assert {(await desk.run("hi")).outcome for _ in range(3)} == {"succeeded"}


async def test_a_lowered_budget_refuses_from_then_on() -> None:
    async with platform(org={"calls": 100}) as made:
        desk = clerk(Slow())
        for _ in range(3):
            await desk.run("hi")
        await put(made, calls=2)
        end = await desk.run("hi")
        assert (end.outcome, end.code) == ("exhausted", "over_shared_calls")
        assert (await account(made)).used[2] == 3


async def test_a_share_that_was_lost_is_asked_for_anew() -> None:
    """As after a stall in which the store has taken the share back: the intent is refused, and written again."""
    async with platform(org={"calls": 100}) as made:
        desk = clerk(Slow())
        await desk.run("hi")
        store = made.journal.budgets
        store._holders.clear()  # type: ignore[attr-defined]
        for known in store._accounts.values():  # type: ignore[attr-defined]
            for holder in list(known.shares):
                known.fold(holder)
        assert (await desk.run("hi")).outcome == "succeeded"
        assert (await account(made)).used[2] == 2
        assert (await account(made)).held == (0, 0, 0)


async def test_a_run_that_is_killed_leaves_no_hold() -> None:
    async with platform(org={"calls": 5}) as made:
        desk = clerk(Slow(5))
        run = await made.submit(desk, "hi")
        while not (await made.journal.budgets.accounts(TENANT, "org") and (await account(made)).held[2]):
            await asyncio.sleep(0.01)
        await made.kill(run, actor="ben", reason="enough")
        await made.result(run)
        events = [decode(row.body) for row in await made.journal.tape(TENANT, run)]
        assert isinstance(events[-1], RunEnded)
        assert (await account(made)).held == (0, 0, 0)
        charged = [event for event in events if isinstance(event, ModelOutcome)]
        assert (await account(made)).used[0] == sum(event.used.nano for event in charged) or not charged
