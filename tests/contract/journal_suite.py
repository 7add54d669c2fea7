"""The conformance suite of the journal: every store must pass it. Subclasses give the ``world`` fixture."""

import asyncio
import inspect
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from tests.contract.journal_world import CLOCK, LEASE, SECOND, Holder, Recorder, World, letter, new_run, payload

from penstock.events import FORMAT, Waiting
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import InputInvalid, RunUnknown, WorkerNameTaken
from penstock.kernel.ids import new_id
from penstock.ports.controls import of_all, of_run
from penstock.ports.journal import Journal
from penstock.ports.records import Answer, Move, Post, RunFilter, Status, Stop, Submitted, Summary


class SubmitSuite:
    async def test_a_run_is_queued_and_due(self, world: World) -> None:
        new = new_run(key="k", priority=3, session="s", deadline=7, tags={"customer": "c"})
        assert await world.journal.submit([new]) == [Submitted(new.id, created=True)]
        row = await world.journal.get_run("acme", new.id)
        assert row is not None
        assert (row.status, row.epoch, row.last_seq, row.head) == (Status.QUEUED, 0, 1, new.event.hash)
        assert (row.key, row.priority, row.session, row.deadline, row.tags) == ("k", 3, "s", 7, {"customer": "c"})
        assert (row.root, row.parent, row.worker, row.stop, row.outcome) == (new.id, None, None, None, None)
        assert row.created_at == row.wake_at
        assert abs(row.created_at - await world.journal.now()) < 60 * SECOND
        tape = await world.check_chain("acme", new.id)
        assert [(item.seq, item.body) for item in tape] == [(1, new.event.body)]

    async def test_a_key_gives_the_run_it_made_before(self, world: World) -> None:
        first = new_run(key="k", request_digest="d")
        await world.journal.submit([first])
        again, other = new_run(key="k", request_digest="d"), new_run(key="k", request_digest="e")
        assert await world.journal.submit([again, other]) == [
            Submitted(first.id, created=False),
            Submitted(first.id, created=False, conflict=True),
        ]
        assert await world.journal.get_run("acme", again.id) is None

    async def test_one_key_twice_in_a_submission_makes_one_run(self, world: World) -> None:
        first, second = new_run(key="k"), new_run(key="k")
        answers = await world.journal.submit([first, second])
        assert [answer.id for answer in answers] == [first.id, first.id]
        assert len(await world.claim()) == 1

    async def test_one_key_submitted_by_many_at_once_makes_one_run(self, world: World) -> None:
        runs = [[new_run(key=f"k{key}") for key in range(3)] for _ in range(8)]
        answers = await asyncio.gather(*(world.journal.submit(batch) for batch in runs))
        for key in range(3):
            assert len({answer[key].id for answer in answers}) == 1
            assert sum(answer[key].created for answer in answers) == 1
        assert len(await world.claim()) == 3

    async def test_a_repeated_submission_of_the_same_run_changes_nothing(self, world: World) -> None:
        new = new_run()
        await world.journal.submit([new])
        assert await world.journal.submit([new]) == [Submitted(new.id, created=True)]
        assert len(await world.claim()) == 1

    async def test_an_id_in_use_under_another_key_is_refused(self, world: World) -> None:
        new = new_run(key="k")
        await world.journal.submit([new])
        with pytest.raises(InputInvalid, match="in use"):
            await world.journal.submit([new_run(id=new.id, key="other")])

    async def test_the_first_key_of_a_subject_stays(self, world: World) -> None:
        first, second = new_run(subject="ann"), new_run(subject="ann")
        await world.journal.submit([first])
        await world.journal.submit([second])
        assert await world.journal.subject_key("acme", "ann") == first.subject_key
        assert {claim.subject_key for claim in await world.claim()} == {first.subject_key}


