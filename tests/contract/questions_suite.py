"""What every store of questions and stops must do."""

import asyncio
from typing import Any

import pytest
from tests.contract.journal_world import CLOCK, Holder, World, new_run

from penstock.events import Waiting
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import RunUnknown
from penstock.kernel.ids import new_id
from penstock.ports.controls import of_all, of_run
from penstock.ports.questions import EXPIRED, NEVER, Decided
from penstock.ports.records import Move, Post, Status, Stop, Summary


def decided(holder: Holder, approval: str, decision: str = "approve", actor: str = "ann", **fields: Any) -> Decided:
    """A decision on a refund of the desk."""
    named = {"agent": "desk", "tool": "refund", "question": "may_run", "subject": str(holder.run), **fields}
    return Decided(holder.tenant, approval, holder.run, decision=decision, actor=actor, args=b"a" * 32, **named)


def post(holder: Holder, approval: str, decision: str = "approve", actor: str = "ann") -> Post:
    """The letter that carries it."""
    body = stable_json({"decision": decision, "actor": actor})
    return Post(holder.tenant, holder.run, f"approval:{approval}", "approval", body)


async def ask(holder: Holder, *questions: Waiting) -> None:
    """Park a run that waits for these."""
    await holder.append(move=Move(Status.PARKED, waiting=stable_json(list(questions))))


