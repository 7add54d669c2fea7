"""What every store of webhooks must do."""

import asyncio
import hashlib
import json
from typing import Any
from uuid import UUID

from tests.contract.journal_world import CLOCK, SECOND, World
from tests.contract.questions_suite import ask, decided, post

from penstock.events import Waiting
from penstock.kernel.canonical import stable_json
from penstock.kernel.ids import new_id
from penstock.ports.controls import Scope, of_all
from penstock.ports.records import Status, Stop
from penstock.ports.webhooks import GONE, TOPICS, Attempted, Delivery, Endpoint, Taken, Trouble

LEASE = 30.0


def new_endpoint(tenant: str = "acme", topics: tuple[str, ...] = TOPICS, agent: str = "", **fields: Any) -> Endpoint:
    """An endpoint that is not stored yet."""
    url = fields.pop("url", "https://hooks.example.com/a")
    return Endpoint(tenant, new_id(CLOCK), url, topics, agent, "", fields.pop("secret", b"s" * 32), "key:tests")


async def added(world: World, **fields: Any) -> Endpoint:
    stored = await world.journal.webhooks.add(new_endpoint(**fields), 20)
    assert stored is not None
    return stored


async def told(world: World, endpoint: Endpoint) -> list[tuple[str, dict[str, Any]]]:
    """Topics and facts, oldest first."""
    found = await world.journal.webhooks.deliveries(endpoint.tenant, endpoint.id, None, None, 500)
    return [(item.topic, json.loads(item.facts)) for item in reversed(found)]


async def ended(world: World, count: int = 1, **fields: Any) -> list[UUID]:
    """Runs that have ended."""
    holders = await world.claimed(count, **fields)
    for holder in holders:
        await holder.move(Status.ENDED, outcome="succeeded")
    return [holder.run for holder in holders]


async def take(world: World, each: int = 4, limit: int = 100, **fields: Any) -> list[Taken]:
    return await world.journal.webhooks.take(fields.pop("under_way", {}), each, limit, LEASE)


async def settle(world: World, taken: Taken, state: Any = "delivered", status: str = "200", **fields: Any) -> bool:
    failing = fields.pop("failing_after", 3)
    return await world.journal.webhooks.settle(Attempted(taken, state, status, **fields), failing)


async def get(world: World, endpoint: Endpoint) -> Endpoint:
    found = await world.journal.webhooks.get(endpoint.tenant, endpoint.id)
    assert found is not None
    return found


async def only(world: World, endpoint: Endpoint) -> Delivery:
    [found] = await world.journal.webhooks.deliveries(endpoint.tenant, endpoint.id, None, None, 10)
    return found


