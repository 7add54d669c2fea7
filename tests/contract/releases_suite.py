"""What every store must know of deploys. Subclasses provide ``world``; see `tests.contract.journal_world`."""

from typing import Any

import pytest
from tests.contract.journal_world import CLOCK, LEASE, World, new_run

from penstock.events import FORMAT, RunAdopted, encode
from penstock.journal.chain import link
from penstock.kernel.ids import new_id
from penstock.ports.records import Answer, Status, Stop
from penstock.ports.releases import RESTORED_EPOCHS, Adopted, Adoption


async def adoption(world: World, run: Any, **fields: object) -> Adoption:
    """The run, as it is now, put under release ``r2``."""
    row = await world.journal.get_run(*run.key)
    assert row is not None
    event = RunAdopted(tenant=run.tenant, run=run.run, agent="clerk", seq=row.last_seq + 1, epoch=row.epoch + 1)
    body = encode(event)
    values = {
        "tenant": run.tenant,
        "run": run.run,
        "epoch": row.epoch,
        "last_seq": row.last_seq,
        "release": "r2",
        "format": 2,
        "body": body,
        "hash": link(row.head, body),
        **fields,
    }
    return Adoption(**values)


class ReleasesSuite:
    """Offers, stranded runs, formats, adoption, restored databases."""

    async def test_a_release_is_offered_while_a_worker_that_offers_it_lives(self, world: World) -> None:
        releases = world.journal.releases
        assert not await releases.offered("r1")
        worker = await world.worker()
        assert await releases.offered("r1"), "a worker that does not say what it offers may offer anything"
        await releases.offer(worker, ["r2"], FORMAT)
        assert not await releases.offered("r1")
        await releases.offer(worker, ["r1", "r2"], FORMAT)
        assert await releases.offered("r1")
        assert [(item.format, item.releases) for item in await releases.workers()] == [(FORMAT, ["r1", "r2"])]
        await releases.offer(worker, ["r1"], FORMAT)
        assert not await releases.offered("r2")
        await world.advance(LEASE + 1)
        assert not await releases.offered("r1")
        assert await releases.workers() == []

    async def test_runs_that_nobody_offers_are_stranded_since_the_last_one_did(self, world: World) -> None:
        releases = world.journal.releases
        worker = await world.worker()
        await releases.offer(worker, ["r1"], FORMAT)
        runs = [new_run(id=new_id(CLOCK)) for _ in range(3)]
        foreign = new_run(tenant="other")
        await world.journal.submit([*runs, foreign])
        assert await releases.stranded("acme", 10) == []
        left = await world.journal.now()
        await world.journal.retire(worker)
        found = await releases.stranded("acme", 10)
        assert [item.run for item in found] == sorted(run.id for run in runs)
        assert {(item.agent, item.release, item.status) for item in found} == {("clerk", "r1", "queued")}
        assert all(item.since >= left - 1000 for item in found)
        assert [item.run for item in await releases.stranded("acme", 1)] == [found[0].run]
        assert [item.run for item in await releases.stranded("acme", 10, found[0].run)] == [
            item.run for item in found[1:]
        ]
        other = await world.worker()
        await releases.offer(other, ["r9"], FORMAT)
        again = await releases.stranded("acme", 10)
        assert [item.since for item in again] == [item.since for item in found], "kept when offers are swept"
        await releases.offer(other, ["r1"], FORMAT)
        assert await releases.stranded("acme", 10) == []

    async def test_runs_that_ended_are_set_aside_or_are_held_are_not_stranded(self, world: World) -> None:
        ended, aside, held = await world.claimed(3)
        await ended.move(Status.ENDED, outcome="succeeded")
        await aside.move(Status.QUARANTINED, code="poison")
        assert await world.journal.releases.stranded("acme", 10) == []
        await world.advance(LEASE + 1)
        assert [item.run for item in await world.journal.releases.stranded("acme", 10)] == [held.run]

    async def test_an_unused_database_writes_the_newest_format(self, world: World) -> None:
        assert await world.journal.releases.write_format() == FORMAT

    async def test_finalize_names_live_workers_that_read_less(self, world: World) -> None:
        releases = world.journal.releases
        old, new = await world.worker("old"), await world.worker("new")
        await releases.offer(new, ["r1"], FORMAT + 1)
        assert [name.split("-")[0] for name in await releases.finalize(FORMAT + 1, "ben")] == ["old"]
        await world.journal.retire(old)
        assert await releases.finalize(FORMAT + 1, "ben") == []
        assert await releases.write_format() == FORMAT, "never more than this installation writes"

    async def test_an_adopted_run_is_claimed_under_its_new_release_alone(self, world: World) -> None:
        holder = await world.held()
        await holder.move(Status.QUEUED)
        assert await world.journal.releases.adopt(await adoption(world, holder)) is Adopted.ADOPTED
        assert await world.claim() == []
        claims = await world.journal.claim(await world.worker(), ["r2"], 10)
        assert [(claim.run, claim.epoch, claim.claims) for claim in claims] == [(holder.run, 3, 1)]
        await world.check_chain(*holder.key)

    async def test_a_parked_run_stays_parked_and_a_quarantined_one_is_due(self, world: World) -> None:
        parked, aside = await world.claimed(2)
        at = await world.journal.now() + 3600 * 1_000_000
        await parked.move(Status.PARKED, wake_at=at)
        await aside.move(Status.QUARANTINED, code="divergence")
        for holder in (parked, aside):
            assert await world.journal.releases.adopt(await adoption(world, holder)) is Adopted.ADOPTED
        rows = [await world.journal.get_run(*holder.key) for holder in (parked, aside)]
        assert [(row.status, row.code, row.release) for row in rows if row] == [
            (Status.PARKED, "", "r2"),
            (Status.QUEUED, "", "r2"),
        ]
        assert rows[0] is not None
        assert rows[0].wake_at == at

    async def test_what_changed_is_held_or_over_is_not_adopted(self, world: World) -> None:
        releases = world.journal.releases
        held = await world.held()
        assert await releases.adopt(await adoption(world, held)) is Adopted.HELD
        seen = await adoption(world, held)
        await held.move(Status.QUEUED)
        assert await releases.adopt(seen) is Adopted.CHANGED
        taken = await adoption(world, held)
        again = await world.reclaim(held.run)
        assert await releases.adopt(taken) is Adopted.HELD
        await again.move(Status.ENDED, outcome="succeeded")
        assert await releases.adopt(await adoption(world, held)) is Adopted.ENDED
        assert await releases.adopt(await adoption(world, held, tenant="other")) is Adopted.ABSENT
        await world.check_chain(*held.key)

    async def test_a_holder_from_before_an_adoption_can_append_nothing(self, world: World) -> None:
        zombie = await world.held()
        await world.advance(LEASE + 1)
        assert await world.journal.releases.adopt(await adoption(world, zombie)) is Adopted.ADOPTED
        assert (await zombie.append()).answer is Answer.FENCED

    @pytest.mark.parametrize("hold", [True, False])
    async def test_a_restored_database_fences_everybody_out(self, world: World, hold: bool) -> None:
        worker = await world.worker()
        zombie, parked, paused = await world.claimed(3, worker)
        await parked.move(Status.PARKED, wake_at=0)
        await paused.move(Status.PARKED)
        await world.journal.stop_run(*paused.key, Stop.PAUSE, "ann", "")
        done = await world.journal.releases.mark_restored(hold=hold, actor="ben")
        assert (done.fenced, done.held, done.workers) == (3, 2 if hold else 0, 1)
        assert (await zombie.append()).answer is Answer.FENCED
        assert not await world.journal.renew(worker, LEASE)
        claims = {claim.run: claim for claim in await world.claim()}
        if hold:
            assert claims == {}
            assert await world.journal.releases.resume_restored("ben") == 2
            claims = {claim.run: claim for claim in await world.claim()}
        assert set(claims) == {zombie.run, parked.run}, "what a person had paused before stays paused"
        assert claims[zombie.run].epoch == 1 + RESTORED_EPOCHS + 1
        assert await world.journal.releases.resume_restored("ben") == 0
