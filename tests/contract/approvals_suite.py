"""What every store of votes, cases, people and notices must do."""

import asyncio
from typing import Any
from uuid import UUID

import msgspec
import pytest
from tests.contract.journal_world import CLOCK, Holder, World
from tests.contract.questions_suite import ask, decided, post

from penstock.events import Waiting
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import RunUnknown
from penstock.kernel.ids import new_id
from penstock.ports.notices import Notice
from penstock.ports.people import Delegation, Person
from penstock.ports.questions import Ballot, Vote, Voter
from penstock.ports.records import Post, Status
from penstock.ports.webhooks import Endpoint


async def vote(
    world: World, holder: Holder, approval: str, who: str, *, needed: int = 2, void: tuple[str, ...] = (), **of: Any
) -> Ballot:
    """One person allows it; their letter tells the run."""
    said = of.pop("decision", "approve")
    letter = Post(holder.tenant, holder.run, f"vote:{approval}:{new_id(CLOCK)}", "approval", b'{"decision":"approve"}')
    people = tuple(of.pop("people", (who,)))
    cast = Vote(holder.tenant, approval, holder.run, Voter(who, ("approver",)), people)
    questions = world.journal.questions
    return await questions.vote(
        post(holder, approval, said, who), decided(holder, approval, said, who), cast, letter, needed, void
    )


async def asking(world: World, approval: str = "a1") -> Holder:
    """A run that waits for a person."""
    holder = await world.held()
    await ask(holder, Waiting("approval", "1", "refund", approval))
    return holder


class VotesSuite:
    """Subclasses give the fixture ``world``."""

    async def test_a_question_for_two_is_decided_by_the_second_and_the_run_hears_of_both(self, world: World) -> None:
        holder = await asking(world)
        first = await vote(world, holder, "a1", "ann")
        assert (first.answer, [one.voter.actor for one in first.votes]) == ("kept", ["ann"])
        assert await world.journal.questions.decided("acme", "a1") is None
        assert await world.status(holder) is Status.QUEUED
        kept = await world.journal.questions.votes("acme", ["a1", "a2"])
        assert [(one.voter, one.people, one.run, one.at > 0) for one in kept.pop("a1")] == [
            (Voter("ann", ("approver",)), ("ann",), holder.run, True)
        ]
        assert kept == {}
        assert await world.journal.questions.votes("zeta", ["a1"]) == {}
        second = await vote(world, holder, "a1", "bob")
        assert (second.answer, [one.voter.actor for one in second.votes]) == ("counts", ["ann", "bob"])
        [letters] = (await world.journal.letters([holder.key])).values()
        assert [letter.dedup.split(":")[0] for letter in letters].count("vote") == 2
        assert "approval:a1" in {letter.dedup for letter in letters}
        late = await vote(world, holder, "a1", "cid")
        assert late.answer == "late"
        assert late.before is not None
        assert (late.before.actor, late.before.decision) == ("bob", "approve")

    async def test_one_person_counts_once_whatever_they_came_by(self, world: World) -> None:
        holder = await asking(world)
        assert (await vote(world, holder, "a1", "key:ann", people=("ann",))).answer == "kept"
        assert (await vote(world, holder, "a1", "key:ann", people=("ann",))).answer == "twice"
        assert (await vote(world, holder, "a1", "key:ann-2", people=("ann",))).answer == "twice"
        assert (await vote(world, holder, "a1", "key:bob", people=("bob", "ann"))).answer == "twice"
        assert (await vote(world, holder, "a1", "key:bob", people=("bob",))).answer == "counts"

    async def test_a_vote_that_is_struck_is_one_less(self, world: World) -> None:
        holder = await asking(world)
        await vote(world, holder, "a1", "ann")
        struck = await vote(world, holder, "a1", "bob", void=("ann",))
        assert (struck.answer, [one.voter.actor for one in struck.votes]) == ("kept", ["bob"])
        assert (await vote(world, holder, "a1", "ann")).answer == "counts"

    async def test_of_votes_at_once_so_many_as_are_needed_count(self, world: World) -> None:
        holder = await asking(world)
        people = [f"p{number}" for number in range(6)]
        ballots = await asyncio.gather(*(vote(world, holder, "a1", who, needed=3) for who in people))
        answers = sorted(ballot.answer for ballot in ballots)
        assert answers == ["counts", "kept", "kept", "late", "late", "late"]
        assert len((await world.journal.questions.votes("acme", ["a1"]))["a1"]) == 3

    async def test_one_who_says_no_ends_it_and_a_run_that_there_is_not_is_not_decided_on(self, world: World) -> None:
        holder = await asking(world)
        await vote(world, holder, "a1", "ann")
        assert (await vote(world, holder, "a1", "bob", needed=1, decision="deny")).answer == "counts"
        known = await world.journal.questions.decided("acme", "a1")
        assert known is not None
        assert (known.decision, known.actor) == ("deny", "bob")
        await (await world.reclaim(holder.run)).move(Status.ENDED, outcome="refused")
        with pytest.raises(RunUnknown):
            await vote(world, holder, "other", "bob")

    async def test_what_somebody_holds_nobody_else_decides(self, world: World) -> None:
        holder = await asking(world)
        cases = world.journal.questions.cases
        await cases.claim("acme", holder.run, "ann", 60)
        held = await vote(world, holder, "a1", "bob", needed=1)
        assert (held.answer, held.holder) == ("held", "ann")
        assert (await vote(world, holder, "a1", "bob")).answer == "held"
        assert await world.journal.questions.votes("acme", ["a1"]) == {}
        assert (await vote(world, holder, "a1", "ann", needed=1)).answer == "counts"

    async def test_a_claim_lets_others_decide_when_it_is_over(self, world: World) -> None:
        holder = await asking(world)
        await world.journal.questions.cases.claim("acme", holder.run, "ann", 0.000_001)
        assert (await vote(world, holder, "a1", "bob", needed=1)).answer == "counts"


