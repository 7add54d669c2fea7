"""A policy at the tool gate: who goes, who waits, who is refused; sums over a run wherever it goes on; new versions."""

import asyncio
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.sim.tapes import Tape, go_on, open_on

from penstock import Agent, Budget, Run, Settings, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.policy_files import PolicyFiles
from penstock.events import Amount, ApprovalRequested, BudgetRecord, ToolIntent, VerdictRecorded
from penstock.events.messages import Message, ToolCall, say
from penstock.gates.policy.admission import asking, count_in, count_out, prepare
from penstock.gates.policy.guard import PolicyGuard
from penstock.kernel.errors import CallDenied, PolicyInvalid
from penstock.ports.model import ModelRequest, ModelResponse
from penstock.rules.policy.policy_set import PolicySet
from penstock.rules.verdict import RunFacts
from penstock.runs.replaying.replay import replay
from penstock.runs.work import loading
from penstock.runs.work.beginning import begin
from penstock.testing import ScriptedModel
from penstock.views.policy_replay import replay_policy
from penstock.wiring import assemble

paid: list[int] = []


class FakeClock:
    """Moves when it is told to; starts in 2026."""

    def __init__(self) -> None:
        self.us = 1_767_225_600_000_000

    def now_us(self) -> int:
        return self.us

    def boot_ns(self) -> int:
        return self.us * 1000

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here waits")

    def advance(self, seconds: float) -> None:
        self.us += int(seconds * 1e6)


@pytest.fixture(autouse=True)
def _nothing_yet() -> None:
    paid.clear()


@tool(effect="write", risk="low", in_doubt="idempotent", permission="auto")
async def refund(cents: int) -> str:
    """Pays."""
    paid.append(cents)
    return "paid"


@tool(effect="write", risk="high", in_doubt="idempotent")
async def wipe(name: str) -> str:
    """Deletes."""
    paid.append(-1)
    return "gone"


@tool(effect="read")
async def look(name: str) -> str:
    """Reads."""
    return name


@agent("payer", version="1")
async def payer(run: Run, cents: list[int]) -> Any:
    """Refunds one after another."""
    said = []
    for amount in cents:
        try:
            said.append(await run.call(refund, amount))
        except CallDenied as error:
            said.append(error.fields.get("rule") or str(error))
    return said


@agent("crowd", version="1")
async def crowd(run: Run, cents: list[int]) -> Any:
    """Refunds side by side."""

    async def one(amount: int) -> str:
        try:
            return str(await run.call(refund, amount))
        except CallDenied as error:
            return str(error.fields["rule"])

    return await run.gather(*(one(amount) for amount in cents))


@agent("wiper", version="1")
async def wiper(run: Run, name: str) -> Any:
    try:
        return [await run.call(look, name), await run.call(wipe, name)]
    except CallDenied as error:
        return str(error.fields["rule"])


def rule(name: str, then: str, when: str, more: str = "") -> str:
    return (
        f"  - name: {name}\n    owner: ada\n    reviewed: 2026-10-01\n    reason: because\n"
        f"    when: {when}\n    then: {then}\n{more}"
    )


SMALL = rule("small", "allow", "{tool: refund, args.cents: {min: 1, max: 5000}}")
ENOUGH = rule("enough", "deny", "{tool: refund, 'sum(args.cents)': {above: 8000}}")


def settings_of(folder: Path, *rules: str) -> Settings:
    (folder / "policy.yaml").write_text("version: 1\nrules:\n" + "".join(rules))
    return Settings(poll_seconds=0.01, drain_seconds=0.1, policy=folder / "policy.yaml")


def person(decision: str = "approve") -> Any:
    return lambda approval: decision


async def live(code: Any, value: Any, settings: Settings, decide: Any = None) -> Tape:
    journal = MemoryJournal()
    async with open_on(journal, [code], settings=settings, person=decide) as platform:
        run = await platform.submit(code, value)
        await platform.result(run, timeout_seconds=20)
    tape = Tape(run, journal)
    tape.verify()
    return tape


def of(tape: Tape, kind: Any) -> list[Any]:
    return [event for event in tape.events if isinstance(event, kind)]