class ClaimSuite:
    async def test_priority_comes_before_time(self, world: World) -> None:
        runs = [new_run(priority=priority) for priority in (0, 2, 1, 2)]
        for run in runs:
            await world.journal.submit([run])
        claims = await world.claim()
        assert [claim.run for claim in claims] == [runs[1].id, runs[3].id, runs[2].id, runs[0].id]

    async def test_a_claim_tells_all_that_the_worker_needs(self, world: World) -> None:
        parent = new_id(CLOCK)
        new = new_run(parent=parent, parent_path="4", root=parent, deadline=9)
        await world.journal.submit([new])
        worker = await world.worker()
        (claim,) = await world.claim(worker=worker)
        assert (claim.tenant, claim.run, claim.epoch, claim.last_seq) == ("acme", new.id, 1, 1)
        assert (claim.head, claim.agent, claim.release) == (new.event.hash, "clerk", "r1")
        assert (claim.subject, claim.subject_key) == (str(new.id), new.subject_key)
        assert (claim.parent, claim.parent_path, claim.root, claim.deadline) == (parent, "4", parent, 9)
        assert (claim.claims, claim.stop) == (1, None)
        row = await world.journal.get_run("acme", new.id)
        assert row is not None
        assert (row.status, row.worker, row.epoch) == (Status.RUNNING, worker, 1)
        assert await world.claim() == []

    async def test_many_claimers_never_get_more_than_they_asked_for_nor_the_same_run(self, world: World) -> None:
        await world.journal.submit([new_run(priority=number % 3) for number in range(60)])
        workers = [await world.worker() for _ in range(12)]
        taken = await asyncio.gather(*(world.claim(limit=4, worker=worker) for worker in workers))
        assert max(len(claims) for claims in taken) <= 4
        runs = [claim.run for claims in taken for claim in claims]
        assert len(runs) == len(set(runs))
        rest = await world.claim(limit=1000)
        assert len(runs) + len(rest) == 60

    async def test_only_what_the_worker_offers_and_can_read(self, world: World) -> None:
        mine, other, newer = new_run(), new_run(release="r2"), new_run(format=FORMAT + 1)
        await world.journal.submit([mine, other, newer])
        worker = await world.worker()
        assert [claim.run for claim in await world.journal.claim(worker, ["r1", "r9"], 10)] == [mine.id]
        assert await world.journal.claim(worker, [], 10) == []

    async def test_a_lost_lease_gives_the_run_to_another(self, world: World) -> None:
        zombie = await world.worker()
        old = await world.held(worker=zombie)
        assert await world.claim() == []
        await world.advance(LEASE + 1)
        new = await world.reclaim(old.run)
        assert (new.claim.epoch, new.claim.claims) == (2, 2)
        assert (await new.append()).answer is Answer.APPLIED
        assert (await old.append()).answer is Answer.FENCED
        assert await world.journal.renew(zombie, LEASE) is False
        assert await world.claim(worker=zombie) == []
        assert len(await world.check_chain(*new.key)) == 2

    async def test_a_renewed_lease_holds(self, world: World) -> None:
        worker = await world.worker()
        await world.held(worker=worker)
        await world.advance(LEASE - 20)
        assert await world.journal.renew(worker, LEASE) is True
        await world.advance(LEASE - 20)
        assert await world.claim() == []

    async def test_what_a_retired_worker_held_can_be_claimed_at_once(self, world: World) -> None:
        worker = await world.worker()
        holder = await world.held(worker=worker)
        await world.journal.retire(worker)
        assert (await world.reclaim(holder.run)).claim.epoch == 2

    async def test_progress_sets_the_count_of_claims_back(self, world: World) -> None:
        worker = await world.worker()
        holder = await world.held(worker=worker)
        for expected in (2, 3):
            await world.journal.retire(worker)
            worker = await world.worker()
            holder = await world.reclaim(holder.run, worker)
            assert holder.claim.claims == expected
        await holder.append()
        await world.journal.retire(worker)
        assert (await world.reclaim(holder.run)).claim.claims == 1

    async def test_a_name_belongs_to_one_live_worker(self, world: World) -> None:
        first, second = new_id(CLOCK), new_id(CLOCK)
        await world.journal.enlist(first, "north", LEASE)
        await world.journal.enlist(first, "north", LEASE)
        with pytest.raises(WorkerNameTaken):
            await world.journal.enlist(second, "north", LEASE)
        await world.advance(LEASE + 1)
        await world.journal.enlist(second, "north", LEASE)

    async def test_an_unknown_worker_claims_nothing(self, world: World) -> None:
        await world.journal.submit([new_run()])
        assert await world.journal.claim(new_id(CLOCK), ["r1"], 5) == []
        assert await world.journal.renew(new_id(CLOCK), LEASE) is False

    async def test_a_parked_run_waits_for_its_time(self, world: World) -> None:
        holder = await world.held()
        due = await world.journal.now() + 30 * SECOND
        await holder.move(Status.PARKED, wake_at=due)
        row = await world.journal.get_run(*holder.key)
        assert row is not None
        assert (row.status, row.worker, row.wake_at) == (Status.PARKED, None, due)
        assert await world.claim() == []
        await world.advance(31)
        assert (await world.reclaim(holder.run)).claim.epoch == 2

    async def test_a_run_parked_without_a_time_waits_for_its_inbox(self, world: World) -> None:
        holder = await world.held()
        await holder.move(Status.PARKED)
        await world.advance(100 * 86_400)
        assert await world.claim() == []

    async def test_a_run_handed_back_is_due_now_or_when_it_says(self, world: World) -> None:
        now, later = await world.claimed(2)
        await now.move(Status.QUEUED)
        await later.move(Status.QUEUED, wake_at=await world.journal.now() + 30 * SECOND)
        assert [claim.run for claim in await world.claim()] == [now.run]
        await world.advance(31)
        assert [claim.run for claim in await world.claim()] == [later.run]

    async def test_a_quarantined_run_waits_for_a_person(self, world: World) -> None:
        holder = await world.held()
        await holder.move(Status.QUARANTINED, code="poison")
        await world.journal.deliver(letter(holder))
        assert await world.status(holder) is Status.QUARANTINED
        assert await world.claim() == []
        assert await world.journal.release_quarantine(*holder.key, "r2", "eve") is True
        assert await world.journal.release_quarantine(*holder.key, "r2", "eve") is False
        assert await world.claim() == []
        (claim,) = await world.journal.claim(await world.worker(), ["r2"], 5)
        assert (claim.run, claim.release, claim.claims) == (holder.run, "r2", 1)


