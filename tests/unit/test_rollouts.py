"""Which release runs get: the live one, the canary, the one they began with; and where none can be run."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import Agent, Budget, Run, Settings, agent, tool
from penstock.events import ToolIntent, decode
from penstock.kernel.errors import (
    ReleaseInvalid,
    ReleaseKeyInvalid,
    ReleaseKeyMissing,
    ReleaseMoved,
    ReleaseOwn,
    ReleaseState,
    ReleaseUnknown,
)
from penstock.ports.agents import AgentDef
from penstock.ports.controls import Scope
from penstock.ports.model import ModelRequest
from penstock.ports.records import RunFilter, Status, Stop
from penstock.ports.rollouts import Manifest, Release, Route, ToolPart
from penstock.runs.client import Penstock
from penstock.runs.registry import Registry
from penstock.runs.replaying.replay import replay
from penstock.runs.rollouts import manifest as manifests
from penstock.runs.rollouts.comparing import compare
from penstock.runs.rollouts.diff import differences
from penstock.runs.rollouts.releasing import Releasing
from penstock.runs.rollouts.routing import RolloutGuard, picked
from penstock.runs.rollouts.signing import Keyring, make_key
from penstock.testing import ScriptedModel, tool_call
from penstock.wiring import open_in_memory


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    make_key(tmp_path / "release.pem")
    return tmp_path / "release.pem"


@pytest.fixture
async def platform(key_file: Path) -> AsyncIterator[Penstock]:
    settings = Settings(poll_seconds=0.02, release_key_file=key_file)
    models = [ScriptedModel([told], "other", repeat=True), ScriptedModel([ValueError("down")] * 9, "broken")]
    async with open_in_memory(settings, agents=[desk()], models=models) as opened:
        yield opened


def told(request: ModelRequest) -> str:
    """The instructions, and the model's bound on its answer."""
    return f"{request.messages[0].text} {request.settings.max_tokens}"


def desk(**options: Any) -> Agent:
    given: dict[str, Any] = {"model": ScriptedModel([told], repeat=True), "instructions": "As coded."}
    return Agent("desk", **{**given, **options})


def offered(platform: Penstock) -> AgentDef:
    """The agent of the module."""
    found = platform.registry.find("desk")
    assert found is not None
    return found


def releasing(platform: Penstock) -> Releasing:
    return Releasing(platform.journal, "default", Keyring.of(platform.services.settings))


async def approved(platform: Penstock, text: str, of: Any = None, **changes: Any) -> Release:
    """A release with those instructions, approved."""
    made, given = releasing(platform), {"prompts": {"instructions": text}, **changes}
    drafted = await made.draft(of or offered(platform), "ann", **given)
    await made.submit(drafted.id, "ann")
    return await made.approve(drafted.id, "ben", "fine")


async def live(platform: Penstock, text: str, **changes: Any) -> Release:
    return await releasing(platform).promote((await approved(platform, text, **changes)).id, "ben")


async def answer(platform: Penstock, **options: Any) -> str:
    agent = offered(platform)
    run = await platform.submit(agent, "hello", **options)
    result = await platform.result(run, timeout_seconds=20)
    assert result.outcome == "succeeded", result
    row = await platform.journal.get_run("default", run)
    assert row is not None
    assert (await replay(platform.services, row, [agent])).same
    return str(result.output)


async def fresh(platform: Penstock) -> None:
    """Past the time for which a look at the store counts."""
    await asyncio.sleep(0.3)


async def test_without_releases_nothing_is_different(platform: Penstock) -> None:
    assert await answer(platform) == "As coded. 1024"
    (row,) = await platform.journal.list_runs("default", RunFilter(), 10)
    found = offered(platform)
    assert row.release == found.release


async def test_a_live_release_changes_the_prompt_the_settings_the_model_and_the_budget(platform: Penstock) -> None:
    made = await live(
        platform,
        "As released.",
        settings={"max_tokens": 77},
        models=["other"],
        budget=Budget(steps=3).record(),
    )
    await fresh(platform)
    agent = offered(platform)
    run = await platform.submit(agent, "hello")
    assert (await platform.result(run, timeout_seconds=20)).output == "As released. 77"
    row = await platform.journal.get_run("default", run)
    assert row is not None
    assert row.release == made.id
    assert agent.release != made.id, "the agent of the module is what it was"
    await releasing(platform).roll_back("desk", "ben")
    await fresh(platform)
    assert await answer(platform) == "As coded. 1024"


