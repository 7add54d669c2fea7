"""What both stores of schedules must do. A subclass has a fixture ``world``."""

from dataclasses import replace
from typing import Any

import pytest
from tests.contract.journal_world import CLOCK, SECOND, World, new_run

from penstock.kernel.errors import SchedulesFull
from penstock.kernel.ids import new_id
from penstock.ports.controls import of_all
from penstock.ports.records import Move, Status, Stop
from penstock.ports.schedules import LOOK_AGAIN_US, Due, Fired, Plan, Schedule

LEASE = 60.0
HOUR = 3600 * SECOND


class SchedulesWorld:
    """A journal, and the passing of its time."""

    def __init__(self, world: World) -> None:
        self.runs = world
        self.journal = world.journal
        self.schedules = world.journal.schedules

    async def advance(self, seconds: float) -> None:
        """Let this much time pass on the clock that schedules are compared with."""
        await self.runs.advance(seconds)

    async def schedule(
        self, name: str = "nightly", *, tenant: str = "acme", due: int = -SECOND, **fields: Any
    ) -> Schedule:
        """A stored schedule, due ``due`` microseconds from now (the default: a second ago)."""
        at = await self.journal.now() + due
        known: dict[str, Any] = {"agent": "clerk", "plan": Plan(every=HOUR, tags={"feature": "é"}), **fields}
        schedule = Schedule(
            tenant=tenant,
            id=new_id(CLOCK),
            name=name,
            subject="schedule:1",
            address=b"\x01" * 32,
            next_at=at,
            due_at=at,
            created_by="ada",
            **known,
        )
        assert await self.schedules.put(schedule, replace=False, limit=100)
        stored = await self.schedules.get(tenant, name)
        assert stored is not None
        return stored

    async def take(self, *, agents: tuple[str, ...] = ("clerk",), limit: int = 10) -> list[Due]:
        return await self.schedules.take_due(agents, LEASE, limit)


def later(due: Due, **fields: Any) -> Fired:
    """Settled until an hour later."""
    at = due.schedule.next_at + HOUR
    return Fired(next_at=at, due_at=at, **fields)