class TidySuite:
    """Subclasses give the fixture ``world``."""

    async def test_what_belongs_to_runs_that_have_ended_is_forgotten(self, world: World) -> None:
        questions = world.journal.questions
        goes_on, over, given_up = await asking(world, "a1"), await asking(world, "a2"), await asking(world, "a3")
        for holder, approval in ((goes_on, "a1"), (over, "a2"), (given_up, "a3")):
            await questions.cases.claim("acme", holder.run, "ann", 0.000_001)
            await questions.cases.claim("acme", holder.run, "ann", 0.000_001)
            await vote(world, holder, approval, "ann")
        await (await world.reclaim(over.run)).move(Status.ENDED, outcome="succeeded")
        await questions.people.delegate(Delegation("acme", new_id(CLOCK), "ann", "bob", ()), 0.000_001)
        lasts = await questions.people.delegate(Delegation("acme", new_id(CLOCK), "ann", "bob", ()), 60)
        assert await questions.tidy(3600, 10) == 1, "the votes alone: the others are kept for a while"
        assert set(await questions.votes("acme", ["a1", "a2", "a3"])) == {"a1", "a3"}
        assert await questions.tidy(0, 10) == 2
        assert set(await questions.cases.known("acme", [goes_on.run, over.run])) == {goes_on.run}
        assert await questions.people.delegations("acme", "", 10) == [lasts]


