"""What every store's queue must do. Waits are counted in claims, so nothing here depends on how fast a machine is."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from tests.contract.journal_world import SECOND, Holder, World, new_run

from penstock.kernel.errors import InputInvalid, QueueFull
from penstock.ports.controls import of_all
from penstock.ports.queue import PRIORITY_UNIT, UNIT, Bounds, Order
from penstock.ports.records import Claim, Move, NewRun, Post, Status, Stop

WIDE = Bounds(1_000_000, 100_000)
ROUND = PRIORITY_UNIT // UNIT
"""Runs of each customer that one level of priority goes ahead of."""


def order_of(run: NewRun, max_wait_seconds: float = 0) -> Order:
    return Order(
        run.tenant,
        run.agent,
        run.release,
        run.tags.get("customer", ""),
        run.priority,
        run.key,
        run.session,
        round(max_wait_seconds * SECOND),
    )


async def enter(world: World, runs: Sequence[NewRun], bounds: Bounds = WIDE, max_wait_seconds: float = 0) -> list[UUID]:
    """Submit as the engine does: first let in, then created."""
    ranks = await world.journal.queue.admit([order_of(run, max_wait_seconds) for run in runs], bounds)
    for run, rank in zip(runs, ranks, strict=True):
        run.rank = rank
    return [done.id for done in await world.journal.submit(runs)]


def runs_of(customer: str, count: int, **fields: Any) -> list[NewRun]:
    tags = {"customer": customer} if customer else {}
    return [new_run(tags=tags, **fields) for _ in range(count)]


async def drain(world: World, batch: int = 64, worker: UUID | None = None, most: int = 10**9) -> list[Claim]:
    """All that can be claimed, in order, ``batch`` at a time; at least ``most`` when there are as many."""
    worker = worker or await world.worker()
    taken: list[Claim] = []
    while len(taken) < most and (claims := await world.journal.claim(worker, ["r1"], batch)):
        taken += claims
    return taken


async def end(world: World, *claims: Claim, outcome: str = "succeeded") -> None:
    for claim in claims:
        answer = await Holder(world.journal, claim).move(Status.ENDED, outcome=outcome)
        assert answer.answer == "applied"


def waits(taken: Sequence[Claim], mine: Sequence[UUID]) -> list[int]:
    """After how many claims each of ``mine`` was taken, itself included, the first first."""
    places = {claim.run: place for place, claim in enumerate(taken, 1)}
    return sorted(places[run] for run in mine)


class FairnessSuite:
    async def test_a_flood_leaves_the_waits_of_others_within_the_bound(self, world: World) -> None:
        """With n customers at work, the k-th run of one waits for at most n * (k + 1) claims, whatever is queued."""
        flood = await enter(world, runs_of("a", 10_000))
        early = await drain(world, most=640)
        quiet = {name: await enter(world, runs_of(name, 20)) for name in ("b", "c", "d")}
        taken = await drain(world, most=500)
        for mine in quiet.values():
            waited = waits(taken, mine)
            assert all(wait <= 4 * (k + 1) for k, wait in enumerate(waited, 1)), waited
            assert waited[18] <= 80, "the 95th percentile of 20"
        left = {claim.run for claim in (*early, *taken)} & set(flood)
        assert len(left) == len(early) + len(taken) - 60, "nothing was kept idle"

    async def test_shares_go_by_weight(self, world: World) -> None:
        await world.journal.queue.set_weight("acme", "a", 3)
        assert await world.journal.queue.weights("acme") == {"a": 3.0}
        heavy = await enter(world, runs_of("a", 300))
        light = await enter(world, runs_of("b", 300))
        first = {claim.run for claim in (await drain(world, batch=40, most=40))[:40]}
        assert 29 <= len(first & set(heavy)) <= 31
        assert 9 <= len(first & set(light)) <= 11
        await world.journal.queue.set_weight("acme", "a", 1)
        assert await world.journal.queue.weights("acme") == {}

    @pytest.mark.parametrize("weight", [0, 0.001, 1001, float("nan")])
    async def test_a_weight_out_of_bounds_is_refused(self, world: World, weight: float) -> None:
        with pytest.raises(InputInvalid, match="weight"):
            await world.journal.queue.set_weight("acme", "a", weight)

    async def test_who_used_idle_workers_is_not_punished_later(self, world: World) -> None:
        await enter(world, runs_of("a", 500))
        assert len(await drain(world)) == 500
        late = await enter(world, runs_of("b", 50))
        again = await enter(world, runs_of("a", 50))
        first = {claim.run for claim in (await drain(world, batch=40, most=40))[:40]}
        assert abs(len(first & set(late)) - len(first & set(again))) <= 2

    async def test_tenants_are_customers_of_each_other(self, world: World) -> None:
        await enter(world, runs_of("", 500))
        other = await enter(world, runs_of("", 5, tenant="globex"))
        assert max(waits(await drain(world, most=64), other)) <= 12

    async def test_a_higher_priority_goes_first_and_starves_nobody(self, world: World) -> None:
        """A level is worth a head start of a thousand runs: then what waited is taken, however many more come."""
        worker = await world.worker()
        low = await enter(world, runs_of("a", 1))
        taken: list[Claim] = []
        while not (waited := [place for place, claim in enumerate(taken, 1) if claim.run in low]):
            await enter(world, runs_of("b", 256, priority=1))
            taken += await drain(world, batch=128, worker=worker, most=128)
            assert len(taken) < 3 * ROUND
        assert ROUND <= waited[0] <= ROUND + 2

    async def test_levels_of_one_customer_share_its_weight(self, world: World) -> None:
        """Whoever spreads his runs over k levels gets at most 1 + 1/2 + ... + 1/k shares."""
        steps = []
        for level in range(4):
            orders = [order_of(run) for run in runs_of("a", 2, priority=level)]
            first, second = await world.journal.queue.admit(orders, WIDE)
            assert first is not None
            assert second is not None
            steps.append(second - first)
        assert steps == [UNIT, 2 * UNIT, 3 * UNIT, 4 * UNIT]

    async def test_started_work_goes_before_new_work(self, world: World) -> None:
        [begun] = await world.claimed(1)
        await begun.move(Status.PARKED)
        await enter(world, runs_of("a", 100))
        await world.journal.deliver(Post(*begun.key, "x", "message", b"{}"))
        assert waits(await world.claim(limit=3), [begun.run])[0] <= 2  # two of one tag go by their ids

    async def test_releases_do_not_outrun_each_other(self, world: World) -> None:
        """A release that was used for long and one that is new start from the same line."""
        await enter(world, runs_of("a", 300))
        worker = await world.worker()
        assert len(await drain(world, worker=worker)) == 300
        old = await enter(world, runs_of("a", 50))
        new = await enter(world, runs_of("a", 50, release="r2"))
        claims = await world.journal.claim(worker, ["r1", "r2"], 40)
        first = {claim.run for claim in claims}
        assert 18 <= len(first & set(old)) <= 22
        assert 18 <= len(first & set(new)) <= 22

    async def test_a_run_that_goes_over_to_another_release_is_not_lost_in_its_queue(self, world: World) -> None:
        await enter(world, runs_of("a", 300))
        worker = await world.worker()
        claims = await drain(world, worker=worker)
        await Holder(world.journal, claims[-1]).move(Status.QUARANTINED)
        await enter(world, runs_of("b", 30, release="r2"))
        await world.journal.release_quarantine("acme", claims[-1].run, "r2", "eve")
        taken = await world.journal.claim(worker, ["r2"], 31)
        assert waits(taken, [claims[-1].run])[0] <= 2

    async def test_children_stand_in_the_line_of_their_customer(self, world: World) -> None:
        tags = {"customer": "a"}
        await enter(world, runs_of("a", 1))
        parent = Holder(world.journal, (await drain(world))[0])
        children = [new_run(parent=parent.run, root=parent.run, tags=tags) for _ in range(100)]
        await parent.append(children=children)
        others = await enter(world, runs_of("b", 10))
        assert waits(await drain(world, most=64), others)[-1] <= 24


class BoundSuite:
    async def test_a_full_queue_refuses_the_whole_submission(self, world: World) -> None:
        bounds = Bounds(per_agent=10, per_customer=4)
        await enter(world, runs_of("a", 3), bounds)
        with pytest.raises(QueueFull, match="holds 3 of at most 4") as refused:
            await enter(world, [*runs_of("b", 1), *runs_of("a", 2)], bounds)
        fields = refused.value.fields
        assert (fields["why"], fields["customer"], fields["place"], fields["bound"]) == ("customer", "a", 4, 4)
        assert fields["retry_after_seconds"] > 0
        await enter(world, runs_of("b", 4), bounds)
        with pytest.raises(QueueFull) as refused:
            await enter(world, runs_of("", 4), bounds)
        assert (refused.value.fields["why"], refused.value.fields["place"]) == ("agent", 8)
        await enter(world, runs_of("", 3), bounds)
        assert sum(depth.queued for depth in await world.journal.queue.depths()) == 10

    async def test_queues_are_of_a_tenant_and_an_agent(self, world: World) -> None:
        bounds = Bounds(2, 2)
        for fields in ({}, {"tenant": "globex"}, {"agent": "other"}):
            await enter(world, runs_of("a", 2, **fields), bounds)
            with pytest.raises(QueueFull):
                await enter(world, runs_of("a", 1, **fields), bounds)

    async def test_a_repeat_is_never_refused(self, world: World) -> None:
        bounds = Bounds(2, 2)
        first = await enter(world, [new_run(key="k1"), new_run(key="k2")], bounds)
        again = await enter(world, [new_run(key="k2"), new_run(key="k1")], bounds)
        assert again == first[::-1]
        with pytest.raises(QueueFull):
            await enter(world, [new_run(key="k1"), new_run(key="k3")], bounds)

    async def test_there_is_room_again_when_runs_are_taken(self, world: World) -> None:
        bounds = Bounds(100, 100)
        await enter(world, runs_of("a", 100), bounds)
        with pytest.raises(QueueFull):
            await enter(world, runs_of("a", 1), bounds)
        await world.claim(limit=40)
        await world.advance(10)
        await enter(world, runs_of("a", 40), bounds)
        with pytest.raises(QueueFull):
            await enter(world, runs_of("a", 1), bounds)

    async def test_children_are_not_refused_and_count(self, world: World) -> None:
        bounds = Bounds(3, 3)
        parent = await world.held()
        await parent.append(children=[new_run(parent=parent.run, root=parent.run) for _ in range(5)])
        await world.advance(10)
        with pytest.raises(QueueFull, match="of at most 3"):
            await enter(world, runs_of("", 1), bounds)

    async def test_the_figures_of_a_refusal_come_from_what_was_measured(self, world: World) -> None:
        bounds = Bounds(1000, 1000)
        worker = await world.worker()
        await enter(world, runs_of("a", 1000), bounds)
        for _ in range(2):
            await world.journal.claim(worker, ["r1"], 50)
            await world.advance(10)
        await enter(world, runs_of("a", 100), bounds)
        with pytest.raises(QueueFull) as refused:
            await enter(world, runs_of("a", 10), bounds)
        fields = refused.value.fields
        # 50 runs were taken in each of two stretches of 10 s; the second may have begun up to one stretch ago.
        assert 2.5 <= fields["rate"] <= 10
        assert 0.8 <= fields["expected_wait_seconds"] * fields["rate"] / 1000 <= 1.2
        assert fields["retry_after_seconds"] == pytest.approx(max(1, 10 / fields["rate"]), rel=0.01)
        [depth] = await world.journal.queue.depths("acme", "clerk")
        assert (depth.queued, depth.running, depth.weight) == (1000, 100, 1.0)
        assert depth.rate == pytest.approx(fields["rate"], rel=0.3)
        assert depth.expected_seconds == pytest.approx(fields["expected_wait_seconds"], rel=0.3)
        await world.advance(60)
        [depth] = await world.journal.queue.depths("acme")
        assert (depth.rate, depth.expected_seconds) == (0.0, None), "nothing was taken of late"

    async def test_a_run_that_would_wait_too_long_is_refused_at_once(self, world: World) -> None:
        worker = await world.worker()
        await enter(world, runs_of("a", 500), max_wait_seconds=1)
        await world.advance(10)
        await world.journal.claim(worker, ["r1"], 50)
        await world.advance(10)
        with pytest.raises(QueueFull, match="longer than the 20") as refused:
            await enter(world, runs_of("a", 1), max_wait_seconds=20)
        assert refused.value.fields["why"] == "wait"
        assert refused.value.fields["expected_wait_seconds"] > 20
        await enter(world, runs_of("a", 1), max_wait_seconds=2000)
        await enter(world, runs_of("b", 1), max_wait_seconds=20)  # another customer need not wait for all that
        [depth] = [item for item in await world.journal.queue.depths() if item.customer == "a"]
        assert depth.queued == 451

    async def test_with_no_worker_the_oldest_wait_speaks(self, world: World) -> None:
        await enter(world, runs_of("a", 1), max_wait_seconds=5)
        await world.advance(10)
        with pytest.raises(QueueFull) as refused:
            await enter(world, runs_of("a", 1), max_wait_seconds=5)
        assert refused.value.fields["expected_wait_seconds"] is None
        await enter(world, runs_of("a", 1), max_wait_seconds=50)


class SessionSuite:
    async def test_one_at_a_time_in_the_order_of_submission(self, world: World) -> None:
        runs = await enter(world, runs_of("", 3, session="s", priority=1))
        runs += await enter(world, runs_of("", 3, session="s", priority=9))
        for run in runs:
            [claim] = await world.claim()
            assert claim.run == run
            assert await world.claim() == []
            await end(world, claim)
        assert await world.claim() == []
        assert len(await enter(world, runs_of("", 1, session="s"))) == len(await world.claim()) == 1

    async def test_sessions_and_tenants_do_not_wait_for_each_other(self, world: World) -> None:
        for fields in ({}, {"tenant": "globex"}, {"session": "t"}):
            await enter(world, runs_of("", 2, **{"session": "s", **fields}))
        await enter(world, runs_of("", 2))
        assert len(await world.claim()) == 5

    async def test_a_parked_run_keeps_its_session(self, world: World) -> None:
        await enter(world, runs_of("", 2, session="s"))
        [claim] = await world.claim()
        await Holder(world.journal, claim).move(Status.PARKED)
        assert await world.claim() == []
        [held] = await world.journal.queue.sessions("acme")
        assert (held.session, held.holder, held.status, held.behind) == ("s", claim.run, Status.PARKED, 1)
        assert not held.blocked
        await world.journal.deliver(Post("acme", claim.run, "x", "message", b"{}"))
        [again] = await world.claim()
        assert again.run == claim.run
        await end(world, again)
        assert len(await world.claim()) == 1
        assert await world.journal.queue.sessions() == []

    async def test_a_quarantined_run_blocks_its_session_and_is_shown(self, world: World) -> None:
        await enter(world, runs_of("", 3, session="s"))
        [claim] = await world.claim()
        await Holder(world.journal, claim).move(Status.QUARANTINED, code="poison")
        assert await world.claim() == []
        [held] = await world.journal.queue.sessions()
        assert (held.holder, held.code, held.behind, held.blocked) == (claim.run, "poison", 2, True)
        [depth] = await world.journal.queue.depths()
        assert (depth.queued, depth.behind, depth.quarantined) == (2, 2, 1)
        await world.journal.release_quarantine("acme", claim.run, None, "eve")
        [again] = await world.claim()
        assert again.run == claim.run

    @pytest.mark.parametrize("stop", [Stop.CANCEL, Stop.KILL])
    async def test_a_stopped_run_frees_its_session(self, world: World, stop: Stop) -> None:
        first, second = await enter(world, runs_of("", 2, session="s"))
        await world.journal.stop_run("acme", first, stop, "eve", "why")
        [claim] = await world.claim()
        assert (claim.run, claim.stop) == (first, stop)
        await end(world, claim, outcome="killed")
        [claim] = await world.claim()
        assert claim.run == second

    async def test_a_stopped_run_need_not_wait_for_its_turn(self, world: World) -> None:
        first, second, third = await enter(world, runs_of("", 3, session="s"))
        await world.journal.stop_run("acme", second, Stop.CANCEL, "eve", "why")
        claims = {claim.run: claim for claim in await world.claim()}
        assert claims.keys() == {first, second}
        await end(world, claims[second], outcome="cancelled")
        assert await world.claim() == []
        await end(world, claims[first])
        [claim] = await world.claim()
        assert claim.run == third

    async def test_a_lost_run_keeps_its_session(self, world: World) -> None:
        first, _ = await enter(world, runs_of("", 2, session="s"))
        worker = await world.worker()
        [claim] = await world.claim(worker=worker)
        await world.journal.retire(worker)
        [again] = await world.claim()
        assert (again.run, again.epoch) == (first, claim.epoch + 1)

    async def test_repeats_of_keys_hold_no_session(self, world: World) -> None:
        [known] = await enter(world, [new_run(key="k", session="s")])
        [claim] = await world.claim()
        await end(world, claim)
        assert await world.claim() == []
        again = await enter(world, [new_run(key="k", session="s")])
        assert again == [known]
        assert await world.claim() == []
        mixed = await enter(world, [new_run(key="k", session="s"), *runs_of("", 2, session="s")])
        [claim] = await world.claim()
        assert claim.run == mixed[1]
        await end(world, claim)
        [claim] = await world.claim()
        assert claim.run == mixed[2]

    async def test_a_long_session_is_out_of_the_way_of_others(self, world: World) -> None:
        [first, *_] = await enter(world, runs_of("a", 2_000, session="s"))
        later = await enter(world, runs_of("a", 1))
        await enter(world, runs_of("b", 100))
        taken = await drain(world)
        assert len(taken) == 102
        # Those that cannot run yet take no share: the customer's next run is not behind two thousand others.
        assert waits(taken, [first, *later])[-1] <= 5

    async def test_a_child_may_stand_in_a_session(self, world: World) -> None:
        parent = await world.held()
        children = [new_run(parent=parent.run, root=parent.run, session="s") for _ in range(2)]
        answer = await parent.append(children=children)
        assert answer.answer == "applied"
        [claim] = await world.claim()
        assert claim.run == children[0].id

    async def test_a_run_that_goes_on_in_another_passes_its_place_on(self, world: World) -> None:
        first, second = await enter(world, runs_of("", 2, session="s"))
        holder = Holder(world.journal, (await world.claim())[0])
        following = new_run(parent=first, parent_path="continued", root=first, session="s")
        answer = await holder.append(children=[following], move=Move(Status.ENDED, outcome="succeeded"))
        assert answer.answer == "applied"
        for run in (following.id, second):
            [claim] = await world.claim()
            assert claim.run == run
            await end(world, claim)

    async def test_an_end_in_a_batch_of_many(self, world: World) -> None:
        await enter(world, [run for name in range(20) for run in runs_of("", 3, session=f"s{name}")])
        worker = await world.worker()
        for _ in range(3):
            claims = await world.journal.claim(worker, ["r1"], 100)
            assert len(claims) == 20
            move = Move(Status.ENDED, outcome="succeeded")
            batches = [Holder(world.journal, claim).batch(move=move) for claim in claims]
            assert {answer.answer for answer in await world.journal.append(batches)} == {"applied"}
        assert await world.claim() == []


class KillSuite:
    async def test_a_killed_tenant_waits_and_comes_back(self, world: World) -> None:
        held = await enter(world, runs_of("", 700))
        free = await enter(world, runs_of("", 30, tenant="globex"))
        await world.journal.stop_scope(of_all("acme"), Stop.KILL, "eve", "why")
        assert {claim.run for claim in await drain(world)} == set(free)
        assert await world.claim() == []
        await world.journal.resume_scope(of_all("acme"), "eve")
        assert {claim.run for claim in await drain(world)} == set(held)


class QueueSuite(FairnessSuite, BoundSuite, SessionSuite, KillSuite):
    """All of it."""
