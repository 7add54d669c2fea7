"""Going on after a crash where the engine itself had decided something: limits, notes, versions, odd names."""

import asyncio
from typing import Any

import pytest
from tests.sim.tapes import Tape, go_on, open_on, run_live

from penstock import Agent, Budget, Run, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import Amount, Failure, LimitReached, ModelIntent, RunEnded, VerdictRecorded
from penstock.events.messages import say
from penstock.gates.limits import retry
from penstock.gates.run.words import NOTE_70, NOTE_90
from penstock.kernel.errors import CallDenied
from penstock.ports.agents import AgentDef
from penstock.ports.model import ModelError, ModelResponse
from penstock.testing import ScriptedModel, tool_call


@tool(effect="read", repeatable=True)
async def look(x: int) -> int:
    """Look."""
    return x


@tool(effect="read")
async def same(x: int) -> int:
    """Look, always at the same."""
    return 7


async def from_every_crash(tape: Tape, *agents: AgentDef) -> None:
    """The run ends alike wherever its worker dies."""
    for count in range(1, len(tape.rows)):
        again = await go_on(tape, count, agents)
        assert again.output() == tape.output(), f"after event {count}, {type(tape.events[count - 1]).__name__}"


@agent("limited", budget=Budget(calls=2), version="1")
async def limited(run: Run, value: int) -> str:
    """Takes a limit for an ordinary refusal."""
    try:
        for number in range(5):
            await run.call(look, number)
    except CallDenied:
        return "swallowed"
    return "not limited"


async def test_a_limit_ends_the_run_also_when_the_worker_died_between_the_verdict_and_the_end() -> None:
    live = await run_live(limited, 0)
    assert live.output()[:2] == ["exhausted", "over_calls"]
    assert any(isinstance(event, VerdictRecorded) and event.ends_run for event in live.events)
    await from_every_crash(live, limited)


@agent("looping", version="1")
async def looping(run: Run, value: int) -> str:
    """Asks the same again and again, whatever it is told."""
    for _ in range(50):
        try:
            await run.call(same, 1)
        except CallDenied:
            await run.call(look, 1)
    return "went on"


async def test_a_loop_ends_the_run_the_same_way_after_a_crash() -> None:
    """The rules count what a later holder of the run rebuilds from the tape."""
    live = await run_live(looping, 0)
    assert live.output()[:2] == ["exhausted", "loop"]
    await from_every_crash(live, looping)


talker: list[ScriptedModel] = []


@agent("noted", budget=Budget(tokens=10_000), version="1")
async def noted(run: Run, value: int) -> list[str]:
    """After two dear calls, a conversation in which one call crosses both thresholds, at its two attempts."""
    for number in range(2):
        await run.ask(talker[0], f"dear {number}")
    chat = run.chat(talker[0], instructions="Talk.", max_tokens=1_900)
    for number in range(2):
        chat.hear(f"turn {number}")
        await chat.step()
    return [message.text for message in chat.messages]


def script(request: Any) -> Any:
    """A call whose prompt holds just the first note fails once, and is billed at its maximum."""
    texts = [message.text for message in request.messages]
    if texts[-1].startswith("dear"):
        return ModelResponse(say("assistant", "words"), Amount(3_600, 10))
    if texts[-1] == NOTE_70:
        return ModelError(Failure("overloaded", "transient"), billed=True)
    return ModelResponse(say("assistant", "words"), Amount(20, 10))


async def test_notes_that_attempts_added_are_there_again_for_the_next_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.001)
    talker[:] = [ScriptedModel([script], repeat=True)]
    live = await run_live(noted, 0)
    output = live.output()
    assert output[0] == "succeeded", output
    assert [text for text in output[3] if text in (NOTE_70, NOTE_90)] == [NOTE_70, NOTE_90]
    levels = [event.level for event in live.events if isinstance(event, ModelIntent)]
    assert sorted(level for level in levels if level) == [70, 90]
    assert [event.limit for event in live.events if isinstance(event, LimitReached)] == ["tokens", "tokens"]
    again = await go_on(live, len(live.rows) - 1, [noted])
    assert again.output() == output
    retried = next(n for n, event in enumerate(live.events, 1) if isinstance(event, ModelIntent) and event.attempt == 2)
    again = await go_on(live, retried - 1, [noted])
    assert again.output() == output
    again = await go_on(live, retried, [noted])
    assert again.end.code == "over_tokens", "the lost attempt counts at its maximum, and no other fits"


