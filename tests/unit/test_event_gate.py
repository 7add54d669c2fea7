"""Waiting for events and runs: what the agent gets, what is recorded, and that it replays."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from penstock import Run, Settings, agent
from penstock.adapters.memory.waits import MemoryWaits
from penstock.events import MessageDelivered, MessageReceived, MessageSent, RunClaimed, WaitBegun, WaitEnded, decode
from penstock.gates.run.context import RunContext
from penstock.gates.waits.circle import begin_wait
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import (
    ClaimLost,
    InboxFull,
    InputInvalid,
    InputTooLarge,
    RunUnknown,
    TimedOut,
    WaitCycle,
    WaitFailed,
)
from penstock.kernel.ids import new_id
from penstock.ports.controls import of_all
from penstock.ports.records import Status, Stop
from penstock.ports.waits import Beginning, Begun, Wait
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.wiring import open_in_memory

SOON = Settings(poll_seconds=0.02, events_max_per_run=4, events_max_per_key=3, event_value_max_bytes=1024)


@agent("taker", version="1")
async def taker(run: Run, names: list[str]) -> list[Any]:
    return [await run.wait_event(name) for name in names]


@agent("keyed", version="1")
async def keyed(run: Run, key: str) -> Any:
    return await run.wait_event("paid", key=key)


@agent("drawn", version="1")
async def drawn(run: Run, key: str) -> Any:
    """Where it waits depends on what it has drawn."""
    await run.record("lot", lambda: 7)
    return await run.wait_event("paid", key=key)


@agent("impatient", version="1")
async def impatient(run: Run, key: str) -> Any:
    try:
        return await run.wait_event("paid", key=key, timeout_seconds=0.05)
    except TimedOut as late:
        return late.code


@agent("moves-on", version="1")
async def moves_on(run: Run, key: str) -> Any:
    try:
        return await run.wait_event("paid", key=key, timeout_seconds=0.05)
    except TimedOut:
        return await run.wait_event("end")


@agent("chained", version="1")
async def chained(run: Run, value: int) -> int:
    await run.sleep(0.02)
    if value < 3:
        await run.continue_as(value + 1)
    return value


@agent("cut-short", version="1")
async def cut_short(run: Run, value: dict[str, str]) -> list[str]:
    codes = []
    for begin in (lambda: run.wait_event("paid", key="k"), lambda: run.wait_run(UUID(value["target"]))):
        try:
            await run.timeout(0.05, begin())
        except TimedOut as late:
            codes.append(late.code)
    return codes


@agent("follower", version="1")
async def follower(run: Run, target: str) -> dict[str, Any]:
    ended = await run.wait_run(UUID(target))
    return {"outcome": ended.outcome, "output": ended.output, "code": ended.code}


@agent("meets", version="1")
async def meets(run: Run, value: dict[str, str]) -> str:
    """Waits for another once it is told which."""
    other = UUID(await run.wait_event("other"))
    try:
        return (await run.wait_run(other)).outcome
    except WaitCycle as circle:
        return f"{circle.code}: {len(circle.fields['circle'])}"


@agent("below", version="1")
async def below(run: Run, value: int) -> int:
    return value


@agent("above", version="1")
async def above(run: Run, session: str) -> Any:
    try:
        return await run.call(below, 1, session=session)
    except WaitCycle as circle:
        return circle.fields["circle"][0] == str(run.id)


@agent("asker", version="1")
async def asker(run: Run, other: str) -> Any:
    assert await run.send_event(UUID(other), "question", {"n": 1})
    return await run.wait_event("answer", from_run=UUID(other))


@agent("answerer", version="1")
async def answerer(run: Run, asked_by: str) -> str:
    question = await run.wait_event("question")
    other = UUID(await run.wait_event("who"))
    assert await run.send_event(other, "answer", question["n"] + 1)
    return "answered"


@agent("silent", version="1")
async def silent(run: Run, seconds: float) -> str:
    await run.sleep(seconds)
    return "said nothing"


@agent("hopeful", version="1")
async def hopeful(run: Run, sender: str) -> str:
    try:
        await run.wait_event("word", from_run=UUID(sender))
    except WaitFailed as failed:
        return failed.what
    return "heard"


@agent("both", version="1")
async def both(run: Run, value: int) -> list[Any]:
    return await run.gather(run.wait_event("a"), run.wait_event("b"), run.wait_event("a"))


AGENTS = [
    drawn,
    chained,
    cut_short,
    taker,
    keyed,
    impatient,
    moves_on,
    follower,
    meets,
    below,
    above,
    asker,
    answerer,
    silent,
    hopeful,
    both,
]


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(SOON, agents=AGENTS) as opened:
        yield opened


async def parked(platform: Penstock, run: UUID, claims: int = 1) -> None:
    """The run has been put away, after so many claims."""
    async with asyncio.timeout(30):
        while True:
            row = await platform.journal.get_run("default", run)
            events = await recorded(platform, run)
            if row and row.status is Status.PARKED and sum(isinstance(e, RunClaimed) for e in events) >= claims:
                return
            await asyncio.sleep(0.005)


async def recorded(platform: Penstock, run: UUID) -> list[Any]:
    return [decode(row.body) for row in await platform.journal.tape("default", run)]


async def output(platform: Penstock, run: UUID) -> Any:
    """What the run came to; its record replays to the same events."""
    result = await platform.result(run, timeout_seconds=60)
    row = await platform.journal.get_run("default", run)
    assert row is not None
    replayed = await replay(platform.services, row, AGENTS)
    assert replayed.same, replayed.divergence
    return result.output


async def test_events_are_taken_in_order_before_and_after_the_wait(platform: Penstock) -> None:
    run = await platform.submit(taker, ["a", "b", "a"])
    assert await platform.send_event(run, "b", {"first": True}, dedup="1")
    assert not await platform.send_event(run, "b", {"first": False}, dedup="1")
    await parked(platform, run)
    assert await platform.send_event(run, "a", 1)
    assert await platform.send_event(run, "a", 2)
    assert await output(platform, run) == [1, {"first": True}, 2]
    events = await recorded(platform, run)
    assert len([event for event in events if isinstance(event, WaitBegun)]) == 3
    assert [event.sender for event in events if isinstance(event, WaitEnded)] == ["api"] * 3


async def test_an_event_that_nobody_waits_for_yet_survives_parkings_and_wakes_nobody(platform: Penstock) -> None:
    run = await platform.submit(taker, ["a", "b", "c"])
    await parked(platform, run)
    await platform.send_event(run, "c", 3)
    await asyncio.sleep(0.1)
    assert sum(isinstance(event, RunClaimed) for event in await recorded(platform, run)) == 1
    await platform.send_event(run, "a", 1)
    await parked(platform, run, claims=2)
    kept = [event for event in await recorded(platform, run) if isinstance(event, MessageReceived)]
    assert [event.dedup.split(":")[1] for event in kept] == ["c"], "it is on the tape, not in the inbox"
    await platform.send_event(run, "b", 2)
    assert await output(platform, run) == [1, 2, 3]


async def test_an_event_that_was_kept_on_the_tape_is_taken_once(platform: Penstock) -> None:
    run = await platform.submit(taker, ["x", "a", "a"])
    await platform.send_event(run, "a", 1)
    await parked(platform, run)
    await platform.send_event(run, "x", 0)
    await parked(platform, run, claims=2)
    await platform.send_event(run, "a", 2)
    assert await output(platform, run) == [0, 1, 2]


async def test_parallel_branches_take_each_event_once(platform: Penstock) -> None:
    run = await platform.submit(both, 0)
    for name, value in (("b", "B"), ("a", 1), ("a", 2)):
        await platform.send_event(run, name, value)
    assert await output(platform, run) == [1, "B", 2]


async def test_an_event_for_a_key_is_kept_until_somebody_waits(platform: Penstock) -> None:
    assert await platform.publish_event("paid", "order-1", {"cents": 5}, dedup="x")
    assert not await platform.publish_event("paid", "order-1", {"cents": 5}, dedup="x")
    run = await platform.submit(keyed, "order-1")
    assert await output(platform, run) == {"cents": 5}
    other = await platform.submit(keyed, "order-2")
    await parked(platform, other)
    await platform.publish_event("paid", "order-2", 7)
    assert await output(platform, other) == 7


async def test_a_wait_that_times_out_leaves_the_event_to_the_next(platform: Penstock) -> None:
    run = await platform.submit(impatient, "k")
    assert await output(platform, run) == "timed_out"
    going_on = await platform.submit(moves_on, "k")
    async with asyncio.timeout(30):
        while not any(isinstance(event, WaitEnded) for event in await recorded(platform, going_on)):
            await asyncio.sleep(0.005)
    await parked(platform, going_on)
    await platform.publish_event("paid", "k", 1)
    assert await output(platform, await platform.submit(keyed, "k")) == 1
    await platform.send_event(going_on, "end", "late")
    assert await output(platform, going_on) == "late"


async def test_a_cancelled_run_gives_back_what_it_did_not_take(platform: Penstock) -> None:
    first = await platform.submit(keyed, "k")
    await parked(platform, first)
    second = await platform.submit(keyed, "k")
    await parked(platform, second)
    await platform.journal.stop_scope(of_all(None), Stop.KILL, "test", "nothing is claimed meanwhile")
    await platform.publish_event("paid", "k", 1)
    await platform.cancel(first, actor="test")
    await platform.resume_everything(actor="test")
    assert (await platform.result(first, timeout_seconds=60)).outcome == "cancelled"
    assert await output(platform, second) == 1


async def test_the_end_of_another_run_with_its_output(platform: Penstock) -> None:
    target = await platform.submit(taker, ["a"])
    waiting = [await platform.submit(follower, str(target)) for _ in range(3)]
    for run in waiting:
        await parked(platform, run)
    await platform.send_event(target, "a", "done")
    for run in waiting:
        assert await output(platform, run) == {"outcome": "succeeded", "output": ["done"], "code": ""}
    late = await platform.submit(follower, str(target))
    assert (await output(platform, late))["outcome"] == "succeeded"


async def test_a_run_that_was_cancelled_is_told_as_such(platform: Penstock) -> None:
    target = await platform.submit(taker, ["a"])
    run = await platform.submit(follower, str(target))
    await parked(platform, run)
    await platform.cancel(target, actor="test")
    assert await output(platform, run) == {"outcome": "cancelled", "output": None, "code": "cancelled"}


async def test_a_run_that_goes_on_in_others_is_followed_to_the_last(platform: Penstock) -> None:
    target = await platform.submit(chained, 1)
    run = await platform.submit(follower, str(target))
    assert await output(platform, run) == {"outcome": "succeeded", "output": 3, "code": ""}


async def test_a_wait_that_a_time_out_cuts_short_leaves_the_event_to_the_next(platform: Penstock) -> None:
    target = await platform.submit(taker, ["never"])
    run = await platform.submit(cut_short, {"target": str(target)})
    await parked(platform, run)
    assert await output(platform, run) == ["timed_out", "timed_out"]
    assert not [edge for edge in await platform.journal.waits.edges("default", 10) if edge.run == run]
    await platform.publish_event("paid", "k", 1)
    assert await output(platform, await platform.submit(keyed, "k")) == 1


async def test_what_led_to_a_wait_is_on_the_tape_when_the_wait_begins(
    platform: Penstock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, if this worker dies now, the next holder may take another way: the event that this wait is given
    meanwhile would be nobody's."""
    begin = MemoryWaits.begin
    seen: list[list[str]] = []

    async def looked_at(self: MemoryWaits, wait: Wait) -> Beginning:
        row = self.store.runs[wait.tenant, wait.run]
        seen.append([type(decode(stored.body)).__name__ for stored in row.tape][-2:])
        return await begin(self, wait)

    monkeypatch.setattr(MemoryWaits, "begin", looked_at)
    run = await platform.submit(drawn, "k")
    await platform.publish_event("paid", "k", 1)
    assert await output(platform, run) == 1
    assert seen == [["NoteRecorded", "WaitBegun"]]


