"""The ladder against spirals on live runs: a word, the last answer, the end; each on the record, and the same again in
replay and after every crash."""

from typing import Any

import pytest
from tests.sim.tapes import Tape, go_on, run_live

from penstock import Agent, Run, Spirals, agent, tool
from penstock.cli.runs.why import words
from penstock.events import LimitReached, ModelIntent, RuleVerdict, RunEnded, ToolIntent, VerdictRecorded
from penstock.gates.run.words import NOTE_SPIRAL
from penstock.kernel.errors import AgentInvalid, CallDenied
from penstock.testing import ScriptedModel, in_memory, tool_call
from penstock.views.failure_tree import read_failure_tree
from penstock.views.loops import Stretches, find_loops


@tool(effect="read")
async def look(x: int) -> dict[str, Any]:
    """Look, always at the same."""
    return {"id": 7, "state": "open", "owner": "nobody"}


@tool(effect="read")
async def page(number: int) -> dict[str, Any]:
    """A page of a long list."""
    return {"rows": [{"id": 10 * number + n, "sum": 31 * number + n, "currency": "EUR"} for n in range(3)]}


@tool(effect="write", permission="auto", in_doubt="idempotent")
async def mark(number: int, state: str) -> str:
    """Mark a record; says the same each time."""
    return "marked"


def circling(spirals: Spirals | None = Spirals(), *, heeds: bool = False) -> Agent:
    """Looks again and again, until it must answer, or is told."""

    def answer(request: Any) -> Any:
        told = any(message.text == NOTE_SPIRAL for message in request.messages)
        if request.tool_choice == "none" or (heeds and told):
            return "what I have"
        number = sum(message.role == "assistant" for message in request.messages)
        return tool_call("look", x=number) if number < 15 else "after all"

    model = ScriptedModel([answer], repeat=True)
    return Agent("circling", model=model, instructions="Help.", tools=[look], spirals=spirals)


def said(tape: Tape) -> list[RuleVerdict]:
    """What the rule said, in order."""
    verdicts = [
        verdict
        for event in tape.events
        if isinstance(event, ModelIntent | ToolIntent | VerdictRecorded)
        for verdict in event.verdicts
    ]
    return [verdict for verdict in verdicts if verdict.rule == "spiral"]


def looks(tape: Tape) -> int:
    return sum(isinstance(event, ToolIntent) for event in tape.events)


async def from_every_crash(tape: Tape, *agents: Any) -> None:
    for count in range(1, len(tape.rows)):
        again = await go_on(tape, count, agents)
        assert again.output() == tape.output(), f"after event {count}"
        assert [(one.code, one.reason) for one in said(again)] == [(one.code, one.reason) for one in said(tape)]


async def test_a_model_is_told_then_must_answer() -> None:
    live = await run_live(circling(), "go")
    assert live.output()[0] == "succeeded"
    assert live.output()[3] == "what I have"
    assert looks(live) == 7, "one that told something, four until the nudge, two more until the limit"
    assert [(verdict.verdict, verdict.code) for verdict in said(live)] == [
        ("flag", "spiral_nudge"),
        ("flag", "spiral_last"),
    ]
    reason = said(live)[0].reason
    assert reason.startswith("4 calls since the last new fact, 4 told only what was known (calls 3, 5, 7, 9)"), reason
    intents = [event for event in live.events if isinstance(event, ModelIntent)]
    assert [event.level for event in intents if event.level] == [50, 91]
    limits = [event for event in live.events if isinstance(event, LimitReached)]
    assert [(event.limit, event.level) for event in limits] == [("loop", 70), ("loop", 90)]
    await from_every_crash(live, circling())


async def test_who_repeats_one_call_must_answer_before_the_run_is_ended() -> None:
    def answer(request: Any) -> Any:
        return "what I have" if request.tool_choice == "none" else tool_call("look", x=1)

    stuck = Agent("stuck", model=ScriptedModel([answer], repeat=True), instructions="Help.", tools=[look])
    live = await run_live(stuck, "go")
    assert (live.output()[0], live.output()[3], looks(live)) == ("succeeded", "what I have", 2)


async def test_who_heeds_the_word_answers_after_it() -> None:
    live = await run_live(circling(heeds=True), "go")
    assert (live.output()[0], looks(live)) == ("succeeded", 5)
    assert [verdict.code for verdict in said(live)] == ["spiral_nudge"]


