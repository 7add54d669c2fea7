"""`run.timeout`: what it cuts short, what it waits for, and what the agent learns."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from tests.sim.tapes import SETTINGS, TENANT, Tape, cut, open_on, run_live

from penstock import Run, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import (
    Amount,
    ApprovalDecided,
    ChildOutcome,
    Event,
    ModelOutcome,
    RunEnded,
    RunParked,
    TimerFired,
    TimerSet,
    ToolDoubted,
    ToolIntent,
    ToolOutcome,
    decode,
)
from penstock.events.messages import say
from penstock.kernel.errors import TimedOut
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.ports.tools import IdempotencyKey, ToolContext
from penstock.settings import Settings
from penstock.testing import ScriptedModel

QUICK = Settings(poll_seconds=0.01, drain_seconds=0.1, start_allowance_seconds=0.2, doubt_margin_seconds=0.1)
paid: dict[str, int] = {}
started: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_yet() -> None:
    paid.clear()
    started.clear()


def of(tape: Tape, kind: Any) -> list[Any]:
    return [event for event in tape.events if isinstance(event, kind)]


def kinds(tape: Tape, *wanted: type[Event]) -> list[str]:
    return [type(event).__name__ for event in tape.events if isinstance(event, wanted)]


async def replays(tape: Tape, *agents: Any) -> None:
    """From the whole tape but its last event the run comes to the same end, and writes nothing else."""
    journal = cut(tape, len(tape.rows) - 1)
    async with open_on(journal, agents, settings=QUICK) as platform:
        await platform.result(tape.run, timeout_seconds=60)
    again = Tape(tape.run, journal)
    assert again.output() == tape.output()
    assert len(again.rows) == len(tape.rows) + 1, "only a claim is added"


@tool(effect="read")
async def stuck(x: int) -> int:
    """Never answers."""
    started.append(x)
    await asyncio.sleep(60)
    return x


@tool(effect="write", permission="auto", in_doubt="keyed", timeout_seconds=5)
async def pay(cents: int, key: IdempotencyKey) -> str:
    """Pays at once, and is slow to say so the first time."""
    first = str(key) not in paid
    paid.setdefault(str(key), cents)
    if first:
        await asyncio.sleep(60)
    return "paid"


@tool(effect="write", risk="high", in_doubt="keyed")
async def refund(cents: int, key: IdempotencyKey) -> str:
    """Waits for a person."""
    raise AssertionError("nobody approved it")


@agent("sleeper", version="1")
async def sleeper(run: Run, seconds: float) -> str:
    await run.sleep(seconds)
    return "rested"


def bounded(work: Callable[[Run], Any], seconds: float = 0.05) -> Any:
    @agent("bounded", version="1")
    async def code(run: Run, x: int) -> Any:
        try:
            return await run.timeout(seconds, work(run))
        except TimedOut as error:
            return ["timed out", error.fields["took_effect"]]

    return code


async def live(agents: list[Any], *, settings: Settings = QUICK, person: Any = None) -> Tape:
    journal = MemoryJournal()
    async with open_on(journal, agents, settings=settings, person=person) as platform:
        run = await platform.submit(agents[0], 1)
        await platform.result(run, timeout_seconds=60)
        async with asyncio.timeout(30):  # its children end too
            while any(decode(stored.tape[-1].body).__class__ is not RunEnded for stored in _runs(journal)):
                await asyncio.sleep(0.005)
    tape = Tape(run, journal)
    tape.verify()
    return tape


def _runs(journal: MemoryJournal) -> Any:
    return journal._store.runs.values()


async def test_what_ends_in_time_gives_its_result_and_records_only_the_beginning() -> None:
    tape = await live([bounded(lambda run: run.record("value", lambda: 7), 60)])
    assert tape.output()[3] == 7
    assert kinds(tape, TimerSet, TimerFired) == ["TimerSet"]
    assert of(tape, TimerSet)[0].name == "timeout"


async def test_an_error_inside_comes_through() -> None:
    async def fail(run: Run) -> None:
        raise LookupError("not there")

    tape = await live([bounded(fail, 60)])
    assert (tape.end.code, tape.end.reason) == ("agent_raised", "LookupError: not there")


async def test_a_read_is_cut_short() -> None:
    code = bounded(lambda run: run.call(stuck, 1))
    tape = await live([code])
    assert tape.output()[3] == ["timed out", []]
    assert started == [1]
    assert of(tape, ToolOutcome)[0].failure.code == "tool_cancelled"
    assert kinds(tape, TimerSet, TimerFired, ToolOutcome) == ["TimerSet", "TimerFired", "ToolOutcome", "TimerFired"]
    await replays(tape, code)
    assert started == [1]


async def test_a_model_call_is_charged_at_its_maximum() -> None:
    class Stuck(ScriptedModel):
        async def request(self, request: ModelRequest) -> ModelResponse:
            await asyncio.sleep(60)
            return ModelResponse(say("assistant", "late"), Amount(1, 1))

    model = Stuck(["unused"], price=Price(2.0, 3.0))
    tape = await live([bounded(lambda run: run.ask(model, "hello", max_tokens=10))])
    outcome = of(tape, ModelOutcome)[0]
    assert (outcome.status, outcome.at_maximum, outcome.again) == ("error", True, False)
    assert tape.end.totals.nano == outcome.used.nano > 30


async def test_a_write_in_flight_is_settled_before_the_agent_goes_on() -> None:
    code = bounded(lambda run: run.call(pay, 500))
    tape = await live([code])
    assert tape.output()[3] == ["timed out", ["pay"]]
    assert list(paid.values()) == [500]
    order = kinds(tape, TimerFired, ToolDoubted, ToolIntent, ToolOutcome)
    assert order.count("ToolDoubted") == 1
    assert order[-1] == "TimerFired"
    assert of(tape, TimerFired)[-1].settled
    assert [event.settled_by for event in of(tape, ToolOutcome)] == ["repeat", ""]
    assert of(tape, RunParked), "the doubt was waited for without holding a worker"
    await replays(tape, code)


async def test_an_agent_that_asks_again_after_a_time_out_cannot_double_a_payment() -> None:
    """The payment of the first call has taken effect when the second begins; the agent is told, and can decide."""

    @agent("insistent", version="1")
    async def insistent(run: Run, x: int) -> list[str]:
        try:
            await run.timeout(0.05, run.call(pay, 500))
        except TimedOut as error:
            if "pay" in error.fields["took_effect"]:
                return ["already paid"]
        return ["not paid"]

    tape = await live([insistent])
    assert tape.output()[3] == ["already paid"]


async def test_a_child_is_cancelled_and_its_end_is_known() -> None:
    code = bounded(lambda run: run.call(sleeper, 60))
    tape = await live([code, sleeper])
    assert tape.output()[3] == ["timed out", []]
    outcome = of(tape, ChildOutcome)[0]
    assert outcome.outcome == "cancelled"
    assert tape.events.index(outcome) < tape.events.index(of(tape, TimerFired)[-1])
    await replays(tape, code, sleeper)


async def test_a_question_to_a_person_is_withdrawn() -> None:
    code = bounded(lambda run: run.call(refund, 500), 0.2)
    tape = await live([code])
    assert tape.output()[3] == ["timed out", []]
    assert [event.decision for event in of(tape, ApprovalDecided)] == ["withdrawn"]
    parked = of(tape, RunParked)[0]
    assert {waiting.kind for waiting in parked.waiting} == {"approval", "timer"}
    await replays(tape, code)


async def test_a_parked_run_wakes_at_the_earliest_time_out() -> None:
    @agent("nested", version="1")
    async def nested(run: Run, x: int) -> list[str]:
        words = []
        try:
            await run.timeout(60, run.timeout(0.1, run.sleep(600)))
        except TimedOut as error:
            words.append(f"{error.fields['seconds']:g}")
        try:
            await run.timeout(0.1, run.timeout(60, run.sleep(600)))
        except TimedOut as error:
            words.append(f"{error.fields['seconds']:g}")
        return words

    tape = await asyncio.wait_for(live([nested]), 10)
    assert tape.output()[3] == ["0.1", "0.1"]
    assert of(tape, RunParked)
    await replays(tape, nested)


async def test_the_inner_time_out_is_caught_inside_and_the_outer_goes_on() -> None:
    async def work(run: Run) -> str:
        with contextlib.suppress(TimedOut):
            await run.timeout(0.03, run.call(stuck, 1))
        return "went on"

    code = bounded(work, 30)
    tape = await live([code])
    assert tape.output()[3] == "went on"
    await replays(tape, code)


async def test_branches_side_by_side_have_time_outs_of_their_own() -> None:
    @agent("side-by-side", version="1")
    async def side_by_side(run: Run, x: int) -> list[Any]:
        async def one(seconds: float, work: float) -> str:
            try:
                await run.timeout(seconds, run.sleep(work))
            except TimedOut:
                return "cut"
            return "done"

        return await run.gather(one(0.05, 60), one(60, 0.1), one(0.15, 60), one(60, 0.01))

    tape = await live([side_by_side])
    assert tape.output()[3] == ["cut", "done", "cut", "done"]
    await replays(tape, side_by_side)


async def test_code_inside_is_closed_and_sees_no_error() -> None:
    seen: list[str] = []

    async def work(run: Run) -> None:
        try:
            await run.call(stuck, 1)
        except BaseException as error:
            seen.append(type(error).__name__)
            raise
        finally:
            seen.append("closed")

    await live([bounded(work)])
    assert seen == ["GeneratorExit", "closed"]


async def test_code_that_waits_for_something_of_its_own_is_closed_too() -> None:
    async def work(run: Run) -> None:
        never = asyncio.Event()
        await run.gather(never.wait(), run.call(stuck, 1))

    code = bounded(work)
    tape = await live([code])
    assert tape.output()[3] == ["timed out", []]
    await replays(tape, code)


async def test_an_uncaught_time_out_fails_the_run_with_its_code() -> None:
    @agent("careless", version="1")
    async def careless(run: Run, x: int) -> None:
        await run.timeout(0.01, run.sleep(60))

    tape = await live([careless])
    assert (tape.end.outcome, tape.end.code) == ("failed", "timed_out")


@pytest.mark.parametrize("seconds", [-1, float("nan"), 400 * 86_400])
async def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    tape = await live([bounded(lambda run: run.sleep(1), seconds)])
    assert tape.end.code == "input_invalid"


async def test_a_tool_knows_when_nobody_waits_any_more() -> None:
    told: list[ToolContext] = []

    @tool(effect="read")
    async def look(x: int, context: ToolContext) -> int:
        """Look."""
        told.append(context)
        return x

    await run_live(bounded(lambda run: run.call(look, 1), 30), 1)
    await run_live(bounded(lambda run: run.call(look, 1), 3000), 1)
    assert told[0].seconds_left is not None
    assert 29 < told[0].seconds_left <= 30
    assert told[1].deadline - told[0].deadline > 2_900_000_000


async def test_a_killed_run_does_not_wait_for_what_its_time_out_cut_short() -> None:
    from penstock.ports.records import Stop

    journal = MemoryJournal()
    code = bounded(lambda run: run.call(pay, 500))
    async with open_on(journal, [code], settings=SETTINGS) as platform:  # settling would take seconds
        run = await platform.submit(code, 1)
        async with asyncio.timeout(30):
            while not of(Tape(run, journal), ToolDoubted):
                await asyncio.sleep(0.005)
        await journal.stop_run(TENANT, run, Stop.KILL, "ann", "enough")
        result = await asyncio.wait_for(platform.result(run), 3)
    assert result.outcome == "killed"
    assert any("took effect" in line for line in result.missing)