async def test_a_rule_lets_a_write_go_and_is_named_in_its_intent(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, SMALL)
    tape = await live(payer, [100], settings)
    assert tape.output()[3] == ["paid"]
    [intent] = of(tape, ToolIntent)
    [verdict] = intent.verdicts
    assert (verdict.rule, verdict.verdict, verdict.code, verdict.clause) == ("policy", "allow", "policy_allow", "small")
    assert verdict.policy == PolicyGuard(PolicyFiles(tmp_path / "policy.yaml"), FakeClock()).version


async def test_a_write_that_no_rule_allows_waits_for_a_person(tmp_path: Path) -> None:
    """Although its author declared that it goes by itself."""
    tape = await live(payer, [9000], settings_of(tmp_path, SMALL), person())
    [asked] = of(tape, ApprovalRequested)
    assert [verdict.code for verdict in asked.verdicts] == ["policy_default"]
    assert (tape.output()[3], paid) == (["paid"], [9000])
    [intent] = of(tape, ToolIntent)
    assert [verdict.code for verdict in intent.verdicts] == ["policy_approved"]


async def test_high_risk_goes_only_by_a_rule_that_names_it(tmp_path: Path) -> None:
    by_tool = rule("by-tool", "allow", "{tool: wipe}")
    tape = await live(wiper, "x", settings_of(tmp_path, by_tool), person("deny"))
    assert (len(of(tape, ApprovalRequested)), paid) == (1, [])
    by_name = rule("by-name", "allow", "{tool: wipe, risk: high}")
    tape = await live(wiper, "x", settings_of(tmp_path, by_name))
    assert (of(tape, ApprovalRequested), paid) == ([], [-1])


async def test_a_denial_is_recorded_with_its_rule_and_a_person_cannot_lift_it(tmp_path: Path) -> None:
    never = rule("never", "deny", "{tool: refund, args.cents: {above: 5000}}")
    tape = await live(payer, [9000], settings_of(tmp_path, SMALL, never), person())
    [refused] = of(tape, VerdictRecorded)
    assert [(verdict.code, verdict.clause) for verdict in refused.verdicts] == [("policy_deny", "never")]
    assert (of(tape, ApprovalRequested), paid) == ([], [])


async def test_a_sum_over_the_run_is_held_wherever_the_run_goes_on(tmp_path: Path) -> None:
    """Cut off after every event and taken up by a worker that knows nothing: the same are refused."""
    settings = settings_of(tmp_path, SMALL, ENOUGH)
    tape = await live(payer, [5000, 3000, 1, 2], settings)
    said = tape.output()[3]
    assert (said, paid) == (["paid", "paid", "policy_deny", "policy_deny"], [5000, 3000])
    for count in range(2, len(tape.rows)):
        again = await go_on(tape, count, [payer], person=None, settings=settings)
        assert again.output()[3] == said, count


class Spender(ScriptedModel):
    """Asks for one refund after another, each one cent more; stands still before one of them until it is let on."""

    def __init__(self, refunds: int, stop: int) -> None:
        super().__init__(["never"], "steady:model")
        self.refunds, self.stop = refunds, stop
        self.stands, self.goes = asyncio.Event(), asyncio.Event()

    async def request(self, request: ModelRequest) -> ModelResponse:
        number = sum(message.role == "assistant" for message in request.messages)
        if number == self.stop:
            self.stands.set()
            await self.goes.wait()
        if number == self.refunds:
            return ModelResponse(say("assistant", "done"), Amount(1, 1), "stop")
        call = ToolCall(f"c{number}", "refund", f'{{"cents": {number + 1}}}')
        return ModelResponse(Message("assistant", [call]), Amount(1, 1), "tool_calls")


