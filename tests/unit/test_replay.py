"""Replay makes no call and no write, reaches the recorded events, and says in words where it does not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
import pytest

from penstock import Agent, Budget, Run, agent, escalate, tool
from penstock.events import ModelIntent, decode
from penstock.events.messages import decode_message
from penstock.events.prompts import prompt_refs
from penstock.gates.order.tape import Tape
from penstock.journal.payloads import ref_address
from penstock.kernel.errors import AgentUnknown, PayloadMissing
from penstock.ports.agents import AgentDef
from penstock.ports.records import Status, Stop
from penstock.runs.client import Penstock
from penstock.runs.divergence import differences
from penstock.runs.replaying.replay import Replayed, replay
from penstock.settings import Settings
from penstock.testing import ScriptedModel, tool_call
from penstock.wiring import open_in_memory

TENANT = "default"
done: list[str] = []
"""Every effect of the tools below."""
world: dict[str, Any] = {}
"""What the agents below look at behind the gates' back: the reason why they diverge."""


@tool(effect="read")
async def look(order: str) -> str:
    """Look."""
    done.append(f"look {order}")
    if order == "gone":
        raise LookupError("no such order")
    return f"order {order}"


@tool(effect="write", risk="high", in_doubt="escalate")
async def pay(order: str, cents: int) -> str:
    """Pay."""
    done.append(f"pay {order} {cents}")
    return "paid"


def note_stamp() -> int:
    done.append("stamp")
    return len(done)


@agent("steady")
async def steady(run: Run, orders: list[str]) -> dict[str, Any]:
    """Uses everything that replays."""
    found = await run.map(lambda order: run.call(look, order), orders, limit=2)
    await run.decide("route", ["a", "b"], 0, why="first")
    stamp = await run.record("stamp", note_stamp)
    await run.sleep(0.01)
    child = await run.call(helper, "help")
    draw = run.random().random() if await run.patched("draws") else 0.0
    return {"found": found, "stamp": stamp, "child": child, "draw": draw, "at": run.now().isoformat()}


@agent("helper")
async def helper(run: Run, text: str) -> str:
    """A child."""
    return f"{text}: {await run.call(look, 'h')}"


@agent("fickle")
async def fickle(run: Run, order: str) -> str:
    """Does what `world` says."""
    await run.call(look, order)
    match world.get("mood"):
        case "other arguments":
            await run.call(look, "elsewhere")
        case "another call":
            await run.record("look", lambda: 1)
        case "fewer calls":
            return "early"
        case "one call more":
            await run.call(look, "second")
            await run.call(look, "third")
        case _:
            await run.call(look, "second")
    return str(world.get("answer", "fine"))


@agent("giving-up")
async def giving_up(run: Run, order: str) -> str:
    """Hands over."""
    await run.call(look, order)
    escalate("not confident")


@agent("raising")
async def raising(run: Run, order: str) -> str:
    """Raises what a tool raised."""
    return str(await run.call(look, "gone"))


@agent("napping")
async def napping(run: Run, order: str) -> str:
    """Sleeps until it is stopped."""
    await run.call(look, order)
    await run.sleep(3600)
    return "rested"


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    done.clear()
    world.clear()
    async with open_in_memory(Settings(poll_seconds=0.01)) as opened:
        yield opened


async def again(platform: Penstock, run: UUID, *agents: AgentDef) -> Replayed:
    """Replay a run, and see that nothing was done and nothing was written."""
    before, tape = list(done), await platform.journal.tape(TENANT, run)
    row = await platform.journal.get_run(TENANT, run)
    assert row is not None
    replayed = await replay(platform.services, row, agents)
    assert done == before
    assert await platform.journal.tape(TENANT, run) == tape
    assert await platform.journal.get_run(TENANT, run) == row
    return replayed


async def parked(platform: Penstock, run: UUID) -> None:
    """Wait until a run is parked."""
    async with asyncio.timeout(30):
        while True:
            row = await platform.journal.get_run(TENANT, run)
            if row is not None and row.status is Status.PARKED:
                return
            await asyncio.sleep(0.005)


