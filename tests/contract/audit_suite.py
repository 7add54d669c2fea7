"""What both stores of audit logs must do. A subclass has a fixture ``world``."""

import asyncio

import msgspec
import pytest
from tests.contract.journal_world import CLOCK, World

from penstock.journal.leaves import first_statement, rotation_statement
from penstock.journal.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion
from penstock.journal.notes import Checkpoint, Note, SigningKey, Verifier, origin_of
from penstock.journal.proofs import Tree
from penstock.journal.sealing import Signer, grow_log, seal
from penstock.kernel.ids import new_id
from penstock.ports.actions import NewAction
from penstock.ports.audit import Ahead, LogHead, LogKey
from penstock.ports.records import Status

KEY = SigningKey.from_seed(bytes(range(32)))
BASE = "audit.example/log"


async def signer(world: World) -> Signer:
    """With a key that the store knows."""
    audit = world.journal.audit
    await audit.add_key(LogKey(1, KEY.public, first_statement(BASE, KEY)))
    return Signer(KEY, BASE, await audit.keys())


def ahead(count: int, tenant: str = "acme", first: int = 0) -> list[Ahead]:
    """Chains that no store knows: leaves may be written for any."""
    return [Ahead(tenant, new_id(CLOCK), 1, bytes([n % 256]) * 32) for n in range(first, first + count)]


async def all_hashes(world: World, tenant: str = "acme") -> list[bytes]:
    """Of all leaves, page by page."""
    found: list[bytes] = []
    while page := await world.journal.audit.leaves(tenant, len(found), len(found) + 400):
        found += [leaf_hash(leaf.data) for leaf in page]
    return found


async def sealed_now(world: World, by: Signer) -> list[Ahead]:
    """Seal what a look finds; what it found."""
    audit = world.journal.audit
    found = await audit.ahead([], 1000)
    await seal(audit, by, found.ahead, await world.journal.now())
    await audit.looked(found.place)
    return list(found.ahead)