class AppendSuite:
    async def test_events_are_stored_with_the_stores_time(self, world: World) -> None:
        holder = await world.held()
        summary = Summary(1, 2, 3, 4, 5, 6, 7)
        answer = await holder.append(count=3, summary=summary)
        assert (answer.answer, answer.letters, answer.stop) == (Answer.APPLIED, 0, None)
        tape = await world.check_chain(*holder.key)
        assert [row.seq for row in tape] == [1, 2, 3, 4]
        assert {row.at for row in tape[1:]} == {answer.at}
        row = await world.journal.get_run(*holder.key)
        assert row is not None
        assert (row.last_seq, row.head, row.summary, row.claims) == (4, holder.head, summary, 0)

    async def test_many_runs_in_one_append(self, world: World) -> None:
        holders = await world.claimed(30)
        other = await world.held(tenant="zeta")
        for size in (1, 3):
            batches = [holder.batch(count=size) for holder in (*holders, other)]
            assert {answer.answer for answer in await world.journal.append(batches)} == {Answer.APPLIED}
            for holder, batch in zip((*holders, other), batches, strict=True):
                holder.follow(batch)
        for holder in (holders[0], holders[17], other):
            assert len(await world.check_chain(*holder.key)) == 5

    async def test_a_batch_out_of_place_is_a_gap(self, world: World) -> None:
        holder = await world.held()
        ahead = holder.batch()
        ahead.last_seq += 1
        behind = holder.batch()
        behind.last_seq -= 1
        for batch in (ahead, behind):
            assert (await world.journal.append([batch]))[0].answer is Answer.GAP
        assert len(await world.check_chain(*holder.key)) == 1

    async def test_no_such_run(self, world: World) -> None:
        holder = await world.held()
        stranger = holder.batch()
        stranger.run = new_id(CLOCK)
        assert (await world.journal.append([stranger]))[0].answer is Answer.ABSENT

    async def test_a_batch_sent_again_is_applied_once(self, world: World) -> None:
        holder = await world.held()
        batch = holder.batch(count=2)
        for _ in range(3):
            assert (await world.journal.append([batch]))[0].answer is Answer.APPLIED
        assert len(await world.check_chain(*holder.key)) == 3

    async def test_a_batch_sent_again_after_it_gave_the_claim_up(self, world: World) -> None:
        for status in (Status.PARKED, Status.QUEUED, Status.ENDED):
            holder = await world.held()
            batch = holder.batch(count=2, move=Move(status, outcome="succeeded" if status is Status.ENDED else None))
            for _ in range(2):
                assert (await world.journal.append([batch]))[0].answer is Answer.APPLIED
            holder.follow(batch)
            assert (await holder.append()).answer is Answer.FENCED, "the claim was given up"
            assert len(await world.check_chain(*holder.key)) == 3

    async def test_a_batch_sent_again_after_another_went_on(self, world: World) -> None:
        old = await world.held()
        batch = old.batch(count=2, move=Move(Status.QUEUED))
        await world.journal.append([batch])
        new = await world.reclaim(old.run)
        await new.append(count=4)
        assert (await world.journal.append([batch]))[0].answer is Answer.APPLIED
        other = old.batch(old.note("another"), old.note("another"), move=Move(Status.QUEUED))
        assert (await world.journal.append([other]))[0].answer is Answer.FENCED
        assert await world.status(new) is Status.RUNNING
        assert len(await world.check_chain(*new.key)) == 7

    async def test_another_batch_in_the_same_place_is_not_taken_for_a_repeat(self, world: World) -> None:
        holder = await world.held()
        other = holder.batch(holder.note("other"))
        await holder.append(holder.note("one"))
        assert (await world.journal.append([other]))[0].answer is Answer.GAP

    async def test_a_move_without_events(self, world: World) -> None:
        holder = await world.held()
        batch = holder.batch(count=0, move=Move(Status.PARKED))
        for _ in range(2):
            assert (await world.journal.append([batch]))[0].answer is Answer.APPLIED
        assert await world.status(holder) is Status.PARKED
        assert len(await world.check_chain(*holder.key)) == 1

    @pytest.mark.parametrize("stop", list(Stop))
    async def test_a_stop_refuses_intents_and_nothing_else(self, world: World, stop: Stop) -> None:
        stopped, free = await world.claimed(2)
        await world.journal.stop_run(*stopped.key, stop, "eve", "why")
        batches = [holder.batch(holder.intent(), intent=True) for holder in (stopped, free)]
        answers = await world.journal.append(batches)
        assert [answer.answer for answer in answers] == [Answer.STOPPED, Answer.APPLIED]
        assert [answer.stop for answer in answers] == [stop, None]
        assert len(await world.check_chain(*stopped.key)) == 1
        assert (await stopped.append()).answer is Answer.APPLIED
        child = new_run(parent=stopped.run, root=stopped.run)
        assert (await stopped.append(children=[child])).answer is Answer.STOPPED
        assert await world.journal.get_run("acme", child.id) is None

    async def test_a_bad_batch_does_not_fail_the_others(self, world: World) -> None:
        holders = await world.claimed(7)
        batches = [holder.batch() for holder in holders]
        batches[4].move = Move(Status.ENDED, outcome="fa\x00iled")
        answers = await world.journal.append(batches)
        assert [answer.answer for answer in answers] == [
            Answer.REFUSED if number == 4 else Answer.APPLIED for number in range(7)
        ]
        assert answers[4].error is not None
        assert len(await world.check_chain(*holders[4].key)) == 1
        assert len(await world.check_chain(*holders[6].key)) == 2

    async def test_the_end_of_a_run(self, world: World) -> None:
        holder = await world.held()
        waiting = stable_json([Waiting("approval", "1")])
        await holder.append(waiting=waiting)
        await world.journal.deliver(letter(holder))
        answer = await holder.move(Status.ENDED, outcome="failed", code="tool_failed")
        row = await world.journal.get_run(*holder.key)
        assert row is not None
        assert (row.status, row.outcome, row.code, row.worker) == (Status.ENDED, "failed", "tool_failed", None)
        assert (row.ended_at, row.wake_at, row.waiting) == (answer.at, None, b"[]")
        with pytest.raises(RunUnknown):
            await world.journal.deliver(letter(holder, "b"))
        late = Post(*holder.key, "late", "settle", b"x")
        assert await world.journal.deliver(late) is True
        assert await world.journal.deliver(late) is False
        assert [item.dedup for item in (await world.journal.letters([holder.key]))[holder.key]] == ["late"]
        await world.advance(1000)
        assert await world.claim() == []

    async def test_what_a_run_waits_for_is_shown(self, world: World) -> None:
        holder, other = await world.claimed(2)
        waiting = stable_json([Waiting("timer", "1"), Waiting("approval", "2", "refund", "a1")])
        await holder.append(waiting=waiting)
        await other.move(Status.PARKED, waiting=stable_json([Waiting("timer", "1")]))
        row = await world.journal.get_run(*holder.key)
        assert row is not None
        assert (row.waiting, row.status) == (waiting, Status.RUNNING)
        found = await world.journal.list_runs("acme", RunFilter(waiting_for="approval"), 10)
        assert [item.id for item in found] == [holder.run]
        await holder.append(count=0, waiting=b"[]")
        assert await world.journal.list_runs("acme", RunFilter(waiting_for="approval"), 10) == []


