"""What both stores must do about sums of spending. A subclass has a fixture ``world``."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from tests.contract.journal_world import Holder, World, new_run

from penstock import Settings
from penstock.events import (
    Amount,
    ChildIntent,
    ChildOutcome,
    ModelIntent,
    ModelOutcome,
    RunEnded,
    ToolIntent,
    ToolOutcome,
    Totals,
)
from penstock.ports.records import Move, Status, Summary
from penstock.ports.usage import HOUR, MINUTE, Group, HourSum, Step
from penstock.runs.usage import Counting
from penstock.views.costs import read_costs
from penstock.wiring import assemble

SETTINGS = Settings(usage_every_seconds=0.05)
TOP = 2**52


def counting(world: World) -> Counting:
    """Somebody who counts; each is another process."""
    return Counting(assemble(world.journal, SETTINGS).services)


async def count(world: World, who: Counting | None = None) -> int:
    """Count what is due, whenever the last round was."""
    who = who or counting(world)
    await world.journal.usage.end_turn(who._holder, 0)
    counted = 0
    while True:
        found = await who.look()
        await world.journal.usage.end_turn(who._holder, 0)
        counted += found
        if not await world.journal.usage.behind(1):
            return counted


def envelope(holder: Holder) -> dict[str, Any]:
    return {"tenant": holder.tenant, "run": holder.run, "agent": holder.claim.agent}


def model_call(holder: Holder, path: str, model: str, used: Amount, **fields: Any) -> list[Any]:
    """A call that was made and answered."""
    said = envelope(holder)
    intent = ModelIntent(**said, path=path, model=model, digest="d", reserved=Amount(900, 100, 9_000))
    return [intent, ModelOutcome(**said, path=path, used=used, **fields)]


async def end(
    holder: Holder, *events: Any, outcome: str = "succeeded", code: str = "", summary: Summary | None = None
) -> None:
    """The run's last batch: these events and its end."""
    over = RunEnded(**envelope(holder), outcome=outcome, code=code)
    move = Move(Status.ENDED, outcome=outcome, code=code)
    await holder.append(*events, over, move=move, summary=summary or Summary())


async def ended(world: World, nano: int = 1_000, model: str = "m-1", **fields: Any) -> Holder:
    """A run that made one model call."""
    holder = await world.held(**fields)
    used = Amount(100, 10, nano)
    await end(holder, *model_call(holder, "0", model, used), summary=Summary(tokens=110, nano=nano, model_calls=1))
    return holder


async def by(world: World, dimension: Any, tenant: str = "acme", **where: str) -> dict[str, int]:
    """Money in the sums by value."""
    groups = await world.journal.usage.sums(tenant, dimension, 0, TOP, where)
    return {group.value: group.nano for group in groups}


async def everything(world: World, tenant: str = "acme") -> list[list[Group]]:
    usage = world.journal.usage
    return [
        await usage.sums(tenant, name, 0, TOP, {})
        for name in ("customer", "feature", "agent", "task_type", "model", "release")
    ]