async def test_a_run_that_goes_on_from_a_snapshot_knows_the_sums_of_what_the_snapshot_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []

    def noted(claim: Any, tape: Any, log: Any, services: Any, state: Any) -> Any:
        begun.append(state)
        return begin(claim, tape, log, services, state)

    monkeypatch.setattr(loading, "LONG_EVENTS", 20)
    monkeypatch.setattr("penstock.runs.work.executor.begin", noted)
    most = rule("most", "deny", "{tool: refund, sum(args.cents): {above: 100}}")
    settings = dataclasses.replace(settings_of(tmp_path, SMALL, most), snapshot_every_events=20, drain_seconds=5)
    model = Spender(refunds=15, stop=12)
    spender = Agent(
        "spender", model=model, instructions="Spend.", tools=[refund], budget=Budget(steps=99, calls=99), spirals=None
    )
    async with assemble(MemoryJournal(), settings, agents=[spender]) as platform:
        platform.start_worker("first")
        run = await platform.submit(spender, "go")
        await model.stands.wait()
        worker = platform.worker
        assert worker is not None
        for execution in list(worker.running.values()):
            execution.lose()
        await platform.journal.retire(worker.id)
        worker.drain()
        assert platform._working is not None
        await platform._working
        model.goes.set()
        platform.start_worker("second")
        assert (await platform.result(run, timeout_seconds=20)).ok
    assert begun[0] is None
    assert begun[1] is not None, "it went on from a snapshot"
    assert sum(paid) == sum(range(1, 14)) == 91, "the fourteenth would have made it 105"


async def test_calls_side_by_side_share_a_sum(tmp_path: Path) -> None:
    tape = await live(crowd, [3000] * 5, settings_of(tmp_path, SMALL, ENOUGH))
    assert sorted(tape.output()[3]) == ["paid", "paid", "policy_deny", "policy_deny", "policy_deny"]
    assert sum(paid) <= 8000


async def test_replay_asks_no_policy(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, SMALL, ENOUGH)
    tape = await live(payer, [5000, 3000, 1], settings)
    stricter = settings_of(tmp_path, rule("none", "deny", "{effect: write}"))
    async with open_on(tape.journal, [payer], settings=stricter) as platform:
        row = await platform.journal.get_run("default", tape.run)
        assert row is not None
        assert (await replay(platform.services, row, [payer])).same


async def test_without_a_policy_everything_is_as_it_was() -> None:
    tape = await live(payer, [9000], Settings(poll_seconds=0.01))
    [intent] = of(tape, ToolIntent)
    assert (intent.verdicts, paid) == ([], [9000])
    assert "policy@1" in intent.passed


async def test_the_journal_under_another_policy_says_what_would_have_changed(tmp_path: Path) -> None:
    tape = await live(payer, [100, 4000, 9000, 200], settings_of(tmp_path, SMALL), person())
    stricter = PolicySet.compile(
        {
            "p.yaml": "version: 1\nrules:\n"
            + rule("tiny", "allow", "{tool: refund, args.cents: {max: 100}}")
            + rule("cap", "deny", "{tool: refund, 'sum(args.cents)': {above: 13000}}")
        }
    )
    async with open_on(tape.journal, [payer]) as platform:
        found = await replay_policy(tape.journal, platform.services.reader, "default", stricter, since=0, runs_max=10)
        again = await replay_policy(tape.journal, platform.services.reader, "default", stricter, since=0, runs_max=0)
    assert (found.runs, found.calls, found.changed, found.unread, found.whole) == (1, 4, 3, 0, True)
    assert dict(found.changes) == {
        ("allow", "hold", "refund"): 1,
        ("hold", "deny", "refund"): 1,
        ("allow", "deny", "refund"): 1,
    }
    assert [(one.was, one.now, one.rule, one.args) for one in found.examples] == [
        ("allow", "hold", "", {"cents": 4000}),
        ("hold", "deny", "cap", {"cents": 9000}),
        ("allow", "deny", "cap", {"cents": 200}),
    ]
    assert (again.runs, again.whole) == (0, False)


def test_a_broken_policy_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\nrules: 5\n")
    with pytest.raises(PolicyInvalid, match=r"policy\.yaml:2:8"):
        PolicyGuard(PolicyFiles(tmp_path / "policy.yaml"), FakeClock())
    with pytest.raises(PolicyInvalid, match="cannot be read"):
        PolicyGuard(PolicyFiles(tmp_path / "nowhere"), FakeClock())
    (tmp_path / "policy.yaml").unlink()
    with pytest.raises(PolicyInvalid, match="no policy"):
        PolicyGuard(PolicyFiles(tmp_path), FakeClock())


def write(file: Path, text: str, at: float) -> None:
    file.write_text(text)
    os.utime(file, (at, at))


