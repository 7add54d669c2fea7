"""What both stores of triggers must do. A subclass has a fixture ``world``."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.contract.journal_world import CLOCK, World

from penstock.kernel.errors import TriggersFull
from penstock.kernel.ids import new_id
from penstock.ports.controls import of_all
from penstock.ports.records import Stop
from penstock.ports.triggers import Backlog, Fired, Firing, Trigger, TriggerPlan
from penstock.ports.waits import Begun, EventLetter, EventPost, Sent, Wait

LEASE = 60.0
KEEP = 3600.0


def event(dedup: str = "1", key: str = "order-7", name: str = "paid", tenant: str = "acme") -> EventPost:
    body = msgspec.json.encode(EventLetter(name, msgspec.Raw(b'{"n":1}')))
    return EventPost(tenant, name, dedup, body, key=key)


async def trigger(world: World, name: str = "bill", *, tenant: str = "acme", **fields: Any) -> Trigger:
    """A stored trigger for all events ``paid``."""
    known: dict[str, Any] = {"prefix": "", "agent": "clerk", "plan": TriggerPlan(), "pending_max": 10, **fields}
    made = Trigger(tenant, new_id(CLOCK), name, known.pop("event", "paid"), created_by="ada", **known)
    assert await world.journal.triggers.put(made, replace=False, limit=100, same_event=50)
    stored = await world.journal.triggers.get(tenant, name)
    assert stored is not None
    return stored


async def publish(world: World, *posts: EventPost, most: int = 10) -> list[Sent]:
    return [await world.journal.waits.publish(post, most, KEEP) for post in posts]


async def take(world: World, *agents: str, limit: int = 10, lease: float = LEASE) -> list[Firing]:
    return await world.journal.triggers.take(agents or ("clerk",), lease, limit)


class TriggersSuite:
    async def test_what_was_stored_is_found(self, world: World) -> None:
        plan = TriggerPlan(input={"order": "$key"}, tags={"feature": "é"}, session="$key", priority=2)
        stored = await trigger(world, plan=plan, prefix="order-")
        assert (stored.plan, stored.prefix, stored.event, stored.agent) == (plan, "order-", "paid", "clerk")
        assert stored.created_by == "ada"
        assert stored.created_at > 0
        triggers = world.journal.triggers
        assert await triggers.by_id("acme", stored.id) == stored
        assert await triggers.list_triggers("acme") == [stored]
        assert await triggers.get("acme", "other") is None
        later = await trigger(world, "card")
        assert await triggers.list_triggers("acme", after="bill") == [later]
        assert await triggers.list_triggers("acme", limit=1) == [stored]

    async def test_a_name_is_taken_once_and_replaced_keeps_what_it_was(self, world: World) -> None:
        stored = await trigger(world)
        triggers = world.journal.triggers
        changed = replace(stored, id=new_id(CLOCK), event="sent", agent="other", pending_max=3, created_by="bob")
        assert not await triggers.put(changed, replace=False, limit=100, same_event=50)
        await publish(world, event())
        await triggers.pause("acme", "bill", "ada")
        assert await triggers.put(changed, replace=True, limit=100, same_event=50)
        now = await triggers.get("acme", "bill")
        assert now == replace(stored, event="sent", agent="other", pending_max=3, paused=True, paused_by="ada")
        await triggers.resume("acme", "bill")
        assert await take(world, "clerk") == []
        assert [item.event for item in await take(world, "other")] == ["paid"], "what it held goes to the new agent"

    async def test_bounds(self, world: World) -> None:
        stored = await trigger(world)
        other = replace(stored, name="second", id=new_id(CLOCK))
        triggers = world.journal.triggers
        with pytest.raises(TriggersFull):
            await triggers.put(other, replace=False, limit=1, same_event=50)
        with pytest.raises(TriggersFull):
            await triggers.put(other, replace=False, limit=100, same_event=1)
        assert await triggers.put(replace(other, event="sent"), replace=False, limit=100, same_event=1)
        assert await triggers.put(stored, replace=True, limit=2, same_event=1), "itself does not count"

    async def test_an_event_fires_each_trigger_that_it_matches_once(self, world: World) -> None:
        one = await trigger(world, "all")
        two = await trigger(world, "orders", prefix="order-")
        await trigger(world, "refunds", prefix="refund-")
        await trigger(world, "other-event", event="sent")
        await trigger(world, "theirs", tenant="zeta")
        paused = await trigger(world, "paused")
        await world.journal.triggers.pause("acme", paused.name, "ada")
        assert await publish(world, event(), event()) == [Sent.DELIVERED, Sent.KNOWN]
        taken = await take(world)
        assert {item.trigger for item in taken} == {one.id, two.id}
        assert {(item.event, item.key, item.dedup, item.tenant) for item in taken} == {("paid", "order-7", "1", "acme")}
        assert msgspec.json.decode(taken[0].body)["value"] == {"n": 1}
        assert 0 < taken[0].at <= await world.journal.now()

    async def test_a_prefix_is_plain_text(self, world: World) -> None:
        await trigger(world, prefix="a_%")
        await publish(world, event("1", "abc"), event("2", "a_%c"))
        assert [item.key for item in await take(world)] == ["a_%c"]

    async def test_an_event_is_for_a_waiting_run_and_for_triggers(self, world: World) -> None:
        await trigger(world)
        run = await world.held()
        wait = Wait("acme", run.run, "0", "event", "paid", key="order-7", epoch=run.claim.epoch)
        assert (await world.journal.waits.begin(wait)).answer is Begun.WAITING
        await publish(world, event())
        letters = (await world.journal.letters([run.key]))[run.key]
        assert [letter.dedup for letter in letters] == ["topic:0"]
        assert len(await take(world)) == 1

    async def test_a_full_key_does_not_stop_triggers_but_its_event_is_for_no_later_wait(self, world: World) -> None:
        assert await publish(world, event("1"), event("2"), most=1) == [Sent.DELIVERED, Sent.FULL]
        await trigger(world)
        assert await publish(world, event("2"), event("2"), most=1) == [Sent.DELIVERED, Sent.KNOWN]
        assert [item.dedup for item in await take(world)] == ["2"]
        for path in ("0", "1"):
            run = await world.held()
            wait = Wait("acme", run.run, path, "event", "paid", key="order-7", epoch=run.claim.epoch)
            await world.journal.waits.begin(wait)
            letters = (await world.journal.letters([run.key]))[run.key]
            assert len(letters) == (1 if path == "0" else 0)

    async def test_a_trigger_holds_a_bounded_number_of_events(self, world: World) -> None:
        stored = await trigger(world, pending_max=2)
        other = await trigger(world, "other")
        answers = await publish(world, *(event(str(n)) for n in range(3)))
        assert answers == [Sent.DELIVERED, Sent.DELIVERED, Sent.BEHIND]
        triggers = world.journal.triggers
        assert await triggers.backlog("acme", other.id, 10) == Backlog(2, 0), "nothing was done"
        assert await triggers.backlog("acme", stored.id, 1) == Backlog(1, 0)
        [first, *_] = [item for item in await take(world) if item.trigger == stored.id]
        await triggers.settle([Fired(first, new_id(CLOCK))])
        assert await publish(world, event("2")) == [Sent.DELIVERED]

    async def test_what_is_taken_is_left_alone_until_the_lease_is_over(self, world: World) -> None:
        await trigger(world)
        await publish(world, event())
        assert await take(world, "other") == []
        [first] = await take(world)
        assert await take(world) == []
        await world.advance(LEASE + 1)
        [second] = await take(world)
        assert second.id == first.id
        assert await world.journal.triggers.settle([Fired(first, new_id(CLOCK))]) == 0, "worthless by now"
        assert await world.journal.triggers.settle([Fired(second, new_id(CLOCK))]) == 1
        assert await world.journal.triggers.settle([Fired(second, new_id(CLOCK))]) == 0
        await world.advance(LEASE + 1)
        assert await take(world) == []

    async def test_what_became_of_them_is_counted(self, world: World) -> None:
        await trigger(world)
        await publish(world, *(event(str(n)) for n in range(3)))
        taken = await take(world)
        assert [item.dedup for item in taken] == ["0", "1", "2"]
        runs = [new_id(CLOCK), new_id(CLOCK)]
        triggers = world.journal.triggers
        await triggers.settle([Fired(taken[0], runs[0]), Fired(taken[1], None, "no such field")])
        known = await triggers.get("acme", "bill")
        assert known is not None
        assert (known.fired, known.failed, known.last_run, known.last_error) == (1, 1, runs[0], "no such field")
        assert known.last_at > 0
        await triggers.settle([Fired(taken[2], runs[1])])
        known = await triggers.get("acme", "bill")
        assert known is not None
        assert (known.fired, known.failed, known.last_run, known.last_error) == (2, 1, runs[1], "")

    async def test_one_that_failed_is_kept_for_a_retry(self, world: World) -> None:
        stored = await trigger(world, pending_max=1)
        await publish(world, event())
        [firing] = await take(world)
        triggers = world.journal.triggers
        await triggers.settle([Fired(firing, None, "no")])
        await world.advance(LEASE + 1)
        assert await take(world) == []
        assert await triggers.backlog("acme", stored.id, 10) == Backlog(0, 1)
        assert [(item.dedup, item.error) for item in await triggers.failures("acme", stored.id, 10)] == [("1", "no")]
        assert await publish(world, event("2")) == [Sent.DELIVERED], "it is not in the way of others"
        assert await triggers.retry("acme", stored.id, 10) == 1
        assert sorted(item.dedup for item in await take(world)) == ["1", "2"]

    async def test_one_that_failed_is_forgotten_in_the_end_and_what_is_pending_is_not(self, world: World) -> None:
        stored = await trigger(world)
        await publish(world, event("1"), event("2"))
        [firing] = await take(world, limit=1)
        triggers = world.journal.triggers
        await triggers.settle([Fired(firing, None, "no")])
        assert await triggers.expire(10) == 0
        await self.age(world, KEEP + 1)
        assert await triggers.expire(10) == 1
        assert await triggers.backlog("acme", stored.id, 10) == Backlog(1, 0)

    async def age(self, world: World, seconds: float) -> None:
        """Let firings get so much older."""
        raise NotImplementedError

    async def test_a_pause_holds_back_what_is_no_run_yet(self, world: World) -> None:
        stored = await trigger(world)
        await publish(world, event("1"))
        triggers = world.journal.triggers
        assert await triggers.pause("acme", "bill", "ada")
        await publish(world, event("2"))
        assert await take(world) == []
        assert await triggers.backlog("acme", stored.id, 10) == Backlog(1, 0)
        assert await triggers.resume("acme", "bill")
        assert [item.dedup for item in await take(world)] == ["1"]
        known = await triggers.get("acme", "bill")
        assert known is not None
        assert not known.paused

    async def test_a_stopped_tenant_fires_nothing(self, world: World) -> None:
        await trigger(world)
        await publish(world, event())
        await world.journal.stop_scope(of_all("acme"), Stop.KILL, "ada", "")
        assert await take(world) == []
        await world.journal.resume_scope(of_all("acme"), "ada")
        assert len(await take(world)) == 1

    async def test_one_that_is_removed_takes_its_events_along(self, world: World) -> None:
        stored = await trigger(world)
        await publish(world, event())
        triggers = world.journal.triggers
        assert await triggers.remove("acme", "bill")
        assert not await triggers.remove("acme", "bill")
        assert await take(world) == []
        assert await triggers.backlog("acme", stored.id, 10) == Backlog(0, 0)
        assert await publish(world, event("2")) == [Sent.DELIVERED]

    async def test_no_method_crosses_tenants(self, world: World) -> None:
        mine = await trigger(world)
        await publish(world, event())
        [firing] = await take(world)
        triggers = world.journal.triggers
        await triggers.settle([Fired(firing, None, "no")])
        before = await triggers.get("acme", "bill")
        assert await triggers.get("zeta", "bill") is None
        assert await triggers.by_id("zeta", mine.id) is None
        assert await triggers.list_triggers("zeta") == []
        assert not await triggers.pause("zeta", "bill", "x")
        assert not await triggers.resume("zeta", "bill")
        assert not await triggers.remove("zeta", "bill")
        assert await triggers.backlog("zeta", mine.id, 10) == Backlog(0, 0)
        assert await triggers.failures("zeta", mine.id, 10) == []
        assert await triggers.retry("zeta", mine.id, 10) == 0
        assert await triggers.settle([Fired(replace(firing, tenant="zeta"), UUID(int=1))]) == 0
        assert await publish(world, event("2", tenant="zeta")) == [Sent.DELIVERED]
        assert await take(world) == []
        assert await triggers.get("acme", "bill") == before