class ChildSuite:
    async def parent_and_child(self, world: World) -> tuple[Holder, Holder]:
        parent = await world.held()
        child = new_run(parent=parent.run, root=parent.run, parent_path="1", priority=5)
        answer = await parent.append(intent=True, children=[child])
        assert answer.answer is Answer.APPLIED
        return parent, await world.reclaim(child.id)

    def end(self, child: Holder, parent: Holder, dedup: str = "child:1") -> Move:
        return Move(Status.ENDED, outcome="succeeded", post=Post(*parent.key, dedup, "child", b"result"))

    async def test_a_child_is_made_with_its_parents_events(self, world: World) -> None:
        parent, child = await self.parent_and_child(world)
        row = await world.journal.get_run(*child.key)
        assert row is not None
        assert (row.parent, row.root, row.parent_path, row.priority) == (parent.run, parent.run, "1", 5)
        assert child.claim.epoch == 1
        assert len(child.claim.subject_key) == 32
        again = new_run(id=child.run, parent=parent.run, root=parent.run)
        assert (await parent.append(intent=True, children=[again])).answer is Answer.APPLIED
        await world.check_chain(*child.key)
        await world.check_chain(*parent.key)

    async def test_a_childs_end_wakes_its_parent(self, world: World) -> None:
        parent, child = await self.parent_and_child(world)
        await parent.move(Status.PARKED)
        batch = child.batch(move=self.end(child, parent))
        for _ in range(2):
            assert (await world.journal.append([batch]))[0].answer is Answer.APPLIED
        again = await world.reclaim(parent.run)
        letters = (await world.journal.letters([parent.key]))[parent.key]
        assert [(item.dedup, item.kind, item.body) for item in letters] == [("child:1", "child", b"result")]
        answer = await again.append(consumed=["child:1"])
        assert (answer.answer, answer.letters) == (Answer.APPLIED, 0)
        assert (await world.journal.letters([parent.key]))[parent.key] == []

    async def test_a_parent_that_parks_in_the_same_append_is_woken(self, world: World) -> None:
        parent, child = await self.parent_and_child(world)
        batches = [parent.batch(move=Move(Status.PARKED)), child.batch(move=self.end(child, parent))]
        answers = await world.journal.append(batches)
        assert [answer.answer for answer in answers] == [Answer.APPLIED, Answer.APPLIED]
        (row,) = [claim for claim in await world.claim() if claim.run == parent.run]
        assert row.epoch == 2

    async def test_a_running_parent_learns_it_with_its_next_append(self, world: World) -> None:
        parent, child = await self.parent_and_child(world)
        await child.append(move=self.end(child, parent))
        assert (await parent.append()).letters == 1
        assert await world.status(parent) is Status.RUNNING

    async def test_a_parent_that_has_ended_or_gone_is_no_obstacle(self, world: World) -> None:
        parent, child = await self.parent_and_child(world)
        await parent.move(Status.ENDED, outcome="killed")
        assert (await child.append(move=self.end(child, parent))).answer is Answer.APPLIED
        assert (await world.journal.letters([parent.key]))[parent.key] == []
        orphan = await world.held()
        stranger = Post("acme", new_id(CLOCK), "child:1", "child", b"")
        move = Move(Status.ENDED, outcome="succeeded", post=stranger)
        assert (await orphan.append(move=move)).answer is Answer.APPLIED

    async def test_no_letter_comes_from_a_fenced_child(self, world: World) -> None:
        parent, child = await self.parent_and_child(world)
        await child.move(Status.QUEUED)
        await world.reclaim(child.run)
        assert (await child.append(move=self.end(child, parent))).answer is Answer.FENCED
        assert (await world.journal.letters([parent.key]))[parent.key] == []


