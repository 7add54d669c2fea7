"""What both stores must do about how a tenant's runs stand. A subclass has a fixture ``world``."""

from tests.contract.journal_world import World, new_run

from penstock.ports.records import Move, Status


class OverviewSuite:
    async def test_nothing_is_there(self, world: World) -> None:
        standing = await world.journal.overview.standing("acme")
        counts = (standing.queued, standing.running, standing.parked, standing.quarantined, standing.oldest_due)
        assert counts == (0, 0, 0, 0, 0)
        assert (standing.workers, standing.dead) == ([], [])

    async def test_runs_are_counted_as_they_stand(self, world: World) -> None:
        ended, parked, aside, held = await world.claimed(4)
        await ended.move(Status.ENDED, outcome="succeeded")
        await parked.move(Status.PARKED)
        await aside.move(Status.QUARANTINED)
        await world.journal.submit([new_run(), new_run(tenant="beta")])
        standing = await world.journal.overview.standing("acme")
        assert (standing.queued, standing.running, standing.parked, standing.quarantined) == (1, 1, 1, 1)
        assert 0 < standing.oldest_due <= standing.at
        assert standing.quarantined_since > 0
        other = await world.journal.overview.standing("beta")
        assert (other.queued, other.running, other.parked, other.quarantined) == (1, 0, 0, 0)
        assert [worker.running for worker in standing.workers] == [1]
        assert [worker.running for worker in other.workers] == [0], "what it holds of others is not told"
        assert await world.status(held) is Status.RUNNING

    async def test_who_waits_for_a_person(self, world: World) -> None:
        asked, doubted, waiting, settling = await world.claimed(4)
        await asked.append(move=Move(Status.PARKED, None, b'[{"id":"a","kind":"approval","name":"pay","path":"0"}]'))
        await doubted.append(move=Move(Status.PARKED, None, b'[{"id":"d","kind":"doubt","name":"pay","path":"0"}]'))
        await settling.append(move=Move(Status.PARKED, None, b'[{"kind":"doubt","name":"pay","path":"0"}]'))
        await waiting.append(move=Move(Status.PARKED, None, b'[{"kind":"event","name":"approval","path":"0"}]'))
        standing = await world.journal.overview.standing("acme")
        assert (standing.parked, standing.approvals, standing.doubts) == (4, 1, 1)
        assert (await world.journal.overview.standing("beta")).approvals == 0

    async def test_a_worker_that_is_gone_is_named_while_it_holds_runs(self, world: World) -> None:
        worker = await world.worker("lost", lease=60)
        [holder] = await world.claimed(1, worker)
        await world.advance(61)
        standing = await world.journal.overview.standing("acme")
        [dead] = standing.dead
        assert (dead.name, dead.running) == (f"lost-{worker}", 1)
        assert [item.name for item in standing.workers if item.name == dead.name] == []
        taken = await world.reclaim(holder.run)
        assert (await world.journal.overview.standing("acme")).dead == []
        assert taken.claim.epoch == 2
