"""What every store must do for the gateway: bindings of keys, and runs that are held from the moment they are made."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from tests.contract.journal_world import CLOCK, Holder, World, new_run

from penstock.events import BudgetRecord
from penstock.kernel.ids import new_id
from penstock.ports.controls import Scope
from penstock.ports.gateway import KeyBinding, NamedRun
from penstock.ports.records import Answer, Batch, Begin, Claim, Move, NewRun, Status, Stop


def begun(world: World, worker: UUID, new: NewRun | None = None, name: str = "") -> tuple[Holder, Begin]:
    """A run that is about to be made, in the hands of who makes it."""
    new = new or new_run(rank=None)
    claim = Claim(
        new.tenant,
        new.id,
        1,
        1,
        new.event.hash,
        new.agent,
        new.release,
        new.subject,
        new.subject_key,
        None,
        "",
        new.id,
        1,
        None,
        0,
    )
    return Holder(world.journal, claim), Begin(worker, new, name)


def first(holder: Holder, begin: Begin, **fields: Any) -> Batch:
    """The batch that makes the run, with an intent."""
    batch = holder.batch(holder.intent(), intent=True, **fields)
    batch.begin = begin
    return batch


class GatewaySuite:
    """Subclasses give the fixture ``world``."""

    async def test_a_key_is_bound_once(self, world: World) -> None:
        binding = KeyBinding("acme", new_id(CLOCK), "desk", {"customer": "ada"}, BudgetRecord(nano=5))
        gateway = world.journal.gateway
        assert await gateway.binding("acme", binding.key) is None
        assert await gateway.bind(binding)
        assert await gateway.bind(binding)
        assert not await gateway.bind(replace(binding, agent="cook"))
        assert not await gateway.bind(replace(binding, tags={}))
        assert await gateway.binding("acme", binding.key) == binding
        assert await gateway.binding("umbrella", binding.key) is None

    async def test_a_run_is_made_and_written_to_at_once(self, world: World) -> None:
        worker = await world.worker()
        holder, begin = begun(world, worker)
        batch = first(holder, begin)
        assert await world.journal.get_run(*holder.key) is None
        (answer,) = await world.journal.append([batch])
        assert answer.answer is Answer.APPLIED
        row = await world.journal.get_run(*holder.key)
        assert row is not None
        assert (row.status, row.epoch, row.worker, row.claims) == (Status.RUNNING, 1, worker, 0)
        assert len(await world.check_chain(*holder.key)) == 2
        assert await world.claim() == []
        holder.follow(batch)
        assert (await holder.move(Status.ENDED, outcome="succeeded")).answer is Answer.APPLIED
        await world.check_chain(*holder.key)

    async def test_the_same_batch_again_makes_nothing_twice(self, world: World) -> None:
        holder, begin = begun(world, await world.worker())
        batch = first(holder, begin)
        for _ in range(3):
            (answer,) = await world.journal.append([batch])
            assert answer.answer is Answer.APPLIED
        assert len(await world.check_chain(*holder.key)) == 2

    async def test_many_are_made_together_beside_other_runs(self, world: World) -> None:
        worker = await world.worker()
        others = await world.claimed(2)
        made = [begun(world, worker) for _ in range(5)]
        batches = [first(*pair) for pair in made] + [other.batch() for other in others]
        answers = await world.journal.append(batches)
        assert [answer.answer for answer in answers] == [Answer.APPLIED] * 7
        for holder, _ in made:
            assert len(await world.check_chain(*holder.key)) == 2

    async def test_nothing_is_made_for_a_worker_whose_lease_is_over(self, world: World) -> None:
        worker = await world.worker(lease=5)
        await world.advance(6)
        holder, begin = begun(world, worker)
        (answer,) = await world.journal.append([first(holder, begin)])
        assert answer.answer is Answer.ABSENT
        assert await world.journal.get_run(*holder.key) is None
        stranger, theirs = begun(world, new_id(CLOCK))
        (answer,) = await world.journal.append([first(stranger, theirs)])
        assert answer.answer is Answer.ABSENT

    async def test_a_run_whose_maker_was_lost_is_claimed_with_all_it_holds(self, world: World) -> None:
        worker = await world.worker(lease=5)
        holder, begin = begun(world, worker)
        batch = first(holder, begin)
        await world.journal.append([batch])
        holder.follow(batch)
        await world.advance(6)
        other = await world.reclaim(holder.run)
        assert (other.claim.epoch, other.claim.last_seq, other.claim.subject_key) == (2, 2, begin.run.subject_key)
        assert (await holder.append()).answer is Answer.FENCED
        (answer,) = await world.journal.append([batch])
        assert answer.answer in (Answer.APPLIED, Answer.FENCED)
        assert len(await world.check_chain(*holder.key)) == 2

    async def test_a_stop_refuses_the_intent_and_leaves_a_run_to_be_ended(self, world: World) -> None:
        worker = await world.worker()
        await world.journal.stop_scope(Scope("agent", "acme", "clerk"), Stop.KILL, "ops", "enough")
        holder, begin = begun(world, worker)
        (answer,) = await world.journal.append([first(holder, begin)])
        assert (answer.answer, answer.stop) == (Answer.STOPPED, Stop.KILL)
        assert len(await world.check_chain(*holder.key)) == 1
        ended = await holder.append(move=Move(Status.ENDED, outcome="killed", code="killed"))
        assert ended.answer is Answer.APPLIED

    async def test_a_name_means_one_unended_run(self, world: World) -> None:
        worker, gateway = await world.worker(), world.journal.gateway
        one, begin = begun(world, worker, name="desk/task")
        batch = first(one, begin)
        await world.journal.append([batch])
        one.follow(batch)
        assert await gateway.named("acme", "desk/task") == NamedRun(one.run, worker)
        assert await gateway.named("umbrella", "desk/task") is None
        other, second = begun(world, worker, name="desk/task")
        (answer,) = await world.journal.append([first(other, second)])
        assert answer.answer is Answer.ABSENT
        assert await world.journal.get_run(*other.key) is None
        await one.move(Status.ENDED, outcome="succeeded")
        assert await gateway.named("acme", "desk/task") is None
        (answer,) = await world.journal.append([first(other, second)])
        assert answer.answer is Answer.APPLIED
        assert await gateway.named("acme", "desk/task") == NamedRun(other.run, worker)

    async def test_the_same_name_of_another_tenant_is_another(self, world: World) -> None:
        worker = await world.worker()
        for tenant in ("acme", "umbrella"):
            holder, begin = begun(world, worker, new_run(tenant), name="desk/task")
            (answer,) = await world.journal.append([first(holder, begin)])
            assert answer.answer is Answer.APPLIED
