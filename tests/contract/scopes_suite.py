"""What every store must do with stops of an agent, a release, a session, a customer, a tenant, or of everything."""

from typing import Any

import pytest
from tests.contract.documents_suite import write
from tests.contract.journal_world import CLOCK, Holder, World, new_run

from penstock.events import Waiting
from penstock.kernel.canonical import stable_json
from penstock.kernel.ids import new_id
from penstock.ports.controls import Scope, of_all
from penstock.ports.records import Answer, Move, NewRun, Status, Stop, Summary

IN = {"agent": "desk", "release": "r1", "session": "s-1", "tags": {"customer": "ada"}, "env": "production"}
"""What a run of every scope says of itself."""

SCOPES = [
    Scope("agent", "acme", "desk"),
    Scope("session", "acme", "s-1"),
    Scope("customer", "acme", "ada"),
    Scope("environment", "acme", "production"),
    of_all("acme"),
    of_all(None),
]
NARROW = SCOPES[:4]
NAMES = [scope.kind for scope in SCOPES]


def inside(**fields: Any) -> NewRun:
    """A run that is in each of the scopes."""
    return new_run(**{**IN, **fields})


def outside(tenant: str = "acme", **fields: Any) -> NewRun:
    """A run of the same tenant that is in none of the narrow ones."""
    return new_run(tenant, **{"agent": "cook", "session": "s-2", "tags": {"customer": "bob"}, **fields})


async def held(world: World, *runs: NewRun) -> list[Holder]:
    """The runs, claimed."""
    await world.journal.submit(list(runs))
    claims = {claim.run: claim for claim in await world.claim()}
    return [Holder(world.journal, claims[run.id]) for run in runs]


async def judged(*holders: Holder) -> list[tuple[Answer, Stop | None]]:
    """What becomes of an intent of each."""
    batches = [holder.batch(holder.intent(), intent=True) for holder in holders]
    answers = await holders[0].journal.append(batches)
    for holder, batch, answer in zip(holders, batches, answers, strict=True):
        if answer.answer is Answer.APPLIED:
            holder.follow(batch)
    return [(answer.answer, answer.stop) for answer in answers]


FREE = (Answer.APPLIED, None)


