"""Code that does not repeat its tape: the run is set aside, and a stranger can read what differs."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.sim.tapes import TENANT, Tape, cut, open_on, run_live

from penstock import Run, agent, tool
from penstock.events import RunHandedBack
from penstock.kernel.errors import CallDenied, RunQuarantined
from penstock.ports.records import Status
from penstock.testing import ScriptedModel

Code = Callable[[Run], Awaitable[Any]]


@tool(effect="read")
async def left(x: int) -> int:
    """One tool."""
    return x


@tool(effect="read")
async def right(x: int) -> int:
    """Another."""
    return -x


@tool(effect="write", risk="prohibited")
async def never(x: int) -> None:
    """Denied."""


model = ScriptedModel(["yes"], repeat=True)
code: list[Code] = []


@agent("changing", version="1")
async def changing(run: Run, value: int) -> Any:
    return await code[0](run)


@agent("child-of-changing", version="1")
async def child(run: Run, value: int) -> int:
    return value


async def _first(run: Run) -> Any:
    found = [
        await run.call(left, 1),
        await run.call(right, 2),
        await run.gather(run.call(left, 3), run.call(right, 4)),
        await run.ask(model, "well?"),
        await run.record("weather", lambda: "fine"),
    ]
    await run.sleep(0.001)
    found.append(await run.call(child, 5))
    await run.decide("way", ["a", "b"], 0, why="so")
    return found


async def _order(run: Run) -> Any:
    await run.call(right, 2)


async def _arguments(run: Run) -> Any:
    await run.call(left, 1)
    await run.call(right, 22)


async def _missing(run: Run) -> Any:
    await run.call(left, 1)
    await run.gather(run.call(left, 3), run.call(right, 4))


async def _extra(run: Run) -> Any:
    await run.call(left, 1)
    await run.call(left, 100)


async def _early(run: Run) -> Any:
    await run.call(left, 1)
    return "done"


async def _raises(run: Run) -> Any:
    await run.call(left, 1)
    raise ValueError("a mistake of the new code")


async def _fewer(run: Run) -> Any:
    await run.call(left, 1)
    await run.call(right, 2)
    await run.gather(run.call(left, 3))


async def _up_to_gather(run: Run) -> None:
    await run.call(left, 1)
    await run.call(right, 2)
    await run.gather(run.call(left, 3), run.call(right, 4))


async def _prompt(run: Run) -> Any:
    await _up_to_gather(run)
    await run.ask(model, "how so?")


async def _model_for_tool(run: Run) -> Any:
    await _up_to_gather(run)
    await run.call(left, 9)


async def _note(run: Run) -> Any:
    await _up_to_gather(run)
    await run.ask(model, "well?")
    await run.record("temperature", lambda: 20)


async def _up_to_record(run: Run) -> None:
    await _up_to_gather(run)
    await run.ask(model, "well?")
    await run.record("weather", lambda: "foul")


async def _sleep(run: Run) -> Any:
    await _up_to_record(run)
    await run.sleep(0.002)


async def _input(run: Run) -> Any:
    await _up_to_record(run)
    await run.sleep(0.001)
    await run.call(child, 6)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (_order, ["at call 0 ", "another call stands here", "recorded:  tool left", "attempted: tool right"]),
        (_arguments, ["at call 1 ", "the same call, with other arguments", "recorded:  tool right"]),
        (_missing, ["a call at 1 (ToolIntent right", "waiting at 1.0.0, 1.1.0"]),
        (_extra, ["at call 1 ", "recorded:  tool right", "attempted: tool left"]),
        (_early, ["a call at 1 (ToolIntent right", "did not make", "waiting at nothing"]),
        (_raises, ["a call at 1 (ToolIntent right", "did not make"]),
        (_fewer, ["a call at 2.1.0 (ToolIntent right", "did not make"]),
        (_prompt, ["at call 3 ", "the same call, with other arguments", "model scripted:model"]),
        (_model_for_tool, ["at call 3 ", "recorded:  model scripted:model", "attempted: tool left"]),
        (_note, ["at call 4 ", "recorded:  note weather", "attempted: note temperature"]),
        (_sleep, ["at call 5 ", "timer sleep", "other arguments"]),
        (_input, ["at call 6 ", "child child-of-changing", "other arguments"]),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
async def test_a_changed_code_is_told_what_differs(changed: Code, words: list[str]) -> None:
    code[:] = [_first]
    live = await run_live(changing, 0)
    assert live.end.outcome == "succeeded"
    code[:] = [changed]
    journal = cut(live, len(live.rows) - 1)
    asked = len(model.calls)
    async with open_on(journal, [changing, child]) as platform:
        with pytest.raises(RunQuarantined, match="divergence"):
            await platform.result(live.run, timeout_seconds=20)
        row = await journal.get_run(TENANT, live.run)
    assert row is not None
    assert (row.status, row.code) == (Status.QUARANTINED, "divergence")
    assert len(model.calls) == asked, "nothing is called while the tape is not repeated"
    last = Tape(live.run, journal).events[-1]
    assert isinstance(last, RunHandedBack)
    for part in words:
        assert part in last.reason


async def test_released_from_quarantine_under_the_old_code_it_goes_on() -> None:
    code[:] = [_first]
    live = await run_live(changing, 0)
    code[:] = [_order]
    journal = cut(live, 9)
    async with open_on(journal, [changing, child]) as platform:
        with pytest.raises(RunQuarantined):
            await platform.result(live.run, timeout_seconds=20)
        code[:] = [_first]
        assert await journal.release_quarantine(TENANT, live.run, None, "person")
        await platform.result(live.run, timeout_seconds=20)
    assert Tape(live.run, journal).output() == live.output()


async def test_a_call_after_the_recorded_ones_is_no_divergence() -> None:
    """The tape ends where the crash was; new code may do more from there on."""

    async def short(run: Run) -> Any:
        return [await run.call(left, 1)]

    async def longer(run: Run) -> Any:
        return [await run.call(left, 1), await run.call(right, 2)]

    code[:] = [short]
    live = await run_live(changing, 0)
    code[:] = [longer]
    journal = cut(live, len(live.rows) - 1)
    async with open_on(journal, [changing]) as platform:
        result = await platform.result(live.run, timeout_seconds=20)
    assert result.output == [1, -2]


async def test_code_that_diverges_does_not_learn_of_it() -> None:
    """It waits where it stands until it is put away; no exception, and no other call's outcome, reaches it."""
    learnt: list[str] = []

    async def short(run: Run) -> Any:
        await run.gather(run.call(left, 1), run.ask(model, "well?"), run.record("weather", lambda: "fine"))

    async def swapped(run: Run) -> Any:
        async def catching(call: Awaitable[Any]) -> None:
            try:
                learnt.append(f"got {await call}")
            except Exception as error:  # noqa: BLE001 - whatever came would be wrong
                learnt.append(repr(error))

        await run.gather(
            catching(run.ask(model, "well?")),
            catching(run.record("weather", lambda: "fine")),
            catching(run.sleep(1)),
        )

    code[:] = [short]
    live = await run_live(changing, 0)
    code[:] = [swapped]
    async with open_on(cut(live, len(live.rows) - 1), [changing]) as platform:
        with pytest.raises(RunQuarantined, match="divergence"):
            await platform.result(live.run, timeout_seconds=20)
    assert learnt == []


async def test_the_denial_of_a_prohibited_tool_is_compared_too() -> None:
    async def tries(run: Run) -> Any:
        try:
            await run.call(never, 1)
        except CallDenied as error:
            return error.code

    async def other(run: Run) -> Any:
        try:
            await run.call(never, 2)
        except CallDenied as error:
            return error.code

    code[:] = [tries]
    live = await run_live(changing, 0)
    assert live.output()[3] == "call_denied"
    code[:] = [other]
    async with open_on(cut(live, len(live.rows) - 1), [changing]) as platform:
        with pytest.raises(RunQuarantined, match="divergence"):
            await platform.result(live.run, timeout_seconds=20)