class CasesSuite:
    """Subclasses give the fixture ``world``."""

    async def test_a_case_is_its_holders_until_they_hand_it_back(self, world: World) -> None:
        cases, run = world.journal.questions.cases, new_id(CLOCK)
        first = await cases.claim("acme", run, "ann", 60)
        assert (first.holder, first.claims, first.until - first.claimed_at) == ("ann", 1, 60_000_000)
        assert (await cases.claim("acme", run, "bob", 60)).holder == "ann"
        again = await cases.claim("acme", run, "ann", 90)
        assert (again.claims, again.claimed_at) == (1, first.claimed_at)
        assert again.until > first.until
        assert await cases.hand_back("acme", run, "bob", "") is None
        assert await cases.hand_back("zeta", run, "ann", "") is None
        back = await cases.hand_back("acme", run, "ann", "call her")
        assert back is not None
        assert (back.holder, back.until, back.note, back.closed_at) == ("", 0, "call her", 0)
        taken = await cases.claim("acme", run, "bob", 60)
        assert (taken.holder, taken.claims, taken.note) == ("bob", 2, "call her")
        forced = await cases.claim("acme", run, "eve", 60, force=True)
        assert (forced.holder, forced.claims) == ("eve", 3)

    async def test_a_claim_that_is_over_is_anybodys(self, world: World) -> None:
        cases, run = world.journal.questions.cases, new_id(CLOCK)
        over = await cases.claim("acme", run, "ann", 0.000_001)
        assert over.held_by(await cases.now()) == ""
        assert await cases.hand_back("acme", run, "ann", "") is None
        assert (await cases.claim("acme", run, "bob", 60)).holder == "bob"

    async def test_of_those_who_claim_at_once_one_holds_it(self, world: World) -> None:
        cases, run = world.journal.questions.cases, new_id(CLOCK)
        people = [f"p{number}" for number in range(6)]
        found = await asyncio.gather(*(cases.claim("acme", run, who, 60) for who in people))
        assert len({case.holder for case in found}) == 1
        assert {case.claims for case in found} == {1}

    async def test_cases_are_assigned_put_aside_and_listed(self, world: World) -> None:
        cases = world.journal.questions.cases
        runs = sorted(new_id(CLOCK) for _ in range(4))
        assigned = await cases.assign("acme", runs[0], "ann", 77, "eve")
        assert (assigned.assignee, assigned.due, assigned.assigned_by, assigned.holder) == ("ann", 77, "eve", "")
        await cases.claim("acme", runs[1], "ann", 60)
        await cases.claim("acme", runs[2], "bob", 60)
        await cases.claim("acme", runs[3], "bob", 60)
        await cases.claim("zeta", runs[3], "ann", 60)
        closed = await cases.hand_back("acme", runs[3], "bob", "solved", close=True)
        assert closed is not None
        assert (closed.closed_by, closed.closed_at > 0) == ("bob", True)
        assert [case.run for case in await cases.page("acme", "", None, 10)] == runs[:3]
        assert [case.run for case in await cases.page("acme", "ann", None, 10)] == runs[:2]
        assert [case.run for case in await cases.page("acme", "", runs[0], 1)] == [runs[1]]
        assert set(await cases.known("acme", runs)) == set(runs)
        assert await cases.known("zeta", runs[:3]) == {}
        assert (await cases.claim("acme", runs[3], "ann", 60)).closed_at == 0


class PeopleSuite:
    """Subclasses give the fixture ``world``."""

    async def test_what_is_known_of_actors(self, world: World) -> None:
        people = world.journal.questions.people
        said = Person("acme", "key:ann", "ann", ("finance",), "ann@example.org", False, "eve")
        kept = await people.put(said)
        assert (kept.person, kept.roles, kept.mail, kept.barred, kept.set_at > 0) == (
            "ann",
            ("finance",),
            "ann@example.org",
            False,
            True,
        )
        await people.put(Person("acme", "key:bob", "bob", set_by="eve"))
        again = await people.put(Person("acme", "key:ann", "ann", barred=True, set_by="eve"))
        assert (again.roles, again.mail, again.barred) == ((), "", True)
        assert await people.known("acme", ["key:ann", "x"]) == {"key:ann": again}
        assert await people.known("zeta", ["key:ann"]) == {}
        assert [one.actor for one in await people.page("acme", "", 10)] == ["key:ann", "key:bob"]
        assert [one.actor for one in await people.page("acme", "key:ann", 10)] == ["key:bob"]
        assert await people.forget("acme", "key:ann")
        assert not await people.forget("acme", "key:ann")

    async def test_a_right_is_handed_on_for_a_time_and_taken_back(self, world: World) -> None:
        people = world.journal.questions.people
        key = new_id(CLOCK)
        asked = Delegation("acme", new_id(CLOCK), "ann", "bob", ("approver",), key, "on leave")
        made = await people.delegate(asked, 60)
        assert (made.until - made.made_at, made.giver_key, made.reason) == (60_000_000, key, "on leave")
        over = await people.delegate(Delegation("acme", new_id(CLOCK), "ann", "cid", ()), 0.000_001)
        assert await people.delegations("acme", "", 10) == [made]
        assert await people.delegations("acme", "bob", 10) == [made]
        assert await people.delegations("acme", "cid", 10) == []
        assert await people.delegations("zeta", "", 10) == []
        assert await people.delegation("zeta", made.id) is None
        assert await people.end_delegation("zeta", made.id, "eve") is None
        ended = await people.end_delegation("acme", made.id, "ann")
        assert ended is not None
        assert (ended.ended_by, ended.holds(made.made_at)) == ("ann", False)
        assert await people.end_delegation("acme", made.id, "eve") == ended
        assert await people.delegations("acme", "", 10) == []
        assert await people.delegation("acme", over.id) == over