class ScopesSuite:
    """Subclasses give the fixture ``world``."""

    @pytest.mark.parametrize("scope", SCOPES, ids=NAMES)
    @pytest.mark.parametrize("stop", [Stop.KILL, Stop.PAUSE])
    async def test_intents_are_refused_within_and_nowhere_else(self, world: World, scope: Scope, stop: Stop) -> None:
        mine, other, foreign = await held(world, inside(), outside(), inside(tenant="zeta"))
        sealed = await world.journal.stop_scope(scope, stop, "eve", "why")
        assert sealed.sealed
        refused = (Answer.STOPPED, stop)
        is_wide = scope not in NARROW
        everything = scope.kind == "everything"
        assert await judged(mine, other, foreign) == [
            refused,
            refused if is_wide else FREE,
            refused if everything else FREE,
        ]
        assert (await mine.append()).stop is stop, "whatever it writes, it learns of the stop"
        assert await world.journal.resume_scope(scope, "eve") == 1
        assert (await judged(mine)) == [FREE]

    @pytest.mark.parametrize("scope", SCOPES, ids=NAMES)
    @pytest.mark.parametrize("stop", [Stop.KILL, Stop.PAUSE])
    async def test_what_waits_is_held_back_until_it_is_lifted(self, world: World, scope: Scope, stop: Stop) -> None:
        before, after, other = inside(), inside(), outside()
        await world.journal.submit([before])
        await world.journal.stop_scope(scope, stop, "eve", "why")
        await world.journal.submit([other, after])
        assert [claim.run for claim in await world.claim()] == ([other.id] if scope in NARROW else [])
        assert await world.claim() == []
        await world.journal.resume_scope(scope, "eve")
        claims = await world.claim()
        first = next(claim for claim in claims if claim.run == before.id)
        assert after.id not in [claim.run for claim in claims], "they are of one session"
        await Holder(world.journal, first).move(Status.ENDED, outcome="succeeded")
        assert [claim.run for claim in await world.claim()][-1:] == [after.id]

    @pytest.mark.parametrize("scope", SCOPES, ids=NAMES)
    async def test_what_a_gone_worker_held_stays_there(self, world: World, scope: Scope) -> None:
        [mine] = await held(world, inside())
        await world.journal.stop_scope(scope, Stop.PAUSE, "eve", "why")
        await world.advance(61)
        assert await world.claim() == []
        await world.journal.resume_scope(scope, "eve")
        assert [claim.run for claim in await world.claim()] == [mine.run]

    @pytest.mark.parametrize("scope", NARROW, ids=NAMES[:4])
    async def test_a_release_is_a_scope_too_and_names_are_not_mixed_up(self, world: World, scope: Scope) -> None:
        """The name of one kind stops nothing of another kind."""
        [mine] = await held(world, inside())
        for kind in ("agent", "session", "customer", "release", "environment", "tool"):
            if kind != scope.kind:
                await world.journal.stop_scope(Scope(kind, "acme", scope.name), Stop.KILL, "eve", "")
        assert await judged(mine) == [FREE]
        await world.journal.stop_scope(Scope("release", "acme", "r1"), Stop.PAUSE, "eve", "")
        assert await judged(mine) == [(Answer.STOPPED, Stop.PAUSE)]

    async def test_the_strongest_holds_and_each_is_lifted_by_itself(self, world: World) -> None:
        [mine] = await held(world, inside())
        agent, customer = NARROW[0], NARROW[2]
        await world.journal.stop_scope(agent, Stop.PAUSE, "eve", "")
        await world.journal.stop_scope(customer, Stop.KILL, "eve", "")
        assert await judged(mine) == [(Answer.STOPPED, Stop.KILL)]
        assert await world.journal.resume_scope(customer, "eve") == 1
        assert await judged(mine) == [(Answer.STOPPED, Stop.PAUSE)]
        await world.journal.stop_run("acme", mine.run, Stop.CANCEL, "eve", "")
        assert await judged(mine) == [(Answer.STOPPED, Stop.CANCEL)]
        await world.journal.stop_scope(agent, Stop.KILL, "eve", "")
        assert await world.journal.resume_scope(agent, "eve") == 2
        assert await world.journal.resume_scope(agent, "eve") == 0
        assert await world.journal.stopped("acme") == []

    async def test_a_run_that_was_killed_itself_is_given_out_to_be_ended(self, world: World) -> None:
        runs = [inside(session=""), inside(session="")]
        await world.journal.submit(runs)
        await world.journal.stop_scope(NARROW[0], Stop.PAUSE, "eve", "")
        assert await world.claim() == []
        await world.journal.stop_run("acme", runs[0].id, Stop.KILL, "eve", "")
        [claim] = await world.claim()
        assert (claim.run, claim.stop) == (runs[0].id, Stop.KILL)

    async def test_a_paused_run_that_was_given_back_waits(self, world: World) -> None:
        [mine] = await held(world, inside())
        await world.journal.stop_scope(NARROW[2], Stop.PAUSE, "eve", "")
        await mine.append(move=Move(Status.QUEUED))
        assert await world.claim() == []
        await world.journal.resume_scope(NARROW[2], "eve")
        assert [claim.run for claim in await world.claim()] == [mine.run]

    @pytest.mark.parametrize("scope", SCOPES, ids=NAMES)
    async def test_holders_are_told(self, world: World, scope: Scope) -> None:
        worker = await world.worker()
        runs = [inside(), outside()]
        await world.journal.submit(runs)
        await world.journal.claim(worker, ["r1"], 10)
        keys = [("acme", run.id) for run in runs]
        assert await world.journal.flags(worker, keys) == []
        await world.journal.stop_scope(scope, Stop.PAUSE, "eve", "")
        told = {flags.run: flags.stop for flags in await world.journal.flags(worker, keys)}
        assert told == dict.fromkeys([run.id for run in (runs[:1] if scope in NARROW else runs)], Stop.PAUSE)

    async def test_children_are_of_their_parents_customer(self, world: World) -> None:
        [parent] = await held(world, inside())
        child = inside(parent=parent.run, root=parent.run, parent_path="1", session="", agent="cook")
        await parent.append(children=[child])
        await world.journal.stop_scope(NARROW[2], Stop.PAUSE, "eve", "")
        assert await world.claim() == []
        await world.journal.resume_scope(NARROW[2], "eve")
        await world.journal.stop_scope(NARROW[0], Stop.PAUSE, "eve", "")
        assert [claim.run for claim in await world.claim()] == [child.id]

    async def test_it_is_known_with_its_scope_and_lists_what_it_reaches(self, world: World) -> None:
        mine, second, other = await held(world, inside(), inside(session=""), outside())
        await mine.append(mine.intent(), intent=True, summary=Summary(nano=5, open_intents=1))
        await second.append(move=Move(Status.PARKED), summary=Summary(nano=7))
        await other.append(other.intent(), intent=True, summary=Summary(nano=9, open_intents=1))
        controls = world.journal.controls
        for scope in (NARROW[0], NARROW[2]):
            reach = await controls.reach(scope)
            assert (reach.running, reach.parked, reach.queued, reach.nano) == (1, 1, 0, 12)
        assert (await controls.reach(NARROW[1])).running == 1
        control = new_id(CLOCK)
        await world.journal.stop_scope(NARROW[0], Stop.KILL, "eve", "why", control)
        sealed = await world.journal.stop_scope(NARROW[0], Stop.KILL, "eve", "why", control)
        assert sealed.control == control
        assert [(item.run, item.path) for item in sealed.open_intents] == [(mine.run, "1")]
        known = await controls.get("acme", control)
        assert known is not None
        assert (known.scope, known.action, known.actor, known.in_force) == (NARROW[0], "kill", "eve", True)
        assert known.sealed_at is not None
        assert await controls.get("zeta", control) is None
        assert [item.id for item in await controls.wide("acme")] == [control]
        assert [item.id for item in await controls.newest("acme", None, 5)] == [control]
        assert await world.journal.stopped("acme") == [control]
        assert await world.journal.stopped("zeta") == []
        await mine.move(Status.ENDED, outcome="killed")
        await other.move(Status.ENDED, outcome="killed")
        assert await controls.stopped(NARROW[0], known.at) == 1
        await world.journal.resume_scope(NARROW[0], "bob")
        lifted = await controls.get("acme", control)
        assert lifted is not None
        assert (lifted.in_force, lifted.lifted_by) == (False, "bob")
        await world.journal.stop_scope(NARROW[0], Stop.KILL, "eve", "why", control)
        assert await world.journal.stopped("acme") == [], "what was lifted is not put in force by the same stop again"

    async def test_a_kill_of_the_tenant_is_told_from_a_pause(self, world: World) -> None:
        tenant = of_all("acme")
        await world.journal.stop_scope(tenant, Stop.PAUSE, "eve", "")
        await world.journal.stop_scope(tenant, Stop.KILL, "eve", "")
        await world.journal.stop_scope(NARROW[0], Stop.KILL, "eve", "")
        assert sorted(item.action for item in await world.journal.controls.wide("acme")) == ["kill", "kill", "pause"]
        assert await world.journal.resume_scope(tenant, "eve") == 2
        assert [item.scope for item in await world.journal.controls.wide("acme")] == [NARROW[0]]

    @pytest.mark.parametrize("stop", [Stop.KILL, Stop.PAUSE])
    async def test_documents_are_not_written_after_a_kill(self, world: World, stop: Stop) -> None:
        [mine] = await held(world, inside())
        await world.journal.stop_scope(NARROW[2], stop, "eve", "")
        written = await world.journal.documents.put(write(mine, 0, {"a": 1}), 10)
        assert written.answer == ("stopped" if stop is Stop.KILL else "written")