async def test_one_worker_runs_the_live_the_canary_and_the_one_that_a_run_began_with(platform: Penstock) -> None:
    """A run that waits goes on under its own release while two others are in use."""
    first = await live(platform, "One.")
    await fresh(platform)
    found = offered(platform)
    await platform.stop(Scope("agent", "default", "desk"), Stop.PAUSE, actor="ops")
    waiting = await platform.submit(found, "hello")
    await live(platform, "Two.")
    canary = await approved(platform, "Three.")
    await releasing(platform).canary(canary.id, 5_000, "ben")
    await fresh(platform)
    await platform.resume(Scope("agent", "default", "desk"), actor="ops")
    assert (await platform.result(waiting, timeout_seconds=20)).output == "One. 1024"
    row = await platform.journal.get_run("default", waiting)
    assert row is not None
    assert row.release == first.id
    assert (await replay(platform.services, row, [found])).same
    said = Counter([await answer(platform, session=f"s{number}") for number in range(30)])
    assert set(said) == {"Two. 1024", "Three. 1024"}


async def test_a_session_stays_on_its_side_and_comes_to_the_canary_only(platform: Penstock) -> None:
    route, sessions = Route("t", "desk", 1, live="l", canary="c", share=1_000), [f"s{n}" for n in range(4_000)]
    tenth = {session for session in sessions if picked(route, session) == "c"}
    half = {session for session in sessions if picked(replace(route, share=5_000), session) == "c"}
    assert tenth < half
    assert 0.08 < len(tenth) / len(sessions) < 0.12
    assert 0.47 < len(half) / len(sessions) < 0.53
    other = {session for session in sessions if picked(replace(route, canary="d"), session) == "d"}
    assert len(other & tenth) < 0.5 * len(tenth), "another canary has others"
    assert picked(replace(route, canary=""), "s") == "l"
    assert picked(replace(route, live="", share=0), "s") == ""


async def test_nobody_approves_what_he_drafted_or_put_up_for_review(platform: Penstock) -> None:
    made = releasing(platform)
    drafted = await made.draft(offered(platform), "ann")
    with pytest.raises(ReleaseState):
        await made.approve(drafted.id, "ben")
    await made.submit(drafted.id, "eve")
    for own in ("ann", "eve"):
        with pytest.raises(ReleaseOwn):
            await made.approve(drafted.id, own)
    with pytest.raises(ReleaseState):
        await made.promote(drafted.id, "ben")
    with pytest.raises(ReleaseState):
        await made.canary(drafted.id, 100, "ben")
    assert (await made.approve(drafted.id, "ben")).approved_by == "ben"
    with pytest.raises(ReleaseState):
        await made.approve(drafted.id, "cleo")


async def test_a_life_from_draft_to_retired_is_written_down(platform: Penstock) -> None:
    made = releasing(platform)
    one, two = await approved(platform, "One."), await approved(platform, "Two.")
    await made.canary(one.id, 250, "ben", "a little")
    with pytest.raises(ReleaseState, match="canary"):
        await made.promote(two.id, "ben")
    await made.canary(one.id, 5_000, "ben", "more")
    await made.promote(one.id, "ben", "all")
    await made.promote(two.id, "ben")
    shown = await made.show(one.id[:8])
    assert [step.state for step in shown.steps] == [
        "draft",
        "review",
        "approved",
        "canary",
        "canary",
        "live",
        "retired",
    ]
    assert [step.share for step in shown.steps][3:5] == [250, 5_000]
    assert shown.steps[3].reason == "a little"
    assert (await made.route("desk")).live == two.id
    for share in (0, 10_000, -1):
        with pytest.raises(ReleaseState):
            await made.canary(one.id, share, "ben")
    assert (await made.retire(two.id, "ben")).state == "retired"
    assert (await made.route("desk")).live == ""


