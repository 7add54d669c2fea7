"""What every store of waits must do: events are taken once and in order, no circle is closed, nobody is forgotten."""

import asyncio
import itertools
import random
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.contract.journal_world import CLOCK, SECOND, Holder, World, new_run
from tests.contract.releases_suite import adoption

from penstock.events import WaitEnded, Waiting
from penstock.kernel.canonical import stable_json
from penstock.kernel.ids import new_id
from penstock.ports.records import Move, NewRun, Status
from penstock.ports.releases import Adopted
from penstock.ports.waits import Begun, Edge, EventLetter, EventPost, Sent, Wait

HOUR = 3600.0


def body(value: Any) -> bytes:
    return msgspec.json.encode(EventLetter("go", msgspec.Raw(msgspec.json.encode(value))))


def sent(holder: Holder, dedup: str = "1", name: str = "go", value: Any = 0, sender: UUID | None = None) -> EventPost:
    """An event to a run."""
    known_by = f"event:{name}:{sender or ''}:{dedup}"
    return EventPost(holder.tenant, name, known_by, body(value), run=holder.run, sender=sender)


def published(dedup: str, key: str = "k", name: str = "go", tenant: str = "acme") -> EventPost:
    return EventPost(tenant, name, dedup, body(dedup), key=key)


def for_event(holder: Holder, path: str = "0", **fields: Any) -> Wait:
    epoch = fields.pop("epoch", holder.claim.epoch)
    return Wait(holder.tenant, holder.run, path, "event", fields.pop("name", "go"), epoch=epoch, **fields)


def for_run(holder: Holder, target: Holder | UUID, path: str = "0", **fields: Any) -> Wait:
    run = target.run if isinstance(target, Holder) else target
    return Wait(holder.tenant, holder.run, path, "run", target=run, epoch=holder.claim.epoch, **fields)


async def park(holder: Holder, *waiting: Waiting) -> None:
    await holder.append(move=Move(Status.PARKED, None, stable_json(list(waiting))))


async def end(holder: Holder) -> None:
    await holder.append(move=Move(Status.ENDED, outcome="succeeded"))


async def child_of(world: World, parent: Holder, **fields: Any) -> NewRun:
    """A run that the parent's last append made."""
    child = new_run(parent=parent.run, parent_path="0", root=fields.pop("root", parent.run), **fields)
    await parent.append(children=[child])
    return child