class QuestionsSuite:
    """Subclasses give the fixture ``world``."""

    async def test_those_that_end_first_come_first_and_pages_go_on(self, world: World) -> None:
        runs = await world.claimed(6)
        await ask(runs[0], Waiting("approval", "1", "refund", "a0", 300))
        await ask(runs[1], Waiting("approval", "1", "refund", "a1"))
        await ask(runs[2], Waiting("timer", "1", until=5), Waiting("doubt", "2", "pay", "a2", 100))
        await ask(runs[3], Waiting("doubt", "1", "pay", "", 50))
        await ask(runs[4], Waiting("approval", "1", "x", "a4", 900), Waiting("approval", "2", "x", "a5", 200))
        await ask(runs[5], Waiting("message", "1", '"kind":"approval"', "m", 1))
        questions = world.journal.questions
        found = await questions.asking("acme", None, 10)
        assert [(item.ends, item.row.id) for item in found] == [
            (100, runs[2].run),
            (200, runs[4].run),
            (300, runs[0].run),
            (NEVER, runs[1].run),
        ]
        first = await questions.asking("acme", None, 3)
        rest = await questions.asking("acme", (first[-1].ends, first[-1].row.id), 3)
        assert [item.row.id for item in [*first, *rest]] == [item.row.id for item in found]
        assert await questions.asking("zeta", None, 10) == []
        row = await questions.asked_by("acme", "a5")
        assert row is not None
        assert row.id == runs[4].run
        assert await questions.asked_by("acme", "a") is None
        assert await questions.asked_by("zeta", "a5") is None
        await world.journal.stop_run("acme", runs[4].run, Stop.KILL, "ann", "")
        again = await world.reclaim(runs[4].run)
        await again.move(Status.ENDED, outcome="killed")
        assert await questions.asked_by("acme", "a5") is None
        assert len(await questions.asking("acme", None, 10)) == 3

    async def test_of_decisions_at_once_exactly_one_counts_and_the_others_learn_whose(self, world: World) -> None:
        holder = await world.held()
        await ask(holder, Waiting("approval", "1", "refund", "a1"))
        questions = world.journal.questions
        people = [f"person-{number}" for number in range(6)]
        verdicts = await asyncio.gather(
            *(questions.decide(post(holder, "a1", actor=who), decided(holder, "a1", actor=who)) for who in people)
        )
        [winner] = [verdict for verdict in verdicts if verdict.counts]
        assert {verdict.actor for verdict in verdicts} == {winner.actor}
        assert len({verdict.at for verdict in verdicts}) == 1
        [[letter]] = (await world.journal.letters([holder.key])).values()
        assert winner.actor.encode() in letter.body
        assert await world.status(holder) is Status.QUEUED
        known = await questions.decided("acme", "a1")
        assert known is not None
        assert (known.actor, known.at, known.decision) == (winner.actor, winner.at, "approve")
        assert await questions.decided("zeta", "a1") is None

    async def test_who_comes_after_the_run_has_ended_learns_it_too(self, world: World) -> None:
        holder = await world.held()
        await ask(holder, Waiting("approval", "1", "refund", "a1"))
        questions = world.journal.questions
        await questions.decide(post(holder, "a1", "deny"), decided(holder, "a1", "deny"))
        await (await world.reclaim(holder.run)).move(Status.ENDED, outcome="succeeded")
        late = await questions.decide(post(holder, "a1", actor="bob"), decided(holder, "a1", actor="bob"))
        assert (late.counts, late.decision, late.actor) == (False, "deny", "ann")
        with pytest.raises(RunUnknown):
            await questions.decide(post(holder, "other"), decided(holder, "other"))

    async def test_a_decision_that_an_older_process_delivered_counts(self, world: World) -> None:
        holder = await world.held()
        await world.journal.deliver(post(holder, "a1", "deny", "old"))
        verdict = await world.journal.questions.decide(post(holder, "a1"), decided(holder, "a1"))
        assert (verdict.counts, verdict.decision, verdict.actor) == (False, "deny", "old")

    async def test_like_decisions_are_of_the_same_tool_newest_first_and_bounded(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("memory", "postgres"):
            monkeypatch.setattr(f"penstock.adapters.{module}.questions.DECISIONS_KEPT", 3)
        holder = await world.held()
        questions = world.journal.questions
        for number in range(5):
            await questions.decide(post(holder, f"a{number}"), decided(holder, f"a{number}"))
        await questions.decide(post(holder, "b"), decided(holder, "b", tool="mail"))
        await questions.decide(post(holder, "c"), decided(holder, "c", agent="cook"))
        found = await questions.like("acme", "desk", "refund", "may_run", 10)
        assert [item.approval for item in found] == ["a4", "a3", "a2"]
        assert len(await questions.like("acme", "desk", "refund", "may_run", 2)) == 2
        assert await questions.like("zeta", "desk", "refund", "may_run", 10) == []
        assert await questions.like("acme", "desk", "refund", "did_it_happen", 10) == []

    async def test_that_nobody_decided_is_remembered_unless_somebody_did(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("memory", "postgres"):
            monkeypatch.setattr(f"penstock.adapters.{module}.questions.DECISIONS_KEPT", 3)
        holder = await world.held()
        questions = world.journal.questions

        async def expired(approval: str, **fields: Any) -> None:
            await questions.expired(decided(holder, approval, EXPIRED, "penstock", asked_at=5, **fields))

        await expired("a1")
        await expired("a1")
        known = await questions.decided("acme", "a1")
        assert known is not None
        assert (known.decision, known.actor, known.run, known.args) == (EXPIRED, "penstock", holder.run, b"a" * 32)
        assert (known.asked_at, known.reason) == (5, None)
        assert abs(known.at - await world.journal.now()) < 60_000_000
        assert (await world.journal.letters([holder.key])).get(holder.key, []) == [], "nobody is told"
        late = await questions.decide(post(holder, "a1"), decided(holder, "a1"))
        assert late.decision == EXPIRED
        await questions.decide(post(holder, "a2", "deny"), decided(holder, "a2", "deny"))
        await expired("a2")
        assert [item.decision for item in await questions.like("acme", "desk", "refund", "may_run", 10)] == [
            "deny",
            EXPIRED,
        ]
        await expired("other", tool="mail")
        for number in range(3, 6):
            await expired(f"a{number}")
        found = await questions.like("acme", "desk", "refund", "may_run", 10)
        assert [item.approval for item in found] == ["a5", "a4", "a3"], "only so many are kept"
        assert await questions.decided("acme", "a2") is None
        assert await questions.decided("acme", "other") is not None


class ControlsSuite:
    """Subclasses give the fixture ``world``."""

    async def test_a_stop_is_known_with_who_and_why_and_since_when(self, world: World) -> None:
        holder, other = await world.claimed(2)
        before = await world.journal.now()
        sealed = await world.journal.stop_run("acme", holder.run, Stop.PAUSE, "ann", "look at it")
        control = await world.journal.controls.get("acme", sealed.control)
        assert control is not None
        assert (control.scope.run, control.action, control.actor, control.reason) == (
            holder.run,
            "pause",
            "ann",
            "look at it",
        )
        assert control.sealed_at is not None
        assert before <= control.at <= control.sealed_at
        assert control.in_force
        assert await world.journal.controls.get("zeta", sealed.control) is None
        await world.journal.resume_run("acme", holder.run, "bob")
        lifted = await world.journal.controls.get("acme", sealed.control)
        assert lifted is not None
        assert (lifted.lifted_by, lifted.in_force) == ("bob", False)
        killed = await world.journal.stop_run("acme", other.run, Stop.KILL, "ann", "")
        await other.move(Status.ENDED, outcome="killed")
        over = await world.journal.controls.get("acme", killed.control)
        assert over is not None
        assert not over.in_force, "its run has ended"
        assert [item.id for item in await world.journal.controls.of_run("acme", other.run, 5)] == [killed.control]

    async def test_the_same_stop_again_is_no_other(self, world: World) -> None:
        holder = await world.held()
        control = new_id(CLOCK)
        for _ in range(2):
            assert (await world.journal.stop_scope(of_all("acme"), Stop.KILL, "ann", "", control)).control == control
            assert (await world.journal.stop_run("acme", holder.run, Stop.KILL, "ann", "", new_id(CLOCK))).sealed
        assert [item.id for item in await world.journal.controls.wide("acme")] == [control]
        assert await world.journal.resume_scope(of_all("acme"), "bob") == 1
        assert (await world.journal.stop_scope(of_all("acme"), Stop.KILL, "ann", "", control)).control == control
        assert await world.journal.stopped("acme") == [], "what was lifted is not put in force by the same stop again"

    async def test_lists_go_page_by_page_newest_first(self, world: World) -> None:
        holder = await world.held()
        made = [
            (await world.journal.stop_run("acme", holder.run, Stop.PAUSE, f"p{number}", "")).control
            for number in range(5)
        ]
        made.append((await world.journal.stop_scope(of_all(None), Stop.KILL, "root", "")).control)
        await world.journal.stop_scope(of_all("zeta"), Stop.KILL, "eve", "")
        controls = world.journal.controls
        first = await controls.newest("acme", None, 4)
        rest = await controls.newest("acme", (first[-1].at, first[-1].id), 4)
        assert [item.id for item in [*first, *rest]] == made[::-1]
        assert [item.scope.tenant for item in await controls.wide("acme")] == [None]

    async def test_the_reach_of_a_stop(self, world: World) -> None:
        foreign = await world.held(tenant="zeta")
        top, parked, other = await world.claimed(3)
        child = new_run(parent=top.run, root=top.run, parent_path="1")
        await top.append(children=[child], summary=Summary(nano=5))
        await parked.append(move=Move(Status.PARKED), summary=Summary(nano=7))
        controls = world.journal.controls
        reach = await controls.reach(of_all("acme"))
        assert (reach.running, reach.queued, reach.parked, reach.nano) == (2, 1, 1, 12)
        reach = await controls.reach(of_run("acme", top.run))
        assert (reach.running, reach.queued, reach.parked, reach.nano) == (1, 1, 0, 5)
        reach = await controls.reach(of_run("acme", child.id))
        assert (reach.running, reach.queued) == (0, 1)
        assert (await controls.reach(of_all(None))).running == 3
        now = await world.journal.now()
        await other.move(Status.ENDED, outcome="killed")
        await foreign.move(Status.ENDED, outcome="killed")
        assert await controls.stopped(of_all("acme"), now) == 1
        assert await controls.stopped(of_run("acme", top.run), now) == 0
        assert await controls.stopped(of_run("acme", other.run), now) == 1
        assert await controls.stopped(of_all(None), now) == 2