async def test_a_rollback_leads_away_from_the_canary_then_from_what_is_live(platform: Penstock) -> None:
    made = releasing(platform)
    one, two = await live(platform, "One."), await live(platform, "Two.")
    three = await approved(platform, "Three.")
    await made.canary(three.id, 100, "ben")
    done = await made.roll_back("desk", "ops", reason="bad")
    assert (done.bad, done.live) == ([three.id], two.id)
    done = await made.roll_back("desk", "ops", reason="worse")
    assert (done.bad, done.live) == ([two.id], one.id)
    with pytest.raises(ReleaseState, match="not known"):
        await made.roll_back("desk", "ops")
    with pytest.raises(ReleaseState):
        await made.roll_back("desk", "ops", to=two.id)
    with pytest.raises(ReleaseState):
        await made.promote(two.id, "ben")
    await made.submit(two.id, "ann")
    await made.approve(two.id, "ben", "found out why")
    await made.canary(two.id, 100, "ben")
    done = await made.roll_back("desk", "ops", to=two.id, reason="the canary is the better one")
    assert (done.bad, done.live, (await made.find(two.id)).state) == ([one.id], two.id, "live")
    done = await made.roll_back("desk", "ops", to="offered")
    assert (done.bad, done.live) == ([two.id], "")
    with pytest.raises(ReleaseState):
        await made.roll_back("desk", "ops")
    with pytest.raises(ReleaseUnknown):
        await made.roll_back("desk", "ops", to="ffffffff")


