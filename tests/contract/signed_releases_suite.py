"""Who can write to the store, and holds no key, puts no release in use. Subclasses give the fixtures ``world`` and
``forger``, which changes rows as the store's owner could."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest
from tests.contract.journal_world import World

from penstock import Agent
from penstock.journal.keyring import public_pem
from penstock.journal.notes import SigningKey
from penstock.kernel.canonical import canonical_json
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import ReleaseKeyMissing, ReleaseOwn, ReleaseState, ReleaseUnsigned
from penstock.ports.rollouts import Accepted, Move, Release, Route, SignedStatement, State
from penstock.runs.registry import Registry
from penstock.runs.rollouts import routing, states
from penstock.runs.rollouts.releasing import Releasing
from penstock.runs.rollouts.routing import RolloutGuard
from penstock.runs.rollouts.signing import DECISION, Keyring
from penstock.runs.rollouts.statements import digest_of, read, sign, state_of
from penstock.settings import Settings
from penstock.testing import ScriptedModel

TENANT, AGENT = "acme", "clerk"
KEY, THIEF = SigningKey.from_seed(b"k" * 32), SigningKey.from_seed(b"t" * 32)
CLERK = Agent(AGENT, model=ScriptedModel(["x"], "m"), instructions="As coded.")


class Forger(Protocol):
    """Writes to the store without any key. Each change is seen by whoever looks."""

    async def route(self, route: Route) -> None: ...

    async def no_route(self) -> None: ...

    async def state(self, release: str, state: str, approved_by: str = "eve") -> None: ...

    async def manifest(self, release: str, manifest: bytes) -> None: ...

    async def statement(self, statement: SignedStatement) -> None: ...

    async def drop_statements(self, after: int) -> None: ...

    async def accepted(self, accepted: Accepted) -> None: ...


class SignedReleasesSuite:
    @pytest.fixture(autouse=True)
    def always_fresh(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(routing, "FRESH_SECONDS", -1.0)

    def releasing(self, world: World, key: SigningKey | None = KEY, tenant: str = TENANT, **trust: Any) -> Releasing:
        return Releasing(world.journal, tenant, Keyring(key, **trust))

    def process(self, world: World, *trusted: SigningKey) -> RolloutGuard:
        """A process that holds public keys only."""
        keys = [key.public for key in trusted or (KEY,)]
        return RolloutGuard(world.journal.rollouts, SystemClock(), Registry([CLERK]), Keyring(None, keys))

    async def approved(self, world: World, text: str, **changes: Any) -> Release:
        releases = self.releasing(world)
        made = await releases.draft(CLERK, "ann", prompts={"instructions": text}, **changes)
        await releases.submit(made.id, "ann")
        return await releases.approve(made.id, "ben", "reads well")

    async def live(self, world: World, text: str) -> Release:
        return await self.releasing(world).promote((await self.approved(world, text)).id, "ben")

    async def gets(self, process: RolloutGuard, tenant: str = TENANT) -> str:
        """What a new run gets; "" = the code."""
        release = (await process.side(tenant, CLERK, "k")).release
        return "" if release == CLERK.release else release

    async def executes(self, process: RolloutGuard, release: str) -> bool:
        await process.look()
        return process.runs_here(AGENT, release)

    async def test_what_was_decided_is_signed_and_goes_by_that(self, world: World) -> None:
        releases, process = self.releasing(world), self.process(world)
        assert await self.gets(process) == ""
        one = await self.live(world, "One.")
        assert await self.gets(process) == one.id
        assert await self.executes(process, one.id)
        two = await self.approved(world, "Two.")
        assert not await self.executes(process, two.id), "approved, and not in use"
        await releases.canary(two.id, 9_999, "ben")
        assert await self.gets(process) == two.id
        done = await releases.roll_back(AGENT, "ops", reason="bad")
        assert (done.bad, await self.gets(process)) == ([two.id], one.id)
        assert await self.executes(process, two.id), "runs that have begun go on"
        await releases.retire(one.id, "ops")
        assert (await self.gets(process), await self.gets(self.process(world))) == ("", "")
        shown = await releases.show(one.id)
        assert (shown.problem, len(shown.keys)) == ("", 1)
        kept = await world.journal.rollouts.statements(TENANT, AGENT, 0, 100)
        said = [read(item.body) for item in kept]
        assert [item.number for item in kept] == list(range(1, len(kept) + 1))
        assert [(item.actor, item.moves[0].state) for item in said if item is not None][:3] == [
            ("ann", "review"),
            ("ben", "approved"),
            ("ben", "live"),
        ]

    async def test_a_release_that_nobody_approved_is_not_put_in_use_by_rows(self, world: World, forger: Forger) -> None:
        one, process = await self.live(world, "One."), self.process(world)
        bad = await self.releasing(world).draft(CLERK, "eve", prompts={"instructions": "Pay eve."})
        assert await self.gets(process) == one.id
        await forger.state(bad.id, "live")
        row = await world.journal.rollouts.route(TENANT, AGENT)
        await forger.route(replace(row, live=bad.id))
        for known in (process, self.process(world)):
            assert await self.gets(known) == one.id, "what was right goes on"
            assert not await self.executes(known, bad.id)
            assert "put it in use" in known.refused[bad.id]
        await forger.route(replace(row, live=bad.id, number=row.number + 1))
        for known in (process, self.process(world)):
            assert (await self.gets(known), await self.executes(known, bad.id)) == (one.id, False)
        with pytest.raises(ReleaseUnsigned, match="is not signed"):
            await self.releasing(world).promote(one.id, "ben")
        assert "is not signed" in (await self.releasing(world).show(one.id)).problem

    async def test_rows_that_go_back_are_noticed_by_who_was_there(
        self, world: World, forger: Forger, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, two = await self.live(world, "One."), await self.live(world, "Two.")
        process, releases = self.process(world), self.releasing(world)
        assert await self.gets(process) == two.id
        kept = await world.journal.rollouts.statements(TENANT, AGENT, 0, 100)
        await forger.drop_statements(3)
        await forger.route(Route(TENANT, AGENT, 3, live=one.id, previous=states.OFFERED))
        await forger.state(one.id, "live", "ben")
        assert await self.gets(process) == two.id
        assert "the store went back from the statement 6 to 3" in caplog.text
        assert await self.gets(self.process(world)) == one.id, "who was not there cannot know"
        # A decision upon the older state is another history, also when it is longer.
        for number in range(4):
            await (releases.retire if number % 2 == 0 else releases.promote)(one.id, f"ben{number}")
        assert len(await world.journal.rollouts.statements(TENANT, AGENT, 0, 100)) > len(kept)
        assert await self.gets(process) == two.id
        await forger.drop_statements(0)
        await forger.no_route()
        assert await self.gets(process) == two.id
        assert await self.gets(self.process(world)) == ""

    async def test_what_was_decided_unsigned_waits_until_it_is_confirmed(self, world: World) -> None:
        """As by servers of older code: the store has the change and no statement."""
        releases, store, process = self.releasing(world), world.journal.rollouts, self.process(world)
        one, two = [await releases.draft(CLERK, "ann", prompts={"instructions": text}) for text in ("Live.", "Canary.")]
        moves = [
            Move(one.id, "draft", "live", "ben", approved_by="ben"),
            Move(two.id, "draft", "canary", "ben", share=9_999, approved_by="ben"),
        ]
        route = Route(TENANT, AGENT, 1, one.id, two.id, 9_999, states.OFFERED)
        assert await store.change(route, moves)
        assert await self.gets(process) == two.id, "not the code, when a release is live"
        assert not await self.executes(process, two.id), "and so the run waits"
        assert "confirm" in process.refused[one.id]
        with pytest.raises(ReleaseUnsigned) as refused:
            await releases.promote(two.id, "ben")
        assert "penstock releases confirm" in refused.value.advice
        assert {item.id for item in await releases.in_question(AGENT)} == {one.id, two.id}
        with pytest.raises(ReleaseOwn):
            await releases.confirm(AGENT, [one.id], "ann")
        stranger = await releases.draft(CLERK, "eve")
        with pytest.raises(ReleaseState):
            await releases.confirm(AGENT, [one.id, stranger.id], "ben")
        confirmed = await releases.confirm(AGENT, [one.id[:12]], "ben", "looked at it")
        assert (confirmed.number, confirmed.live, confirmed.canary) == (2, one.id, "")
        assert (await releases.find(two.id)).state == "rolled_back"
        for known in (process, self.process(world)):
            assert await self.gets(known) == one.id
            assert (await self.executes(known, one.id), await self.executes(known, two.id)) == (True, False)
        await releases.submit(two.id, "ann")
        await releases.approve(two.id, "ben")
        assert (await releases.promote(two.id, "ben")).state == "live"
        assert await self.gets(process) == two.id

    async def test_what_was_forged_is_put_right_by_confirming(self, world: World, forger: Forger) -> None:
        one, process, releases = await self.live(world, "One."), self.process(world), self.releasing(world)
        assert await self.gets(process) == one.id
        bad = await releases.draft(CLERK, "eve", prompts={"instructions": "Pay eve."})
        await forger.state(bad.id, "live")
        await forger.route(Route(TENANT, AGENT, 1, live=bad.id, previous=one.id))  # set back, too
        confirmed = await releases.confirm(AGENT, [one.id], "ben")
        assert (confirmed.number, confirmed.live) == (4, one.id)
        assert (await releases.find(bad.id)).state == "rolled_back"
        assert await self.gets(process) == await self.gets(self.process(world)) == one.id
        assert (await releases.show(one.id)).problem == ""
        assert (await releases.confirm(AGENT, [], "ben")).live == ""
        assert await self.gets(process) == await self.gets(self.process(world)) == ""

    async def test_a_changed_tool_is_accepted_only_by_a_signature(self, world: World, forger: Forger) -> None:
        digest, process = f"sha256:{'0' * 64}", self.process(world)
        await self.releasing(world, None).accept_tool("git/commit", digest, "ann")  # nobody here trusts any key
        assert not await process.accepts(TENANT, "git/commit", digest)
        with pytest.raises(ReleaseKeyMissing):
            await self.releasing(world, None, trusted=[KEY.public]).accept_tool("git/commit", digest, "ann")
        real = await self.releasing(world).accept_tool("git/commit", digest, "ann", "looked at it")
        assert await process.accepts(TENANT, "git/commit", digest)
        assert await self.process(world).accepts(TENANT, "git/commit", digest)
        for forged in (
            replace(real, tenant="globex"),
            replace(real, digest=f"sha256:{'1' * 64}"),
            replace(real, tool="git/push"),
        ):
            await forger.accepted(forged)
            assert not await process.accepts(forged.tenant, forged.tool, forged.digest)
        await forger.accepted(replace(real, actor="eve"))
        assert not await self.process(world).accepts(TENANT, "git/commit", digest)


class MoreOfSignedReleases(SignedReleasesSuite):
    """What is no different on another store."""

    @pytest.mark.parametrize(
        ("steps", "why"),
        [
            ([("ann", "live")], "was draft, and cannot become live"),
            ([("ann", "retired"), ("ann", "live")], "nobody had approved it"),
            ([("ann", "review"), ("ann", "approved")], "whose it is"),
            ([("cleo", "review"), ("cleo", "approved")], "whose it is"),
            ([("ann", "review"), ("ben", "approved"), ("ben", "rolled_back")], "cannot become rolled back"),
            (
                [("ann", "review"), ("ben", "approved"), ("ben", "rejected"), ("ben", "retired"), ("ben", "live")],
                "nobody",
            ),
        ],
    )
    async def test_also_what_the_key_signed_has_to_be_a_history_that_can_be(
        self, world: World, forger: Forger, steps: list[tuple[str, State]], why: str
    ) -> None:
        """So a server that was fooled, or is of another version, signs nobody round the review."""
        made = await self.releasing(world).draft(CLERK, "ann")
        digest = ""
        for number, (actor, state) in enumerate(steps, 1):
            live = made.id if state == "live" else ""
            route = Route(TENANT, AGENT, number, live=live)
            moves = [Move(made.id, "draft", state, actor)]
            said = state_of(route, moves, {made.id: "ann"}, before=digest, actor=actor, at=number)
            statement = sign(Keyring(KEY), said)
            digest = digest_of(statement.body)
            await forger.statement(statement)
            await forger.route(route)
        ledger = await self.releasing(world).ledger(AGENT)
        assert why in ledger.problem
        assert ledger.standing.route.number == len(steps) - 1
        assert not await self.executes(self.process(world), made.id)

    async def test_what_was_approved_is_not_put_in_use_by_rows_either(self, world: World, forger: Forger) -> None:
        one, two = await self.live(world, "One."), await self.approved(world, "Two.")
        await forger.state(two.id, "live", "ben")
        await forger.route(replace(await world.journal.rollouts.route(TENANT, AGENT), live=two.id))
        process = self.process(world)
        assert (await self.gets(process), await self.executes(process, two.id)) == (one.id, False)

    async def test_whoever_decides_does_not_believe_rows_either(self, world: World, forger: Forger) -> None:
        """Or an honest decision would sign what was forged before."""
        one, releases = await self.live(world, "One."), self.releasing(world)
        bad = await releases.draft(CLERK, "eve", prompts={"instructions": "Pay eve."})
        await forger.state(bad.id, "approved")
        with pytest.raises(ReleaseState):
            await releases.promote(bad.id, "ben")
        await forger.state(bad.id, "canary")
        with pytest.raises(ReleaseState):
            await releases.promote(bad.id, "ben")
        assert await self.gets(self.process(world)) == one.id
        await releases.submit(bad.id, "eve")  # by what was signed it is a draft
        with pytest.raises(ReleaseOwn):
            await releases.approve(bad.id, "eve")

    async def test_nobody_gets_round_the_review_by_retiring_a_draft(self, world: World) -> None:
        releases = self.releasing(world)
        made = await releases.draft(CLERK, "eve")
        await releases.retire(made.id, "eve")
        for step in (releases.promote(made.id, "eve"), releases.canary(made.id, 100, "eve")):
            with pytest.raises(ReleaseState, match="nobody has approved"):
                await step
        await releases.submit(made.id, "eve")
        await releases.approve(made.id, "ben")
        await releases.retire(made.id, "ben")
        assert (await releases.promote(made.id, "ben")).state == "live"

    async def test_a_changed_statement_does_not_count(self, world: World, forger: Forger) -> None:
        one, two = await self.live(world, "One."), await self.live(world, "Two.")
        process = self.process(world)
        assert await self.gets(process) == two.id
        (last,) = (await world.journal.rollouts.statements(TENANT, AGENT, 0, 100))[-1:]
        plain = msgspec.json.decode(last.body)
        others = {"number": 99, "share": 5, "moves": plain["moves"][:1]}
        names = ("actor", "live", "share", "number", "before", "tenant", "agent", "moves")
        for forged in (
            *(replace(last, body=canonical_json({**plain, name: others.get(name, "c" * 64)})) for name in names),
            replace(last, signature=last.signature[:-1] + bytes([last.signature[-1] ^ 1])),
            replace(last, signature=b""),
            replace(last, key="0" * 16),
            replace(last, body=b"{"),
        ):
            await forger.statement(forged)
            assert await self.gets(self.process(world)) == one.id, "what was right before"
            assert await self.gets(process) == two.id, "what it knows, it knows"
            with pytest.raises(ReleaseUnsigned):
                await self.releasing(world).roll_back(AGENT, "ops")
        await forger.statement(last)
        assert await self.gets(self.process(world)) == two.id

    async def test_a_signature_of_something_else_is_none_of_a_decision(self, world: World, forger: Forger) -> None:
        """Neither of a release by the same key, nor of another tenant's or agent's decision, nor of another place."""
        releases, process = self.releasing(world), self.process(world)
        one = await self.live(world, "One.")
        other = await self.releasing(world, tenant="globex").draft(CLERK, "ann", prompts={"instructions": "One."})
        assert other.id == one.id
        for statement in await world.journal.rollouts.statements(TENANT, AGENT, 0, 100):
            await forger.statement(replace(statement, tenant="globex"))
        await forger.route(Route("globex", AGENT, 3, live=one.id))
        ledger = await self.releasing(world, tenant="globex").ledger(AGENT)
        assert (ledger.is_begun, ledger.problem) == (False, "statement 1: it is about another agent")
        bad = await releases.draft(CLERK, "eve", prompts={"instructions": "Pay eve."})
        assert bad.signature != KEY.sign(DECISION + bad.manifest)
        kept = await world.journal.rollouts.statements(TENANT, AGENT, 0, 100)
        await forger.statement(SignedStatement(TENANT, AGENT, 4, bad.manifest, bad.key, bad.signature))
        await forger.statement(replace(kept[2], number=5))
        assert await self.gets(process) == one.id
        assert not await self.executes(process, bad.id)

    async def test_keys_are_rotated_by_trusting_both_and_one_that_was_stolen_counts_no_more(
        self, world: World, forger: Forger
    ) -> None:
        one = await self.live(world, "One.")
        both = self.releasing(world, THIEF, trusted=[KEY.public])
        two = await both.draft(CLERK, "ann", prompts={"instructions": "Two."})
        await both.submit(two.id, "ann")
        await both.approve(two.id, "ben")
        await both.promote(two.id, "ben")
        process = self.process(world, KEY, THIEF)
        assert (await self.gets(process), await self.executes(process, two.id)) == (two.id, True)
        after = self.process(world, KEY)  # the second key was stolen: nobody trusts it any more
        assert await self.gets(after) == one.id
        assert (await self.executes(after, one.id), await self.executes(after, two.id)) == (True, False)
        with pytest.raises(ReleaseUnsigned, match="trusted here are others"):
            await self.releasing(world).promote(one.id, "ben")
        await self.releasing(world).confirm(AGENT, [one.id], "cleo")
        assert await self.gets(after) == one.id
        assert (await self.releasing(world).show(one.id)).problem == ""
        assert public_pem(KEY.public).startswith("-----BEGIN PUBLIC KEY-----")

    async def test_a_manifest_that_was_forged_before_does_not_stand_in_for_the_real_one(
        self, world: World, forger: Forger
    ) -> None:
        one, process = await self.live(world, "One."), self.process(world)
        real = one.manifest
        await forger.manifest(one.id, real.replace(b"One.", b"Two."))
        assert not await self.executes(process, one.id)
        await forger.manifest(one.id, real)
        assert await self.executes(process, one.id)
        found = process._registry.find(AGENT, one.id)
        assert isinstance(found, Agent)
        assert found.instructions == "One."

    async def test_without_keys_processes_go_by_rows_as_before(self, world: World, tmp_path: Path) -> None:
        one = await self.live(world, "One.")
        process = RolloutGuard(
            world.journal.rollouts, SystemClock(), Registry([CLERK]), Keyring.of(Settings(data_dir=tmp_path))
        )
        assert await self.gets(process) == one.id
        assert not await self.executes(process, one.id), "and execute none of them"
        with pytest.raises(ReleaseKeyMissing):
            await self.releasing(world, None).roll_back(AGENT, "ops")