REFUND = Scope("tool", "acme", "refund")


class ToolStopsSuite:
    """Subclasses give the fixture ``world``. What keeps intents of the tool from being written is the version that
    they were checked against; which of them are of the tool is for the workers to see."""

    @pytest.mark.parametrize("stop", [Stop.KILL, Stop.PAUSE])
    async def test_it_holds_no_run_and_makes_checks_stale(self, world: World, stop: Stop) -> None:
        [mine] = await held(world, inside())
        before = (await world.journal.controls.of_tools()).version
        sealed = await world.journal.stop_scope(REFUND, stop, "eve", "why")
        assert sealed.sealed
        known = await world.journal.controls.of_tools()
        assert known.version > before
        assert [(item.id, item.scope, item.action) for item in known.stops] == [(sealed.control, REFUND, stop.value)]
        assert (await mine.append(mine.intent(), intent=True, checked=before)).answer is Answer.STALE
        checked = await mine.append(mine.intent(), intent=True, checked=known.version)
        assert (checked.answer, checked.stop) == (Answer.APPLIED, None)
        assert await world.journal.resume_scope(REFUND, "eve") == 1
        lifted = await world.journal.controls.of_tools()
        assert lifted.version > known.version
        assert lifted.stops == ()

    async def test_runs_are_given_out_and_things_fall_due_as_ever(self, world: World) -> None:
        worker = await world.worker()
        await world.journal.stop_scope(REFUND, Stop.KILL, "eve", "why")
        run = inside()
        await world.journal.submit([run])
        assert [claim.run for claim in await world.claim(worker=worker)] == [run.id]
        assert await world.journal.flags(worker, [("acme", run.id)]) == []

    async def test_it_is_listed_and_shows_the_calls_of_the_tool_alone(self, world: World) -> None:
        calling, other = await held(world, inside(), inside(session=""))
        await calling.append(calling.intent(), intent=True, summary=Summary(nano=5, open_intents=1))
        mail = other.intent()
        mail.tool = "mail"
        await other.append(mail, intent=True, summary=Summary(nano=7, open_intents=1))
        reach = await world.journal.controls.reach(REFUND)
        assert (reach.running, reach.nano) == (1, 5)
        sealed = await world.journal.stop_scope(REFUND, Stop.KILL, "eve", "why")
        assert [(item.run, item.name) for item in sealed.open_intents] == [(calling.run, "refund")]
        known = await world.journal.controls.get("acme", sealed.control)
        assert known is not None
        assert (known.scope, known.action, known.in_force, known.sealed_at is not None) == (REFUND, "kill", True, True)
        assert await world.journal.controls.get("zeta", sealed.control) is None
        assert await world.journal.controls.wide("acme") == [known]
        assert await world.journal.controls.wide("zeta") == []
        assert await world.journal.controls.stopped(REFUND, 0) == 0

    async def test_what_waits_for_it_is_woken_when_it_is_lifted(self, world: World) -> None:
        waiting, unsettled, other, foreign = await held(
            world, inside(), inside(session=""), outside(), inside(tenant="zeta")
        )
        said = {
            waiting: stable_json([Waiting("stop", "1", "refund")]),
            unsettled: stable_json([Waiting("timer", "2"), Waiting("doubt", "1", "refund", until=2**60)]),
            other: stable_json([Waiting("stop", "1", "mail"), Waiting("timer", "2", "refund")]),
            foreign: stable_json([Waiting("stop", "1", "refund")]),
        }
        await world.journal.stop_scope(REFUND, Stop.PAUSE, "eve", "why")
        for holder, waits in said.items():
            await holder.move(Status.PARKED, waiting=waits)
        await world.journal.resume_scope(REFUND, "eve")
        assert {await world.status(holder) for holder in (waiting, unsettled)} == {Status.QUEUED}
        assert {await world.status(holder) for holder in (other, foreign)} == {Status.PARKED}