async def test_what_is_decided_at_the_same_time_is_decided_once(platform: Penstock) -> None:
    made = releasing(platform)
    drafted = await made.draft(offered(platform), "ann")
    await made.submit(drafted.id, "ann")
    store = platform.journal.rollouts
    read = await store.head("default", "desk")

    class Late:
        """Decides upon what it read before somebody else did."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def head(self, tenant: str, agent: str) -> tuple[Route, int]:
            return read

    late = releasing(platform)
    late._store = Late()
    await made.reject(drafted.id, "cleo")
    await made.submit(drafted.id, "ann")
    with pytest.raises(ReleaseMoved):
        await late.approve(drafted.id, "ben")
    assert (await made.find(drafted.id)).state == "review"


async def test_other_code_or_another_schema_is_not_run_and_it_is_said_why(platform: Penstock) -> None:
    """The runs wait until a worker offers what was reviewed."""

    @tool(effect="read")
    async def look(place: str) -> str:
        """Look."""
        return place

    made = await live(platform, "One.", of=desk(tools=[look]))
    await fresh(platform)
    found = offered(platform)
    run = await platform.submit(found, "hello")
    await asyncio.sleep(0.7)
    row = await platform.journal.get_run("default", run)
    assert row is not None
    assert (row.status, row.release) == (Status.QUEUED, made.id)
    (refusal,) = (await releasing(platform).show(made.id)).refusals
    assert refusal.why == "the tool look is not offered here"
    assert [item.run for item in await platform.journal.releases.stranded("default", 10)] == [run]

    @tool(effect="read", name="look")
    async def other(place: str, time: str) -> str:
        """Look."""
        return place

    manifest = manifests.read(made.manifest)
    assert "schema" in manifests.mismatch(desk(tools=[other]), manifest)
    assert manifests.mismatch(desk(tools=[look]), manifest) == ""
    assert "code" in manifests.mismatch(desk(tools=[look], can_escalate=True), manifest)
    assert (
        manifests.mismatch(desk(tools=[look], instructions="Else.", max_tokens=7, budget=Budget(steps=1)), manifest)
        == ""
    )


async def test_a_release_that_nobody_trusted_signed_is_not_run(platform: Penstock, tmp_path: Path) -> None:
    """Also when the store says that it is live: whoever can write to the database cannot tell agents what to do."""
    made = await approved(platform, "One.")
    clock, registry, store = platform.services.clock, platform.registry, platform.journal.rollouts
    make_key(tmp_path / "other.pem")
    other = Keyring.of(Settings(release_key_file=tmp_path / "other.pem"))
    assert Keyring.of(platform.services.settings).objection(made) == ""
    assert "trusted here are others" in other.objection(made)
    assert "no key is trusted" in Keyring().objection(made)
    forged = replace(made, manifest=made.manifest.replace(b"One.", b"Two."))
    assert "not what its id says" in Keyring.of(platform.services.settings).objection(forged)
    resealed = replace(forged, id=manifests.address(forged.manifest))
    assert "signature" in Keyring.of(platform.services.settings).objection(resealed)

    await releasing(platform).promote(made.id, "ben")
    stranger = RolloutGuard(store, clock, registry, other)
    await stranger.look()
    assert not stranger.runs_here("desk", made.id)
    with pytest.raises(ReleaseInvalid):
        await Releasing(platform.journal, "default", other).approve(made.id, "cleo")


async def test_keys_are_rotated_by_trusting_both(platform: Penstock, tmp_path: Path) -> None:
    made = await approved(platform, "One.")
    _, old = make_key(tmp_path / "a.pem")
    (tmp_path / "trusted.pem").write_text(old)
    make_key(tmp_path / "b.pem")
    before = Keyring.of(Settings(release_key_file=tmp_path / "a.pem"))
    drafted = await Releasing(platform.journal, "t2", before).draft(offered(platform), "ann")
    after = Settings(release_key_file=tmp_path / "b.pem", release_trusted_file=tmp_path / "trusted.pem")
    assert Keyring.of(after).objection(drafted) == ""
    assert len(Keyring.of(after).trusted) == 2
    assert Keyring.of(after).objection(made) != ""
    with pytest.raises(ReleaseKeyInvalid):
        make_key(tmp_path / "b.pem")
    for content in (b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        (tmp_path / "bad.pem").write_bytes(content)
        for bad in (
            Settings(release_trusted_file=tmp_path / "bad.pem"),
            Settings(release_key_file=tmp_path / "bad.pem"),
        ):
            with pytest.raises(ReleaseKeyInvalid):
                Keyring.of(bad)
    with pytest.raises(ReleaseKeyMissing):
        await Releasing(platform.journal, "t2", Keyring()).draft(offered(platform), "ann")


async def test_the_same_content_by_the_same_author_is_the_same_release(platform: Penstock) -> None:
    made, found = releasing(platform), offered(platform)
    one = await made.draft(found, "ann", version="1")
    assert (await made.draft(found, "ann", version="1")).id == one.id
    others = [await made.draft(found, "ben", version="1"), await made.draft(found, "ann", version="2")]
    assert len({one.id, *(other.id for other in others)}) == 3
    assert manifests.encode(manifests.read(one.manifest)) == one.manifest


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": {"unknown": "x"}},
        {"prompts": {"instructions": " "}},
        {"prompts": {"instructions": "x" * 2_000_000}},
        {"prompts": {"instructions": "\ud800"}},
        {"models": ["a", "a"]},
        {"models": [f"m{number}" for number in range(11)]},
        {"settings": {"max_tokens": 0}},
        {"settings": {"max_tokens": True}},
        {"settings": {"max_tokens": 1.5}},
        {"settings": {"temperature": float("nan")}},
        {"settings": {"unknown": 1}},
        {"settings": {"extra": []}},
        {"version": "x\n"},
        {"policy": {"a.yaml": "no: policy"}},
    ],
)
async def test_what_cannot_be_a_release_is_refused(platform: Penstock, changes: dict[str, Any]) -> None:
    with pytest.raises(ReleaseInvalid):
        await releasing(platform).draft(offered(platform), "ann", **changes)
    assert await releasing(platform).page(None, None, 10) == []


async def test_children_get_the_release_of_their_agent_and_the_same_agent_its_own(platform: Penstock) -> None:
    """A child of another agent goes by that agent's releases; one of the same agent stays with its parent's."""
    made = await live(platform, "As released.")

    @agent("parent")
    async def parent(run: Run, value: str) -> str:
        return str(await run.call(desk(), value))

    await fresh(platform)
    run = await platform.submit(parent, "hello")
    assert (await platform.result(run, timeout_seconds=20)).output == "As released. 1024"
    rows = {row.agent: row for row in await platform.journal.list_runs("default", RunFilter(), 10)}
    assert rows["desk"].release == made.id
    assert rows["desk"].parent == run
    assert rows["parent"].release == parent.release
    assert (await replay(platform.services, rows["parent"], [parent, desk()])).same


async def test_a_function_is_released_with_a_budget_and_nothing_else(platform: Penstock) -> None:
    @agent("counter", version="1")
    async def counter(run: Run, value: str) -> int:
        return run.budget.steps or 0

    platform.registry.add(counter)
    with pytest.raises(ReleaseInvalid):
        await releasing(platform).draft(counter, "ann", prompts={"instructions": "x"})
    made = releasing(platform)
    drafted = await made.draft(counter, "ann", budget=Budget(steps=3).record())
    await made.submit(drafted.id, "ann")
    await made.approve(drafted.id, "ben")
    await made.promote(drafted.id, "ben")
    await fresh(platform)
    run = await platform.submit(counter, "x")
    assert (await platform.result(run, timeout_seconds=20)).output == 3


POLICY = """
version: 1
rules:
  - name: no-looking
    owner: ops
    reviewed: 2026-11-01
    reason: nobody looks
    when:
      tool: look
    then: deny