class WebhooksSuite:
    """Subclasses give the fixture ``world``, whose `advance` also brings webhooks' due times nearer."""

    async def test_a_run_that_parks_ends_or_is_set_aside_is_told(self, world: World) -> None:
        endpoint = await added(world)
        holder = await world.held()
        await holder.append(count=2)
        await holder.move(Status.PARKED, wake_at=1)
        again = await world.reclaim(holder.run)
        await again.move(Status.QUARANTINED, code="poison")
        await world.journal.release_quarantine("acme", holder.run, None, "ann")
        last = await world.reclaim(holder.run)
        await last.move(Status.ENDED, outcome="failed", code="tool_failed")
        found = await told(world, endpoint)
        assert [topic for topic, _ in found] == ["run.parked", "run.quarantined", "run.ended"]
        base = {"run": str(holder.run), "agent": "clerk", "nano": 0}
        assert found[0][1] == {**base, "shown": "waiting", "outcome": "", "code": "", "seq": 4}
        assert found[1][1] == {**base, "shown": "quarantined", "outcome": "", "code": "poison", "seq": 5}
        assert found[2][1] == {**base, "shown": "failed", "outcome": "failed", "code": "tool_failed", "seq": 6}

    async def test_the_id_is_a_hash_of_endpoint_topic_run_and_seq(self, world: World) -> None:
        endpoint = await added(world)
        [run] = await ended(world)
        named = f"{endpoint.id}|run.ended|{run}|2"
        made = await only(world, endpoint)
        assert made.id == "msg_" + hashlib.sha256(named.encode()).hexdigest()[:32]
        assert (made.run, made.state, made.attempts) == (run, "waiting", 0)

    async def test_questions_are_told_once_each_and_so_are_decisions(self, world: World) -> None:
        endpoint = await added(world, topics=("approval.requested", "approval.decided"))
        holder = await world.held()
        first = Waiting("approval", "1", "refund", "a1", 300)
        await ask(holder, first)
        await world.journal.deliver(post(holder, "other"))
        again = await world.reclaim(holder.run)
        await ask(again, first, Waiting("doubt", "2", "pay", "a2"), Waiting("message", "3", '"kind":"approval"', "m"))
        once = await world.journal.questions.decide(post(again, "a1"), decided(again, "a1", agent="clerk"))
        assert once.counts
        twice = await world.journal.questions.decide(post(again, "a1"), decided(again, "a1", "deny", actor="bob"))
        assert not twice.counts
        base = {"run": str(holder.run), "agent": "clerk"}
        asked = {**base, "approval": "a1", "tool": "refund", "question": "may_run", "until": 300}
        doubt = {**base, "approval": "a2", "tool": "pay", "question": "did_it_happen", "until": 0}
        said = {**base, "approval": "a1", "tool": "refund", "question": "may_run", "decision": "approve"}
        assert await told(world, endpoint) == [
            ("approval.requested", asked),
            ("approval.requested", doubt),
            ("approval.decided", {**said, "actor": "ann"}),
        ]

    async def test_a_question_that_is_asked_while_the_run_goes_on_is_told_at_once(self, world: World) -> None:
        endpoint = await added(world, topics=("approval.requested",))
        holder = await world.held()
        await holder.append(waiting=stable_json([Waiting("approval", "1", "refund", "a1")]))
        assert [facts["approval"] for _, facts in await told(world, endpoint)] == ["a1"]
        await holder.append()
        await ask(holder, Waiting("approval", "1", "refund", "a1"))
        assert len(await told(world, endpoint)) == 1

    async def test_stops_are_told_when_they_are_sealed(self, world: World) -> None:
        mine, others = await added(world, topics=("control.applied",)), await added(world, tenant="zeta")
        narrow = await added(world, topics=("control.applied",), agent="somebody-else")
        holder = await world.held()
        run = await world.journal.stop_run("acme", holder.run, Stop.PAUSE, "ann", "secret words")
        tenant = await world.journal.stop_scope(of_all("acme"), Stop.KILL, "ann", "")
        everything = await world.journal.stop_scope(of_all(None), Stop.KILL, "root", "")
        agent = await world.journal.stop_scope(Scope("agent", "acme", "clerk"), Stop.PAUSE, "ann", "")

        def told_of(control: UUID, action: str, scope: str, name: str = "", actor: str = "ann") -> dict[str, Any]:
            run = str(holder.run) if scope == "run" else None
            said = {"action": action, "scope": scope, "name": name, "actor": actor}
            return {"run": run, "control": str(control), **said}

        expected = [
            told_of(run.control, "pause", "run"),
            told_of(tenant.control, "kill", "tenant", "acme"),
            told_of(everything.control, "kill", "everything", actor=""),
            told_of(agent.control, "pause", "agent", "clerk"),
        ]
        assert [facts for _, facts in await told(world, mine)] == expected
        assert [facts for _, facts in await told(world, others)] == expected[2:3]
        assert [facts for _, facts in await told(world, narrow)] == expected[1:3]

    async def test_only_what_an_endpoint_asks_for_from_when_it_is_made(self, world: World) -> None:
        await ended(world)
        endpoint = await added(world, topics=("run.ended",), agent="clerk")
        narrow = await added(world, topics=("run.ended",), agent="other")
        foreign = await added(world, tenant="zeta")
        assert await told(world, endpoint) == []
        holder = await world.held()
        await holder.move(Status.PARKED, wake_at=1)
        await ended(world)
        assert [topic for topic, _ in await told(world, endpoint)] == ["run.ended"]
        assert await told(world, narrow) == []
        assert await told(world, foreign) == []

    async def test_of_ends_only_of_runs_that_somebody_submitted(self, world: World) -> None:
        endpoint = await added(world)
        parent = await world.held()
        await ended(world, parent=parent.run, root=parent.run, parent_path="1")
        [next_of] = await ended(world, parent=parent.run, root=parent.run, parent_path="continued")
        await parent.move(Status.ENDED, outcome="succeeded", code="continued")
        assert [facts["run"] for _, facts in await told(world, endpoint)] == [str(next_of)]

    async def test_a_refused_append_tells_nothing(self, world: World) -> None:
        endpoint = await added(world)
        holder = await world.held()
        await world.advance(1000)
        await world.reclaim(holder.run)
        await holder.move(Status.ENDED, outcome="succeeded")
        assert await told(world, endpoint) == []

    async def test_what_is_taken_is_left_alone_until_the_lease_is_over(self, world: World) -> None:
        endpoint = await added(world)
        await ended(world, 3)
        first = await take(world, limit=2)
        assert len(first) == 2
        assert {item.url for item in first} == {endpoint.url}
        assert {item.delivery.attempts for item in first} == {1}
        second = await take(world)
        assert len(second) == 1
        assert await take(world) == []
        await world.advance(LEASE + 1)
        again = await take(world)
        assert {item.delivery.id for item in again} == {item.delivery.id for item in [*first, *second]}
        assert {item.delivery.attempts for item in again} == {2}
        assert not await settle(world, first[0])
        by_id = {item.delivery.id: item for item in again}
        assert await settle(world, by_id[first[0].delivery.id])
        assert not await settle(world, by_id[first[0].delivery.id])
        assert (await world.journal.webhooks.counts("acme", [endpoint.id]))[endpoint.id].waiting == 2

    async def test_several_takers_never_have_the_same(self, world: World) -> None:
        for _ in range(3):
            await added(world)
        await ended(world, 20)
        taken = [item for part in await asyncio.gather(*(take(world, limit=10) for _ in range(6))) for item in part]
        keys = [(item.delivery.endpoint, item.delivery.id) for item in taken]
        assert len(keys) == len(set(keys))
        assert len(keys) > 20

    async def test_no_endpoint_has_more_under_way_than_it_may(self, world: World) -> None:
        busy, free = await added(world), await added(world)
        await ended(world, 10)
        taken = await take(world, each=3, under_way={busy.id: 2})
        of = [item.delivery.endpoint for item in taken]
        assert (of.count(busy.id), of.count(free.id)) == (1, 3)
        taken = await take(world, each=3, under_way={busy.id: 9, free.id: 3})
        assert taken == []

    async def test_failures_in_a_row_make_it_failing_and_a_success_does_not(self, world: World) -> None:
        endpoint = await added(world)
        await ended(world, 6)
        taken = await take(world, each=6)
        assert await world.journal.webhooks.trouble("acme") == Trouble(0)
        for item in taken[:3]:
            assert await settle(world, item, "waiting", "500", again_seconds=60.0)
        failing = await get(world, endpoint)
        assert (failing.failures, failing.last_status) == (3, "500")
        assert failing.failing_since is not None
        assert await world.journal.webhooks.trouble("acme") == Trouble(1, failing.failing_since)
        assert await world.journal.webhooks.trouble("zeta") == Trouble(0)
        await world.advance(61)
        [alone] = await take(world)  # one at a time to one that fails
        await settle(world, alone)
        well = await get(world, endpoint)
        assert (well.failures, well.failing_since, well.last_status) == (0, None, "200")
        assert len(await take(world, each=2)) == 2

    async def test_a_failed_attempt_waits_and_a_last_one_is_dead(self, world: World) -> None:
        endpoint = await added(world)
        await ended(world)
        [taken] = await take(world)
        await settle(world, taken, "waiting", "no answer within 10 s", again_seconds=50.0)
        waiting = await only(world, endpoint)
        assert waiting.last_status == "no answer within 10 s"
        assert waiting.last_at is not None
        assert waiting.next_at - waiting.last_at == 50 * SECOND
        assert await take(world) == []
        await world.advance(51)
        [taken] = await take(world)
        await settle(world, taken, "dead", "500")
        await world.advance(100_000)
        assert await take(world) == []
        counts = (await world.journal.webhooks.counts("acme", [endpoint.id]))[endpoint.id]
        assert (counts.waiting, counts.dead) == (0, 1)

    async def test_an_endpoint_that_asks_to_be_left_alone_is(self, world: World) -> None:
        endpoint = await added(world)
        await ended(world, 2)
        [taken] = await take(world, limit=1)
        await settle(world, taken, "waiting", "429", again_seconds=1.0, hold_seconds=40.0)
        await world.advance(30)
        assert await take(world) == [], "nor the one that was not attempted"
        await world.advance(11)
        assert len(await take(world)) == 2
        assert (await get(world, endpoint)).last_status == "429"

    async def test_one_that_is_gone_is_paused_and_loses_nothing(self, world: World) -> None:
        endpoint = await added(world)
        await ended(world, 2)
        [taken] = await take(world, limit=1)
        await settle(world, taken, "waiting", "410", gone=True)
        assert (await get(world, endpoint)).paused_why == GONE
        assert (await world.journal.webhooks.trouble("acme")).count == 1
        await world.advance(100)
        assert await take(world) == []
        resumed = await world.journal.webhooks.pause("acme", endpoint.id, "")
        assert resumed is not None
        assert (resumed.paused_why, resumed.failures, resumed.failing_since) == ("", 0, None)
        assert len(await take(world)) == 2

    async def test_a_pause_holds_back_and_belongs_to_whoever_made_it(self, world: World) -> None:
        endpoint = await added(world)
        paused = await world.journal.webhooks.pause("acme", endpoint.id, "ann")
        assert paused is not None
        await ended(world)
        assert await take(world) == []
        assert (await world.journal.webhooks.trouble("acme")).count == 0
        await world.journal.webhooks.pause("acme", endpoint.id, "")
        assert len(await take(world)) == 1

    async def test_dead_ones_are_replayed_with_their_id(self, world: World) -> None:
        endpoint = await added(world)
        await ended(world, 3)
        taken = await take(world)
        for item in taken:
            await settle(world, item, "dead", "500", failing_after=100)
        webhooks = world.journal.webhooks
        one = await webhooks.replay("acme", endpoint.id, taken[0].delivery.id)
        assert one is not None
        assert (one.state, one.attempts) == ("waiting", 0)
        assert await webhooks.replay_dead("acme", endpoint.id, 1) == 1
        assert await webhooks.replay_dead("acme", endpoint.id, 10) == 1
        assert await webhooks.replay_dead("acme", endpoint.id, 10) == 0
        again = await take(world)
        assert {item.delivery.id for item in again} == {item.delivery.id for item in taken}
        assert {item.delivery.attempts for item in again} == {1}

    async def test_one_that_was_delivered_or_is_under_way_can_be_replayed(self, world: World) -> None:
        endpoint = await added(world)
        await ended(world)
        [taken] = await take(world)
        assert await world.journal.webhooks.replay("acme", endpoint.id, taken.delivery.id)
        assert not await settle(world, taken), "what was asked for since is to be done"
        [taken] = await take(world)
        assert await settle(world, taken)
        assert await take(world) == []
        assert await world.journal.webhooks.replay("acme", endpoint.id, taken.delivery.id)
        assert len(await take(world)) == 1
        assert await world.journal.webhooks.replay("acme", endpoint.id, "msg_none") is None

    async def test_while_a_secret_is_replaced_both_are_used(self, world: World) -> None:
        endpoint = await added(world, secret=b"1" * 32)
        await ended(world, 3)
        rotated = await world.journal.webhooks.rotate("acme", endpoint.id, b"2" * 32, 100.0)
        assert rotated is not None
        assert rotated.secret == b"2" * 32
        [taken] = await take(world, limit=1)
        assert taken.secrets == (b"2" * 32, b"1" * 32)
        await world.advance(101)
        [taken] = await take(world, limit=1)
        assert taken.secrets == (b"2" * 32,)

    async def test_pages_are_newest_first_and_by_state(self, world: World) -> None:
        endpoint = await added(world)
        for _ in range(5):
            await ended(world)
        webhooks = world.journal.webhooks
        whole = await webhooks.deliveries("acme", endpoint.id, None, None, 10)
        assert [item.created_at for item in whole] == sorted((item.created_at for item in whole), reverse=True)
        first = await webhooks.deliveries("acme", endpoint.id, None, None, 3)
        rest = await webhooks.deliveries("acme", endpoint.id, None, (first[-1].created_at, first[-1].id), 3)
        assert [*first, *rest] == whole
        [taken] = await take(world, limit=1)
        await settle(world, taken, "dead", "500")
        dead = await webhooks.deliveries("acme", endpoint.id, "dead", None, 10)
        assert [item.id for item in dead] == [taken.delivery.id]
        assert len(await webhooks.deliveries("acme", endpoint.id, "waiting", None, 10)) == 4

    async def test_a_tenant_has_so_many_and_no_more(self, world: World) -> None:
        webhooks = world.journal.webhooks
        tried = await asyncio.gather(*(webhooks.add(new_endpoint(), 3) for _ in range(6)))
        assert sum(item is not None for item in tried) == 3
        assert await webhooks.add(new_endpoint(tenant="zeta"), 3) is not None
        assert len(await webhooks.list_endpoints("acme")) == 3

    async def test_one_that_is_removed_is_told_nothing_more(self, world: World) -> None:
        endpoint, other = await added(world), await added(world)
        await ended(world)
        assert await world.journal.webhooks.remove("acme", endpoint.id)
        assert not await world.journal.webhooks.remove("acme", endpoint.id)
        assert await world.journal.webhooks.get("acme", endpoint.id) is None
        assert {item.delivery.endpoint for item in await take(world)} == {other.id}
        assert await world.journal.webhooks.deliveries("acme", endpoint.id, None, None, 10) == []

    async def test_old_ones_are_forgotten_some_at_a_time(self, world: World) -> None:
        endpoint = await added(world)
        await ended(world, 3)
        await world.advance(100)
        await ended(world)
        assert await world.journal.webhooks.forget(50.0, 2) == 2
        assert await world.journal.webhooks.forget(50.0, 2) == 1
        assert await world.journal.webhooks.forget(50.0, 2) == 0
        assert len(await told(world, endpoint)) == 1

    async def test_another_tenant_reaches_nothing(self, world: World) -> None:
        endpoint = await added(world)
        await ended(world)
        made = await only(world, endpoint)
        webhooks = world.journal.webhooks
        assert await webhooks.get("zeta", endpoint.id) is None
        assert await webhooks.list_endpoints("zeta") == []
        assert not await webhooks.remove("zeta", endpoint.id)
        assert await webhooks.pause("zeta", endpoint.id, "eve") is None
        assert await webhooks.rotate("zeta", endpoint.id, b"3" * 32, 1.0) is None
        assert (await webhooks.counts("zeta", [endpoint.id]))[endpoint.id].waiting == 0
        assert await webhooks.deliveries("zeta", endpoint.id, None, None, 10) == []
        assert await webhooks.replay("zeta", endpoint.id, made.id) is None
        assert await webhooks.replay_dead("zeta", endpoint.id, 10) == 0
        assert await get(world, endpoint) == endpoint
        assert await only(world, endpoint) == made