class LetterSuite:
    async def test_letters_come_in_order_and_once(self, world: World) -> None:
        holder = await world.held()
        for dedup in ("b", "a", "c"):
            assert await world.journal.deliver(letter(holder, dedup, body=dedup.encode())) is True
        assert await world.journal.deliver(letter(holder, "a")) is False
        letters = (await world.journal.letters([holder.key]))[holder.key]
        assert [(item.dedup, item.body) for item in letters] == [("b", b"b"), ("a", b"a"), ("c", b"c")]
        assert (await holder.append(consumed=["a", "unknown"])).letters == 2
        assert await world.journal.deliver(letter(holder, "a")) is False, "known also after it was journalled"
        assert [item.dedup for item in (await world.journal.letters([holder.key]))[holder.key]] == ["b", "c"]
        assert (await holder.append(consumed=["a", "b"])).letters == 1

    async def test_a_letter_wakes_a_parked_run(self, world: World) -> None:
        holder = await world.held()
        await holder.move(Status.PARKED, wake_at=await world.journal.now() + 1000 * SECOND)
        await world.journal.deliver(letter(holder))
        assert await world.status(holder) is Status.QUEUED
        assert (await world.reclaim(holder.run)).claim.epoch == 2

    async def test_a_run_with_letters_does_not_park(self, world: World) -> None:
        holder = await world.held()
        await world.journal.deliver(letter(holder))
        assert (await holder.move(Status.PARKED)).letters == 1
        assert await world.status(holder) is Status.QUEUED
        again = await world.reclaim(holder.run)
        assert (await again.append(consumed=["a"], move=Move(Status.PARKED))).letters == 0
        assert await world.status(again) is Status.PARKED

    async def test_a_letter_and_a_park_at_once_never_lose_the_wake_up(self, world: World) -> None:
        for holder in await world.claimed(25):
            await asyncio.gather(holder.move(Status.PARKED), world.journal.deliver(letter(holder)))
            assert await world.status(holder) is Status.QUEUED

    async def test_a_refused_batch_consumes_no_letter(self, world: World) -> None:
        holder = await world.held()
        await world.journal.deliver(letter(holder))
        await world.journal.stop_run(*holder.key, Stop.PAUSE, "eve", "")
        assert (await holder.append(intent=True, consumed=["a"])).answer is Answer.STOPPED
        assert len((await world.journal.letters([holder.key]))[holder.key]) == 1

    async def test_flags_tell_what_a_holder_must_notice(self, world: World) -> None:
        worker = await world.worker()
        quiet, lettered, stopped, lost = await world.claimed(4, worker=worker)
        other = await world.held(worker=worker, tenant="zeta")
        await world.journal.deliver(letter(lettered))
        await world.journal.stop_run(*stopped.key, Stop.CANCEL, "eve", "")
        await lost.move(Status.QUEUED)
        await world.reclaim(lost.run)
        held = [holder.key for holder in (quiet, lettered, stopped, lost, other)] + [("acme", new_id(CLOCK))]
        flags = {flag.run: flag for flag in await world.journal.flags(worker, held)}
        assert flags.keys() == {lettered.run, stopped.run, lost.run}
        assert (flags[lettered.run].letters, flags[stopped.run].stop, flags[lost.run].epoch) == (1, Stop.CANCEL, 2)
        await world.journal.stop_scope(of_all("zeta"), Stop.KILL, "eve", "")
        flags = {flag.run: flag for flag in await world.journal.flags(worker, held)}
        assert flags[other.run].stop is Stop.KILL