"""


async def test_a_release_brings_its_policy_and_is_not_run_where_none_is_kept(
    platform: Penstock, tmp_path: Path, key_file: Path
) -> None:
    @tool(effect="read")
    async def look(place: str) -> str:
        """Look."""
        return place

    def looks() -> Agent:
        script: list[Any] = [tool_call("look", place="here"), "done"] * 20
        return desk(model=ScriptedModel(script, "m"), tools=[look])

    made = await live(platform, "One.", of=looks(), policy={"a.yaml": POLICY})
    guard = RolloutGuard(
        platform.journal.rollouts, platform.services.clock, Registry([looks()]), Keyring.of(platform.services.settings)
    )
    await guard.look()
    assert not guard.runs_here("desk", made.id)
    assert "PENSTOCK_POLICY" in guard.refused[made.id]

    (tmp_path / "policy.yaml").write_text(POLICY.replace("then: deny", "then: allow"))
    settings = Settings(poll_seconds=0.02, release_key_file=key_file, policy=tmp_path / "policy.yaml")
    async with open_in_memory(settings, agents=[looks()]) as other:

        async def what_the_tool_gave() -> str:
            run = await other.submit(offered(other), "hello")
            await other.result(run, timeout_seconds=20)
            events = [decode(row.body) for row in await other.journal.tape("default", run)]
            return "called" if any(isinstance(event, ToolIntent) for event in events) else "denied"

        assert await what_the_tool_gave() == "called"
        await live(other, "One.", of=looks(), policy={"a.yaml": POLICY})
        await asyncio.sleep(0.7)
        assert await what_the_tool_gave() == "denied"


def part(name: str, **fields: str) -> ToolPart:
    return ToolPart(name, **{"schema": "s", "digest": "d", "effect": "read", **fields})


def test_what_differs_is_said_in_words() -> None:
    old = Manifest(
        "desk",
        "c",
        "o",
        {"instructions": "One.\nTwo.\nThree."},
        ("a", "b"),
        {"max_tokens": 10},
        (part("look"), part("send"), part("gone")),
        {"p.yaml": POLICY},
        Budget(steps=3).record(),
        "1",
        "ann",
    )
    new = msgspec.structs.replace(
        old,
        code="c2",
        prompts={"instructions": "One.\nThree.\nFour."},
        models=("b",),
        settings={"max_tokens": 20},
        tools=(part("look", schema="s2"), part("send", effect="write"), part("new")),
        policy={"p.yaml": POLICY.replace("then: deny", "then: hold")},
        budget=Budget(usd="0.10").record(),
        author="ben",
    )
    told = {item.what: list(item.lines) for item in differences(old, new)}
    assert told["prompt instructions"] == ["line 1:", "- Two.", "line 3:", "+ Four."]
    assert told["model"] == ["b, was a then b"]
    assert told["settings"] == ["max_tokens 20, was 10"]
    assert told["tools"] == [
        "new is new: read",
        "gone is gone",
        "look has another name, description or schema",
        "send is a write, was a read",
    ]
    assert told["policy"] == ["no-looking is changed: holds what it would deny"]
    assert told["budget"] == ["money: $0.100, was no limit", "steps: no limit, was 3"]
    assert "code" in told
    assert differences(old, msgspec.structs.replace(old, author="ben")) == []


async def test_releases_are_compared_by_what_their_runs_came_to(platform: Penstock) -> None:
    await answer(platform)
    good = await live(platform, "One.")
    await fresh(platform)
    for _ in range(2):
        await answer(platform)
    bad = await approved(platform, "Two.", models=["broken"], settings={"attempts": 1})
    await releasing(platform).canary(bad.id, 9_999, "ben")
    await fresh(platform)
    for number in range(3):
        run = await platform.submit(offered(platform), "hello", key=f"k{number}")
        await platform.result(run, timeout_seconds=20)
    now = await platform.journal.now()
    first, second, code = await compare(platform.journal, "default", "desk", now - 60_000_000)
    assert [(item.release, item.state, item.runs, item.failed) for item in (first, second)] == [
        (bad.id, "canary", 3, 3),
        (good.id, "live", 2, 0),
    ]
    assert (code.release, code.state, code.runs) == (offered(platform).release, "code", 1)
    assert first.rate(first.failed) == 1.0
    assert second.median_us > 0
    assert await compare(platform.journal, "default", "desk", now + 60_000_000) != []
    assert sum(item.runs for item in await compare(platform.journal, "default", "desk", now + 60_000_000)) == 0