class UsageSuite:
    async def test_what_a_run_spent_is_told_by_each_of_its_names(self, world: World) -> None:
        tags = {"customer": "acme-1", "feature": "inbox", "task_type": "refund"}
        await ended(world, 1_000, "m-1", tags=tags)
        await ended(world, 500, "m-2", tags={"customer": "acme-2"})
        assert await count(world) == 2
        assert await by(world, "customer") == {"acme-1": 1_000, "acme-2": 500}
        assert await by(world, "feature") == {"inbox": 1_000, "": 500}
        assert await by(world, "task_type") == {"refund": 1_000, "": 500}
        assert await by(world, "agent") == {"clerk": 1_500}
        assert await by(world, "release") == {"r1": 1_500}
        assert {value: nano for value, nano in (await by(world, "model")).items() if nano} == {"m-1": 1_000, "m-2": 500}
        assert await by(world, "customer", model="m-2") == {"acme-2": 500}
        assert await by(world, "model", customer="acme-1", feature="inbox") == {"m-1": 1_000, "": 0}
        [group] = await world.journal.usage.sums("acme", "agent", 0, TOP, {})
        assert (group.runs, group.model_calls, group.tokens_in, group.tokens_out) == (2, 2, 200, 20)

    async def test_a_run_counts_once_however_many_models_it_called(self, world: World) -> None:
        holder = await world.held()
        calls = [*model_call(holder, "0", "m-1", Amount(1, 1, 5)), *model_call(holder, "1", "m-2", Amount(1, 1, 7))]
        await end(holder, *calls, *model_call(holder, "2", "m-1", Amount(1, 1, 1)))
        await count(world)
        [agent] = await world.journal.usage.sums("acme", "agent", 0, TOP, {})
        assert (agent.runs, agent.model_calls, agent.nano) == (1, 3, 13)
        models = {group.value: group.runs for group in await world.journal.usage.sums("acme", "model", 0, TOP, {})}
        assert models == {"m-1": 1, "m-2": 1, "": 0}

    async def test_tools_that_cost_and_attempts_without_an_outcome_are_charged(self, world: World) -> None:
        holder = await world.held()
        said = envelope(holder)
        search = ToolIntent(**said, path="0", tool="search", digest="d", reserved=Amount(nano=50))
        found = ToolOutcome(**said, path="0", used=Amount(nano=30))
        lost = ModelIntent(**said, path="1", model="m-1", digest="d", reserved=Amount(900, 100, 9_000))
        await end(holder, search, found, lost, outcome="killed")
        await count(world)
        assert await by(world, "model") == {"m-1": 9_000, "": 30}
        [group] = await world.journal.usage.sums("acme", "agent", 0, TOP, {})
        assert group.nano_at_maximum == 9_000

    async def test_children_count_with_themselves(self, world: World) -> None:
        parent = await world.held()
        said = envelope(parent)
        child = new_run(parent=parent.run, parent_path="0", root=parent.run, agent="helper")
        intent = ChildIntent(**said, path="0", child=child.id, child_agent="helper", digest="d")
        await parent.append(intent, children=[child], intent=True)
        below = await world.reclaim(child.id)
        await end(below, *model_call(below, "0", "m-1", Amount(1, 1, 40)), summary=Summary(nano=40, tokens=2))
        outcome = ChildOutcome(**said, path="0", child=child.id, outcome="succeeded", totals=Totals(nano=40))
        await parent.append(
            outcome, *model_call(parent, "1", "m-1", Amount(1, 1, 2)), summary=Summary(nano=42, tokens=4)
        )
        await count(world)
        assert await by(world, "agent") == {"helper": 40}
        live = await world.journal.usage.live("acme", "agent", {})
        assert [(group.value, group.nano) for group in live.groups] == [("clerk", 2)]
        await end(parent, summary=Summary(nano=42, tokens=4))
        live = await world.journal.usage.live("acme", "agent", {})
        assert [(group.value, group.nano) for group in live.groups] == [("clerk", 2)], "ended, and not counted yet"
        await count(world)
        assert await by(world, "agent") == {"helper": 40, "clerk": 2}
        assert (await world.journal.usage.live("acme", "agent", {})).groups == []

    async def test_a_step_that_is_done_twice_counts_once(self, world: World) -> None:
        await ended(world, 1_000)
        usage = world.journal.usage
        place = await usage.place("acme")
        assert place is not None
        while place.is_old:
            step = await usage.next_step(place)
            assert step is not None
            assert await usage.count(step, [], [])
            place = step.ends
        step = await usage.next_step(place)
        assert step is not None
        assert [run.nano for run in step.runs] == [1_000]
        assert await usage.count(step, [], [])
        assert not await usage.count(step, [], [])
        assert await usage.behind(10) == []

    async def test_one_counts_at_a_time(self, world: World) -> None:
        usage, one, other = world.journal.usage, counting(world), counting(world)
        assert await usage.take_turn(one._holder, 60, when_due=True)
        assert not await usage.take_turn(other._holder, 60, when_due=False)
        assert await other.look() == 0
        await usage.end_turn(one._holder, 3_600)
        assert not await usage.take_turn(other._holder, 60, when_due=True), "it is not due"
        await ended(world)
        assert await other.look() == 0
        assert await usage.behind(1) == ["acme"]
        assert await usage.take_turn(other._holder, 60, when_due=False)
        assert not await usage.take_turn(one._holder, 60, when_due=False)

    async def test_made_anew_the_sums_are_the_same(self, world: World) -> None:
        who = counting(world)
        for number in range(6):
            await ended(world, 1_000 + number, f"m-{number % 2}", tags={"customer": f"c-{number % 3}"})
            if number % 2:
                await count(world, who)
        await count(world, who)
        before = await everything(world)
        assert sum(group.nano for group in before[0]) == sum(1_000 + number for number in range(6))
        await world.journal.usage.end_turn(who._holder, 0)
        assert await who.again("acme") == 6
        assert await everything(world) == before
        await ended(world, 7, tags={"customer": "c-0"})
        assert await count(world, who) == 1
        assert (await by(world, "customer"))["c-0"] == 1_000 + 1_003 + 7

    async def test_every_read_is_its_tenants(self, world: World) -> None:
        await ended(world, 1_000)
        await ended(world, 3, tenant="beta")
        await count(world)
        assert await by(world, "agent") == {"clerk": 1_000}
        assert await by(world, "agent", tenant="beta") == {"clerk": 3}
        assert await by(world, "agent", tenant="nobody") == {}
        assert len(await world.journal.usage.minutes("nobody", 0)) == 0
        holder = await world.held(tenant="beta")
        await holder.append(summary=Summary(nano=9, tokens=1))
        assert (await world.journal.usage.live("acme", "agent", {})).groups == []

    async def test_how_runs_ended_by_minute_counted_or_not(self, world: World) -> None:
        await ended(world)
        await count(world)
        holder = await world.held()
        await end(holder, outcome="failed", code="tool_failed")
        now = await world.journal.now()
        sums = await world.journal.usage.minutes("acme", now - 10 * MINUTE)
        assert sorted((item.outcome, item.code, item.runs) for item in sums) == [
            ("failed", "tool_failed", 1),
            ("succeeded", "", 1),
        ]
        await count(world)
        again = await world.journal.usage.minutes("acme", now - 10 * MINUTE)
        assert sorted((item.outcome, item.runs, item.example) for item in again) == sorted(
            (item.outcome, item.runs, item.example) for item in sums
        )

    async def test_the_dearest_run_of_each_value(self, world: World) -> None:
        small = await ended(world, 10, tags={"customer": "a"})
        large = await ended(world, 20, tags={"customer": "a"})
        other = await ended(world, 5, tags={"customer": "b"})
        await count(world)
        groups = await world.journal.usage.sums("acme", "customer", 0, TOP, {})
        assert [(group.value, group.dearest) for group in groups] == [("a", large.run), ("b", other.run)]
        assert small.run != large.run

    async def test_costs_over_time(self, world: World) -> None:
        await ended(world, 1_000, tags={"customer": "a"})
        await count(world)
        running = await world.held(tags={"customer": "b"})
        await running.append(summary=Summary(nano=400, tokens=11))
        costs = await read_costs(world.journal, "acme", "customer")
        assert [(row.value, row.used.nano, row.runs, row.before_nano) for row in costs.rows] == [
            ("a", 1_000, 1, 0),
            ("b", 400, 1, 0),
        ]
        assert (costs.total.nano, costs.live_nano, costs.total_runs, costs.width) == (1_400, 400, 2, 24 * HOUR)
        assert [point.nano for point in costs.series if point.nano] == [{"a": 1_000}]
        assert costs.since % HOUR == 0
        now = await world.journal.now()
        past = await read_costs(world.journal, "acme", "customer", since=now - 10 * HOUR, until=now - 5 * HOUR)
        assert (past.rows, past.total.nano, past.live_nano, past.width) == ([], 0, 0, HOUR)
        later = now - now % HOUR + 2 * HOUR
        after = await read_costs(world.journal, "acme", "customer", since=later - HOUR, until=later)
        assert [(row.value, row.used.nano, row.before_nano) for row in after.rows] == [("b", 400, 0)]

    async def test_every_stretch_comes_to_the_same_by_the_hour_and_by_the_day(self, world: World) -> None:
        """Sums of whole days are read from rows of days; their edges, and short stretches, from rows of hours."""
        usage = world.journal.usage
        start = 20_000 * 24 * HOUR
        place = await usage.place("acme")
        assert place is not None
        sums = [
            HourSum(
                start + hour * HOUR, UUID(int=number), f"c-{number}", "", "a", "", "r", "", nano=1 << number, runs=1
            )
            for number, hour in enumerate((0, 5, 23, 24, 30, 47, 48, 71, 72, 100))
        ]
        step = Step(place, replace(place, number=place.number + 1, is_old=False), [], False)
        assert await usage.count(step, sums, [])
        for low, high in (
            (0, 24),
            (0, 48),
            (5, 48),
            (6, 72),
            (23, 25),
            (24, 48),
            (25, 47),
            (0, 101),
            (1, 100),
            (40, 41),
        ):
            expected = {item.customer: item.nano for item in sums if low * HOUR <= item.hour - start < high * HOUR}
            found = await usage.sums("acme", "customer", start + low * HOUR, start + high * HOUR, {})
            assert {group.value: group.nano for group in found} == expected, (low, high)
            for width in (HOUR, 24 * HOUR):
                series = await usage.series("acme", "agent", start + low * HOUR, start + high * HOUR, width, ["a"], {})
                assert sum(nano for _, _, nano in series) == sum(expected.values()), (low, high, width)

    async def test_old_sums_are_dropped(self, world: World) -> None:
        await ended(world, 1_000)
        await count(world)
        usage = world.journal.usage
        assert await usage.drop_old(0, 0, 100) == 0
        assert await usage.drop_old(TOP, TOP, 100) >= 3, "two rows of the hour, one of the minute"
        assert await by(world, "agent") == {}
