"""Writes that may or may not have happened: settled by the tool's declared way, never blindly repeated."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.sim.tapes import TENANT, Tape, cut, open_on, run_live

from penstock import IdempotencyKey, OutcomeUnknown, Run, Settings, Tool, ToolContext, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import ApprovalRequested, Failure, RunParked, ToolDoubted, ToolIntent, ToolOutcome
from penstock.gates.tool import doubt
from penstock.gates.tool.approval import Decision
from penstock.gates.tool.doubt import LateOutcome
from penstock.ports.records import Post, Status
from penstock.runs.approvals import Approval

SETTINGS = Settings(poll_seconds=0.01, start_allowance_seconds=0.1, doubt_margin_seconds=0.1, drain_seconds=0.1)
calls: list[str] = []
lost: set[int] = set()
"""The attempts whose answer is lost."""
happened: list[bool | None] = []


async def look_up(x: int, key: IdempotencyKey) -> Any:
    calls.append("look-up")
    return happened.pop(0)


def lose(context: ToolContext) -> None:
    calls.append(f"attempt {context.attempt}")
    if context.attempt in lost:
        raise OutcomeUnknown("the line went dead")


@tool(effect="write", permission="auto", in_doubt="keyed", timeout_seconds=0.1)
async def keyed(x: int, key: IdempotencyKey, context: ToolContext) -> str:
    """A receiver that knows a repeat by its key."""
    lose(context)
    return str(key)


@tool(effect="write", permission="auto", in_doubt="confirm", confirm=look_up, timeout_seconds=0.1)
async def confirmed(x: int, key: IdempotencyKey, context: ToolContext) -> str:
    """A receiver that can be asked."""
    lose(context)
    return "done"


@tool(effect="write", permission="auto", in_doubt="escalate", timeout_seconds=0.1)
async def plain(x: int, context: ToolContext) -> str:
    """A receiver that knows nothing."""
    lose(context)
    return "done"


TOOLS: dict[str, Tool[..., Any]] = {"keyed": keyed, "confirmed": confirmed, "plain": plain}


@agent("writer", version="1")
async def writer(run: Run, name: str) -> Any:
    return await run.call(TOOLS[name], 1)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    lost.clear()
    happened.clear()


def says(*answers: str) -> Any:
    """A person with these answers, one a question."""
    left = list(answers)

    def person(approval: Approval) -> str:
        assert approval.question == "did_it_happen"
        return left.pop(0)

    return person


async def live(name: str, **options: Any) -> Tape:
    journal = MemoryJournal()
    async with open_on(journal, [writer], settings=SETTINGS, **options) as platform:
        run = await platform.submit(writer, name)
        await platform.result(run, timeout_seconds=20)
    return Tape(run, journal)


async def test_a_keyed_write_is_repeated_with_its_key_after_the_first_can_no_longer_be_on_its_way() -> None:
    lost.add(1)
    tape = await live("keyed", person=None)
    assert calls == ["attempt 1", "attempt 2"]
    intents = [event for event in tape.events if isinstance(event, ToolIntent)]
    assert tape.output()[3] == intents[0].key == intents[1].key
    [doubted] = [event for event in tape.events if isinstance(event, ToolDoubted)]
    assert (doubted.cause, doubted.way) == ("connection", "keyed")
    assert doubted.settle_at >= intents[0].at + 290_000, "allowance, time-out and margin, by the store's clock"
    assert intents[1].at >= doubted.settle_at
    assert any(isinstance(event, RunParked) for event in tape.events), "it waits as a row"


@pytest.mark.parametrize(("answer", "made"), [(True, 1), (False, 2)])
async def test_a_look_up_says_whether_it_happened(answer: bool, made: int) -> None:
    lost.add(1)
    happened.append(answer)
    tape = await live("confirmed", person=None)
    assert calls == ["attempt 1", "look-up", *(["attempt 2"] if made == 2 else [])]
    assert tape.output()[0] == "succeeded"
    settled = next(event for event in tape.events if isinstance(event, ToolOutcome))
    assert (settled.settled_by, settled.status) == ("confirm", "happened" if answer else "did_not_happen")


async def test_a_look_up_that_cannot_tell_leaves_it_to_a_person() -> None:
    lost.add(1)
    happened.extend([None] * 9)  # asked again by whoever takes the run up again: it only reads
    tape = await live("confirmed", person=says("happened"))
    assert (calls[0], set(calls[1:])) == ("attempt 1", {"look-up"})
    assert tape.output()[0] == "succeeded"


@pytest.mark.parametrize(("answer", "made"), [("happened", 1), ("did_not_happen", 2)])
async def test_without_another_way_a_person_is_asked(answer: str, made: int) -> None:
    lost.add(1)
    tape = await live("plain", person=says(answer))
    assert len(calls) == made
    assert tape.output()[0] == "succeeded"


async def test_a_write_that_is_always_in_doubt_comes_before_a_person_in_the_end() -> None:
    lost.update(range(1, 99))
    tape = await live("keyed", person=says("happened"))
    assert len(calls) == doubt.REPEATS + 1
    assert [event.way for event in tape.events if isinstance(event, ToolDoubted)] == ["keyed"] * len(calls)
    assert sum(isinstance(event, ApprovalRequested) for event in tape.events) == 1


async def crashed(name: str) -> MemoryJournal:
    """A journal in which the only call has an intent and no outcome."""
    whole = await run_live(writer, name)
    count = next(number for number, event in enumerate(whole.events, 1) if isinstance(event, ToolIntent))
    calls.clear()
    return cut(whole, count)


def only(journal: MemoryJournal) -> Any:
    [(_, run)] = journal._store.runs
    return run


@pytest.mark.parametrize(
    ("late", "made", "output"),
    [
        (LateOutcome("ok", b'"from the other worker"'), 0, ["succeeded", "", "", "from the other worker"]),
        (LateOutcome("did_not_happen", b"", Failure("start_too_late")), 1, ["succeeded", "", "", "done"]),
    ],
)
async def test_the_outcome_that_an_overtaken_worker_leaves_settles_it(late: Any, made: int, output: list[Any]) -> None:
    journal = await crashed("plain")
    run = only(journal)
    await journal.deliver(Post(TENANT, run, "settle:0:1", "settle", msgspec.json.encode(late)))
    async with open_on(journal, [writer], settings=SETTINGS, person=None) as platform:
        await platform.result(run, timeout_seconds=20)
    assert len(calls) == made
    assert Tape(run, journal).output() == output


async def test_an_overtaken_workers_failure_is_the_calls_failure() -> None:
    journal = await crashed("plain")
    run = only(journal)
    late = LateOutcome("error", b"", Failure("tool_failed", "permanent", "refused over there"))
    await journal.deliver(Post(TENANT, run, "settle:0:1", "settle", msgspec.json.encode(late)))
    async with open_on(journal, [writer], settings=SETTINGS, person=None) as platform:
        await platform.result(run, timeout_seconds=20)
    assert calls == []
    assert Tape(run, journal).output()[:2] == ["failed", "tool_failed"]


async def test_an_answer_bound_to_other_arguments_settles_nothing() -> None:
    """The question is asked again, and the write is not repeated meanwhile."""
    journal = await crashed("plain")
    run = only(journal)
    async with open_on(journal, [writer], settings=SETTINGS, person=None) as platform:
        first = await question(platform)
        wrong = msgspec.json.encode(Decision("did_not_happen", "ann", "", "another digest"))
        await journal.deliver(Post(TENANT, run, f"approval:{first.id}", "approval", wrong))
        second = await question(platform, other_than=first.id)
        assert calls == []
        await platform.decide(second, "happened", actor="ann")
        await platform.result(run, timeout_seconds=20)
    assert calls == []
    assert Tape(run, journal).output()[0] == "succeeded"


async def test_what_is_said_of_an_earlier_attempt_says_nothing_of_a_later_one() -> None:
    """The question about the first attempt is overtaken by the news of its end; the second is in doubt again."""
    journal = await crashed("plain")
    run = only(journal)
    lost.add(2)
    async with open_on(journal, [writer], settings=SETTINGS, person=None) as platform:
        first = await question(platform)
        late = msgspec.json.encode(LateOutcome("did_not_happen", b"", Failure("start_too_late")))
        await journal.deliver(Post(TENANT, run, "settle:0:1", "settle", late))
        second = await question(platform, other_than=first.id)
        await platform.decide(first, "did_not_happen", actor="ann")  # which was true, of the first one
        await platform.decide(second, "happened", actor="ann")
        await platform.result(run, timeout_seconds=20)
    assert calls == ["attempt 2"]
    assert Tape(run, journal).output()[0] == "succeeded"


async def test_a_run_killed_in_doubt_says_so() -> None:
    journal = await crashed("plain")
    run = only(journal)
    async with open_on(journal, [writer], settings=SETTINGS, person=None) as platform:
        await question(platform)
        sealed = await platform.kill(run, actor="ann")
        assert [item.path for item in sealed.open_intents] == ["0"]
        result = await platform.result(run, timeout_seconds=20)
    assert result.outcome == "killed"
    assert "whether the call at 0 took effect" in result.missing
    assert calls == []


async def question(platform: Any, other_than: str = "") -> Approval:
    async with asyncio.timeout(20):
        while True:
            for approval in await platform.approvals():
                if approval.id != other_than:
                    assert isinstance(approval, Approval)
                    return approval
            await asyncio.sleep(0.005)


async def test_a_run_in_doubt_waits_as_a_row() -> None:
    journal = await crashed("plain")
    async with open_on(journal, [writer], settings=SETTINGS, person=None) as platform:
        await question(platform)
        async with asyncio.timeout(20):
            while journal._store.runs[TENANT, only(journal)].status is not Status.PARKED:
                await asyncio.sleep(0.005)
        assert platform.worker is not None
        assert platform.worker.running == {}
