"""Stages over crashes: what ended well is taken from the tape as a whole, what was delivered is delivered once."""

from collections import Counter
from typing import Any

import pytest
from tests.sim.tapes import Tape, comings_and_goings, cut, go_on, open_on, run_live

from penstock import Agent, Budget, Failed, Revise, Run, Settings, agent, tool
from penstock.agents.function import FunctionAgent
from penstock.events import Event, StageEnded, ToolIntent, ToolOutcome
from penstock.kernel.errors import Reject
from penstock.runs.replaying.replay import Replayed, replay
from penstock.testing import ScriptedModel

ran: Counter[str] = Counter()
"""How often the code of each stage was begun."""
effects: Counter[str] = Counter()
"""What happened outside."""

SOON = Settings(poll_seconds=0.01, drain_seconds=0.1, start_allowance_seconds=0.1, doubt_margin_seconds=0.1)


@pytest.fixture(autouse=True)
def clean() -> None:
    ran.clear()
    effects.clear()


@tool(effect="read", repeatable=True)
async def look(x: int) -> int:
    """Look something up."""
    effects[f"look {x}"] += 1
    return x * 10


async def was_delivered(x: int) -> bool:
    """Whether it was delivered."""
    return effects[f"deliver {x}"] > 0


@tool(effect="write", permission="auto", in_doubt="confirm", timeout_seconds=1.0, confirm=was_delivered)
async def deliver(x: int) -> str:
    """Deliver, once."""
    effects[f"deliver {x}"] += 1
    return f"delivered {x}"


@tool(effect="write", permission="auto", in_doubt="idempotent", timeout_seconds=1.0)
async def undo(x: int) -> str:
    """Take it back."""
    effects[f"undo {x}"] = 1
    return "undone"


async def prepare(run: Run, value: int) -> dict[str, Any]:
    ran["prepare"] += 1
    found = await run.gather(*(run.call(look, value + number) for number in range(3)))
    await run.patched("sorted")
    run.keep_partial("prepared")
    return {"found": found, "drawn": run.random().random(), "at": run.now().timestamp()}


async def consequence(run: Run, value: dict[str, Any], result: list[Any]) -> list[Any]:
    ran["consequence"] += 1
    if run.stage == "consequence 0":
        await run.call(look, 77)
        raise Revise("once more")
    said = [await run.call(deliver, number) for number in value["found"][:2]]
    return [*result, *said, run.random().random()]


@agent("staged", version="1", prepare=prepare, consequence=consequence)
async def staged(run: Run, value: dict[str, Any]) -> list[Any]:
    ran["own"] += 1
    again = run.revision.number if run.revision else 0
    seen = await run.call(look, value["found"][0])
    return [
        seen,
        again,
        run.random().random(),
        run.now().timestamp(),
        await run.patched("sorted"),
        value["at"],
        run.seen.tool_calls,
    ]


def in_doubt(events: list[Event]) -> Counter[str]:
    """What the world had seen when the worker died: every write with an intent, with or without its outcome."""
    intents = [event for event in events if isinstance(event, ToolIntent) and event.tool == "deliver"]
    return Counter({f"deliver {10 * number}": 1 for number in range(len({event.path for event in intents}))})


def paths(tape: Tape) -> list[tuple[str, str]]:
    return [(type(event).__name__, event.path) for event in comings_and_goings(tape.events)]


@pytest.mark.parametrize("happened", [True, False])
async def test_from_every_crash_it_ends_alike_and_delivers_once(happened: bool) -> None:
    live = await run_live(staged, 0)
    assert live.end.outcome == "succeeded"
    for count in range(1, len(live.rows)):
        clean_up = live.events[:count]
        effects.clear()
        ran.clear()
        effects.update(in_doubt(clean_up) if happened else done(clean_up))
        again = await go_on(live, count, [staged], settings=SOON)
        again.verify()
        here = f"after event {count}, {type(clean_up[-1]).__name__}"
        assert plain_output(again) == plain_output(live), here
        assert {name: number for name, number in effects.items() if name.startswith("deliver")} == {
            "deliver 0": 1,
            "deliver 10": 1,
        }, here
        ended = [event.name for event in clean_up if isinstance(event, StageEnded) and event.failure is None]
        assert ran["prepare"] == ("prepare" not in ended), here


def plain_output(tape: Tape) -> Any:
    """The output without times, and without answers of deliveries: one that was lost may never be known."""
    outcome, code, reason, output = tape.output()
    return outcome, code, reason, [item for index, item in enumerate(output) if index not in (3, 5, 7, 8)]


def done(events: list[Event]) -> Counter[str]:
    """The same when only what has an outcome happened."""
    ends = {event.path for event in events if isinstance(event, ToolOutcome) and not event.again}
    kept = [event for event in events if event.path in ends]
    return in_doubt(kept)


async def test_a_stage_that_ended_makes_no_call_when_the_run_goes_on() -> None:
    live = await run_live(staged, 0)
    ends = [number for number, event in enumerate(live.events, 1) if isinstance(event, StageEnded)]
    effects.clear()
    ran.clear()
    again = await go_on(live, ends[-1], [staged])
    assert (ran["prepare"], effects) == (0, Counter())
    assert again.output() == live.output()
    assert paths(again) == paths(live)