class StopSuite:
    async def test_a_kill_and_a_cancel_reach_all_descendants(self, world: World) -> None:
        for stop in (Stop.CANCEL, Stop.KILL):
            top, other = await world.claimed(2)
            child = new_run(parent=top.run, root=top.run)
            await top.append(children=[child])
            middle = await world.reclaim(child.id)
            grandchild = new_run(parent=middle.run, root=top.run)
            await middle.append(children=[grandchild], move=Move(Status.PARKED))
            await world.journal.stop_run(*top.key, stop, "eve", "why")
            stops = {row.id: row.stop for row in await world.journal.list_runs("acme", RunFilter(), 100)}
            assert [stops[run] for run in (top.run, middle.run, grandchild.id, other.run)] == [stop] * 3 + [None]
            # Those nobody holds can be claimed, so that somebody ends them.
            claims = {claim.run: claim.stop for claim in await world.claim()}
            assert claims == {middle.run: stop, grandchild.id: stop}

    async def test_a_pause_stays_with_its_run(self, world: World) -> None:
        top = await world.held()
        child = new_run(parent=top.run, root=top.run)
        await top.append(children=[child])
        await world.journal.stop_run(*top.key, Stop.PAUSE, "eve", "why")
        assert [claim.run for claim in await world.claim()] == [child.id]
        await top.move(Status.QUEUED)
        assert await world.claim() == []
        assert await world.journal.resume_run(*top.key, "eve") is True
        assert await world.journal.resume_run(*top.key, "eve") is False
        assert [claim.run for claim in await world.claim()] == [top.run]

    async def test_a_paused_run_is_not_woken_by_time_or_letter(self, world: World) -> None:
        holder = await world.held()
        await holder.move(Status.PARKED, wake_at=await world.journal.now() + SECOND)
        await world.journal.stop_run(*holder.key, Stop.PAUSE, "eve", "why")
        await world.advance(10)
        assert await world.claim() == []
        await world.journal.deliver(letter(holder))
        assert await world.claim() == []
        await world.journal.resume_run(*holder.key, "eve")
        assert len(await world.claim()) == 1

    async def test_the_stronger_stop_wins(self, world: World) -> None:
        holder = await world.held()
        for stop, expected in (
            (Stop.PAUSE, Stop.PAUSE),
            (Stop.CANCEL, Stop.CANCEL),
            (Stop.PAUSE, Stop.CANCEL),
            (Stop.KILL, Stop.KILL),
            (Stop.CANCEL, Stop.KILL),
        ):
            await world.journal.stop_run(*holder.key, stop, "eve", "why")
            assert (await holder.append()).stop is expected
        assert await world.journal.resume_run(*holder.key, "eve") is False

    async def test_a_run_that_parks_under_a_kill_can_be_claimed(self, world: World) -> None:
        holder = await world.held()
        await world.journal.stop_run(*holder.key, Stop.KILL, "eve", "why")
        await holder.move(Status.PARKED)
        (claim,) = await world.claim()
        assert claim.stop is Stop.KILL

    async def test_a_quarantined_run_can_be_killed(self, world: World) -> None:
        holder = await world.held()
        await holder.move(Status.QUARANTINED)
        await world.journal.stop_run(*holder.key, Stop.KILL, "eve", "why")
        assert [claim.stop for claim in await world.claim()] == [Stop.KILL]

    async def test_an_ended_run_stays_as_it_is(self, world: World) -> None:
        holder = await world.held()
        await holder.move(Status.ENDED, outcome="succeeded")
        sealed = await world.journal.stop_run(*holder.key, Stop.KILL, "eve", "why")
        row = await world.journal.get_run(*holder.key)
        assert row is not None
        assert (sealed.sealed, row.stop, row.status) == (True, None, Status.ENDED)

    async def test_a_kill_lists_the_open_intents(self, world: World) -> None:
        holder, other = await world.claimed(2)
        opened = Summary(open_intents=1)
        intents = [
            holder.intent("1", allowance=5, timeout=10),
            holder.intent("2", attempt=2, timeout=100),
            holder.intent("3"),
        ]
        answer = await holder.append(*intents, intent=True, summary=opened)
        await holder.append(holder.outcome("1"), holder.outcome("2", attempt=1), summary=opened)
        await other.append(other.intent("9"), intent=True, summary=opened)
        sealed = await world.journal.stop_run(*holder.key, Stop.KILL, "eve", "why")
        assert sealed.sealed
        found = [(item.run, item.path, item.name, item.attempt, item.ends_by) for item in sealed.open_intents]
        assert found == [
            (holder.run, "2", "refund", 2, answer.at + 100),
            (holder.run, "3", "refund", 1, answer.at),
        ]
        assert len(await world.journal.open_intents(of_all("acme"))) == 3
        assert len(await world.journal.open_intents(of_run("acme", other.run))) == 1
        assert len(await world.journal.open_intents(of_all(None))) == 3
        await holder.move(Status.ENDED, outcome="killed")
        assert [item.run for item in await world.journal.open_intents(of_all("acme"))] == [other.run]

    async def test_the_intents_of_a_killed_runs_children_are_listed(self, world: World) -> None:
        top = await world.held()
        child = new_run(parent=top.run, root=top.run)
        await top.append(children=[child])
        inner = await world.reclaim(child.id)
        await inner.append(inner.intent("1"), intent=True, summary=Summary(open_intents=1))
        assert [item.run for item in await world.journal.open_intents(of_run("acme", top.run))] == [inner.run]
        sealed = await world.journal.stop_run(*top.key, Stop.KILL, "eve", "why")
        assert [item.run for item in sealed.open_intents] == [inner.run]

    async def test_killing_everything_and_lifting_it(self, world: World) -> None:
        holder, foreign = await world.held(), await world.held(tenant="zeta")
        for each in (holder, foreign):
            await each.append(each.intent(), intent=True, summary=Summary(open_intents=1))
        waiting = new_run()
        await world.journal.submit([waiting, new_run(tenant="zeta")])
        mine = await world.journal.stop_scope(of_all("acme"), Stop.KILL, "eve", "why")
        assert mine.sealed
        assert [item.tenant for item in mine.open_intents] == ["acme"]
        assert await world.journal.stopped("acme") == [mine.control]
        assert await world.journal.stopped("zeta") == []
        everything = await world.journal.stop_scope(of_all(None), Stop.KILL, "eve", "why")
        assert {item.tenant for item in everything.open_intents} == {"acme", "zeta"}
        assert await world.journal.stopped("zeta") == [everything.control]
        assert await world.journal.stopped(None) == [everything.control]
        assert await world.claim() == []
        assert await world.journal.resume_scope(of_all(None), "eve") == 1
        assert [claim.tenant for claim in await world.claim()] == ["zeta"]
        assert await world.journal.resume_scope(of_all("acme"), "eve") == 1
        assert [claim.run for claim in await world.claim()] == [waiting.id]


