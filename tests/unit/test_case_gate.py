"""Checks that look at the run so far, and resources that runs have to themselves, through the gate."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from penstock import Run, agent, checks, tool
from penstock.agents.checks import Case
from penstock.events import ToolIntent, VerdictRecorded, decode
from penstock.kernel.errors import CallDenied, ToolFailed
from penstock.ports.records import Status
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.settings import Settings
from penstock.testing import in_memory

SOON = Settings(poll_seconds=0.05)
FREE: dict[str, Any] = {"effect": "write", "risk": "low", "permission": "auto", "in_doubt": "idempotent"}
made: list[Any] = []


@contextlib.asynccontextmanager
async def platform(*agents: Any) -> AsyncIterator[Penstock]:
    made.clear()
    async with in_memory(SOON, agents=list(agents)) as known:
        yield known


async def tried(run: Run, what: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return await run.call(what, *args, **kwargs)
    except CallDenied as denied:
        return [str(denied.fields["rule"]), denied.what]
    except ToolFailed:
        return "failed"


async def outcome(known: Penstock, code: Any, value: Any) -> tuple[UUID, Any]:
    run = await known.submit(code, value)
    result = await known.result(run, timeout_seconds=20)
    assert result.ok, result
    row = await known.journal.get_run("default", run)
    assert row is not None
    found = await replay(known.services, row, [code])
    assert found.same, found.divergence
    return run, result.output


@tool(effect="read")
async def get_orders(customer: str) -> list[dict[str, str]]:
    """Their orders."""
    return [{"id": f"o-{customer}-1"}, {"id": f"o-{customer}-2"}]


@tool(**FREE, validate=[checks.traced("order", to=["get_orders"]), checks.sum_at_most("amount", 100)])
async def refund(order: str, amount: int) -> str:
    """Refund."""
    made.append((order, amount))
    if amount == 13:
        raise ValueError("unlucky")
    return "done"


async def test_an_order_of_another_case_is_denied_and_one_that_was_read_is_not() -> None:
    @agent("clerk")
    async def clerk(run: Run, customer: str) -> list[Any]:
        early = await tried(run, refund, order="o-ada-1", amount=1)
        await run.call(get_orders, customer)
        return [
            early,
            await tried(run, refund, order="o-bob-1", amount=1),
            await tried(run, refund, order="o-ada-1", amount=1),
        ]

    async with platform(clerk) as known:
        run, (early, foreign, mine) = await outcome(known, clerk, "ada")
        words = "traced: order must come from a result of get_orders or the input of this run"
        assert early == foreign == ["not_valid", f"denied: {words}"] or words in str(early)
        assert mine == "done"
        assert made == [("o-ada-1", 1)]
        tape = [decode(row.body) for row in await known.journal.tape("default", run)]
        assert [event.verdicts[0].code for event in tape if isinstance(event, VerdictRecorded)] == ["not_valid"] * 2


async def test_the_input_counts_as_seen() -> None:
    @agent("clerk")
    async def clerk(run: Run, asked: dict[str, str]) -> list[Any]:
        return [await tried(run, refund, order="o-77", amount=1), await tried(run, refund, order="o-78", amount=1)]

    async with platform(clerk) as known:
        _, (first, second) = await outcome(known, clerk, {"text": "please refund o-77, it never came"})
        assert first == "done"
        assert second[0] == "not_valid"


async def test_calls_side_by_side_share_what_a_run_may_refund() -> None:
    @agent("clerk")
    async def clerk(run: Run, customer: str) -> list[Any]:
        await run.call(get_orders, customer)
        orders = [f"o-{customer}-{n}" for n in (1, 2)]
        several = await run.gather(
            *(tried(run, refund, order=order, amount=amount) for order in orders for amount in (41, 42))
        )
        return [*several, await tried(run, refund, order=orders[0], amount=20)]

    async with platform(clerk) as known:
        _, said = await outcome(known, clerk, "ada")
        assert sum(amount for _, amount in made) <= 100
        assert [answer == "done" for answer in said].count(True) == 2
        assert said[-1][0] == "not_valid"


async def test_a_failure_counts_for_it_may_have_had_its_effect() -> None:
    @agent("clerk")
    async def clerk(run: Run, customer: str) -> list[Any]:
        await run.call(get_orders, customer)
        failed = await tried(run, refund, order="o-ada-1", amount=13)
        return [
            failed,
            await tried(run, refund, order="o-ada-1", amount=88),
            await tried(run, refund, order="o-ada-2", amount=87),
        ]

    async with platform(clerk) as known:
        _, said = await outcome(known, clerk, "ada")
        assert said[0] == "failed"
        assert said[1][0] == "not_valid"
        assert said[2] == "done"


async def test_what_was_done_before_the_run_was_put_away_still_counts() -> None:
    """Another claim reads it from the journal."""

    @agent("clerk")
    async def clerk(run: Run, customer: str) -> list[Any]:
        await run.call(get_orders, customer)
        first = await tried(run, refund, order="o-ada-1", amount=60)
        await run.wait_event("go")
        return [
            first,
            await tried(run, refund, order="o-ada-2", amount=41),
            await tried(run, refund, order="o-ada-2", amount=40),
        ]

    async with platform(clerk) as known:
        run = await known.submit(clerk, "ada")
        async with asyncio.timeout(20):
            while (row := await known.journal.get_run("default", run)) is None or row.status is not Status.PARKED:
                await asyncio.sleep(0.005)
        await known.send_event(run, "go", None)
        result = await known.result(run, timeout_seconds=20)
        first, too_much, second = result.output
        assert (first, too_much[0], second) == ("done", "not_valid", "done")


async def test_a_rule_of_ones_own_sees_the_case_and_fails_closed() -> None:
    def same_customer(args: dict[str, Any], case: Case) -> str | None:
        seen = [call.args["customer"] for call in case.of("get_orders")]
        return None if seen == [args["customer"]] and case.tags["x_team"] == "a" else "look at one customer first"

    def raises(args: dict[str, Any], case: Case) -> str | None:
        raise KeyError("x")

    @tool(**FREE, validate=[checks.custom(same_customer, calls=["get_orders"])])
    async def close(customer: str) -> str:
        """Close."""
        return "closed"

    @tool(**FREE, validate=[checks.custom(raises)])
    async def broken(customer: str) -> str:
        """Break."""
        return "broken"

    @agent("clerk")
    async def clerk(run: Run, customer: str) -> list[Any]:
        early = await tried(run, close, customer="ada")
        await run.call(get_orders, customer)
        return [early, await tried(run, close, customer="ada"), await tried(run, broken, customer="ada")]

    async with platform(clerk) as known:
        run = await known.submit(clerk, "ada", tags={"x_team": "a"})
        early, closed, broke = (await known.result(run, timeout_seconds=20)).output
        assert (early[0], closed, broke[0]) == ("not_valid", "closed", "validation_failed")


def order_of(args: dict[str, Any]) -> str:
    return f"order:{args['order']}"


class Gate:
    """Lets a run go on when a test says so."""

    def __init__(self) -> None:
        self.go = asyncio.Event()


@tool(**FREE, resource=order_of)
async def ship(order: str) -> str:
    """Ship."""
    made.append(order)
    return "shipped"


@tool(**FREE, resource=order_of, conflict="wait")
async def patient(order: str) -> str:
    """Ship, whenever."""
    made.append(order)
    return "shipped"


@agent("holder")
async def holder(run: Run, order: str) -> Any:
    said = await tried(run, ship, order=order)
    await run.wait_event("go")
    return said


async def parked(known: Penstock, run: UUID, times: int = 1) -> None:
    async with asyncio.timeout(20):
        while (row := await known.journal.get_run("default", run)) is None or row.status is not Status.PARKED:
            await asyncio.sleep(0.005)


async def test_a_second_runs_write_on_the_same_thing_is_denied_until_the_first_has_ended() -> None:
    @agent("other")
    async def other(run: Run, order: str) -> Any:
        return await tried(run, ship, order=order)

    async with platform(holder, other) as known:
        first = await known.submit(holder, "o-1")
        await parked(known, first)
        run, denied = await outcome(known, other, "o-1")
        assert denied[0] == "resource_taken"
        assert str(first) in denied[1]
        assert (await outcome(known, other, "o-2"))[1] == "shipped"
        await known.send_event(first, "go", None)
        assert (await known.result(first, timeout_seconds=20)).output == "shipped"
        assert (await outcome(known, other, "o-1"))[1] == "shipped"
        tape = [decode(row.body) for row in await known.journal.tape("default", run)]
        assert not [event for event in tape if isinstance(event, ToolIntent)]


async def test_one_that_waits_goes_on_when_it_is_free_and_no_circle_of_them_comes_to_be() -> None:
    @agent("waiter")
    async def waiter(run: Run, order: str) -> Any:
        return await tried(run, patient, order=order)

    @agent("greedy")
    async def greedy(run: Run, orders: list[str]) -> Any:
        return [await tried(run, patient, order=order) for order in orders]

    async with platform(holder, waiter, greedy) as known:
        first = await known.submit(holder, "o-1")
        await parked(known, first)
        waits = await known.submit(waiter, "o-1")
        await parked(known, waits)
        _, (own, taken) = await outcome(known, greedy, ["o-2", "o-1"])
        assert own == "shipped"
        assert taken[0] == "resource_taken", "it has something itself, and does not wait"
        await known.send_event(first, "go", None)
        assert (await known.result(waits, timeout_seconds=20)).output == "shipped"
        assert made == ["o-1", "o-2", "o-1"]


async def test_the_family_of_a_run_has_it_together() -> None:
    @agent("child")
    async def child(run: Run, order: str) -> Any:
        return await tried(run, ship, order=order)

    @agent("parent")
    async def parent(run: Run, order: str) -> Any:
        return [await tried(run, ship, order=order), await run.call(child, order)]

    async with platform(parent, child) as known:
        assert (await outcome(known, parent, "o-1"))[1] == ["shipped", "shipped"]


async def test_a_resource_that_cannot_be_named_denies() -> None:
    @tool(**FREE, resource=lambda args: args["nothing"])
    async def nameless(order: str) -> str:
        """Raise."""
        return "done"

    @tool(**FREE, resource=lambda args: 7)  # type: ignore[arg-type,return-value]
    async def numbered(order: str) -> str:
        """No name."""
        return "done"

    @tool(**FREE, resource=lambda args: ["x" * 201])
    async def long(order: str) -> str:
        """Too long."""
        return "done"

    @agent("clerk")
    async def clerk(run: Run, order: str) -> Any:
        return [(await tried(run, item, order=order))[0] for item in (nameless, numbered, long)]

    async with platform(clerk) as known:
        assert (await outcome(known, clerk, "o"))[1] == ["validation_failed"] * 3
