"""What every store must do with resources that a run has to itself."""

import asyncio

from tests.contract.journal_world import World, new_run

from penstock.ports.records import Move, Status


class ResourcesSuite:
    """Subclasses give the fixture ``world``."""

    async def test_the_first_has_it_until_it_has_ended(self, world: World) -> None:
        one, two = await world.claimed(2)
        controls = world.journal.controls
        assert (await controls.claim_resource(*one.key, one.claim.epoch, "order:1", "ship")).answer == "held"
        assert (await controls.claim_resource(*one.key, one.claim.epoch, "order:1", "refund")).answer == "held"
        taken = await controls.claim_resource(*two.key, two.claim.epoch, "order:1", "ship")
        assert (taken.answer, taken.holder, taken.tool, taken.has_others) == ("taken", one.run, "ship", False)
        assert taken.since > 0
        assert (await controls.claim_resource(*two.key, two.claim.epoch, "order:2", "ship")).answer == "held"
        assert (await controls.claim_resource(*two.key, two.claim.epoch, "order:1", "ship")).has_others
        await one.append(move=Move(Status.PARKED))
        assert (await controls.claim_resource(*two.key, two.claim.epoch, "order:1", "ship")).answer == "taken"
        one = await world.held()
        assert (await controls.claim_resource(*one.key, one.claim.epoch, "order:3", "ship")).answer == "held"
        await one.move(Status.ENDED, outcome="succeeded")
        assert (await controls.claim_resource(*two.key, two.claim.epoch, "order:3", "ship")).answer == "held"

    async def test_a_family_has_it_together_until_the_last_has_ended(self, world: World) -> None:
        parent, stranger = await world.claimed(2)
        child = new_run(parent=parent.run, root=parent.run, parent_path="1")
        await parent.append(children=[child])
        mine = await world.reclaim(child.id)
        controls = world.journal.controls
        assert (await controls.claim_resource(*parent.key, parent.claim.epoch, "o", "ship")).answer == "held"
        assert (await controls.claim_resource(*mine.key, mine.claim.epoch, "o", "ship")).answer == "held"
        await parent.move(Status.ENDED, outcome="failed")
        assert (await controls.claim_resource(*stranger.key, stranger.claim.epoch, "o", "ship")).answer == "taken"
        await mine.move(Status.ENDED, outcome="cancelled")
        assert (await controls.claim_resource(*stranger.key, stranger.claim.epoch, "o", "ship")).answer == "held"

    async def test_who_does_not_hold_the_run_gets_nothing(self, world: World) -> None:
        mine = await world.held()
        controls = world.journal.controls
        assert (await controls.claim_resource(*mine.key, mine.claim.epoch - 1, "o", "ship")).answer == "fenced"
        assert (await controls.claim_resource("zeta", mine.run, mine.claim.epoch, "o", "ship")).answer == "fenced"
        await mine.append(move=Move(Status.PARKED))
        assert (await controls.claim_resource(*mine.key, mine.claim.epoch, "o", "ship")).answer == "fenced"

    async def test_tenants_have_their_own(self, world: World) -> None:
        one, two = await world.held(), await world.held(tenant="zeta")
        for holder in (one, two):
            answer = await world.journal.controls.claim_resource(*holder.key, holder.claim.epoch, "o", "ship")
            assert answer.answer == "held"

    async def test_of_many_at_once_one_has_it(self, world: World) -> None:
        holders = await world.claimed(12)
        claim = world.journal.controls.claim_resource
        for resource in ("a", "b", "c"):
            said = await asyncio.gather(*(claim(*one.key, one.claim.epoch, resource, "ship") for one in holders))
            assert [answer.answer for answer in said].count("held") == 1

    async def test_old_claims_are_forgotten_and_others_not(self, world: World) -> None:
        controls = world.journal.controls
        one, two = await world.claimed(2)
        for number in range(3):
            await controls.claim_resource(*one.key, one.claim.epoch, f"one:{number}", "ship")
        await controls.claim_resource(*two.key, two.claim.epoch, "two", "ship")
        assert await controls.forget_resources(100) == 0
        await one.move(Status.ENDED, outcome="succeeded")
        assert await controls.forget_resources(2) == 2
        assert await controls.forget_resources(100) == 1
        three = await world.held()
        assert (await controls.claim_resource(*three.key, three.claim.epoch, "two", "ship")).answer == "taken"