async def test_everything_that_replays_replays_to_the_same_end(platform: Penstock) -> None:
    result = await steady.run(["1", "2", "3"])
    assert result.ok, result.reason
    replayed = await again(platform, result.run, steady)
    assert replayed.same, replayed.divergence
    assert replayed.outcome == "succeeded"
    assert sorted(replayed.calls) == ["0.0.0", "0.1.0", "0.2.0", "1", "2", "3", "4", "patch:draws"]
    assert replayed.goes_on_with == []
    for _ in range(3):
        assert (await again(platform, result.run, steady)).calls == replayed.calls, "the order is the recorded one"


def looping(**budget: Any) -> Agent:
    model = ScriptedModel([tool_call("look", order=str(number)) for number in range(40)])
    return Agent("looping", model=model, instructions="Go on.", tools=[look], budget=Budget(**budget))


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        (giving_up, "escalated"),
        (raising, "failed"),
        (looping(steps=3), "failed"),
        (looping(calls=2, steps=9), "failed"),
        (looping(tokens=700), None),
    ],
    ids=["escalated", "tool failed", "steps", "calls", "tokens"],
)
async def test_runs_that_did_not_succeed_replay_too(platform: Penstock, made: AgentDef, outcome: str | None) -> None:
    result = await platform.run(made, "1")
    assert not result.ok
    assert outcome in (None, result.outcome)
    replayed = await again(platform, result.run, made)
    assert replayed.same, replayed.divergence
    assert replayed.outcome == result.outcome


async def test_a_limit_reached_by_code_ends_the_replay_as_it_ended_the_run(platform: Penstock) -> None:
    @agent("greedy", budget=Budget(calls=2))
    async def greedy(run: Run, order: str) -> list[Any]:
        return await run.gather(*(run.call(look, f"{order}{number}") for number in range(5)))

    result = await greedy.run("g")
    assert (result.outcome, result.code) == ("exhausted", "over_calls")
    replayed = await again(platform, result.run, greedy)
    assert replayed.same, replayed.divergence
    assert replayed.outcome == "exhausted"


async def test_an_approval_and_its_denial_replay(platform: Penstock) -> None:
    model = ScriptedModel([tool_call("pay", order="1", cents=5), "Not done."])
    payer = Agent("payer", model=model, instructions="Pay.", tools=[pay])
    run = await platform.submit(payer, "pay me")
    await parked(platform, run)
    waiting = await again(platform, run, payer)
    assert (waiting.same, waiting.outcome, waiting.goes_on_with) == (True, "", ["1"])
    [question] = await platform.approvals()
    await platform.decide(question, "deny", actor="ann")
    assert (await platform.result(run)).ok
    replayed = await again(platform, run, payer)
    assert (replayed.same, replayed.calls) == (True, ["0", "1", "2"])
    assert "pay 1 5" not in done


async def test_a_run_that_was_stopped_from_outside_is_the_same_as_far_as_it_goes(platform: Penstock) -> None:
    run = await platform.submit(napping, "1")
    await parked(platform, run)
    await platform.journal.stop_run(TENANT, run, Stop.KILL, "ann", "enough")
    assert (await platform.result(run)).outcome == "killed"
    replayed = await again(platform, run, napping)
    assert (replayed.same, replayed.outcome, replayed.goes_on_with) == (True, "killed", ["1"])


@pytest.mark.parametrize(
    ("mood", "words", "recorded", "attempted"),
    [
        ("other arguments", "at call 1 (seq 5), the same call, with other arguments", "tool look", "tool look"),
        ("another call", "at call 1 (seq 5), another call stands here", "tool look", "note look"),
        ("fewer calls", "the tape has a call at 1 ", "tool look", "nothing: the code does not make this call"),
        ("one call more", "goes on: it makes a call at 2 that the tape", "succeeded", "a call at 2"),
    ],
)
async def test_the_first_difference_is_said_in_words(
    platform: Penstock, mood: str, words: str, recorded: str, attempted: str
) -> None:
    result = await fickle.run("first")
    world["mood"] = mood
    replayed = await again(platform, result.run, fickle)
    assert not replayed.same
    report = replayed.divergence
    assert report is not None
    assert words in report.words
    assert (report.recorded, report.attempted) == (recorded, attempted)
    assert report.hint