class ReadingSuite:
    async def test_a_tape_can_be_read_in_pages(self, world: World) -> None:
        holder = await world.held()
        await holder.append(count=9)
        whole = (await world.journal.tapes([holder.key]))[holder.key]
        assert [row.seq for row in whole] == list(range(1, 11))
        pages = [await world.journal.tape(*holder.key, after, 4) for after in (0, 4, 8, 10)]
        assert [row for page in pages for row in page] == whole
        assert [len(page) for page in pages] == [4, 4, 2, 0]
        missing = ("acme", new_id(CLOCK))
        assert await world.journal.tapes([holder.key, missing]) == {holder.key: whole, missing: []}

    async def test_runs_are_found_by_the_beginning_of_their_id(self, world: World) -> None:
        runs = [new_run(id=UUID(f"0190abcd-0000-7000-8000-{number:012x}")) for number in range(12)]
        await world.journal.submit(runs)
        assert await world.journal.find_runs("acme", "0190abcd-00") == [run.id for run in runs[:10]]
        assert await world.journal.find_runs("acme", str(runs[11].id).upper()) == [runs[11].id]
        assert await world.journal.find_runs("acme", "0190abce") == []
        for bad in ("019", "zzzz", "", "0" * 33):
            with pytest.raises(InputInvalid):
                await world.journal.find_runs("acme", bad)

    async def test_runs_are_listed_newest_first_and_filtered(self, world: World) -> None:
        top = await world.held()
        child = new_run(parent=top.run, root=top.run, agent="helper")
        await top.append(children=[child])
        ended = await world.held()
        await ended.move(Status.ENDED, outcome="failed")

        async def listed(limit: int = 100, **where: object) -> list[UUID]:
            found = await world.journal.list_runs("acme", RunFilter(**where), limit)  # type: ignore[arg-type]
            return [row.id for row in found]

        newest_first = sorted((top.run, child.id, ended.run), reverse=True)
        assert await listed() == newest_first
        assert await listed(limit=2) == newest_first[:2]
        assert await listed(before=newest_first[0]) == newest_first[1:]
        assert await listed(status=Status.ENDED) == [ended.run]
        assert await listed(outcome="failed") == [ended.run]
        assert await listed(agent="helper") == [child.id]
        assert await listed(parent=top.run) == [child.id]
        assert set(await listed(root=top.run)) == {top.run, child.id}
        assert await listed(root=top.run, status=Status.ENDED) == []

    async def test_payloads_are_stored_once_for_a_subject(self, world: World) -> None:
        first = payload("ann", b"first")
        await world.journal.put_payloads([first, payload("ann", b"second"), payload("bob", b"third")])
        wanted = [first.address, b"x" * 32]
        assert await world.journal.get_payloads("acme", "ann", wanted) == {first.address: first}
        assert (await world.journal.get_payloads("acme", "bob", [first.address]))[first.address].data == b"third"
        assert await world.journal.get_payloads("acme", "eve", [first.address]) == {}

    async def test_payloads_go_with_what_names_them(self, world: World) -> None:
        run, stored = new_run(subject="ann"), payload("ann", b"input")
        await world.journal.submit([run], [stored])
        holder = await world.held()
        with_events, without = payload("bob", b"answer"), payload("bob", b"again", address=b"b" * 32)
        batch = holder.batch()
        assert [a.answer for a in await world.journal.append([batch], [with_events])] == [Answer.APPLIED]
        holder.claim = replace(holder.claim, epoch=holder.claim.epoch - 1)
        holder.follow(batch)
        assert [a.answer for a in await world.journal.append([holder.batch()], [without])] == [Answer.FENCED]
        for subject, kept in (("ann", [stored]), ("bob", [with_events, without])):
            found = await world.journal.get_payloads("acme", subject, [item.address for item in kept])
            assert found == {item.address: item for item in kept}

    async def test_payloads_of_many_subjects_are_read_at_once(self, world: World) -> None:
        mine, other, foreign = payload("ann", b"1"), payload("bob", b"2"), payload("ann", b"3", tenant="zeta")
        await world.journal.put_payloads([mine, other, foreign])
        keys = {(item.tenant, item.subject, item.address): item for item in (mine, other, foreign)}
        absent = [("zeta", "bob", mine.address), ("acme", "ann", b"x" * 32)]
        assert await world.journal.fetch_payloads([*keys, *absent]) == keys
        assert await world.journal.fetch_payloads([]) == {}

    async def test_the_tenants_there_are(self, world: World) -> None:
        assert await world.journal.tenants() == []
        await world.journal.submit([new_run(tenant=tenant) for tenant in ("zeta", "acme", "acme", "beta")])
        assert await world.journal.tenants() == ["acme", "beta", "zeta"]

    async def test_an_erased_subject_is_gone_and_its_chain_still_verifies(self, world: World) -> None:
        named, own = await world.held(subject="ann"), await world.held()
        for holder, subject in ((named, "ann"), (own, str(own.run))):
            stored = payload(subject)
            await world.journal.put_payloads([stored])
            assert await world.journal.subject_key("acme", subject) == holder.claim.subject_key
            assert await world.journal.erase_subject("acme", subject) == 1
            assert await world.journal.erase_subject("acme", subject) == 0
            assert await world.journal.subject_key("acme", subject) is None
            await world.journal.put_payloads([stored])
            assert await world.journal.get_payloads("acme", subject, [stored.address]) == {}, "a late writer"
            assert (await holder.append()).answer is Answer.APPLIED
            await world.check_chain(*holder.key)
            await holder.move(Status.QUEUED)
            assert (await world.reclaim(holder.run)).claim.subject_key == b""

    async def test_a_subject_keeps_the_key_it_has(self, world: World) -> None:
        one, two = b"1" * 32, b"2" * 32
        assert await world.journal.subject_key("acme", "ann") is None
        assert await world.journal.ensure_subject("acme", "ann", one) == one
        assert await world.journal.ensure_subject("acme", "ann", two) == one
        assert await world.journal.ensure_subject("zeta", "ann", two) == two
        await world.journal.erase_subject("acme", "ann")
        assert await world.journal.ensure_subject("acme", "ann", two) == two, "a new beginning"