async def test_a_lack_of_progress_is_named_as_such() -> None:
    model = ScriptedModel([*(tool_call("same", x=number) for number in range(20)), "never"])
    live = await run_live(Agent("stuck", model=model, instructions="Help.", tools=[same]), "go")
    assert [(event.limit, event.level) for event in live.events if isinstance(event, LimitReached)] == [
        ("loop", 70),
        ("loop", 90),
    ]


@agent("versioned", version="1")
async def versioned(run: Run, value: int) -> list[bool]:
    """Asks twice, and from two branches at once."""

    async def ask() -> bool:
        await run.call(look, 1)
        return await run.patched("b")

    return [await run.patched("a"), await run.patched("a"), *(await run.gather(ask(), ask()))]


async def test_a_version_branch_is_answered_once() -> None:
    live = await run_live(versioned, 0)
    assert live.output()[3] == [True] * 4
    again = await go_on(live, len(live.rows) - 1, [versioned])
    assert again.output() == live.output()
    for count in (2, 3):
        assert (await go_on(live, count, [versioned])).end.outcome == "succeeded"


new_code = False


@agent("redeployed", version="1")
async def redeployed(run: Run, value: int) -> str:
    await run.call(look, 1)
    if new_code and await run.patched("shortcut"):
        return "new"
    await run.sleep(0.01)
    await run.call(look, 2)
    return "old"


async def test_a_run_that_was_past_a_version_branch_keeps_the_old_code() -> None:
    """Also when all that shows it is a timer that was set and has not fired."""
    global new_code  # noqa: PLW0603 - stands for a deployment
    new_code = False
    live = await run_live(redeployed, 0)
    names = [type(event).__name__ for event in live.events]
    new_code = True
    try:
        for count, expected in ((names.index("ToolOutcome") + 1, "new"), (names.index("TimerSet") + 1, "old")):
            assert (await go_on(live, count, [redeployed])).output()[3] == expected
    finally:
        new_code = False


async def test_a_name_too_long_for_the_record_replays() -> None:
    model = ScriptedModel([tool_call("x" * 500), tool_call("\ud800\x00"), "So."])
    odd = Agent("odd", model=model, instructions="Help.", tools=[look])
    live = await run_live(odd, "go")
    assert live.output()[3] == "So."
    again = await go_on(live, len(live.rows) - 1, [odd])
    assert again.output() == live.output()


@agent("nested", version="1")
async def nested(run: Run, value: int) -> Any:
    if value == 0:
        return await run.ask(ScriptedModel(["words"]), "well?")
    return await run.call(nested, value - 1)


async def test_that_a_simulated_model_took_part_in_a_child_is_remembered() -> None:
    live = await run_live(nested, 2)
    assert live.end.simulated
    assert (await go_on(live, len(live.rows) - 1, [nested])).end.simulated


async def test_a_letter_that_comes_while_the_run_parks_wakes_it() -> None:
    """Many children that end at once, against a parent that parks again and again."""

    @agent("leaf", version="1")
    async def leaf(run: Run, value: int) -> int:
        await run.call(look, value)
        return value

    @agent("parent", version="1")
    async def parent(run: Run, value: int) -> list[int]:
        return list(await run.map(lambda number: run.call(leaf, number), range(value), limit=5))

    journal = MemoryJournal()
    async with open_on(journal, [parent, leaf], person=None) as platform:
        runs = [await platform.submit(parent, 12) for _ in range(10)]
        async with asyncio.timeout(20):
            for run in runs:
                assert (await platform.result(run)).output == list(range(12))
    ends = [event for run in runs for event in Tape(run, journal).events if isinstance(event, RunEnded)]
    assert len(ends) == len(runs)