class AuditSuite:
    async def test_proofs_out_of_the_store_hold_at_every_size(self, world: World) -> None:
        """Over the ends of tiles of both levels below the top: 256 leaves fill one, and the sizes go beyond three."""
        by, audit = await signer(world), world.journal.audit
        sizes = []
        for count in (1, 2, 252, 1, 1, 255, 300, 7):
            await seal(audit, by, ahead(count), 1)
            sizes.append((await audit.heads(["acme"]))["acme"].size)
        hashes = await all_hashes(world)
        assert sizes[-1] == len(hashes) == 820  # one of them is the key's
        for size in sizes:
            point = await audit.checkpoint("acme", size)
            assert point is not None
            told = Checkpoint.parse(Note.parse(point.note).text)
            assert told == Checkpoint(origin_of(BASE, "acme"), size, root_of(hashes[:size]))
            assert Note.parse(point.note).is_signed_by(Verifier(told.origin, KEY.public))
            tree = Tree(audit, "acme", size)
            for index in {0, 1, size // 2, size - 1, min(255, size - 1), min(256, size - 1)}:
                found = await tree.inclusion(index)
                assert verify_inclusion(leaf_hash(found.data), index, size, found.proof, told.root)
            for old in sizes:
                if old <= size:
                    proof = await tree.consistency(old)
                    assert verify_consistency(old, size, proof, root_of(hashes[:old]), told.root)

    async def test_what_has_gone_on_is_found_until_it_is_sealed(self, world: World) -> None:
        by, audit = await signer(world), world.journal.audit
        holder, other = await world.claimed(2)
        await holder.append(count=3)
        await other.move(Status.ENDED, outcome="succeeded")
        await world.journal.actions.record([NewAction("acme", "key:a", "key.make", b"{}")])
        found = {(item.run, item.seq, item.head) for item in await sealed_now(world, by)}
        assert {(holder.run, 4, holder.head), (other.run, other.last_seq, other.head)} <= found
        assert any(run is None and seq == 1 for run, seq, _ in found)
        assert await sealed_now(world, by) == []
        await holder.append(count=1)
        assert [item.seq for item in await sealed_now(world, by)] == [5]
        assert [leaf.seq for leaf in await audit.leaves_of("acme", [holder.run])] == [4, 5]
        await holder.append(count=1)
        assert [item.seq for item in await audit.ahead_of("acme", [holder.run, other.run])] == [6]
        assert await audit.ahead_of("zeta", [holder.run]) == []

    async def test_a_run_that_is_over_between_two_looks_is_found(self, world: World) -> None:
        """It ran and was put away while nobody looked: it is neither executed nor among the ended ones."""
        by = await signer(world)
        await sealed_now(world, by)
        holder = await world.held()
        await holder.append(count=2)
        await holder.move(Status.PARKED)
        assert [(item.run, item.seq) for item in await sealed_now(world, by)] == [(holder.run, 4)]

    async def test_two_who_append_at_once_do_not_fork_the_log(self, world: World) -> None:
        by, audit = await signer(world), world.journal.audit
        await seal(audit, by, ahead(3), 1)
        was = (await audit.heads(["acme"]))["acme"]
        growths = [await grow_log(audit, by, "acme", was, ahead(2, first=10 * n), 2) for n in range(5)]
        grown = await asyncio.gather(*(audit.grow([growth], 10) for growth in growths))
        assert sorted(answer for answers in grown for answer in answers) == [False] * 4 + [True]
        hashes = await all_hashes(world)
        point = await audit.checkpoint("acme")
        assert point is not None
        assert Checkpoint.parse(Note.parse(point.note).text).root == root_of(hashes)
        assert len(hashes) == was.size + 2

    async def test_a_log_that_cannot_grow_does_not_stop_others(self, world: World) -> None:
        by, audit = await signer(world), world.journal.audit
        await seal(audit, by, [*ahead(1), *ahead(1, "zeta")], 1)
        heads = await audit.heads(["acme", "zeta"])
        stale = await grow_log(audit, by, "acme", LogHead(), ahead(1), 2)
        good = await grow_log(audit, by, "zeta", heads["zeta"], ahead(1, "zeta"), 2)
        assert await audit.grow([stale, good], 10) == [False, True]
        assert {tenant: head.size for tenant, head in (await audit.heads(["acme", "zeta", "none"])).items()} == {
            "acme": 2,
            "zeta": 3,
        }

    async def test_no_tenant_sees_another_ones_log(self, world: World) -> None:
        by, audit = await signer(world), world.journal.audit
        await seal(audit, by, ahead(300), 1)
        run = (await audit.leaves("acme", 5, 6))[0].run
        assert run is not None
        assert await audit.leaves("zeta", 0, 10) == await audit.leaves_of("zeta", [run]) == []
        assert await audit.tiles("zeta", 0, [0]) == {} != await audit.tiles("acme", 0, [0])
        assert await audit.tile_roots("zeta", 0, 0, 1) == []
        assert await audit.checkpoint("zeta") is None
        assert await audit.checkpoints("zeta") == []
        assert await audit.leaf_since("zeta", 0) == 0
        assert not await audit.cosign("zeta", 301, ["x"])

    async def test_one_holder_has_the_turn(self, world: World) -> None:
        audit = world.journal.audit
        one, two = new_id(CLOCK), new_id(CLOCK)
        assert (await audit.take_turn(one, 10)).mine
        assert (await audit.take_turn(one, 10)).mine
        assert not (await audit.take_turn(two, 10)).mine
        await audit.end_turn(two)
        assert not (await audit.take_turn(two, 10)).mine
        await audit.end_turn(one)
        turn = await audit.take_turn(two, 0.0)
        assert turn.mine
        assert turn.now > 0
        assert (await audit.take_turn(one, 10)).mine  # the other's was over

    async def test_what_is_in_the_way_is_kept_until_it_is_not(self, world: World) -> None:
        by, audit = await signer(world), world.journal.audit
        await audit.report("no key")
        state = await audit.state()
        assert (state.problem, state.problem_at > 0, state.sealed_at) == ("no key", True, 0)
        holder = await world.held()
        await holder.append()
        assert (await audit.state()).oldest is not None
        await sealed_now(world, by)
        state = await audit.state()
        assert (state.problem, state.problem_at, state.logs, state.leaves) == ("", 0, 1, 2)
        assert state.sealed_at > 0
        assert state.oldest is None

    async def test_checkpoints_are_kept_newest_first_and_those_of_witnesses_for_ever(self, world: World) -> None:
        by, audit = await signer(world), world.journal.audit
        await seal(audit, by, ahead(1), 1, checkpoints_kept=3)
        assert await audit.cosign("acme", 2, ["— b xxxx\n", "— a xxxx\n"])
        assert await audit.cosign("acme", 2, ["— a xxxx\n"])
        for _ in range(6):
            await seal(audit, by, ahead(1), 1, checkpoints_kept=3)
        assert [point.size for point in await audit.checkpoints("acme")] == [8, 7, 6, 2]
        assert [point.size for point in await audit.checkpoints("acme", before=7, limit=1)] == [6]
        signed = await audit.checkpoint("acme", 2)
        assert signed is not None
        assert signed.whole == f"{signed.note}— a xxxx\n— b xxxx\n"
        assert not await audit.cosign("acme", 3, ["— a xxxx\n"])

    async def test_a_key_follows_the_one_before_it(self, world: World) -> None:
        audit = world.journal.audit
        new = SigningKey.make()
        second = LogKey(2, new.public, rotation_statement(BASE, KEY, new))
        assert not await audit.add_key(second)
        await signer(world)
        assert not await audit.add_key(LogKey(1, new.public, "x"))
        assert await audit.add_key(second)
        assert not await audit.add_key(second)
        assert [(key.number, key.public) for key in await audit.keys()] == [(1, KEY.public), (2, new.public)]

    async def test_leaves_by_time_and_times_do_not_go_back(self, world: World) -> None:
        by, audit = await signer(world), world.journal.audit
        for at in (100, 200, 150, 300):
            await seal(audit, by, ahead(2), at)
        assert [await audit.leaf_since("acme", at) for at in (0, 100, 101, 200, 201, 300, 301)] == [0, 0, 3, 3, 7, 7, 9]
        last = msgspec.json.decode((await audit.leaves("acme", 5, 6))[0].data)
        assert last["at"] == 200

    @pytest.mark.parametrize("tenants", [1, 5])
    async def test_leaves_of_many_tenants_go_together(self, world: World, tenants: int) -> None:
        by, audit = await signer(world), world.journal.audit
        names = [f"t{n}" for n in range(tenants)]
        assert await seal(audit, by, [item for name in names for item in ahead(4, name)], 1) == 5 * tenants
        assert {name: head.size for name, head in (await audit.heads(names)).items()} == dict.fromkeys(names, 5)