WITHOUT_TENANT = {
    "now",
    "enlist",
    "renew",
    "retire",
    "claim",  # crosses tenants by design, as the writer does: a worker serves all
    "tenants",
    "wait_for_work",
    "close",
    "put_back",
}


class JournalSuite(SubmitSuite, ClaimSuite, AppendSuite, ChildSuite, LetterSuite, StopSuite, ReadingSuite):
    """All of it, and that no tenant reaches what is another's by any method."""

    async def test_no_method_crosses_tenants(self, world: World) -> None:
        mine = (await world.claimed(worker=(worker := await world.worker()), key="k", subject="ann"))[0]
        await mine.append(mine.intent(), intent=True, summary=Summary(open_intents=1))
        journal: Any = Recorder(world.journal)
        await journal.deliver(letter(mine))
        stored = payload("ann")
        await journal.put_payloads([stored])
        run = mine.run
        assert await journal.get_run("zeta", run) is None
        assert await journal.find_runs("zeta", run.hex[:12]) == []
        assert await journal.list_runs("zeta", RunFilter(), 10) == []
        assert await journal.tape("zeta", run) == []
        assert await journal.tapes([("zeta", run)]) == {("zeta", run): []}
        assert await journal.letters([("zeta", run)]) == {("zeta", run): []}
        assert await journal.flags(new_id(CLOCK), [("zeta", run)]) == []
        assert await journal.get_payloads("zeta", "ann", [stored.address]) == {}
        assert await journal.fetch_payloads([("zeta", "ann", stored.address)]) == {}
        assert await journal.subject_key("zeta", "ann") is None
        assert await journal.ensure_subject("zeta", "ann", b"z" * 32) == b"z" * 32
        assert await journal.erase_subject("zeta", "ann") == 0
        assert await journal.open_intents(of_all("zeta")) == []
        assert await journal.open_intents(of_run("zeta", run)) == []
        assert await journal.resume_run("zeta", run, "eve") is False
        assert await journal.release_quarantine("zeta", run, None, "eve") is False
        assert await journal.take_over(await world.worker(), "zeta", run, worker, mine.claim.epoch) is None
        assert (await journal.submit([new_run(tenant="zeta", key="k")]))[0].created
        with pytest.raises(RunUnknown):
            await journal.deliver(Post("zeta", run, "b", "message", b""))
        with pytest.raises(RunUnknown):
            await journal.stop_run("zeta", run, Stop.KILL, "eve", "why")
        crossing = mine.batch()
        crossing.tenant = "zeta"
        assert (await journal.append([crossing]))[0].answer is Answer.ABSENT
        foreign = Post("zeta", run, "c", "child", b"")
        child = await world.held(tenant="zeta")
        await child.append(move=Move(Status.QUEUED, post=foreign))
        child = await world.reclaim(child.run)
        stray = Post("acme", run, "d", "child", b"")
        await child.append(move=Move(Status.ENDED, outcome="succeeded", post=stray))
        await journal.put_payloads([payload("ann", b"other", tenant="zeta")])
        await journal.stop_scope(of_all("zeta"), Stop.KILL, "eve", "why")
        assert await journal.stopped("acme") == []
        assert await journal.resume_scope(of_all("acme"), "eve") == 0
        assert (await mine.append()).answer is Answer.APPLIED
        assert await journal.subject_key("acme", "ann") == mine.claim.subject_key
        assert await journal.get_payloads("acme", "ann", [stored.address]) == {stored.address: stored}
        row = await journal.get_run("acme", run)
        assert row is not None
        assert (row.stop, row.status) == (None, Status.RUNNING)
        assert [item.dedup for item in (await journal.letters([mine.key]))[mine.key]] == ["a"]
        methods = {name for name, member in vars(Journal).items() if inspect.isfunction(member) and name[0] != "_"}
        assert journal.called == methods - WITHOUT_TENANT, "a new method is tried here too"

    async def test_waiting_for_work_ends_when_there_is_some(self, world: World) -> None:
        await world.journal.wait_for_work(0.01)
        waiter = asyncio.create_task(world.journal.wait_for_work(30))
        await asyncio.sleep(0)
        await world.journal.submit([new_run()])
        await asyncio.wait_for(waiter, 5)
