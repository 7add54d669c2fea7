"""Who moves when: outcomes that come together, branches that wait for each other, neighbours, misuse of the gates."""

import asyncio
import collections
from typing import Any

import pytest
from tests.sim import programs
from tests.sim.programs import World, simulated
from tests.sim.tapes import SETTINGS, TENANT, Tape, go_on, open_on, run_live, same_end

from penstock import Run, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import RunClaimed, RunEnded, RunParked
from penstock.ports.records import Status
from penstock.runs.submit import Request

order: list[str] = []
gates: dict[str, asyncio.Event] = {}


@tool(effect="read", repeatable=True)
async def arrive(name: str, after: str = "") -> str:
    """Returns when ``after`` has arrived."""
    if after:
        await gates.setdefault(after, asyncio.Event()).wait()
    gates.setdefault(name, asyncio.Event()).set()
    return name


@tool(effect="read", repeatable=True)
async def show(seen: list[str]) -> int:
    """Puts an order on the tape."""
    return len(seen)


@pytest.fixture(autouse=True)
def _empty() -> None:
    order.clear()
    gates.clear()
    programs.world = World()


async def replays(live: Tape, *agents: Any) -> Tape:
    """Replay the tape up to its last event; nothing but that is written."""
    again = await go_on(live, len(live.rows) - 1, agents)
    assert [type(event) for event in again.events[len(live.rows) - 1 :]] == [RunClaimed, RunEnded]
    assert same_end(again.end, live.end)
    return again


@agent("burst", version="1")
async def burst(run: Run, width: int) -> list[str]:
    """All outcomes are there in one batch of the loop; the order in which branches saw them goes on the tape."""
    seen: list[str] = []

    async def one(index: int) -> str:
        name = await run.call(arrive, f"n{index}", "go" if index else "")
        seen.append(name)
        await run.call(show, list(seen))
        return str(name)

    gates["go"] = asyncio.Event()
    asyncio.get_running_loop().call_soon(gates["go"].set)
    return [*(await run.gather(*(one(index) for index in range(width)))), *seen]


async def test_outcomes_of_one_batch_come_in_the_recorded_order() -> None:
    live = await run_live(burst, 40)
    assert live.end.outcome == "succeeded"
    assert (await replays(live, burst)).output() == live.output()


@agent("slow-and-quick", version="1")
async def slow_and_quick(run: Run, value: int) -> list[str]:
    async def quick() -> None:
        for index in range(3):
            name = await run.call(arrive, f"quick {index}")
            order.append(name)

    async def slow() -> None:
        order.append(await run.call(arrive, "slow", "quick 2"))

    await run.gather(slow(), quick())
    return list(order)


async def test_an_outcome_is_not_held_up_by_another_branchs_call() -> None:
    """The slow call ends only after all the quick ones have been released to the agent and called again."""
    live = await run_live(slow_and_quick, 0)
    assert live.output()[3] == ["quick 0", "quick 1", "quick 2", "slow"]


@agent("hand-over", version="1")
async def hand_over(run: Run, value: int) -> list[Any]:
    """A branch gives another one work through a queue, a lock and an event of asyncio's own."""
    queue: asyncio.Queue[str] = asyncio.Queue(1)
    lock, opened = asyncio.Lock(), asyncio.Event()
    seen: list[str] = []

    async def produce(name: str) -> None:
        async with lock:
            await queue.put(await run.call(arrive, name))
        opened.set()

    async def consume() -> None:
        await opened.wait()
        for _ in range(4):
            seen.append(await queue.get())
            await run.call(show, list(seen))

    await run.gather(consume(), *(produce(f"p{index}") for index in range(4)))
    return list(seen)


async def test_branches_may_wait_for_each_other() -> None:
    live = await run_live(hand_over, 0)
    assert live.output()[3] == ["p0", "p1", "p2", "p3"]
    assert (await replays(live, hand_over)).output() == live.output()


NEIGHBOURS = 1000
PROGRAM = {
    "do": "seq",
    "steps": [
        {"do": "random", "x": 1},
        {
            "do": "gather",
            "steps": [
                {"do": "ordered", "x": 1, "pause": 3},
                {"do": "semaphore", "x": 0, "steps": [{"do": "ordered", "x": 2, "pause": 0}, {"do": "ask", "x": 3}]},
                {"do": "queue", "steps": [{"do": "ordered", "x": 4, "pause": 1}, {"do": "keyed", "x": 5}]},
            ],
        },
    ],
}


async def test_a_thousand_neighbours_in_one_loop_change_nothing() -> None:
    """Some runs live among many, then replayed while as many others run, then alone."""
    journal = MemoryJournal()
    small = {"do": "ordered", "x": 1, "pause": 2}
    async with open_on(journal, [simulated], person=None) as platform:
        requests = [Request(simulated, small if number % 100 else PROGRAM) for number in range(NEIGHBOURS)]
        runs = await platform.submit_many(requests)
        results = [await platform.result(run, timeout_seconds=30) for run in runs]
    assert collections.Counter(result.outcome for result in results) == {"succeeded": NEIGHBOURS}
    watched = [Tape(run, journal) for run in runs[::100]]
    ends = [tape.end for tape in watched]
    lengths = [len(tape.rows) for tape in watched]
    for tape in watched:
        stored = journal._store.runs[TENANT, tape.run]
        stored.tape.pop()
        stored.status, stored.wake_at, stored.worker = Status.QUEUED, 0, None
    asked = programs.world.asked
    async with open_on(journal, [simulated], person=None) as platform:
        others = await platform.submit_many([Request(simulated, small) for _ in range(NEIGHBOURS)])
        for run in [tape.run for tape in watched] + others:
            assert (await platform.result(run, timeout_seconds=30)).ok
    assert programs.world.asked == asked + NEIGHBOURS, "only the others asked anything"
    assert [len(tape.rows) for tape in watched] == [length + 1 for length in lengths]
    assert all(same_end(tape.end, end) for tape, end in zip(watched, ends, strict=True))
    await replays(watched[0], simulated)