class NoticesSuite:
    """Subclasses give the fixture ``world``."""

    async def test_a_question_is_noted_once_where_somebody_is_written_to(self, world: World) -> None:
        notices = world.journal.questions.notices
        await asking(world, "a0")
        assert await notices.of("acme", "a0") == []
        await world.journal.questions.people.put(Person("acme", "ann", "ann", mail="ann@example.org"))
        asker = await world.held()
        await asker.append(waiting=stable_json([Waiting("approval", "1", "refund", "a1")]))
        [noted] = await notices.of("acme", "a1")
        assert (noted.kind, noted.run, noted.tool, noted.question, noted.state) == (
            "asked",
            asker.run,
            "refund",
            "may_run",
            "waiting",
        )
        both = [Waiting("approval", "1", "refund", "a1"), Waiting("doubt", "2", "pay", "a2", 900)]
        await asker.append(waiting=stable_json(both))
        assert await notices.of("acme", "a1") == [noted]
        [doubt] = await notices.of("acme", "a2")
        assert (doubt.question, doubt.expires) == ("did_it_happen", 900)

    async def test_a_notice_is_taken_by_one_and_again_when_its_lease_is_over(self, world: World) -> None:
        notices = world.journal.questions.notices
        asked = self._notice("b1")
        assert await notices.add(asked, 0)
        assert not await notices.add(asked, 0)
        assert await notices.add(self._notice("b2"), 3600)
        [taken] = await notices.take(10, 60)
        assert (taken.approval, taken.attempts) == ("b1", 1)
        assert await notices.take(10, 60) == []
        assert await notices.settle(taken, "waiting", "no answer", 0)
        [again] = await notices.take(10, 0)
        assert (again.attempts, again.last_status) == (2, "no answer")
        assert not await notices.settle(taken, "sent", "")
        [third] = await notices.take(10, 60)
        assert not await notices.settle(again, "sent", "")
        assert await notices.settle(third, "sent", "1 told")
        assert not await notices.settle(third, "sent", "1 told")
        [kept] = await notices.of("acme", "b1")
        assert (kept.state, kept.last_status, kept.attempts) == ("sent", "1 told", 3)
        assert await notices.forget(3600, 10) == 0
        assert await notices.forget(-1, 10) == 2

    async def test_a_webhook_is_told_once_that_nobody_answered(self, world: World) -> None:
        webhooks, notices = world.journal.webhooks, world.journal.questions.notices
        made = Endpoint("acme", new_id(CLOCK), "https://a.example", ("approval.escalated",), "", "", b"s" * 32, "eve")
        await webhooks.add(made, 10)
        asker = await asking(world, "a1")
        assert [one.kind for one in await notices.of("acme", "a1")] == ["asked"]
        late = self._notice("a1", run=asker.run)
        for _ in range(2):
            await notices.tell_escalated(late, msgspec.json.encode({"approval": "a1"}))
        [told] = await webhooks.deliveries("acme", made.id, None, None, 10)
        assert (told.topic, told.run, msgspec.json.decode(told.facts)) == (
            "approval.escalated",
            asker.run,
            {"approval": "a1"},
        )

    def _notice(self, approval: str, run: UUID | None = None) -> Notice:
        return Notice("acme", approval, "asked", run or new_id(CLOCK), "clerk", "refund", "may_run", 0, 0, 0)
