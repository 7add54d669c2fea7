"""What every store of managed releases must do. Subclasses give the fixture ``world``."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.documents_suite import end, value_of, write
from tests.contract.journal_world import CLOCK, Holder, World, new_run

from penstock.journal.documents import pack
from penstock.kernel.errors import InputInvalid
from penstock.ports import rollouts as port
from penstock.ports.records import Move as RunMove
from penstock.ports.records import Status
from penstock.ports.rollouts import Accepted, Back, Move, Refusal, Release, Rollouts, Route, State

BAD, GOOD = "b" * 64, "a" * 64
KEEP = 20


def release(id_: str = BAD, **fields: Any) -> Release:
    given: dict[str, Any] = {"agent": "clerk", "manifest": b"{}", "signature": b"s", "key": "k", "author": "ann"}
    return Release(fields.pop("tenant", "acme"), id_, **{**given, **fields})


async def held_of(world: World, release: str) -> Holder:
    """A run of that release, claimed."""
    await world.journal.submit([new_run(release=release)])
    (claim,) = await world.journal.claim(await world.worker(), [release], 1000)
    return Holder(world.journal, claim)


class RolloutsSuite:
    async def drafted(self, world: World, *ids: str) -> Rollouts:
        store = world.journal.rollouts
        for id_ in ids:
            assert await store.add(release(id_), "first")
        return store

    async def test_a_draft_is_kept_once_and_told_by_its_beginning(self, world: World) -> None:
        store = await self.drafted(world, BAD)
        assert not await store.add(release(BAD, author="ben"), "again")
        kept = await store.get("acme", BAD)
        assert kept is not None
        assert (kept.author, kept.state, kept.share, kept.approved_by) == ("ann", "draft", 0, "")
        assert abs(kept.drafted_at - await world.journal.now()) < 5_000_000
        assert await store.find("acme", "bbbb", 2) == [BAD]
        assert await store.find("acme", "cccc", 2) == []
        assert await store.find("globex", "bbbb", 2) == []
        (step,) = await store.steps("acme", BAD)
        assert (step.number, step.state, step.actor, step.reason) == (1, "draft", "ann", "first")

    async def test_releases_are_paged_newest_first_by_tenant_and_agent(self, world: World) -> None:
        store = world.journal.rollouts
        ids = [f"{number:064x}" for number in range(5)]
        for id_ in ids:
            await store.add(release(id_, agent="clerk" if id_ != ids[2] else "other"), "")
        await store.add(release(BAD, tenant="globex"), "")
        page = await store.page("acme", None, None, 3)
        assert [item.id for item in page] == ids[:1:-1]
        rest = await store.page("acme", None, (page[-1].drafted_at, page[-1].id), 10)
        assert [item.id for item in rest] == ids[1::-1]
        assert [item.id for item in await store.page("acme", "other", None, 10)] == [ids[2]]

    async def test_a_change_is_made_whole_or_not_at_all(self, world: World) -> None:
        store = await self.drafted(world, GOOD, BAD)
        before = await store.version()
        live = Route("acme", "clerk", 1, live=GOOD, previous="-")
        assert await store.change(live, [Move(GOOD, "draft", "live", "ben", "good", approved_by="ben")])
        assert await store.route("acme", "clerk") == live
        assert await store.version() > before
        kept = await store.get("acme", GOOD)
        assert kept is not None
        assert (kept.state, kept.approved_by) == ("live", "ben")
        assert [step.state for step in await store.steps("acme", GOOD)] == ["draft", "live"]

        version = await store.version()
        moves = [Move(GOOD, "live", "retired", "ben"), Move(BAD, "canary", "live", "ben")]  # it is a draft
        assert not await store.change(replace(live, number=2, live=BAD), moves)
        assert not await store.change(replace(live, number=3), [])  # not the next number
        assert not await store.change(replace(live, number=2), [Move("c" * 64, "draft", "live", "ben")])
        assert not await store.change(Route("acme", "other", 1), [Move(BAD, "draft", "review", "ben")])  # of another
        assert not await store.change(Route("globex", "clerk", 1), [Move(BAD, "draft", "review", "ben")])
        assert await store.route("acme", "clerk") == live
        assert await store.version() == version
        assert len(await store.steps("acme", GOOD)) == 2

    async def test_of_changes_at_the_same_time_one_is_made(self, world: World) -> None:
        store = await self.drafted(world, GOOD)
        move = Move(GOOD, "draft", "review", "ben")
        made = await asyncio.gather(*(store.change(Route("acme", "clerk", 1), [move]) for _ in range(5)))
        assert sorted(made) == [False] * 4 + [True]
        assert len(await store.steps("acme", GOOD)) == 2

    async def test_the_view_has_what_new_runs_get_and_what_may_still_run(self, world: World) -> None:
        ids = [f"{number:064x}" for number in range(6)]
        store = await self.drafted(world, *ids)
        states: tuple[State, ...] = ("live", "canary", "retired", "rolled_back", "review", "approved")
        moves = [Move(id_, "draft", state, "ben", share=500) for id_, state in zip(ids, states, strict=True)]
        route = Route("acme", "clerk", 1, live=ids[0], canary=ids[1], share=500, previous=ids[2])
        assert await store.change(route, moves)
        view = await store.view()
        assert view.version == await store.version()
        assert view.routes == (route,)
        assert {item.id for item in view.releases} == set(ids[:4])
        assert {item.id for item in view.releases[:2]} == set(ids[:2])  # first, so that no bound takes them away

    async def test_what_is_out_of_use_and_has_no_open_runs_becomes_idle(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("penstock.adapters.memory.rollouts", "penstock.adapters.postgres.rollouts"):
            monkeypatch.setattr(f"{name}.IDLE_SECONDS", 0.0)
        store = await self.drafted(world, GOOD, BAD)
        await world.journal.submit([new_run(release=BAD)])
        moves = [Move(id_, "draft", "retired", "ben") for id_ in (GOOD, BAD)]
        assert await store.change(Route("acme", "clerk", 1), moves)
        await asyncio.sleep(0.002)
        version = await store.version()
        assert await store.sweep() == 1
        assert await store.version() > version
        assert {item.id for item in (await store.view()).releases} == {BAD}
        assert await store.sweep() == 0
        assert await store.change(Route("acme", "clerk", 2, live=GOOD), [Move(GOOD, "retired", "live", "ben")])
        assert {item.id for item in (await store.view()).releases} == {GOOD, BAD}

    async def test_changed_tools_are_accepted_by_tenant_and_digest(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, before = world.journal.rollouts, await world.journal.rollouts.version()
        one = Accepted("acme", "git/commit", "sha256:1", 0, "ben", "looked at it")
        await store.accept(one)
        await store.accept(replace(one, actor="eve"))
        (kept,) = (await store.view()).accepted
        assert (kept.actor, kept.at > 0) == ("ben", True)
        assert await store.version() == before + 1
        for name in ("penstock.adapters.memory.rollouts", "penstock.adapters.postgres.rollouts"):
            monkeypatch.setattr(f"{name}.TOOLS_MAX", 1)
        await store.accept(one)
        with pytest.raises(InputInvalid):
            await store.accept(replace(one, digest="sha256:2"))

    async def test_an_agent_has_only_so_many_releases(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("penstock.adapters.memory.rollouts", "penstock.adapters.postgres.rollouts"):
            monkeypatch.setattr(f"{name}.RELEASES_MAX", 1)
        store = await self.drafted(world, GOOD)
        with pytest.raises(InputInvalid):
            await store.add(release(BAD), "")
        assert not await store.add(release(GOOD), "")
        assert await store.add(release(BAD, agent="other"), "")

    async def test_live_workers_say_what_they_cannot_run(self, world: World) -> None:
        await world.held()
        (worker,) = await world.journal.releases.workers()
        store = world.journal.rollouts
        await store.refuse(worker.name, [Refusal(worker.name, BAD, "other code"), Refusal(worker.name, GOOD, "x")])
        await store.refuse("dead", [Refusal("dead", BAD, "other code")])
        (told,) = await store.refusals(BAD, 10)
        assert (told.worker, told.why) == (worker.name, "other code")
        await store.refuse(worker.name, [])
        assert await store.refusals(BAD, 10) == []

    async def test_documents_are_found_by_the_release_that_wrote_them(self, world: World) -> None:
        store = await self.drafted(world, BAD)
        documents = world.journal.documents
        good = await world.held()
        bad = await held_of(world, BAD)
        for holder, expected, path in ((good, 0, "0"), (bad, 1, "0"), (good, 2, "1"), (bad, 3, "1")):
            made = await documents.put(write(holder, expected, expected, path, kind="session", name="s1"), KEEP)
            assert made.answer == "written"
        await documents.put(write(bad, 0, "m", "2", kind="memory", name="s2"), KEEP)
        await documents.put(write(bad, 0, "shared", "3"), KEEP)
        await documents.put(write(good, 0, "fine", "4", kind="session", name="s3"), KEEP)
        found = await store.written("acme", BAD, None, 10)
        assert [(item.kind, item.name, item.first, item.latest, item.others) for item in found] == [
            ("memory", "s2", 1, 1, 0),
            ("session", "s1", 2, 4, 1),
        ]
        assert [item.name for item in await store.written("acme", BAD, ("memory", "s2"), 10)] == ["s1"]
        assert await store.written("globex", BAD, None, 10) == []

    async def test_a_document_goes_back_over_the_expected_version_only_and_once(self, world: World) -> None:
        store = await self.drafted(world, BAD)
        documents = world.journal.documents
        good = await world.held()
        bad = await held_of(world, BAD)
        await documents.put(write(good, 0, "before", "0", kind="session", name="s1"), KEEP)
        await documents.put(write(bad, 1, "bad", "0", kind="session", name="s1"), KEEP)
        back = Back("acme", BAD, "session", "s1", 1, 1, "ops", pack(b"null"))
        assert await store.go_back(back, KEEP) == ("changed", 2)
        assert await store.go_back(replace(back, expected=2, version=7), KEEP) == ("gone", 2)
        assert await value_of(documents, kind="session", name="s1") == "bad"
        assert await store.go_back(replace(back, expected=2), KEEP) == ("restored", 3)
        assert await value_of(documents, kind="session", name="s1") == "before"
        version = await documents.version("acme", "session", "s1", 3)
        assert version is not None
        assert (version.by, version.run) == ("ops", None)
        assert await store.written("acme", BAD, None, 10) == [], "what was taken back is not found again"
        await documents.put(write(bad, 3, "bad again", "1", kind="session", name="s1"), KEEP)
        (again,) = await store.written("acme", BAD, None, 10)
        assert (again.first, again.latest) == (4, 4)
        await end(good)

    async def test_what_the_release_began_becomes_empty_and_stays_erasable(self, world: World) -> None:
        store = await self.drafted(world, BAD)
        documents = world.journal.documents
        bad = await held_of(world, BAD)
        await documents.put(write(bad, 0, {"turns": []}, "0", kind="memory", name="s1", subject="p1"), KEEP)
        await documents.quarantine("acme", "memory", "s1", 1, "odd", bad.run)
        back = Back("acme", BAD, "memory", "s1", 1, 0, "ops", pack(b"{}"))
        assert await store.go_back(back, KEEP) == ("restored", 2)
        assert await value_of(documents, kind="memory", name="s1") == {}
        found = await documents.get("acme", "memory", "s1")
        assert found is not None
        assert found.state == "ok"
        assert found.latest.content is not None
        assert found.latest.content.subject == "p1"

    async def test_runs_are_tallied_by_release_and_outcome(self, world: World) -> None:
        store, since = world.journal.rollouts, CLOCK.now_us() - 5_000_000
        for outcome in ("succeeded", "succeeded", "failed"):
            holder = await held_of(world, BAD)
            await holder.append(move=RunMove(Status.ENDED, outcome=outcome))
        await held_of(world, GOOD)
        await world.journal.submit([new_run(release=GOOD, agent="other"), new_run(release=GOOD, tenant="globex")])
        found = await store.tallies("acme", "clerk", since, 1000)
        assert [(item.release, item.outcome, item.runs) for item in found] == [
            (GOOD, "", 1),
            (BAD, "failed", 1),
            (BAD, "succeeded", 2),
        ]
        assert found[0].median_us == 0
        assert all(item.median_us < 60_000_000 for item in found)
        assert sum(item.runs for item in await store.tallies("acme", "clerk", since, 1)) == 2
        assert await store.tallies("acme", "clerk", since + 60_000_000, 10) == []

    def test_bounds_are_there(self) -> None:
        assert port.OFFERED_MAX <= port.RELEASES_MAX