class SchedulesSuite:
    async def test_what_was_stored_is_found(self, world: SchedulesWorld) -> None:
        stored = await world.schedule(plan=Plan(cron="30 2 * * *", timezone="Europe/Berlin", overlap="queue"))
        assert stored.plan == Plan(cron="30 2 * * *", timezone="Europe/Berlin", overlap="queue")
        assert stored.created_by == "ada"
        assert stored.created_at > 0
        assert (stored.address, stored.subject) == (b"\x01" * 32, "schedule:1")
        assert await world.schedules.get("acme", "weekly") is None
        assert await world.schedules.list_schedules("acme") == [stored]

    async def test_a_name_is_taken_once_in_a_tenant(self, world: SchedulesWorld) -> None:
        stored = await world.schedule()
        assert not await world.schedules.put(stored, replace=False, limit=100)
        theirs = await world.schedule(tenant="zeta")
        assert theirs.id != stored.id

    async def test_one_that_is_replaced_keeps_what_it_was(self, world: SchedulesWorld) -> None:
        stored = await world.schedule()
        [due] = await world.take()
        run = new_id(CLOCK)
        assert await world.schedules.settle(due, later(due, fired=1, skipped=2, last_at=7, last_run=run, error="x"))
        assert await world.schedules.pause("acme", "nightly", "ben")
        changed = replace(
            stored, id=new_id(CLOCK), agent="other", plan=Plan(every=1), created_by="eve", next_at=5, due_at=6
        )
        assert await world.schedules.put(changed, replace=True, limit=1)
        now = await world.schedules.get("acme", "nightly")
        assert now is not None
        assert (now.id, now.created_by, now.fired, now.skipped, now.last_run) == (stored.id, "ada", 1, 2, run)
        assert (now.agent, now.plan, now.next_at, now.due_at, now.last_error) == ("other", Plan(every=1), 5, 6, "")
        assert now.paused
        assert await world.take(agents=("other",)) == []

    async def test_a_tenant_has_no_more_than_its_limit(self, world: SchedulesWorld) -> None:
        one = await world.schedule("one")
        two = replace(one, name="two")
        with pytest.raises(SchedulesFull, match="acme"):
            await world.schedules.put(two, replace=False, limit=1)
        assert await world.schedules.put(replace(two, tenant="zeta"), replace=False, limit=1)

    async def test_lists_go_by_name_and_are_bounded(self, world: SchedulesWorld) -> None:
        for name in ("b", "a", "c"):
            await world.schedule(name)
        await world.schedule("d", tenant="zeta")
        assert [item.name for item in await world.schedules.list_schedules("acme", limit=2)] == ["a", "b"]
        assert [item.name for item in await world.schedules.list_schedules("acme", after="b")] == ["c"]

    async def test_only_what_is_due_is_taken_and_only_for_agents_that_are_offered(self, world: SchedulesWorld) -> None:
        await world.schedule("due")
        await world.schedule("later", due=HOUR)
        await world.schedule("other", agent="painter")
        assert [due.schedule.name for due in await world.take()] == ["due"]
        assert [due.schedule.name for due in await world.take(agents=("painter", "clerk"))] == ["other"]
        await world.advance(3601)
        assert "later" in [due.schedule.name for due in await world.take()]

    async def test_what_is_taken_is_left_alone_until_the_lease_is_over(self, world: SchedulesWorld) -> None:
        await world.schedule()
        [first] = await world.take()
        assert await world.take() == []
        await world.advance(LEASE + 1)
        [second] = await world.take()
        assert second.token > first.token
        assert second.now == first.now, "it must come to the same decisions"
        assert not await world.schedules.settle(first, later(first, fired=1))
        assert await world.schedules.settle(second, later(second, fired=1))
        stored = await world.schedules.get("acme", "nightly")
        assert stored is not None
        assert stored.fired == 1

    async def test_settled_it_is_due_at_its_next_time(self, world: SchedulesWorld) -> None:
        await world.schedule()
        [due] = await world.take()
        run = new_id(CLOCK)
        assert await world.schedules.settle(due, later(due, fired=1, last_at=due.schedule.next_at, last_run=run))
        assert not await world.schedules.settle(Due(due.schedule, due.now, due.open, due.token - 1), later(due))
        await world.advance(LEASE + 1)
        assert await world.take() == []
        await world.advance(3600)
        [again] = await world.take()
        assert again.now > due.now
        assert (again.schedule.last_run, again.schedule.last_at) == (run, due.schedule.next_at)
        assert again.schedule.next_at == due.schedule.next_at + HOUR

    async def test_one_without_a_next_time_is_over(self, world: SchedulesWorld) -> None:
        await world.schedule()
        [due] = await world.take()
        assert await world.schedules.settle(due, Fired(next_at=0, due_at=0, fired=1))
        await world.advance(100 * 86_400)
        assert await world.take() == []

    async def test_a_batch_is_bounded_and_oldest_first(self, world: SchedulesWorld) -> None:
        for number in range(5):
            await world.schedule(f"s{number}", due=-(number + 1) * SECOND)
        assert sorted(due.schedule.name for due in await world.take(limit=2)) == ["s3", "s4"]
        assert len(await world.take(limit=10)) == 3

    async def test_while_paused_it_is_not_due(self, world: SchedulesWorld) -> None:
        await world.schedule()
        assert await world.schedules.pause("acme", "nightly", "ben")
        assert not await world.schedules.pause("acme", "weekly", "ben")
        assert await world.take() == []
        stored = await world.schedules.get("acme", "nightly")
        assert stored is not None
        assert (stored.paused, stored.paused_by) == (True, "ben")
        soon = await world.journal.now() + HOUR
        assert await world.schedules.resume("acme", "nightly", soon, soon)
        assert not await world.schedules.resume("acme", "weekly", soon, soon)
        assert await world.take() == []
        await world.advance(3601)
        assert len(await world.take()) == 1

    async def test_resuming_what_is_not_paused_changes_nothing(self, world: SchedulesWorld) -> None:
        stored = await world.schedule()
        assert await world.schedules.resume("acme", "nightly", 1, 1)
        assert await world.schedules.get("acme", "nightly") == stored

    async def test_a_pause_during_a_taking_stands(self, world: SchedulesWorld) -> None:
        await world.schedule()
        [due] = await world.take()
        assert await world.schedules.pause("acme", "nightly", "ben")
        assert await world.schedules.settle(due, later(due, fired=1, queued_at=5))
        await world.advance(7300)
        assert await world.take() == []
        stored = await world.schedules.get("acme", "nightly")
        assert stored is not None
        assert (stored.fired, stored.queued_at) == (1, 0)

    async def test_one_that_was_asked_for_is_due_once_also_while_paused(self, world: SchedulesWorld) -> None:
        await world.schedule(due=HOUR)
        await world.schedules.pause("acme", "nightly", "ben")
        assert await world.schedules.request("acme", "nightly")
        assert not await world.schedules.request("acme", "weekly")
        [due] = await world.take()
        asked = due.schedule.requested_at
        assert asked > 0
        assert await world.schedules.settle(due, Fired(due.schedule.next_at, due.schedule.due_at, requested_at=asked))
        await world.advance(LEASE + 1)
        assert await world.take() == []

    async def test_a_request_during_a_taking_is_not_lost(self, world: SchedulesWorld) -> None:
        await world.schedule()
        [due] = await world.take()
        assert await world.schedules.request("acme", "nightly")
        assert await world.schedules.settle(due, later(due))
        [again] = await world.take()
        assert again.schedule.requested_at > 0

    async def test_a_time_that_waits_is_looked_at_again_and_again(self, world: SchedulesWorld) -> None:
        await world.schedule()
        for _ in range(2):
            [due] = await world.take()
            assert await world.schedules.settle(due, later(due, queued_at=due.schedule.next_at))
            assert await world.take() == []
            await world.advance(LOOK_AGAIN_US / 1e6 + 0.1)
        [due] = await world.take()
        assert due.schedule.queued_at > 0

    async def test_it_is_known_whether_the_last_run_has_ended(self, world: SchedulesWorld) -> None:
        holder = await world.runs.held()
        await world.schedule()
        [due] = await world.take()
        assert not due.open
        assert await world.schedules.settle(due, later(due, last_run=holder.run))
        await world.advance(3601)
        [due] = await world.take()
        assert due.open
        soon = await world.journal.now() + HOUR
        assert await world.schedules.settle(due, Fired(soon, soon))
        await holder.append(move=Move(Status.ENDED, outcome="succeeded"))
        await world.advance(3601)
        [due] = await world.take()
        assert not due.open

    async def test_a_quarantined_run_holds_nobody_up(self, world: SchedulesWorld) -> None:
        holder = await world.runs.held()
        await world.schedule()
        [due] = await world.take()
        assert await world.schedules.settle(due, later(due, last_run=holder.run))
        await holder.append(move=Move(Status.QUARANTINED, code="poison"))
        await world.advance(3601)
        [due] = await world.take()
        assert not due.open

    async def test_another_tenants_run_of_that_id_is_not_the_last_one(self, world: SchedulesWorld) -> None:
        theirs = new_run("zeta")
        await world.journal.submit([theirs])
        await world.schedule()
        [due] = await world.take()
        assert await world.schedules.settle(due, later(due, last_run=theirs.id))
        await world.advance(3601)
        assert not (await world.take())[0].open

    async def test_nothing_of_a_stopped_tenant_is_taken(self, world: SchedulesWorld) -> None:
        await world.schedule()
        await world.schedule(tenant="zeta")
        await world.journal.stop_scope(of_all("acme"), Stop.KILL, "ada", "incident")
        assert [due.schedule.tenant for due in await world.take()] == ["zeta"]
        await world.advance(LEASE + 1)
        await world.journal.stop_scope(of_all(None), Stop.KILL, "ada", "incident")
        assert await world.take() == []
        await world.journal.resume_scope(of_all(None), "ada")
        await world.journal.resume_scope(of_all("acme"), "ada")
        assert sorted(due.schedule.tenant for due in await world.take()) == ["acme", "zeta"]

    async def test_one_that_is_removed_is_gone(self, world: SchedulesWorld) -> None:
        await world.schedule()
        [due] = await world.take()
        assert await world.schedules.remove("acme", "nightly")
        assert not await world.schedules.remove("acme", "nightly")
        assert not await world.schedules.settle(due, later(due))
        await world.schedule()
        assert not await world.schedules.settle(due, later(due)), "it is another one of that name"

    async def test_no_tenant_reaches_anothers(self, world: SchedulesWorld) -> None:
        stored = await world.schedule(due=HOUR)
        schedules = world.schedules
        assert await schedules.get("zeta", "nightly") is None
        assert await schedules.list_schedules("zeta") == []
        assert not await schedules.pause("zeta", "nightly", "eve")
        assert not await schedules.resume("zeta", "nightly", 1, 1)
        assert not await schedules.request("zeta", "nightly")
        assert not await schedules.remove("zeta", "nightly")
        assert await schedules.get("acme", "nightly") == stored