class WaitsSuite:
    """Subclasses give the fixture ``world``."""

    async def letters(self, world: World, holder: Holder) -> list[str]:
        return [letter.dedup for letter in (await world.journal.letters([holder.key]))[holder.key]]

    async def test_an_event_is_kept_before_and_during_the_wait_and_known_again(self, world: World) -> None:
        run = await world.held()
        waits = world.journal.waits
        assert await waits.send(sent(run, "1"), 10) is Sent.DELIVERED
        assert await waits.send(sent(run, "1"), 10) is Sent.KNOWN
        assert await waits.send(sent(run, "2"), 10) is Sent.DELIVERED
        assert await self.letters(world, run) == ["event:go::1", "event:go::2"]
        await run.append(consumed=["event:go::1"])
        assert await waits.send(sent(run, "1"), 10) is Sent.KNOWN
        assert await self.letters(world, run) == ["event:go::2"]

    async def test_an_event_wakes_a_run_only_if_it_waits_for_it(self, world: World) -> None:
        run = await world.held()
        await park(run, Waiting("event", "0", "go"))
        assert await world.journal.waits.send(sent(run, name="other"), 10) is Sent.DELIVERED
        assert await world.status(run) is Status.PARKED
        assert await world.journal.waits.send(sent(run), 10) is Sent.DELIVERED
        assert await world.status(run) is Status.QUEUED

    async def test_a_run_that_parks_on_an_event_is_due_at_once(self, world: World) -> None:
        run = await world.held()
        await world.journal.waits.send(sent(run), 10)
        await park(run, Waiting("event", "0", "go"))
        assert await world.status(run) is Status.QUEUED

    async def test_a_run_takes_a_bounded_number_of_events(self, world: World) -> None:
        run = await world.held()
        waits = world.journal.waits
        assert [await waits.send(sent(run, str(n)), 2) for n in range(3)] == [Sent.DELIVERED] * 2 + [Sent.FULL]
        await run.append(consumed=["event:go::0", "event:go::1"])
        assert await waits.send(sent(run, "3"), 2) is Sent.FULL, "what was taken counts: it is on the tape"
        assert await waits.send(sent(run, "0"), 2) is Sent.KNOWN

    async def test_no_event_to_a_run_that_has_ended_or_is_anothers(self, world: World) -> None:
        run = await world.held()
        foreign = EventPost("zeta", "go", "event:go::1", body(1), run=run.run)
        assert await world.journal.waits.send(foreign, 10) is Sent.ABSENT
        await end(run)
        assert await world.journal.waits.send(sent(run), 10) is Sent.ABSENT

    async def test_events_of_a_key_go_to_one_run_each_the_oldest_to_the_oldest(self, world: World) -> None:
        first, second = await world.claimed(2)
        waits = world.journal.waits
        assert await waits.publish(published("a"), 10, HOUR) is Sent.DELIVERED
        assert await waits.publish(published("a"), 10, HOUR) is Sent.KNOWN
        for run in (first, second):
            assert (await waits.begin(for_event(run, key="k"))).answer is Begun.WAITING
            assert (await waits.begin(for_event(run, key="k"))).answer is Begun.WAITING
        await waits.publish(published("b"), 10, HOUR)
        await waits.publish(published("c"), 10, HOUR)
        found = []
        for run in (first, second):
            letters = (await world.journal.letters([run.key]))[run.key]
            assert [letter.dedup for letter in letters] == ["topic:0"]
            found += [msgspec.json.decode(letter.body, type=EventLetter).value for letter in letters]
        assert [msgspec.json.decode(value) for value in found] == ["a", "b"]
        assert await waits.publish(published("a"), 10, HOUR) is Sent.KNOWN, "also after it was taken"

    async def test_names_keys_and_tenants_are_apart(self, world: World) -> None:
        run = await world.held()
        await world.journal.waits.begin(for_event(run, key="k"))
        for other in (published("1", key="K"), published("1", name="og"), published("1", tenant="zeta")):
            await world.journal.waits.publish(other, 10, HOUR)
        assert await self.letters(world, run) == []

    async def test_a_key_holds_a_bounded_number_of_events(self, world: World) -> None:
        waits = world.journal.waits
        answers = [await waits.publish(published(str(n)), 2, HOUR) for n in range(3)]
        assert answers == [Sent.DELIVERED] * 2 + [Sent.FULL]
        run = await world.held()
        await waits.begin(for_event(run, key="k"))
        assert await waits.publish(published("3"), 2, HOUR) is Sent.DELIVERED

    async def test_what_nobody_took_in_time_is_forgotten(self, world: World) -> None:
        waits = world.journal.waits
        await waits.publish(published("1"), 10, 0.01)
        await waits.publish(published("2"), 10, HOUR)
        await asyncio.sleep(0.02)
        await world.advance(0.02)
        run = await world.held()
        await waits.begin(for_event(run, key="k"))
        letters = (await world.journal.letters([run.key]))[run.key]
        assert [msgspec.json.decode(letter.body)["value"] for letter in letters] == ["2"]
        assert await waits.expire(10) == 1
        assert await waits.publish(published("1"), 10, HOUR) is Sent.DELIVERED

    async def test_a_wait_is_withdrawn_or_has_its_event(self, world: World) -> None:
        run = await world.held()
        waits = world.journal.waits
        await waits.begin(for_event(run, "0", key="k"))
        assert await waits.withdraw(for_event(run, "0", key="k"))
        await waits.publish(published("1"), 10, HOUR)
        assert await self.letters(world, run) == []
        await waits.begin(for_event(run, "1", key="k"))
        assert not await waits.withdraw(for_event(run, "1", key="k"))
        assert await self.letters(world, run) == ["topic:1"]

    async def test_an_event_that_was_given_and_not_taken_goes_to_the_next(self, world: World) -> None:
        first, second, third = await world.claimed(3)
        waits = world.journal.waits
        for run in (first, second, third):
            await waits.begin(for_event(run, key="k"))
        await waits.publish(published("1"), 10, HOUR)
        await waits.give_back(for_event(first, key="k"))
        assert await self.letters(world, second) == ["topic:0"]
        await end(second)
        assert [ended.run for ended in (await waits.follow_up(10)).ended] == [second.run]
        assert await self.letters(world, third) == ["topic:0"]
        taken = WaitEnded(tenant="acme", run=third.run, agent="clerk", path="0", status="received")
        await third.append(taken, consumed=["topic:0"])
        await end(third)
        fourth = await world.held()
        await waits.begin(for_event(fourth, key="k"))
        await waits.follow_up(10)
        assert await self.letters(world, fourth) == [], "the third took it: that is on its tape"

    async def test_the_end_of_a_run_is_told_to_all_that_wait_for_it(self, world: World) -> None:
        target, first, second = await world.claimed(3)
        waits = world.journal.waits
        for run in (first, second):
            assert (await waits.begin(for_run(run, target))).answer is Begun.WAITING
            await park(run, Waiting("run", "0", "", str(target.run)))
        assert not (await waits.follow_up(10)).ended
        assert (await waits.follow_up(10)).expecting
        await end(target)
        assert [ended.run for ended in (await waits.follow_up(10)).ended] == [target.run]
        for run in (first, second):
            assert await world.status(run) is Status.QUEUED
            assert await self.letters(world, run) == [f"run:0:{target.run}"]
        await waits.followed_up(*target.key)
        after = await waits.follow_up(10)
        assert not after.ended
        assert not after.expecting

    async def test_a_run_that_has_ended_is_not_waited_for(self, world: World) -> None:
        target, run = await world.claimed(2)
        await end(target)
        assert (await world.journal.waits.begin(for_run(run, target))).answer is Begun.ENDED
        assert (await world.journal.waits.begin(for_run(run, new_id(CLOCK)))).answer is Begun.ABSENT
        foreign = await world.held(tenant="zeta")
        assert (await world.journal.waits.begin(for_run(run, foreign))).answer is Begun.ABSENT

    async def test_a_sender_that_ends_without_sending_is_told_of(self, world: World) -> None:
        sender, run = await world.claimed(2)
        waits = world.journal.waits
        assert (await waits.begin(for_event(run, target=sender.run))).answer is Begun.WAITING
        await end(sender)
        await waits.follow_up(10)
        assert await self.letters(world, run) == [f"run:0:{sender.run}"]
        assert (await waits.begin(for_event(run, "1", target=sender.run))).answer is Begun.ENDED

    async def test_an_event_of_the_sender_ends_the_edge_also_when_it_came_first(self, world: World) -> None:
        sender, run = await world.claimed(2)
        waits = world.journal.waits
        await waits.begin(for_event(run, target=sender.run))
        await waits.send(sent(run, "1", sender=sender.run), 10)
        assert (await waits.begin(for_run(sender, run))).answer is Begun.WAITING, "the run has what it waited for"
        await waits.send(sent(run, "2", name="news", sender=sender.run), 10)
        assert (await waits.begin(for_event(run, "1", name="news", target=sender.run))).answer is Begun.HERE

    async def test_a_run_cannot_wait_for_itself(self, world: World) -> None:
        run = await world.held()
        begun = await world.journal.waits.begin(for_run(run, run))
        assert (begun.answer, begun.circle) == (Begun.CYCLE, [run.run])

    @pytest.mark.parametrize("length", [2, 3, 7])
    async def test_the_wait_that_would_close_a_circle_is_refused(self, world: World, length: int) -> None:
        runs = await world.claimed(length)
        waits = world.journal.waits
        for run, following in itertools.pairwise(runs):
            assert (await waits.begin(for_run(run, following))).answer is Begun.WAITING
        begun = await waits.begin(for_run(runs[-1], runs[0]))
        assert begun.answer is Begun.CYCLE
        assert begun.circle == [runs[-1].run, *(run.run for run in runs[:-1])]
        assert len(await waits.edges("acme", 10)) == length - 1, "nothing of it stays"
        await waits.withdraw(for_run(runs[0], runs[1]))
        assert (await waits.begin(for_run(runs[-1], runs[0]))).answer is Begun.WAITING

    async def test_a_wait_that_ends_by_itself_closes_no_circle(self, world: World) -> None:
        first, second = await world.claimed(2)
        waits = world.journal.waits
        until = await world.journal.now() + 60 * SECOND
        assert (await waits.begin(for_run(first, second, until=until))).answer is Begun.WAITING
        assert (await waits.begin(for_run(second, first))).answer is Begun.WAITING
        third, fourth = await world.claimed(2)
        assert (await waits.begin(for_run(third, fourth))).answer is Begun.WAITING
        assert (await waits.begin(for_run(fourth, third, until=until))).answer is Begun.WAITING

    async def test_of_two_last_edges_at_once_one_is_refused(self, world: World) -> None:
        waits = world.journal.waits
        for _ in range(8):
            runs = await world.claimed(4)
            asked = [for_run(run, runs[(n + 1) % 4]) for n, run in enumerate(runs)]
            begun = await asyncio.gather(*(waits.begin(wait) for wait in asked))
            assert sorted(begin.answer for begin in begun) == [Begun.CYCLE] + [Begun.WAITING] * 3

    async def test_a_descendant_cannot_wait_for_its_ancestor(self, world: World) -> None:
        top = await world.held()
        child = await child_of(world, top)
        held = await world.reclaim(child.id)
        below = await child_of(world, held, root=top.run)
        begun = await world.journal.waits.begin(for_run(await world.reclaim(below.id), top))
        assert begun.answer is Begun.CYCLE
        assert begun.circle == [below.id, top.run, child.id]

    async def test_a_circle_goes_through_families(self, world: World) -> None:
        """A waits for B, whose child waits for A."""
        first, second = await world.claimed(2)
        child = await child_of(world, second)
        held = await world.reclaim(child.id)
        assert (await world.journal.waits.begin(for_run(held, first))).answer is Begun.WAITING
        begun = await world.journal.waits.begin(for_run(first, second))
        assert begun.circle == [first.run, second.run, child.id]

    async def test_a_sibling_may_be_waited_for(self, world: World) -> None:
        top = await world.held()
        one, other = await child_of(world, top), await child_of(world, top)
        held = await world.reclaim(one.id)
        assert (await world.journal.waits.begin(for_run(held, other.id))).answer is Begun.WAITING
        begun = await world.journal.waits.begin(Wait("acme", other.id, "0", "run", target=one.id, epoch=1))
        assert begun.answer is Begun.CYCLE

    async def test_a_run_with_a_free_branch_may_still_send(self, world: World) -> None:
        first, second = await world.claimed(2)
        waits = world.journal.waits
        assert (await waits.begin(for_event(first, target=second.run, alone=False))).answer is Begun.WAITING
        assert (await waits.begin(for_event(second, target=first.run))).answer is Begun.WAITING
        third, fourth = await world.claimed(2)
        assert (await waits.begin(for_event(third, target=fourth.run))).answer is Begun.WAITING
        begun = await waits.begin(for_event(fourth, target=third.run))
        assert begun.circle == [fourth.run, third.run]

    async def test_an_end_waits_for_every_branch(self, world: World) -> None:
        """A waits for the end of B; one branch of B, not alone, waits for A's end: B cannot end before."""
        first, second = await world.claimed(2)
        waits = world.journal.waits
        assert (await waits.begin(for_run(second, first, "0.1.0", alone=False))).answer is Begun.WAITING
        assert (await waits.begin(for_run(first, second))).answer is Begun.CYCLE

    async def test_a_child_that_waits_for_its_parents_event_while_the_parent_waits_for_it(self, world: World) -> None:
        top = await world.held()
        child = await child_of(world, top)
        held = await world.reclaim(child.id)
        waits = world.journal.waits
        assert (await waits.begin(for_event(held, target=top.run, name="early"))).answer is Begun.WAITING
        await park(top, Waiting("child", "0", "clerk", str(child.id)))
        begun = await waits.begin(for_event(held, "1", target=top.run))
        assert begun.circle == [child.id, top.run]

    async def test_a_run_behind_another_of_its_session(self, world: World) -> None:
        """A, at the head of session s, waits for B, which is queued behind it."""
        first = await world.held(session="s")
        behind = new_run(session="s")
        await world.journal.submit([behind])
        begun = await world.journal.waits.begin(for_run(first, behind.id))
        assert begun.circle == [first.run, behind.id]
        other = new_run(session="t")
        await world.journal.submit([other])
        assert (await world.journal.waits.begin(for_run(first, other.id))).answer is Begun.WAITING

    async def test_a_run_that_was_adopted_before_anybody_held_it_still_waits_its_turn(self, world: World) -> None:
        """To adopt it raises its epoch, which says nothing of its turn."""
        first = await world.held(session="s")
        behind = new_run(session="s")
        await world.journal.submit([behind])
        taken = await adoption(world, SimpleNamespace(key=("acme", behind.id), tenant="acme", run=behind.id))
        assert await world.journal.releases.adopt(taken) is Adopted.ADOPTED
        assert Edge(behind.id, first.run, "session", "s") in await world.journal.waits.edges("acme", 10)
        begun = await world.journal.waits.begin(for_run(first, behind.id))
        assert begun.circle == [first.run, behind.id]
        [sleeper] = await world.journal.circles.sleepers("acme", [behind.id])
        assert sleeper.behind == [first.run]

    async def test_a_child_in_the_session_of_its_parent(self, world: World) -> None:
        parent = await world.held(session="s")
        child = new_id(CLOCK)
        wait = Wait("acme", parent.run, "0", "child", key="s", target=child, epoch=1)
        begun = await world.journal.waits.begin(wait)
        assert (begun.answer, begun.circle) == (Begun.CYCLE, [parent.run, child])
        free = Wait("acme", parent.run, "1", "child", key="t", target=child, epoch=1)
        assert (await world.journal.waits.begin(free)).answer is Begun.WAITING

    async def test_a_child_that_is_not_made_yet_counts(self, world: World) -> None:
        """A is about to make a child in session s, which Z holds; then Z wants to wait for A."""
        parent = await world.held()
        holder = await world.held(session="s")
        child = new_id(CLOCK)
        waits = world.journal.waits
        assert (
            await waits.begin(Wait("acme", parent.run, "0", "child", key="s", target=child, epoch=1))
        ).answer is Begun.WAITING
        begun = await waits.begin(for_run(holder, parent))
        assert begun.answer is Begun.CYCLE
        assert begun.circle == [holder.run, parent.run]

    async def test_duties_are_done_only_after_the_end(self, world: World) -> None:
        parent = await world.held()
        child = await child_of(world, parent)
        done = await child_of(world, parent)
        waits = world.journal.waits
        await waits.leave_duties(*parent.key, [child.id, done.id])
        await waits.leave_duties(*parent.key, [child.id])
        assert not (await waits.follow_up(10)).ended
        await end(await world.reclaim(done.id))
        await end(parent)
        ended = (await waits.follow_up(10)).ended
        assert [(item.tenant, item.run, item.agent, item.children) for item in ended] == [
            ("acme", parent.run, "clerk", [child.id])
        ]
        assert (await waits.follow_up(10)).ended, "until it is said that it is done"
        await waits.followed_up(*parent.key)
        assert not (await waits.follow_up(10)).ended

    async def test_a_run_that_leaves_nothing_needs_no_follow_up(self, world: World) -> None:
        run = await world.held()
        await world.journal.waits.send(sent(run), 10)
        await end(run)
        assert not (await world.journal.waits.follow_up(10)).ended

    async def test_follow_up_is_bounded(self, world: World) -> None:
        runs = await world.claimed(5)
        for run in runs:
            await world.journal.waits.leave_duties(*run.key, [run.run])
            await end(run)
        assert len((await world.journal.waits.follow_up(3)).ended) == 3

    async def test_the_graph_has_all_edges_of_the_tenant_alone(self, world: World) -> None:
        waits = world.journal.waits
        first, second = await world.held(session="s"), await world.held()
        child = await child_of(world, first)
        queued = new_run(session="s")
        await world.journal.submit([queued])
        await waits.begin(for_run(first, second, "7"))
        await waits.begin(for_event(second, "8", target=child.id, until=9 * SECOND))
        expected = [
            Edge(first.run, second.run, "run"),
            Edge(second.run, child.id, "event", "go", 9 * SECOND),
            Edge(first.run, child.id, "child", "clerk"),
            Edge(queued.id, first.run, "session", "s"),
        ]
        found = await waits.edges("acme", 10)
        assert sorted(found, key=repr) == sorted(expected, key=repr)
        assert await waits.edges("zeta", 10) == []
        assert len(await waits.edges("acme", 1)) == 3, "bounded for each kind"

    async def test_no_method_crosses_tenants(self, world: World) -> None:
        run, target = await world.claimed(2)
        waits = world.journal.waits
        await waits.begin(for_run(run, target))
        await waits.begin(for_event(run, "1", key="k"))
        foreign = Wait("zeta", run.run, "0", "run", target=target.run)
        assert (await waits.begin(foreign)).answer is Begun.ABSENT
        await waits.withdraw(foreign)
        await waits.give_back(foreign)
        await waits.leave_duties("zeta", run.run, [target.run])
        await waits.followed_up("zeta", run.run)
        await waits.publish(published("1", tenant="zeta"), 10, HOUR)
        assert await waits.edges("zeta", 10) == []
        assert await waits.edges("acme", 10) == [Edge(run.run, target.run, "run")]
        assert await self.letters(world, run) == []
        await waits.publish(published("1"), 10, HOUR)
        assert await self.letters(world, run) == ["topic:1"]
        await end(run)
        assert [item.children for item in (await waits.follow_up(10)).ended] == [[]]

    async def test_random_waits_never_close_a_circle(self, world: World) -> None:
        """Whatever order they come in, those that were begun have no circle, and those refused name one."""
        chance = random.Random(7)
        waits = world.journal.waits
        runs = await world.claimed(8)
        begun: dict[UUID, UUID] = {}
        refused = 0
        for n in range(60):
            run, target = chance.choice(runs), chance.choice(runs)
            if run.run in begun and chance.random() < 0.5:
                await waits.withdraw(for_run(run, begun.pop(run.run), "0"))
                continue
            if run.run in begun:
                continue
            answer = await waits.begin(for_run(run, target, "0"))
            reaches, at = False, target.run
            for _ in range(len(runs) + 1):
                reaches = reaches or at == run.run
                at = begun.get(at, at)
            assert (answer.answer is Begun.CYCLE) == reaches, n
            if reaches:
                refused += 1
                ways = {**begun, run.run: target.run}
                assert [ways[item] for item in answer.circle] == [*answer.circle[1:], run.run]
            else:
                begun[run.run] = target.run
        assert refused > 5