def test_a_new_version_is_taken_within_a_second_and_a_broken_one_is_not(tmp_path: Path) -> None:
    file, clock = tmp_path / "p.yaml", FakeClock()
    write(file, "version: 1\nrules:\n" + SMALL, 1000)
    guard = PolicyGuard(PolicyFiles(tmp_path), clock)
    first = guard.version

    def after(seconds: float) -> str:
        for _ in range(4):
            clock.advance(seconds / 4)
            guard.for_run("a", "r", "development")
        return guard.version

    later = clock.now_us() / 1e6 + 1e6  # a clock that goes wrong keeps nothing from being read
    write(file, "version: 1\nrules:\n" + SMALL + ENOUGH, later)
    second = after(1.0)
    assert second != first
    write(file, "version: 1\nrules:\n" + SMALL.replace("allow", "alow"), later + 1)
    assert after(1.0) == second
    assert guard.problem is not None
    assert "p.yaml:8:11" in str(guard.problem)
    file.unlink()
    assert after(1.0) == second, "a policy that was taken away is no policy that allows"
    write(file, "version: 1\nrules:\n" + SMALL, later + 2)
    assert after(1.0) == first
    assert guard.problem is None


def test_a_file_that_was_written_just_now_is_left_until_it_is_whole(tmp_path: Path) -> None:
    file, clock = tmp_path / "p.yaml", FakeClock()
    write(file, "version: 1\nrules:\n" + SMALL + ENOUGH, 1000)
    guard = PolicyGuard(PolicyFiles(tmp_path), clock)
    whole = guard.version
    clock.advance(1.0)
    write(file, "version: 1\nrules:\n" + SMALL, clock.now_us() / 1e6)  # half of it, and a policy by itself
    guard.for_run("a", "r", "development")
    assert guard.version == whole
    write(file, "version: 1\nrules:\n" + SMALL + ENOUGH, clock.now_us() / 1e6)
    for _ in range(4):
        clock.advance(0.3)
        guard.for_run("a", "r", "development")
        assert guard.version == whole


def test_files_that_change_while_they_are_read_are_read_again(tmp_path: Path) -> None:
    file, clock = tmp_path / "p.yaml", FakeClock()
    write(file, "version: 1\nrules:\n" + SMALL + ENOUGH, 1000)

    class Torn(PolicyFiles):
        def read(self) -> Mapping[str, str]:
            texts = super().read()
            if self.torn:
                self.torn = False
                write(file, "version: 1\nrules:\n" + SMALL + ENOUGH, 2001)
            return texts

        torn = False

    source = Torn(tmp_path)
    guard = PolicyGuard(source, clock)
    whole = guard.version
    write(file, "version: 1\nrules:\n" + SMALL, 2000)
    source.torn = True
    for _ in range(4):
        clock.advance(0.3)
        guard.for_run("a", "r", "development")
        assert guard.version == whole


async def test_a_call_under_way_counts_for_one_beside_it_that_asks(tmp_path: Path) -> None:
    """Also when the first of them asks for nothing itself, and has not begun."""
    after = rule("after", "deny", "{tool: look, count() over wipe: {min: 1}}")
    settings = settings_of(tmp_path, rule("go", "allow", "{tool: wipe, risk: high}"), after)
    async with assemble(MemoryJournal(), settings) as platform:
        policy = platform.services.policy
        assert policy is not None
        ctx: Any = _Context(platform.services)
        first, second = call_at("0"), call_at("1")
        await prepare(ctx, wipe.definition)
        count_in(ctx, first, wipe.definition, {"name": "x"})
        await prepare(ctx, look.definition)
        ask = asking(ctx, second, look.definition, {"name": "x"}, approved=False)
        assert ask is not None
        assert ask().clause == "after"
        count_out(ctx, first)  # it never began
        again = asking(ctx, second, look.definition, {"name": "x"}, approved=False)
        assert again is not None
        assert again().clause == ""


def call_at(path: str) -> Any:
    return SimpleNamespace(path=path, recorded=[])


class _Context:
    """As much of a run as the policy is told."""

    def __init__(self, services: Any) -> None:
        self.services = services
        self.facts = RunFacts(BudgetRecord())
        self.claim = SimpleNamespace(release="r")
        self.tape = SimpleNamespace(
            submitted=SimpleNamespace(agent="a", env="development", tenant="default", behalf="", tags={})
        )

    def now(self) -> int:
        return 0