async def test_what_prepare_wanted_handed_over_is_there_after_every_crash() -> None:
    @agent("limited", version="1", prepare=prepare, budget=Budget(calls=4))
    async def limited(run: Run, value: dict[str, Any]) -> None:
        for number in range(9):
            await run.call(look, 100 + number)

    live = await run_live(limited, 0)
    assert live.output()[0::3] == ["exhausted", "prepared"]
    for count in range(1, len(live.rows)):
        assert (await go_on(live, count, [limited])).output() == live.output(), f"after event {count}"


async def replayed(live: Tape, made: FunctionAgent | Agent) -> Replayed:
    async with open_on(live.journal, [], person=None) as platform:
        row = await live.journal.get_run("default", live.run)
        assert row is not None
        return await replay(platform.services, row, [made])


async def test_each_stage_draws_numbers_of_its_own() -> None:
    live = await run_live(staged, 0)
    [prepared, *_] = [event for event in live.events if isinstance(event, StageEnded)]
    drawn = [live.payload(prepared.payloads["value"][0])["drawn"], live.output()[3][2], live.output()[3][-1]]
    assert len(set(drawn)) == 3


async def test_a_replay_runs_every_stage_again_and_acts_in_none() -> None:
    live = await run_live(staged, 0)
    ran.clear()
    effects.clear()
    same = await replayed(live, staged)
    assert same.same, same.divergence
    assert (ran["prepare"], ran["consequence"], effects) == (1, 2, Counter())


async def test_a_replay_tells_when_a_stage_gives_something_else() -> None:
    live = await run_live(staged, 0)

    async def other(run: Run, value: int) -> dict[str, Any]:
        return {**await prepare(run, value), "found": [0, 10, 21]}

    changed = FunctionAgent(staged.function, "staged", None, "1", type(staged.stages)(other, consequence))
    different = await replayed(live, changed)
    assert not different.same
    assert different.divergence is not None
    assert "prepare at 0" in different.divergence.words


async def test_a_failed_stage_is_run_again_against_its_tape_and_fails_alike() -> None:
    async def refuses(run: Run, value: int) -> int:
        ran["refuses"] += 1
        raise Reject(f"{await run.call(look, value)} is too much", "too_much")

    @agent("refused", version="1", prepare=refuses)
    async def refused(run: Run, value: int) -> int:
        raise AssertionError("never")

    live = await run_live(refused, 5)
    assert live.output() == ["refused", "too_much", "50 is too much", None]
    for count in range(1, len(live.rows)):
        assert (await go_on(live, count, [refused])).output() == live.output()
    assert (await replayed(live, refused)).same


async def test_compensation_over_every_crash() -> None:
    async def take_back(run: Run, value: int, failed: Failed) -> None:
        ran["compensate"] += 1
        for write in reversed(failed.writes):
            await run.call(undo, write.args["x"])

    @agent("failing", version="1", compensate=take_back)
    async def failing(run: Run, value: int) -> int:
        await run.call(deliver, 0)
        await run.call(deliver, 10)
        raise ValueError("boom")

    live = await run_live(failing, 0)
    assert live.output()[:2] == ["failed", "agent_raised"]
    for count in range(1, len(live.rows)):
        effects.clear()
        effects.update(done(live.events[:count]))
        again = await go_on(live, count, [failing], settings=SOON)
        assert again.output() == live.output()
        assert (effects["deliver 0"], effects["deliver 10"]) == (1, 1)
        taken = {event.path for event in again.events if isinstance(event, ToolIntent) and event.tool == "undo"}
        assert len(taken) == 2, "each is taken back by one call, whoever made it"
        assert again.end.missing == ["the final answer"]


async def test_a_model_agent_with_stages_over_every_crash() -> None:
    async def context(run: Run, value: str) -> str:
        return f"{value} {await run.call(look, 1)}"

    async def send(run: Run, value: str, result: str) -> str:
        await run.call(deliver, 0)
        return result.upper()

    model = ScriptedModel(["an answer"], repeat=True)
    made = Agent("modelled", model=model, instructions="x", prepare=context, consequence=send)
    live = await run_live(made, "go")
    for count in range(1, len(live.rows)):
        effects.clear()
        effects.update(done(live.events[:count]))
        again = await go_on(live, count, [made], settings=SOON)
        assert again.output() == live.output() == ["succeeded", "", "", "AN ANSWER"]
        assert effects["deliver 0"] == 1


async def test_code_that_makes_another_call_in_an_ended_stage_is_not_asked_again() -> None:
    """The stage is over: what its code would do today matters to a replay, not to a recovery."""

    async def other(run: Run, value: int) -> dict[str, Any]:
        raise AssertionError("never")

    live = await run_live(staged, 0)
    ends = [number for number, event in enumerate(live.events, 1) if isinstance(event, StageEnded)]
    changed = FunctionAgent(staged.function, "staged", None, "1", type(staged.stages)(other, consequence))
    journal = cut(live, ends[0])
    journal._store.runs["default", live.run].release = changed.release
    async with open_on(journal, [changed]) as platform:
        assert (await platform.result(live.run, timeout_seconds=10)).outcome == "succeeded"