@agent("impatient", version="1")
async def impatient(run: Run, how: str) -> str:
    try:
        async with asyncio.timeout(0.02):
            if how == "sleep":
                await run.sleep(30)
            elif how == "gather":
                await run.gather(run.sleep(30), run.call(arrive, "x", "never"))
            else:
                await run.call(arrive, "x", "never")
    except BaseException as error:  # noqa: BLE001 - what users should not do
        return f"swallowed {type(error).__name__}"
    return "not cancelled"


@pytest.mark.parametrize("how", ["call", "gather"])
async def test_a_bare_timeout_around_a_gate_fails_with_advice(how: str) -> None:
    live = await run_live(impatient, how)
    assert (live.end.outcome, live.end.code) == ("failed", "gate_cancelled")
    assert "instead of cancelling the call from outside" in live.end.needed[0]


async def test_a_bare_timeout_around_a_held_sleep_fails_with_advice() -> None:
    """The sleeping run is kept from parking by a call in flight, so the time-out can strike."""

    @agent("impatient-sleeper", version="1")
    async def sleeper(run: Run, value: int) -> None:
        async def nap() -> None:
            async with asyncio.timeout(0.02):
                await run.sleep(30)

        await run.gather(nap(), run.call(arrive, "x", "never"))

    live = await run_live(sleeper, 0)
    assert (live.end.outcome, live.end.code) == ("failed", "gate_cancelled")


@agent("stray", version="1")
async def stray(run: Run, how: str) -> list[Any]:
    """Calls a gate from a task of its own."""
    if how == "task":
        return [await asyncio.create_task(run.call(arrive, "x"))]
    return list(await asyncio.gather(run.call(arrive, "x"), run.call(arrive, "y")))


@pytest.mark.parametrize("how", ["task", "gather"])
async def test_a_gate_called_from_a_task_that_is_no_branch_says_so(how: str) -> None:
    live = await run_live(stray, how)
    assert (live.end.outcome, live.end.code) == ("failed", "gate_misused")
    assert "run.gather" in live.end.needed[0]


@tool(effect="write", risk="high")
async def pay(x: int) -> int:
    """Waits for a person."""
    return x


closed: list[str] = []


@agent("clinging", version="1")
async def clinging(run: Run, how: str) -> Any:
    try:
        return await run.call(pay, 1)
    except BaseException as error:
        closed.append(type(error).__name__)
        if how == "calls":
            await run.call(arrive, "x")
        raise
    finally:
        closed.append("finally")


async def test_a_parked_call_unwinds_without_an_exception_the_code_could_answer() -> None:
    """``except BaseException`` sees a GeneratorExit, ``finally`` runs; a gate called there refuses; the run goes on."""
    for how in ("raises", "calls"):
        closed.clear()
        live = await run_live(clinging, how)
        assert live.output()[:2] == ["succeeded", ""], how
        assert any(isinstance(event, RunParked) for event in live.events)
        assert closed == ["GeneratorExit", "finally", "finally"]


@agent("unwilling", version="1")
async def unwilling(run: Run, value: int) -> Any:
    """Awaits something of its own instead of ending."""
    try:
        return await run.call(pay, 1)
    except GeneratorExit:
        await asyncio.sleep(60)


async def test_code_that_refuses_to_close_taints_its_worker() -> None:
    journal = MemoryJournal()
    async with open_on(journal, [unwilling]) as platform:
        assert platform._working is not None
        assert platform.worker is not None
        platform.worker.drain_when_tainted = True  # as in a process that somebody replaces when it ends
        run = await platform.submit(unwilling, 0)
        await asyncio.wait_for(asyncio.shield(platform._working), 5)
        assert platform.worker.tainted == 1
        row = await journal.get_run(TENANT, run)
    assert row is not None
    assert row.status != "ended"


@agent("rude", version="1")
async def rude(run: Run, how: str) -> Any:
    if how == "exit":
        raise SystemExit(3)
    if how == "branch exit":
        return await run.gather(leave())
    if how == "tool exit":
        return await run.call(leave_tool)
    task = asyncio.get_running_loop().create_future()
    task.cancel()
    return await task


async def leave() -> None:
    raise SystemExit(3)


@tool(effect="read")
async def leave_tool() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("exit", "agent_raised"),
        ("branch exit", "agent_raised"),
        ("tool exit", "tool_failed"),
        ("cancel", "agent_raised"),
    ],
)
async def test_code_that_wants_to_end_the_process_ends_its_run_alone(how: str, code: str) -> None:
    live = await run_live(rude, how)
    assert (live.end.outcome, live.end.code) == ("failed", code)


async def test_two_runs_park_and_wake_without_a_worker_between() -> None:
    """A sleeping run is a row: nothing of it is in memory while it sleeps."""

    @agent("sleeper", version="1")
    async def sleeper(run: Run, value: int) -> int:
        await run.sleep(0.15)
        return value

    journal = MemoryJournal()
    async with open_on(journal, [sleeper], settings=SETTINGS) as platform:
        runs = await platform.submit_many([Request(sleeper, number) for number in range(20)])
        async with asyncio.timeout(5):
            while {stored.status for stored in journal._store.runs.values()} != {Status.PARKED}:
                await asyncio.sleep(0.005)
        assert platform.worker is not None
        assert platform.worker.running == {}
        assert [(await platform.result(run, timeout_seconds=5)).output for run in runs] == list(range(20))
