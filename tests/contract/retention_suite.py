"""What both stores of retention must do. A subclass has a fixture ``world``."""

from typing import Any
from uuid import UUID

import pytest
from tests.contract.journal_world import CLOCK, Holder, World, new_run, payload

from penstock.kernel.errors import RunPruned, RunUnknown
from penstock.kernel.ids import new_id
from penstock.ports.records import Move, NewRun, RunRow, Status, Submitted, Summary
from penstock.ports.retention import TENANT, Action, Marking, Policy

HOUR = 3600 * 1_000_000


class RetentionWorld:
    """A journal with runs that have ended."""

    def __init__(self, world: World) -> None:
        self.runs = world
        self.journal = world.journal
        self.retention = world.journal.retention
        self._made = 0

    async def advance(self, seconds: float) -> None:
        """Let this much time pass on the clock that ages are measured with."""
        raise NotImplementedError

    async def ended(self, *, nano: int = 7, **fields: Any) -> RunRow:
        """A run that has ended just now, beyond those before it by id: three events, and a payload if it is its own."""
        self._made += 1
        order = UUID(int=((await self.journal.now() // 1000 - HOUR // 1000 + self._made) << 80) + self._made)
        holder = await self.runs.held(**{"id": order, **fields})
        await self.end(holder, nano=nano)
        return await self.row(holder.tenant, holder.run)

    async def end(self, holder: Holder, *, nano: int = 7) -> None:
        subject = holder.claim.subject
        if subject == str(holder.run):
            await self.journal.put_payloads([payload(subject, b"hello", holder.tenant)])
        move = Move(Status.ENDED, outcome="succeeded")
        await holder.append(count=2, move=move, summary=Summary(tokens=5, nano=nano))

    async def row(self, tenant: str, run: UUID) -> RunRow:
        row = await self.journal.get_run(tenant, run)
        assert row is not None
        return row

    async def tape(self, row: RunRow) -> int:
        """How many events of it are there."""
        return len(await self.journal.tape(row.tenant, row.id))

    async def submit_again(self, key: str, digest: str) -> Submitted:
        again: NewRun = new_run(key=key, request_digest=digest)
        return (await self.journal.submit([again]))[0]

    async def due(self, tenant: str = "acme", agent: str = "clerk", keep: int = 0, **fields: Any) -> list[UUID]:
        before = await self.journal.now() - keep
        return [row.id for row in await self.retention.due(tenant, agent, before, **fields)]

    async def mark(self, *rows: RunRow, archive: str = "", keyed: bool = False) -> list[UUID]:
        runs = [(row.id, row.last_seq, row.head, keyed) for row in rows]
        return await self.retention.mark(Marking(rows[0].tenant, runs, await self.journal.now(), archive))

    async def go(self, *rows: RunRow) -> None:
        """Mark, empty and sweep."""
        assert await self.mark(*rows) == sorted(row.id for row in rows)
        tenant = rows[0].tenant
        while not await self.retention.empty(tenant, 100):
            pass
        while not await self.retention.sweep(tenant, await self.journal.now(), 100):
            pass


def policy(tenant: str = "acme", agent: str = "", **fields: Any) -> Policy:
    known: dict[str, Any] = {"action": Action.PRUNE, "keep": HOUR, "actor": "ada", **fields}
    return Policy(tenant, agent, **known)


class RetentionSuite:
    async def test_policies_are_kept_by_tenant_and_agent(self, world: RetentionWorld) -> None:
        for tenant, agent in (("acme", ""), ("acme", "clerk"), ("zeta", "clerk")):
            await world.retention.put_policy(policy(tenant, agent))
        await world.retention.put_policy(policy("acme", "clerk", action=Action.ARCHIVE, forget=2 * HOUR, content=False))
        found = await world.retention.policies("acme")
        assert [(item.agent, item.action, item.forget, item.content) for item in found] == [
            ("", Action.PRUNE, 0, True),
            ("clerk", Action.ARCHIVE, 2 * HOUR, False),
        ]
        assert found[0].set_at > 0
        assert [item.agent for item in await world.retention.policies("acme", ("acme", ""))] == ["clerk"]
        assert [(item.tenant, item.agent) for item in await world.retention.policies(None, ("acme", "clerk"))] == [
            ("zeta", "clerk")
        ]
        assert not await world.retention.remove_policy("zeta", "")
        assert await world.retention.remove_policy("acme", "clerk")
        assert [item.agent for item in await world.retention.policies("acme")] == [""]
        assert len(await world.retention.policies("zeta")) == 1

    async def test_only_what_has_ended_long_enough_is_due(self, world: RetentionWorld) -> None:
        old = await world.ended()
        await world.advance(2 * 3600)
        young, still_open = await world.ended(), await world.runs.held()
        assert await world.due(keep=HOUR) == [old.id]
        assert await world.due() == [old.id, young.id]
        assert await world.due(after=old.id) == [young.id]
        assert await world.due(limit=1) == [old.id]
        assert await world.retention.agents("acme") == ["clerk"]
        assert still_open.run not in await world.due()

    async def test_tenants_and_agents_are_kept_apart(self, world: RetentionWorld) -> None:
        mine, theirs = await world.ended(), await world.ended(tenant="zeta")
        other = await world.ended(agent="other")
        assert await world.due() == [mine.id]
        assert await world.due("zeta") == [theirs.id]
        assert await world.due(agent="other") == [other.id]
        crossing = [(theirs.id, theirs.last_seq, theirs.head, False)]
        assert await world.retention.mark(Marking("acme", crossing, await world.journal.now())) == []
        await world.mark(theirs)
        assert await world.retention.tombstones([("acme", theirs.id)]) == {}
        await world.retention.empty("acme", 100)
        await world.retention.sweep("acme", await world.journal.now(), 100)
        assert await world.journal.get_payloads("zeta", str(theirs.id), [b"a" * 32])
        assert await world.retention.agents("zeta") == []
        with pytest.raises(RunUnknown):
            await world.retention.hold("acme", theirs.id, "ada", "")

    async def test_a_family_goes_when_all_of_it_has_ended(self, world: RetentionWorld) -> None:
        parent = await world.runs.held()
        child = await world.ended(parent=parent.run, parent_path="1", root=parent.run)
        assert await world.due() == []
        assert await world.mark(child) == []
        await world.end(parent)
        assert sorted(await world.due()) == sorted([parent.run, child.id])

    async def test_a_parent_waits_for_a_child_that_goes_on(self, world: RetentionWorld) -> None:
        parent = await world.ended()
        child = await world.runs.held(parent=parent.id, parent_path="1", root=parent.id)
        assert await world.due() == []
        assert await world.mark(parent) == []
        await world.end(child)
        assert sorted(await world.due()) == sorted([parent.id, child.run])

    async def test_a_parents_end_counts_for_its_children(self, world: RetentionWorld) -> None:
        parent = await world.runs.held()
        await world.ended(parent=parent.run, parent_path="1", root=parent.run)
        await world.advance(2 * 3600)
        await world.end(parent)
        assert await world.due(keep=HOUR) == []

    async def test_what_is_on_hold_stays_with_its_family(self, world: RetentionWorld) -> None:
        parent = await world.runs.held()
        child = await world.ended(parent=parent.run, parent_path="1", root=parent.run)
        await world.end(parent)
        free = await world.ended()
        assert await world.retention.hold("acme", child.id, "ada", "a suit")
        assert not await world.retention.hold("acme", child.id, "ben", "")
        assert await world.due() == [free.id]
        assert await world.mark(child) == []
        [held] = await world.retention.holds("acme")
        assert (held.run, held.actor, held.reason) == (child.id, "ada", "a suit")
        assert await world.retention.holds("zeta") == []
        assert not await world.retention.release("zeta", child.id, "ben")
        assert await world.retention.release("acme", child.id, "ben")
        assert len(await world.due()) == 3

    async def test_a_tenant_on_hold_keeps_all_that_is_still_there(self, world: RetentionWorld) -> None:
        marked, free = await world.ended(), await world.ended()
        theirs = await world.ended(tenant="zeta")
        await world.mark(marked)
        assert await world.retention.hold("acme", TENANT, "ada", "audit")
        assert await world.due() == []
        assert await world.mark(free) == []
        assert await world.retention.empty("acme", 100)
        assert await world.retention.sweep("acme", await world.journal.now(), 100)
        assert await world.journal.get_payloads("acme", str(marked.id), [b"a" * 32])
        assert await world.due("zeta") == [theirs.id]

    async def test_a_marked_run_can_not_be_held_any_more(self, world: RetentionWorld) -> None:
        row = await world.ended()
        await world.mark(row)
        with pytest.raises(RunPruned):
            await world.retention.hold("acme", row.id, "ada", "")

    async def test_marked_runs_are_emptied_then_swept_and_their_rows_stay(self, world: RetentionWorld) -> None:
        row, kept = await world.ended(key="k", request_digest="d"), await world.ended()
        await world.journal.put_payloads([payload(str(row.id), address=bytes([n]) * 32) for n in range(5)])
        assert await world.mark(row, archive="a1") == [row.id]
        assert await world.due() == [kept.id]
        assert await world.retention.sweep("acme", await world.journal.now(), 100)
        assert await world.tape(row) == 3, "what is not emptied yet is not swept"
        assert not await world.retention.empty("acme", 3)
        assert await world.retention.empty("acme", 100)
        assert await world.journal.get_payloads("acme", str(row.id), [bytes([n]) * 32 for n in range(5)]) == {}
        assert await world.journal.subject_key("acme", str(row.id)) is None
        assert not await world.retention.sweep("acme", await world.journal.now(), 2)
        assert await world.retention.sweep("acme", await world.journal.now(), 100)
        assert await world.tape(row) == 0
        stone = (await world.retention.tombstones([("acme", row.id), ("acme", kept.id)]))["acme", row.id]
        assert (stone.last_seq, stone.head, stone.archive) == (row.last_seq, row.head, "a1")
        assert (stone.emptied, stone.swept) == (True, True)
        left = await world.row("acme", row.id)
        assert (left.last_seq, left.head, left.summary.nano) == (row.last_seq, row.head, 7)
        assert left.pruned_at is not None
        assert await world.tape(kept) == 3
        assert await world.submit_again("k", "d") == Submitted(row.id, created=False)
        assert (await world.submit_again("k", "other")).conflict

    async def test_only_what_is_as_it_was_read_is_marked(self, world: RetentionWorld) -> None:
        row = await world.ended()
        now = await world.journal.now()
        for last_seq, head in ((row.last_seq - 1, row.head), (row.last_seq, b"x" * 32)):
            assert await world.retention.mark(Marking("acme", [(row.id, last_seq, head, False)], now)) == []
        assert await world.mark(row) == [row.id]
        assert await world.mark(row) == []

    async def test_a_key_that_was_erased_since_is_not_left_in_an_archive(self, world: RetentionWorld) -> None:
        row, named = await world.ended(), await world.ended(subject="c-1")
        await world.journal.erase_subject("acme", str(row.id))
        await world.journal.erase_subject("acme", "c-1")
        assert await world.mark(row, named, archive="a1", keyed=True) == []
        assert await world.mark(row, named, archive="a2", keyed=False) == sorted([row.id, named.id])

    async def test_an_archives_name_is_used_once(self, world: RetentionWorld) -> None:
        first, second = await world.ended(), await world.ended()
        assert await world.retention.archived_in("acme", "a1") is None
        assert await world.mark(first, archive="a1") == [first.id]
        assert await world.mark(second, archive="a1") == [first.id]
        assert await world.retention.archived_in("acme", "a1") == [first.id]
        assert await world.retention.archived_in("zeta", "a1") is None
        void = Marking("acme", [], 0, "a2")
        assert await world.retention.mark(void) == []
        assert await world.mark(second, archive="a2") == []
        assert await world.retention.archived_in("acme", "a2") == []

    async def test_payloads_that_others_need_are_dropped_only_when_all_is_as_it_was_known(
        self, world: RetentionWorld
    ) -> None:
        gone, kept = await world.ended(subject="c-1"), await world.ended(subject="c-1")
        await world.journal.put_payloads([payload("c-1", address=letter * 32) for letter in (b"a", b"b")])
        await world.mark(gone)
        assert [stone.run for stone in await world.retention.unemptied("acme")] == [gone.id]
        assert await world.retention.unemptied("acme", gone.id) == []
        assert await world.retention.unemptied("zeta") == []
        [sharer] = await world.retention.sharers("acme", "c-1")
        assert (sharer.run, sharer.last_seq, sharer.running) == (kept.id, kept.last_seq, False)
        for known in ((0, 0), (1, kept.last_seq - 1), (2, kept.last_seq)):
            assert not await world.retention.drop_payloads("acme", "c-1", [b"a" * 32], known)
        assert await world.retention.drop_payloads("acme", "c-1", [b"a" * 32], (1, kept.last_seq))
        left = await world.journal.get_payloads("acme", "c-1", [b"a" * 32, b"b" * 32])
        assert list(left) == [b"b" * 32]
        holder = await world.runs.held(subject="c-1")
        known = (2, kept.last_seq + holder.last_seq)
        assert not await world.retention.drop_payloads("acme", "c-1", [b"b" * 32], known)
        await world.retention.set_emptied("acme", [gone.id])
        assert await world.retention.unemptied("acme") == []

    async def test_one_has_the_turn_until_it_ends_or_its_lease_does(self, world: RetentionWorld) -> None:
        mine, theirs = new_id(CLOCK), new_id(CLOCK)
        assert await world.retention.take_turn(mine, 60, due=True)
        assert await world.retention.take_turn(mine, 60, due=False)
        assert not await world.retention.take_turn(theirs, 60, due=False)
        await world.retention.end_turn(theirs, 0)
        assert not await world.retention.take_turn(theirs, 60, due=False)
        await world.advance(61)
        assert await world.retention.take_turn(theirs, 60, due=True)
        assert not await world.retention.take_turn(mine, 60, due=False)
        await world.retention.end_turn(theirs, 3600)
        assert not await world.retention.take_turn(mine, 60, due=True)
        assert await world.retention.take_turn(mine, 60, due=False)
        await world.retention.end_turn(mine, 3600)
        await world.advance(3601)
        assert await world.retention.take_turn(mine, 60, due=True)

    async def test_forgotten_runs_leave_their_sums(self, world: RetentionWorld) -> None:
        parent = await world.runs.held(key="k", request_digest="d")
        child = await world.ended(parent=parent.run, parent_path="1", root=parent.run, nano=5)
        await world.end(parent, nano=7)
        kept = await world.ended()
        now = await world.journal.now()
        assert await world.retention.forget("acme", "clerk", now, 10) == 0
        rows = [await world.row("acme", parent.run), await world.row("acme", child.id)]
        await world.go(*rows)
        assert await world.retention.forgettable("acme") == ["clerk"]
        now = await world.journal.now()
        assert await world.retention.forget("zeta", "clerk", now, 10) == 0
        assert await world.retention.forget("acme", "clerk", now, 10) == 1, "a child goes before its parent"
        assert await world.journal.get_run("acme", parent.run) is not None
        assert await world.retention.forget("acme", "clerk", now, 10) == 1
        assert await world.retention.forget("acme", "clerk", now, 10) == 0
        assert await world.journal.get_run("acme", parent.run) is None
        [total] = await world.retention.forgotten("acme")
        assert (total.agent, total.outcome, total.runs, total.tokens, total.nano) == ("clerk", "succeeded", 2, 10, 12)
        assert await world.retention.forgotten("zeta") == []
        assert (await world.row("acme", kept.id)).pruned_at is None
        assert (await world.submit_again("k", "d")).created

    async def test_weights(self, world: RetentionWorld) -> None:
        row = await world.ended()
        tape = await world.journal.tape("acme", row.id)
        weight = await world.retention.weigh("acme", [row.id])
        assert (weight.events, weight.bytes) == (3, sum(len(event.body) for event in tape) + len(b"hello"))
        assert (await world.retention.weigh("zeta", [row.id])).events == 0
