"""What both stores must do about sums of spending. A subclass has a fixture ``world``."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from tests.contract.journal_world import Holder, World, new_run

from penstock import Settings
from penstock.events import (
    Amount,
    ChildIntent,
    ChildOutcome,
    Failure,
    ModelIntent,
    ModelOutcome,
    RunEnded,
    ToolIntent,
    ToolOutcome,
    Totals,
)
from penstock.ports.records import Move, Status, Summary
from penstock.ports.usage import DIMENSIONS, HOUR, KINDS, MINUTE, Group, HourSum, Step
from penstock.runs.usage import Counting
from penstock.views.costs import read_costs
from penstock.wiring import assemble

SETTINGS = Settings(usage_every_seconds=0.05)
TOP = 2**52


def counting(world: World, **settings: Any) -> Counting:
    """Somebody who counts; each is another process."""
    return Counting(assemble(world.journal, replace(SETTINGS, **settings)).services)


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

    async def test_several_dimensions_at_once(self, world: World) -> None:
        await ended(world, 1_000, "m-1", tags={"customer": "a", "feature": "x", "user": "u-1"})
        await ended(world, 300, "m-2", tags={"customer": "a", "feature": "y", "user": "u-1"})
        await ended(world, 20, "m-1", tags={"customer": "b", "feature": "x"})
        await count(world)
        usage = world.journal.usage
        groups = await usage.sums("acme", ("customer", "feature"), 0, TOP, {})
        assert [(group.values, group.nano, group.runs) for group in groups] == [
            (("a", "x"), 1_000, 1),
            (("a", "y"), 300, 1),
            (("b", "x"), 20, 1),
        ]
        three = await usage.sums("acme", ("user", "model", "kind"), 0, TOP, {"feature": "x"})
        assert [(group.values, group.nano, group.runs) for group in three if group.nano] == [
            (("u-1", "m-1", "work"), 1_000, 1),
            (("", "m-1", "work"), 20, 1),
        ]
        for wrong in ((), ("customer", "customer"), ("customer", "color"), ("tag.",), tuple("abcde")):
            with pytest.raises(ValueError, match="told by"):
                await usage.sums("acme", wrong, 0, TOP, {})

    async def test_what_was_paid_for(self, world: World) -> None:
        """Each kind of call apart, and together all the money."""
        holder = await world.held()
        said, reserved = envelope(holder), Amount(900, 100, 9_000)

        def call(path: str, used: Amount, purpose: str = "step", because: str = "", **fields: Any) -> list[Any]:
            intent = ModelIntent(
                **said, path=path, model="m", digest="d", reserved=reserved, purpose=purpose, because=because
            )
            return [intent, ModelOutcome(**said, path=path, used=used, **fields)]

        bad, late, off = (Failure(code, "permanent") for code in ("model_failed", "hedge_lost", "cancelled"))
        events = [
            *call("0", Amount(1, 1, 1)),
            *call("1", Amount(1, 1, 2), because="retry"),
            *call("2", Amount(1, 1, 4), because="fallback"),
            *call("3", Amount(1, 1, 8), status="error", failure=late),
            *call("4", Amount(1, 1, 16), status="error", failure=bad),
            *call("5", Amount(1, 1, 32), status="error", failure=off),
            *call("6", Amount(1, 1, 64), status="lost", at_maximum=True),
            *call("7", Amount(), status="cached"),
            *call("8", Amount(1, 1, 128), purpose="judge", status="error", failure=bad),
            *call("9", Amount(1, 1, 256), purpose="shadow"),
            *call("10", Amount(1, 0, 512), purpose="embedding"),
            *call("11", Amount(1, 1, 1_024), because="in_doubt"),
            *call("12", Amount(1, 1, 2_048), because="hedge"),
            ToolIntent(**said, path="13", tool="search", digest="d"),
            ToolOutcome(**said, path="13", used=Amount(nano=4_096)),
            ModelIntent(**said, path="14", model="m", digest="d", reserved=reserved),
        ]
        await end(holder, *events, outcome="killed")
        await count(world)
        assert await by(world, "kind") == {
            "": 0,
            "work": 1 + 2_048,
            "retry": 2 + 1_024,
            "fallback": 4,
            "hedge": 8,
            "failed": 16,
            "cancelled": 32,
            "lost": 64 + 9_000,
            "cached": 0,
            "judge": 128,
            "shadow": 256,
            "embedding": 512,
            "tool": 4_096,
        }
        [whole] = await world.journal.usage.sums("acme", "agent", 0, TOP, {})
        assert (whole.runs, whole.model_calls, whole.nano) == (1, 14, 8_191 + 9_000)
        kinds = await world.journal.usage.sums("acme", "kind", 0, TOP, {})
        assert {group.value: group.runs for group in kinds if group.value} == dict.fromkeys(KINDS, 1)

    async def test_a_run_made_for_judging_counts_there(self, world: World) -> None:
        await ended(world, 1_000, tags={"kind": "judge"})
        await ended(world, 10, tags={"kind": "no such"})
        await count(world)
        assert await by(world, "kind") == {"": 0, "judge": 1_000, "work": 10}

    async def test_the_classes_of_tokens(self, world: World) -> None:
        holder = await world.held()
        used = Amount(100, 50, 7, 40, 30, 20, 10, 5, 4, 8, 3, 0)
        await end(holder, *model_call(holder, "0", "m", used), *model_call(holder, "1", "m", used))
        await count(world)
        [group] = await world.journal.usage.sums("acme", "customer", 0, TOP, {})
        assert group.classes == {
            "cached": 80,
            "written": 60,
            "written_hour": 20,
            "reasoning": 40,
            "audio_in": 10,
            "audio_out": 16,
            "image_in": 6,
        }
        costs = await read_costs(world.journal, "acme", "customer")
        assert costs.total.classes == group.classes

    async def test_tags_of_ones_own_are_counted_by_when_they_are_named(self, world: World) -> None:
        who = counting(world, costs_tags="x_region, x_team")
        await ended(world, 1_000, tags={"x_region": "eu", "x_team": "a", "x_ticket": "1"})
        await ended(world, 20, tags={"x_region": "us"})
        await count(world, who)
        assert await by(world, "tag.x_region") == {"eu": 1_000, "us": 20}
        assert await by(world, "tag.x_team") == {"a": 1_000, "": 20}
        assert await by(world, "tag.x_ticket") == {"": 1_020}
        assert await by(world, "agent", **{"tag.x_region": "us"}) == {"clerk": 20}
        now = await world.journal.now()
        series = await world.journal.usage.series("acme", "tag.x_region", now - HOUR, now, HOUR, ["eu"], {})
        assert {value: nano for _, value, nano in series} == {"eu": 1_000, None: 20}
        running = await world.held(tags={"x_region": "eu"})
        await running.append(summary=Summary(nano=5, tokens=1))
        live = await world.journal.usage.live("acme", ("tag.x_region", "agent"), {"tag.x_region": "eu"})
        assert [(group.values, group.nano) for group in live.groups] == [(("eu", "clerk"), 5)]

    async def test_a_tag_with_many_values_becomes_one(self, world: World) -> None:
        """The first values of a day are told apart, whatever comes after is one; the money is whole, also anew."""
        who = counting(world, costs_values_max=10, costs_tags="x_ticket")
        for number in range(25):
            await ended(world, 1 << number, tags={"customer": f"c-{number}", "x_ticket": f"t-{number}"})
        await count(world, who)
        for name in ("customer", "tag.x_ticket"):
            sums = await by(world, name)
            assert len(sums) == 11, name
            assert sum(sums.values()) == (1 << 25) - 1
            assert sums["*"] == sum(1 << number for number in range(10, 25))
        await ended(world, 3, tags={"customer": "c-4"})
        await ended(world, 5, tags={"customer": "c-24"})
        await count(world, who)
        sums = await by(world, "customer")
        assert sums["c-4"] == (1 << 4) + 3
        await world.journal.usage.end_turn(who._holder, 0)
        await who.again("acme")
        assert await by(world, "customer") == sums
        other = await world.journal.usage.admit("beta", 0, {"customer": ["x"]}, 1)
        assert other == {"customer": {"x"}}
        assert await world.journal.usage.admit("beta", 0, {"customer": ["y", "x"]}, 1) == {"customer": {"x"}}
        assert await world.journal.usage.admit("beta", 24 * HOUR, {"customer": ["y"]}, 1) == {"customer": {"y"}}

    async def test_hours_page_by_page(self, world: World) -> None:
        for number in range(7):
            await ended(world, 1 << number, tags={"customer": f"c-{number}"})
        await ended(world, 9, tenant="beta")
        await count(world)
        usage, after, found = world.journal.usage, None, list[Any]()
        while page := await usage.hours("acme", 0, TOP, {}, after, 3):
            found += page
            after = page[-1].hour, page[-1].slot
        assert found == sorted(found, key=lambda row: (row.hour, row.slot))
        paid = {row.values[DIMENSIONS.index("customer")]: row.nano for row in found if row.nano}
        assert paid == {f"c-{number}": 1 << number for number in range(7)}
        assert len(found) == 14, "a row that counts the run, and one for its model"
        assert await usage.hours("acme", TOP, TOP + HOUR, {}, None, 3) == []
        [only] = [row for row in await usage.hours("acme", 0, TOP, {"customer": "c-3"}, None, 9) if row.nano]
        assert (only.nano, only.tokens_in, only.classes["cached"]) == (8, 100, 0)

    async def test_what_runs_spend_that_go_on_cannot_be_told_by_call(self, world: World) -> None:
        """A total that leaves something out says so."""
        await ended(world, 1_000)
        await count(world)
        complete = await read_costs(world.journal, "acme", "customer", where={"model": "m-1"})
        assert (complete.total.nano, complete.partial) == (1_000, False)
        running = await world.held(tags={"customer": "b"})
        await running.append(summary=Summary(nano=400, tokens=11))
        for name, value in (("model", "m-1"), ("kind", "work")):
            partial = await read_costs(world.journal, "acme", "customer", where={name: value})
            assert (partial.total.nano, partial.partial) == (1_000, True)
        other = await read_costs(world.journal, "acme", "customer", where={"model": "m-1", "customer": "a"})
        assert not other.partial, "that one's runs have all ended"

    async def test_corrections_are_kept_by_tenant(self, world: World) -> None:
        usage, keys = world.journal.usage, [UUID(int=number) for number in range(1, 4)]
        for key in keys:
            await usage.put_rerate("acme", key, 1, key.bytes)
        await usage.put_rerate("acme", keys[0], 1, b"other")
        await usage.put_rerate("beta", keys[0], 1, b"theirs")
        assert await usage.rerates("acme", 2) == [keys[2].bytes, keys[1].bytes]
        assert await usage.rerates("acme", 9) == [key.bytes for key in reversed(keys)]
        assert await usage.rerates("beta", 9) == [b"theirs"]
        assert await usage.rerates("nobody", 9) == []

    async def test_months_come_to_the_same_by_the_week(self, world: World) -> None:
        """Whole weeks are read from rows of weeks; what is left of both sides by the day and by the hour."""
        usage = world.journal.usage
        week = 7 * 24
        start = 400 * week * HOUR
        place = await usage.place("acme")
        assert place is not None
        hours = (0, 1, 23, 24, 167, 168, 200, 335, 336, 500, 503, 504, 671, 672, 700)
        sums = [
            HourSum(start + hour * HOUR, UUID(int=number), "c", "", "a", "", "r", "m", nano=1 << number, used_by=1)
            for number, hour in enumerate(hours)
        ]
        for item in sums:
            item.user, item.coarse = f"u-{item.nano % 3}", item.slot
        step = Step(place, replace(place, number=place.number + 1, is_old=False), [], False)
        assert await usage.count(step, sums, [])
        edges = sorted({0, 5, 100, *hours, *(hour + 1 for hour in hours)})
        for low in edges:
            for high in edges[edges.index(low) + 1 :]:
                expected = sum(1 << n for n, hour in enumerate(hours) if low <= hour < high)
                stretch = start + low * HOUR, start + high * HOUR
                for by in ("customer", "user"):
                    found = await usage.sums("acme", by, *stretch, {})
                    assert sum(group.nano for group in found) == expected, (low, high, by)
