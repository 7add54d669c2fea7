"""Votes, edits, changed policies and questions to people at the gate: after a crash anywhere it comes to the same."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from rich.console import Console
from tests.sim.tapes import TENANT, Tape, comings_and_goings, cut, open_on

from penstock import Agent, Run, Settings, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.cli.drawing import draw
from penstock.events import (
    ApprovalDecided,
    ApprovalEdited,
    ApprovalRequested,
    ApprovalTerms,
    ApprovalVoted,
    ToolIntent,
)
from penstock.kernel.errors import CallDenied, PenstockError
from penstock.ports.questions import Voter
from penstock.rules.policy.policy_set import PolicySet
from penstock.runs.approvals import Approval
from penstock.runs.approving.deciding import decide, may_decide_own
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.testing import ScriptedModel, tool_call
from penstock.views.standing import BEGUN, standing_after
from penstock.views.trace import read_trace

QUICK = Settings(poll_seconds=0.01, drain_seconds=0.1, start_allowance_seconds=0.2, doubt_margin_seconds=0.1)
RULE = """
version: 1
rules:
  - name: {name}
    owner: finance
    reviewed: 2026-11-01
    reason: money leaves
    when: {{tool: pay_out}}
    then: hold
    approvers: {{count: {count}}}
"""
paid: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_yet() -> None:
    paid.clear()


@tool(effect="write", risk="high", in_doubt="idempotent")
async def pay_out(cents: int) -> str:
    """Pays."""
    paid.append(cents)
    return f"paid {cents}"


@agent("payer", version="1")
async def payer(run: Run, cents: int) -> Any:
    try:
        return await run.call(pay_out, cents)
    except CallDenied as error:
        return str(error)


@agent("asker", version="1")
async def asker(run: Run, value: int) -> Any:
    words = await run.ask_person("how much?")
    return await run.call(pay_out, int(words))


class Guard:
    """A policy that is changed by hand."""

    def __init__(self, count: int = 1) -> None:
        self.name, self.count = "payouts", count

    def for_run(self, agent: str, release: str, environment: str) -> PolicySet:
        return PolicySet.compile({"a.yaml": RULE.format(name=self.name, count=self.count)})


Person = Callable[[Penstock, Approval], Any]


async def two_people(platform: Penstock, approval: Approval) -> None:
    for who in ("ann", "bob"):
        await decide(platform.journal, approval, "approve", Voter(who), reason=f"{who} has seen it")


async def an_editor(platform: Penstock, approval: Approval) -> None:
    if approval.args["cents"] > 500:
        await decide(platform.journal, approval, "edit", Voter("ann"), args={"cents": 400})
    else:
        await two_people(platform, approval)


async def an_adviser(platform: Penstock, approval: Approval) -> None:
    if approval.question == "help":
        await decide(platform.journal, approval, "answer", Voter("ann"), reason="250")
    else:
        await decide(platform.journal, approval, "approve", Voter("ann"))


@contextlib.asynccontextmanager
async def opened(journal: MemoryJournal, guard: Guard, person: Person) -> AsyncIterator[Penstock]:
    """A platform with a worker under that policy, and a person."""

    async def answering(platform: Penstock) -> None:
        while True:
            for approval in await platform.approvals():
                with contextlib.suppress(PenstockError):  # it was answered before, or has voted
                    await person(platform, approval)
            await asyncio.sleep(0.002)

    async with open_on(journal, [payer, asker, clerk, helped], settings=QUICK, person=None) as platform:
        platform.services.policy = guard  # type: ignore[assignment]
        task = asyncio.create_task(answering(platform))
        try:
            yield platform
        finally:
            task.cancel()
            await asyncio.wait([task])


async def lived(code: Any, value: Any, guard: Guard, person: Person) -> Tape:
    """A run to its end; it replays."""
    journal = MemoryJournal()
    async with opened(journal, guard, person) as platform:
        run = await platform.submit(code, value)
        await platform.result(run, timeout_seconds=20)
        row = await journal.get_run(TENANT, run)
        assert row is not None
        replayed = await replay(platform.services, row, [code])
        assert replayed.same, replayed.divergence
    return Tape(run, journal)


async def ends_alike_wherever_it_is_cut(tape: Tape, guard: Guard, person: Person, amount: int) -> None:
    for count in range(1, len(tape.rows)):
        paid.clear()
        journal = cut(tape, count)
        async with opened(journal, guard, person) as platform:
            await platform.result(tape.run, timeout_seconds=20)
        again = Tape(tape.run, journal)
        again.verify()
        assert again.output() == tape.output(), count
        assert set(paid) <= {amount}, count
        assert len([event for event in again.events if isinstance(event, ToolIntent)]) <= 2, count


async def test_votes_on_the_tape_outlive_a_crash() -> None:
    guard = Guard(2)
    tape = await lived(payer, 300, guard, two_people)
    assert paid == [300]
    kinds = [type(event) for event in comings_and_goings(tape.events)[1:5]]
    assert kinds == [ApprovalRequested, ApprovalVoted, ApprovalVoted, ApprovalDecided]
    votes = [event for event in tape.events if isinstance(event, ApprovalVoted)]
    assert [tape.payload_bytes(vote.payloads["reason"][0]) for vote in votes] == [
        b"ann has seen it",
        b"bob has seen it",
    ]
    paid_out = (await read_trace(tape.journal, TENANT, tape.run)).spans[0]
    [asked] = paid_out.approvals
    assert (asked.decision, sorted(asked.actor.split(" and "))) == ("approve", ["ann", "bob"])
    await ends_alike_wherever_it_is_cut(tape, guard, two_people, 300)


async def test_an_edit_outlives_a_crash_and_nobody_pays_what_was_asked() -> None:
    guard = Guard(2)
    tape = await lived(payer, 900, guard, an_editor)
    assert paid == [400]
    said = [event for event in tape.events if isinstance(event, ApprovalRequested | ApprovalEdited | ApprovalDecided)]
    assert [type(event) for event in said] == [ApprovalRequested, ApprovalEdited, ApprovalRequested, ApprovalDecided]
    first, edit, second, _ = said
    assert isinstance(edit, ApprovalEdited)
    assert isinstance(first, ApprovalRequested)
    assert isinstance(second, ApprovalRequested)
    assert (edit.digest, edit.edited) == (first.digest, second.digest)
    assert first.call_digest == second.call_digest, "the agent asked for one call"
    await ends_alike_wherever_it_is_cut(tape, guard, an_editor, 400)


async def test_one_persons_edit_is_made_at_once_where_one_may_allow_it() -> None:
    guard = Guard(1)
    tape = await lived(payer, 900, guard, an_editor)
    assert paid == [400]
    assert len([event for event in tape.events if isinstance(event, ApprovalRequested)]) == 1
    await ends_alike_wherever_it_is_cut(tape, guard, an_editor, 400)


async def test_an_answer_outlives_a_crash() -> None:
    guard = Guard(1)
    tape = await lived(asker, 0, guard, an_adviser)
    assert tape.output()[3] == "paid 250"
    await ends_alike_wherever_it_is_cut(tape, guard, an_adviser, 250)


async def test_what_was_allowed_and_not_begun_under_an_older_policy_is_asked_anew_after_a_crash() -> None:
    tape = await lived(payer, 300, Guard(1), two_people)
    decided = next(number for number, event in enumerate(tape.events, 1) if isinstance(event, ApprovalDecided))
    begun = next(number for number, event in enumerate(tape.events, 1) if isinstance(event, ToolIntent))
    for count, asked in ((decided, 2), (begun, 1)):
        changed = Guard(1)
        changed.name = "payouts-2"
        journal = cut(tape, count)
        async with opened(journal, changed, two_people) as platform:
            await platform.result(tape.run, timeout_seconds=20)
        events = Tape(tape.run, journal).events
        assert len([event for event in events if isinstance(event, ApprovalRequested)]) == asked, count


clerk = Agent(
    "clerk",
    model=ScriptedModel([tool_call("pay_out", cents=900), "Done."]),
    instructions="Pay.",
    tools=[pay_out],
)
helped = Agent(
    "helped",
    model=ScriptedModel([tool_call("escalate", reason="which account?"), "Done."]),
    instructions="Ask.",
    tools=[pay_out],
    can_escalate="wait",
)


async def told(tape: Tape) -> str:
    """What the model was told by its tool, as the journal has it."""
    whole = [tape.payload_bytes(ref) for event in tape.events for refs in event.payloads.values() for ref in refs]
    return b"\n".join(whole).decode()


async def test_a_model_is_told_that_its_call_was_changed() -> None:
    tape = await lived(clerk, "pay", Guard(1), an_editor)
    assert paid == [400]
    words = await told(tape)
    assert (
        'A person changed the arguments of this call before they allowed it; it was made with {\\"cents\\":400}'
        in words
    )


async def test_a_model_asks_a_person_and_gets_the_answer() -> None:
    tape = await lived(helped, "pay", Guard(1), an_adviser)
    assert tape.end.outcome == "succeeded"
    assert "250" in await told(tape)
    [asked] = [event for event in tape.events if isinstance(event, ApprovalRequested)]
    assert asked.question == "help"
    shown = Console(width=10_000, color_system=None)
    with shown.capture() as drawn:
        shown.print(draw(await read_trace(tape.journal, TENANT, tape.run)))
    assert "what now? answered by " in drawn.get()


async def test_only_while_developing_one_person_may_ask_and_allow_without_a_credential() -> None:
    asked = Approval("a", UUID(int=1), TENANT, "payer", "1", "pay_out", "may_run", "high", "d", 0, {}, [], 0)
    production = Settings(environment="production")
    for settings, terms, environment, may in (
        (Settings(), None, "development", True),
        (Settings(), ApprovalTerms(), "development", False),
        (Settings(), None, "production", False),
        (production, None, "production", False),
        (production, None, "development", False),
        (replace(production, approvals_own=1), ApprovalTerms(count=2), "production", True),
    ):
        assert may_decide_own(settings, replace(asked, terms=terms, environment=environment)) is may


async def test_a_trace_shows_a_call_that_waits_for_the_second_person() -> None:
    async def one_person(platform: Penstock, approval: Approval) -> None:
        await decide(platform.journal, approval, "approve", Voter("ann"))

    journal = MemoryJournal()
    async with opened(journal, Guard(2), one_person) as platform:
        run = await platform.submit(payer, 300)
        async with asyncio.timeout(20):
            while not any(isinstance(event, ApprovalVoted) for event in Tape(run, journal).events):
                await asyncio.sleep(0.01)
        events = Tape(run, journal).events
        [path] = {event.path for event in events if isinstance(event, ApprovalVoted)}
        standing = BEGUN
        for event in events:
            if event.path == path:
                standing = standing_after(event, standing)
    assert standing == ("tool", "pay_out", "waiting")
