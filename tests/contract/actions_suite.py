"""What both lists of actions must do. A subclass has a fixture ``world``."""

import asyncio

import pytest
from tests.contract.journal_world import World

from penstock.journal.actions import ActionChain
from penstock.kernel.errors import ChainBroken
from penstock.ports.actions import Action, NewAction


def new(tenant: str = "acme", actor: str = "key:a", action: str = "key.make", body: bytes = b"{}") -> NewAction:
    return NewAction(tenant, actor, action, body)


async def verified(world: World, tenant: str) -> int:
    """How many actions there are, after the chain was checked page by page."""
    actions = world.journal.actions
    chain = ActionChain(tenant)
    while page := await actions.since(tenant, chain.seq, 7):
        chain.follow(page)
    head = await actions.head(tenant)
    assert head is not None
    chain.finish(head.seq, head.hash)
    return chain.seq


class ActionsSuite:
    async def test_actions_are_numbered_and_chained_per_tenant(self, world: World) -> None:
        actions = world.journal.actions
        stored = await actions.record([new(body=b"1"), new("zeta", body=b"2"), new(body="é".encode())])
        assert [action.seq for action in stored] == [1, 1, 2]
        assert [action.body for action in stored] == [b"1", b"2", "é".encode()]
        assert all(action.at > 0 for action in stored)
        assert (await actions.record([new()]))[0].seq == 3
        assert await verified(world, "acme") == 3
        assert await verified(world, "zeta") == 1
        assert await actions.tenants() == ["acme", "zeta"]
        assert await actions.head("nobody") is None
        assert await actions.record([]) == []

    async def test_pages_are_newest_first_and_filtered(self, world: World) -> None:
        actions = world.journal.actions
        kinds = ["key.make", "run.cancel", "run.kill", "runaway"]
        await actions.record([new(actor=f"key:{n % 2}", action=kinds[n % 4]) for n in range(12)])
        await actions.record([new("zeta")])

        async def seqs(**where: object) -> list[int]:
            return [action.seq for action in await actions.page("acme", **where)]  # type: ignore[arg-type]

        assert await seqs(limit=3) == [12, 11, 10]
        assert await seqs(before=10, limit=2) == [9, 8]
        assert await seqs(actor="key:1") == [12, 10, 8, 6, 4, 2]
        assert await seqs(action="run.kill") == [11, 7, 3]
        assert await seqs(action="run.") == [11, 10, 7, 6, 3, 2]
        assert await seqs(action="run.", actor="key:1", before=10) == [6, 2]
        assert await seqs(action="run.kill", actor="key:1") == []
        assert await seqs(actor="nobody") == []

    async def test_those_who_record_at_once_wait_for_each_other(self, world: World) -> None:
        groups = [[new(body=f"{n}.{part}".encode()) for part in range(3)] for n in range(20)]
        await asyncio.gather(*(world.journal.actions.record(group) for group in groups))
        assert await verified(world, "acme") == 60
        bodies = [action.body for action in await world.journal.actions.since("acme")]
        assert all(
            [*bodies[at : at + 3]] == [action.body for action in groups[int(bodies[at].split(b".")[0])]]
            for at in range(0, 60, 3)
        )

    @pytest.mark.parametrize("problem", ["missing", "changed", "swapped", "truncated", "foreign", "time"])
    async def test_what_was_changed_is_found(self, world: World, problem: str) -> None:
        await world.journal.actions.record([new(body=b"%d" % n) for n in range(5)])
        rows = await world.journal.actions.since("acme")
        head = await world.journal.actions.head("acme")
        assert head is not None
        two = rows[1]
        changed = {
            "missing": [rows[0], *rows[2:]],
            "changed": [rows[0], Action(2, two.at, b"x", two.hash), *rows[2:]],
            "time": [rows[0], Action(2, two.at + 1, two.body, two.hash), *rows[2:]],
            "swapped": [rows[0], rows[2], rows[1], *rows[3:]],
            "truncated": rows[:4],
            "foreign": rows,
        }[problem]
        chain = ActionChain("zeta" if problem == "foreign" else "acme")

        def check() -> None:
            chain.follow(changed)
            chain.finish(head.seq, head.hash)

        with pytest.raises(ChainBroken):
            check()