async def test_a_wait_is_given_back_once_it_is_on_the_tape_that_it_was_cut_short(
    platform: Penstock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next holder, if this one dies now, would wait there again with the event's letter in hand."""
    give_back = MemoryWaits.give_back
    seen: list[list[str]] = []

    async def looked_at(self: MemoryWaits, wait: Wait) -> None:
        row = self.store.runs[wait.tenant, wait.run]
        seen.append([type(decode(stored.body)).__name__ for stored in row.tape])
        assert (wait.epoch, row.status) == (row.epoch, Status.RUNNING)
        await give_back(self, wait)

    monkeypatch.setattr(MemoryWaits, "give_back", looked_at)
    target = await platform.submit(taker, ["never"])
    run = await platform.submit(cut_short, {"target": str(target)})
    assert await output(platform, run) == ["timed_out", "timed_out"]
    assert [kinds[-1] for kinds in seen] == ["TimerFired"]


async def test_a_worker_that_was_passed_learns_it_when_it_comes_to_wait() -> None:
    """Else it would sleep on what was never begun until something of its is to be written."""

    class Passed:
        async def begin(self, wait: Wait) -> Beginning:
            return Beginning(Begun.LOST)

    async def flush() -> None:
        """All is durable."""

    services = SimpleNamespace(journal=SimpleNamespace(waits=Passed()))
    ctx = SimpleNamespace(services=services, log=SimpleNamespace(flush=flush))
    wait = Wait("default", new_id(SystemClock()), "0", "event", "paid", key="k", epoch=1)
    with pytest.raises(ClaimLost, match="epoch 1"):
        await begin_wait(cast("RunContext", ctx), wait)


async def test_an_unknown_run_cannot_be_waited_for(platform: Penstock) -> None:
    run = await platform.submit(follower, str(new_id(SystemClock())))
    result = await platform.result(run, timeout_seconds=60)
    assert (result.outcome, result.code) == ("failed", "wait_failed")
    await output(platform, run)


async def test_two_runs_that_would_wait_for_each_other(platform: Penstock) -> None:
    one, other = await platform.submit(meets, {}), await platform.submit(meets, {})
    await parked(platform, one)
    await parked(platform, other)
    await asyncio.gather(platform.send_event(one, "other", str(other)), platform.send_event(other, "other", str(one)))
    outputs = [await output(platform, one), await output(platform, other)]
    assert sorted(outputs) == ["succeeded", "wait_cycle: 2"], "one is refused, and the other gets what it waits for"


async def test_a_child_in_its_parents_own_session_is_refused(platform: Penstock) -> None:
    run = await platform.submit(above, "s", session="s")
    assert await output(platform, run) is True
    free = await platform.submit(above, "t", session="s")
    assert await output(platform, free) == 1


async def test_runs_talk_to_each_other(platform: Penstock) -> None:
    second = await platform.submit(answerer, "")
    first = await platform.submit(asker, str(second))
    await parked(platform, first)
    await platform.send_event(second, "who", str(first))
    assert await output(platform, first) == 2
    assert await output(platform, second) == "answered"
    sent = [event for event in await recorded(platform, first) if isinstance(event, MessageSent | MessageDelivered)]
    assert [type(event) for event in sent] == [MessageSent, MessageDelivered]
    ended = [event for event in await recorded(platform, first) if isinstance(event, WaitEnded)]
    assert ended[0].sender == f"run {second}"


async def test_outsiders_cannot_speak_for_a_run(platform: Penstock) -> None:
    second = await platform.submit(silent, 0.3)
    run = await platform.submit(hopeful, str(second))
    await parked(platform, run)
    await platform.send_event(run, "word", "forged", sender=f"run {second}")
    assert "has ended without sending word" in await output(platform, run)


@pytest.mark.parametrize("name", ["", "a:b", "a b", "ä", "x" * 65, ".x"])
async def test_names_that_cannot_be(platform: Penstock, name: str) -> None:
    run = await platform.submit(taker, ["a"])
    with pytest.raises(InputInvalid):
        await platform.send_event(run, name, 1)
    with pytest.raises(InputInvalid):
        await platform.publish_event(name, "k", 1)


async def test_what_is_too_much(platform: Penstock) -> None:
    run = await platform.submit(taker, ["never"])
    with pytest.raises(InputTooLarge):
        await platform.send_event(run, "a", "x" * 2000)
    for _ in range(4):
        await platform.send_event(run, "a", 1)
    with pytest.raises(InboxFull):
        await platform.send_event(run, "a", 1)
    for _ in range(3):
        await platform.publish_event("a", "k", 1)
    with pytest.raises(InboxFull):
        await platform.publish_event("a", "k", 1)


@pytest.mark.parametrize("value", [float("nan"), "\ud800", 2**60, object()])
async def test_values_that_cannot_be_stored(platform: Penstock, value: Any) -> None:
    run = await platform.submit(taker, ["a"])
    with pytest.raises(InputInvalid):
        await platform.send_event(run, "a", value)


async def test_nobody_sends_across_tenants_or_to_the_dead(platform: Penstock) -> None:
    run = await platform.submit(taker, [])
    await platform.result(run, timeout_seconds=60)
    with pytest.raises(RunUnknown):
        await platform.send_event(run, "a", 1)
    alive = await platform.submit(taker, ["a"])
    with pytest.raises(RunUnknown):
        await platform.send_event(alive, "a", 1, tenant="zeta")