async def test_differing_arguments_are_shown_field_by_field(platform: Penstock) -> None:
    result = await fickle.run("first")
    world["mood"] = "other arguments"
    report = (await again(platform, result.run, fickle)).divergence
    assert report is not None
    assert (report.recorded_args, report.attempted_args) == ({"order": "second"}, {"order": "elsewhere"})
    [difference] = report.differences
    assert (difference.place, difference.recorded, difference.attempted) == ("order", "second", "elsewhere")


async def test_another_end_is_a_difference_too(platform: Penstock) -> None:
    result = await fickle.run("first")
    world["answer"] = "worse"
    report = (await again(platform, result.run, fickle)).divergence
    assert report is not None
    assert report.words.startswith("every call repeats, but the run ends differently")
    assert [(item.place, item.recorded, item.attempted) for item in report.differences] == [("output", "fine", "worse")]


async def test_changed_instructions_show_as_the_message_that_differs(platform: Penstock) -> None:
    def desk(instructions: str) -> Agent:
        model = ScriptedModel([tool_call("look", order="1"), "done"])
        return Agent("desk", model=model, instructions=instructions, tools=[look])

    result = await desk("Be kind.").run("hello")
    replayed = await again(platform, result.run, desk("Be brief."))
    assert replayed.release != replayed.recorded_release
    report = replayed.divergence
    assert report is not None
    assert (report.path, report.recorded) == ("0", "model scripted:model")
    [difference] = report.differences
    assert (difference.recorded, difference.attempted) == ("Be kind.", "Be brief.")
    assert difference.place == "[0].parts[0].text"


async def test_an_agent_of_another_name_cannot_replay_a_run(platform: Penstock) -> None:
    result = await fickle.run("first")
    with pytest.raises(AgentUnknown, match="is of the agent 'fickle'; the agents given are: steady"):
        await again(platform, result.run, steady)


async def test_a_run_whose_subject_was_erased_cannot_be_replayed(platform: Penstock) -> None:
    run = await platform.submit(fickle, "first", subject="s-1")
    await platform.result(run)
    await platform.journal.erase_subject(TENANT, "s-1")
    with pytest.raises(PayloadMissing, match="was erased"):
        await again(platform, run, fickle)


async def test_each_call_is_told_when_its_outcome_is_given_back(platform: Penstock) -> None:
    result = await fickle.run("first")
    row = await platform.journal.get_run(TENANT, result.run)
    assert row is not None
    told: list[str] = []
    await replay(platform.services, row, [fickle], on_call=told.append)
    assert told == ["0", "1"]


async def test_a_prompt_is_put_together_from_the_intents_of_its_conversation(platform: Penstock) -> None:
    model = ScriptedModel([tool_call("look", order="1"), tool_call("look", order="2"), "done"])
    result = await Agent("chat", model=model, instructions="Help.", tools=[look]).run("hello")
    tape = Tape(await platform.journal.tape(TENANT, result.run))
    subject = str(result.run)
    sent = []
    for event in tape.events:
        if isinstance(event, ModelIntent):
            refs = prompt_refs(tape.calls, event)
            data = await platform.services.reader.read_many(TENANT, subject, map(ref_address, refs))
            sent.append([decode_message(data[ref_address(ref)]) for ref in refs])
    assert sent == [list(request.messages) for request in model.calls]
    assert len(sent) == 3
    assert len(tape.calls["4"][0].payloads["messages"]) < len(sent[2])


def test_differences_name_the_place_and_stop_at_a_bound() -> None:
    found = differences({"a": [1, {"b": 2}], "c": 3}, {"a": [1, {"b": 5}, 7], "d": 3})
    assert [(item.place, item.recorded, item.attempted) for item in found] == [
        ("a[1].b", 2, 5),
        ("a[2]", "(absent)", 7),
        ("c", 3, "(absent)"),
        ("d", "(absent)", 3),
    ]
    assert differences({"a": 1}, {"a": 1}) == []
    assert differences(1, True), "JSON tells 1 and true apart"
    assert len(differences(list(range(1000)), list(range(1, 1001)))) == 50


async def test_the_tape_is_what_was_stored(platform: Penstock) -> None:
    """The other tests compare rows; this one that rows are what they are taken for."""
    result = await fickle.run("first")
    rows = await platform.journal.tape(TENANT, result.run)
    assert [decode(row.body).seq for row in rows] == list(range(1, len(rows) + 1))
    assert msgspec.json.decode(rows[-1].body)["outcome"] == "succeeded"
