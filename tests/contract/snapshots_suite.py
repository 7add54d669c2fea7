"""What both stores of snapshots must do. A subclass has a fixture ``world``."""

from collections.abc import Sequence

from msgspec.structs import replace
from tests.contract.journal_world import Holder, World

from penstock.journal.payloads import address, make_payload, unpack
from penstock.ports.records import Move, Payload, PayloadKey, Status
from penstock.ports.snapshots import Snapshot


def state_of(holder: Holder, words: str = "state") -> Payload:
    """A payload that stands for a state."""
    data = (words * 100).encode()
    claim = holder.claim
    return make_payload(claim.tenant, claim.subject, address(claim.subject_key, data), data)


def snapshot_of(holder: Holder, state: Payload) -> Snapshot:
    """Of the holder's run as it stands."""
    claim = holder.claim
    return Snapshot(claim.tenant, claim.run, claim.epoch, holder.last_seq, holder.head, 1, claim.release, state.address)


async def stored(world: World, payload: Payload) -> bool:
    found = await world.journal.get_payloads(payload.tenant, payload.subject, [payload.address])
    return payload.address in found


class SnapshotsSuite:
    async def test_the_latest_takes_the_place_of_the_one_before_and_of_its_payload(self, world: World) -> None:
        snapshots = world.journal.snapshots
        holder = await world.held()
        await holder.append()
        first = state_of(holder)
        assert await snapshots.put(snapshot_of(holder, first), first)
        kept = (await snapshots.latest([holder.key]))[holder.key]
        assert kept == snapshot_of(holder, first)
        await holder.append()
        second = state_of(holder, "later")
        assert await snapshots.put(snapshot_of(holder, second), second)
        assert (await snapshots.latest([holder.key]))[holder.key].seq == holder.last_seq
        assert not await stored(world, first)
        key = second.tenant, second.subject, second.address
        [payload] = (await snapshots.payloads([key], 1)).values()
        assert unpack(payload, holder.claim.subject_key) == b"later" * 100

    async def test_an_earlier_one_or_one_of_a_lost_claim_is_not_kept(self, world: World) -> None:
        snapshots = world.journal.snapshots
        holder = await world.held()
        early = state_of(holder, "early")
        before = snapshot_of(holder, early)
        await holder.append()
        state = state_of(holder)
        now = snapshot_of(holder, state)
        assert await snapshots.put(now, state)
        assert not await snapshots.put(before, early)
        other = state_of(holder, "zombie")
        zombie = replace(now, epoch=now.epoch - 1, address=other.address)
        assert not await snapshots.put(zombie, other)
        ahead = replace(now, seq=now.seq + 1, address=other.address)
        assert not await snapshots.put(ahead, other)
        assert (await snapshots.latest([holder.key])) == {holder.key: now}
        assert await stored(world, state)
        assert not await snapshots.put(replace(now, epoch=now.epoch - 1), state)
        assert await stored(world, state), "the payload of the snapshot that is kept was removed"

    async def test_it_can_be_dropped_and_none_is_kept_of_a_run_that_has_ended(self, world: World) -> None:
        snapshots = world.journal.snapshots
        holder = await world.held()
        state = state_of(holder)
        assert await snapshots.put(snapshot_of(holder, state), state)
        assert await snapshots.drop(*holder.key, holder.claim.subject)
        assert not await snapshots.drop(*holder.key, holder.claim.subject)
        assert await snapshots.latest([holder.key]) == {}
        assert not await stored(world, state)
        await holder.append(move=Move(Status.ENDED, outcome="succeeded"))
        assert not await snapshots.put(snapshot_of(holder, state), state)

    async def test_erasing_the_subject_erases_the_state(self, world: World) -> None:
        snapshots = world.journal.snapshots
        holder = await world.held()
        state = state_of(holder)
        assert await snapshots.put(snapshot_of(holder, state), state)
        await world.journal.erase_subject(holder.tenant, holder.claim.subject)
        assert not await stored(world, state)
        await holder.append()
        late = state_of(holder, "late")
        await snapshots.put(snapshot_of(holder, late), late)
        assert not await stored(world, late), "a late writer brought content back"

    async def test_no_tenant_sees_another_ones(self, world: World) -> None:
        snapshots = world.journal.snapshots
        holder = await world.held()
        state = state_of(holder)
        await snapshots.put(snapshot_of(holder, state), state)
        other = "zeta", holder.run
        assert await snapshots.latest([other]) == {}
        assert not await snapshots.drop(*other, holder.claim.subject)
        assert await snapshots.rows(*other, [1]) == []
        assert await snapshots.page(*other, 0, 10, 1000) == []
        assert await snapshots.weigh([(*other, 0)]) == {}
        assert await snapshots.payloads([("zeta", state.subject, state.address)], 1000) == {}
        assert not await snapshots.put(
            replace(snapshot_of(holder, state), tenant="zeta"), replace(state, tenant="zeta")
        )
        assert holder.key in await snapshots.latest([holder.key])

    async def test_a_tape_is_read_in_pages_of_bounded_size(self, world: World) -> None:
        snapshots = world.journal.snapshots
        holder = await world.held()
        await holder.append(count=30)
        whole = (await world.journal.tapes([holder.key]))[holder.key]
        size = len(whole[5].body)
        assert await snapshots.page(*holder.key, 0, 10, 10**9) == whole[:10]
        assert await snapshots.page(*holder.key, 3, 10**6, 10**9) == whole[3:]
        assert await snapshots.page(*holder.key, 3, 100, 1) == whole[3:4], "at least one"
        few = await snapshots.page(*holder.key, 3, 100, 3 * size)
        assert 3 <= len(few) <= 4
        assert few == whole[3 : 3 + len(few)]
        assert await snapshots.page(*holder.key, 31, 100, 1000) == []
        assert await snapshots.weigh([(*holder.key, 0), (*holder.key, 31)]) == {
            holder.key: sum(len(row.body) for row in whole)
        }
        assert await snapshots.weigh([(*holder.key, 20)]) == {holder.key: sum(len(row.body) for row in whole[20:])}
        assert await snapshots.rows(*holder.key, [7, 1, 99]) == [whole[0], whole[6]]

    async def test_payloads_are_read_up_to_a_bound(self, world: World) -> None:
        snapshots = world.journal.snapshots
        holder = await world.held()
        payloads = [state_of(holder, f"number {number} ") for number in range(6)]
        await world.journal.put_payloads(payloads)
        keys: Sequence[PayloadKey] = [(one.tenant, one.subject, one.address) for one in payloads]
        size = payloads[0].size
        assert list(await snapshots.payloads(keys, 10**9)) == keys
        assert list(await snapshots.payloads(keys, 1)) == keys[:1], "at least one"
        assert list(await snapshots.payloads(keys, 2 * size + 1)) == keys[:3]
        absent = keys[0][0], keys[0][1], b"x" * 32
        assert list(await snapshots.payloads([absent, *keys[4:]], 10**9)) == keys[4:]