async def test_thresholds_are_the_agents_own_and_none_is_off() -> None:
    assert looks(await run_live(circling(Spirals(nudge=2, limit=3, stop=4)), "go")) == 4
    live = await run_live(circling(None), "go")
    assert (live.output()[3], looks(live), said(live)) == ("after all", 15, [])


def test_the_defaults_keep_an_agents_release() -> None:
    assert circling().release == Agent("circling", model=circling().model, instructions="Help.", tools=[look]).release
    assert len({circling().release, circling(None).release, circling(Spirals(stop=20)).release}) == 3
    for wrong in ((4, 4, 9), (0.5, 3, 4), (4, 6, 51), (9, 6, 4), (float("nan"), 6, 9)):
        with pytest.raises(AgentInvalid):
            Spirals(*wrong)


model = ScriptedModel(["Hm."], repeat=True)


@agent("stubborn", version="1")
async def stubborn(run: Run, value: int) -> int:
    """Asks a model, looks, and goes on whatever it is told."""
    for number in range(30):
        await run.ask(model, f"And now, {number}?")
        try:
            await run.call(look, number)
        except CallDenied:
            await run.record("denied", lambda: 1)
    return 30


async def test_code_that_goes_on_all_the_same_is_refused_the_tool_and_then_ended() -> None:
    live = await run_live(stubborn, 0)
    end = live.events[-1]
    assert isinstance(end, RunEnded)
    assert (end.outcome, end.code) == ("exhausted", "spiral")
    codes = [verdict.code for verdict in said(live)]
    assert codes[-1] == "spiral"
    assert set(codes[:-1]) == {"spiral_limit"}
    assert "calls since the last new fact" in end.reason
    assert looks(live) < 9
    await from_every_crash(live, stubborn)


@agent("deaf", version="1")
async def deaf(run: Run, value: int) -> int:
    """Steps through a chat and never asks whether a step was the last."""
    chat = run.chat(ScriptedModel([forever], repeat=True), instructions="Talk.", tools=[look])
    for number in range(value):
        chat.hear(f"And now, {number}?")
        for _ in range(12):
            await chat.step()
    return value


def forever(request: Any) -> Any:
    return tool_call("look", x=len(request.messages)) if request.tool_choice != "none" else "what I have"


async def test_a_chat_whose_code_does_not_hear_that_it_is_over_is_ended() -> None:
    live = await run_live(deaf, 1)
    end = live.events[-1]
    assert isinstance(end, RunEnded)
    assert (end.outcome, end.code) == ("exhausted", "spiral")
    assert looks(live) == 7
    await from_every_crash(live, deaf)


async def test_why_a_run_failed_says_that_it_went_in_circles() -> None:
    async with in_memory() as platform:
        run = await platform.submit(stubborn, 0)
        result = await platform.result(run)
        tree = await read_failure_tree(platform.journal, "default", run)
    assert (result.code, tree.cause.code, tree.cause.name) == ("spiral", "spiral_limit", "look")
    [note] = tree.notes
    assert note.startswith("it went round in circles: 9 calls since the last new fact, 6 told only what was known, ")
    assert note in words(tree)


async def test_the_run_page_draws_what_the_rule_saw() -> None:
    live = await run_live(circling(), "go")
    stretches = Stretches()
    for event in live.events:
        stretches.take(event)
    spans = {event.path: number for number, event in enumerate(live.events) if event.path}
    [loop] = find_loops(stretches.all(), spans)
    assert len(loop.spans) == 6
    assert loop.said.startswith("look ×6 with other arguments")


async def test_paging_through_a_long_list_is_left_alone() -> None:
    calls = [tool_call("page", number=number) for number in range(60)]
    pager = Agent("pager", model=ScriptedModel([*calls, "done"]), instructions="Read.", tools=[page])
    live = await run_live(pager, "go")
    assert (live.output()[3], looks(live), said(live)) == ("done", 60, [])


async def test_a_batch_of_writes_with_equal_answers_is_left_alone() -> None:
    calls = [tool_call("mark", number=number, state="checked") for number in range(40)]
    batch = Agent("batch", model=ScriptedModel([*calls, "done"]), instructions="Mark.", tools=[mark])
    live = await run_live(batch, "go")
    assert (live.output()[3], looks(live), said(live)) == ("done", 40, [])
