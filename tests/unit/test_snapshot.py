"""Snapshots of the standard loop: taken, used, checked, and never trusted over the tape."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec
import pytest

from penstock import Agent, Budget, Run, Settings, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.events import Amount, ModelIntent, RunHandedBack, decode
from penstock.events.messages import Message, ToolCall, say
from penstock.gates.snapshots.state import FORMAT, State, decode_state, encode_state
from penstock.journal.chain import verify
from penstock.journal.payloads import address, make_payload, unpack
from penstock.kernel.errors import ChainBroken, EventUnreadable
from penstock.ports.model import ModelRequest, ModelResponse
from penstock.ports.snapshots import Snapshot
from penstock.runs.client import Penstock
from penstock.runs.replaying.state_check import check_state
from penstock.runs.work import loading
from penstock.runs.work.beginning import begin
from penstock.testing import ScriptedModel
from penstock.views.audit import verify_run
from penstock.wiring import assemble

TENANT = "default"
EVERY = 40
SETTINGS = Settings(poll_seconds=0.02, snapshot_every_events=EVERY, drain_seconds=5)


class Counter(ScriptedModel):
    """Asks for a look at each step; stands still at some of them until it is let on."""

    def __init__(self, steps: int) -> None:
        super().__init__(["never"], "steady:model")
        self.steps = steps
        self.stops = {steps: asyncio.Event()}
        self.asked: list[int] = []
        self.stands = asyncio.Event()

    async def request(self, request: ModelRequest) -> ModelResponse:
        number = sum(message.role == "assistant" for message in request.messages)
        self.asked.append(number)
        if number in self.stops and not self.stops[number].is_set():
            self.stands.set()
            await self.stops[number].wait()
        used = Amount(10 * len(request.messages), 3)
        if number >= self.steps:
            return ModelResponse(say("assistant", f"{number} steps"), used, "stop")
        call = ToolCall(f"c{number}", "look", f'{{"number": {number}}}')
        return ModelResponse(Message("assistant", [call]), used, "tool_calls")


@tool(effect="read")
async def look(number: int) -> str:
    """Look."""
    return f"finding {number}"


def looker(model: Counter, **options: Any) -> Agent:
    return Agent(
        "looker", model=model, instructions="Look.", tools=[look], budget=Budget(steps=10_000, calls=10_000), **options
    )


@pytest.fixture(autouse=True)
def _short_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "LONG_EVENTS", 20)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[State | None]:
    """What each execution begins with."""
    found: list[State | None] = []

    def noted(claim: Any, tape: Any, log: Any, services: Any, state: State | None) -> Any:
        found.append(state)
        return begin(claim, tape, log, services, state)

    monkeypatch.setattr("penstock.runs.work.executor.begin", noted)
    return found


@asynccontextmanager
async def stopped_at(steps: int, **options: Any) -> AsyncIterator[tuple[Penstock, Agent, Counter, UUID]]:
    """A run whose worker was lost in the model call after so many steps; nobody works."""
    model = Counter(steps)
    one = looker(model, **options)
    async with assemble(MemoryJournal(), SETTINGS, agents=[one]) as platform:
        platform.start_worker("first")
        run = await platform.submit(one, "go")
        await model.stands.wait()
        await crash(platform)
        model.asked.clear()
        yield platform, one, model, run


async def crash(platform: Penstock) -> None:
    """End the worker without letting it put anything away."""
    worker = platform.worker
    assert worker is not None
    for execution in list(worker.running.values()):
        execution.lose()
    await platform.journal.retire(worker.id)
    worker.drain()
    assert platform._working is not None
    await platform._working


async def finish(platform: Penstock, model: Counter, run: UUID, name: str = "second") -> str:
    """Let another worker go on; the run's output."""
    for stop in model.stops.values():
        stop.set()
    platform.start_worker(name)
    result = await platform.result(run, timeout_seconds=60)
    assert result.ok, result
    row = await platform.journal.get_run(TENANT, run)
    assert row is not None
    verify(TENANT, run, await platform.journal.tape(TENANT, run), row.head, row.last_seq)
    assert isinstance(result.output, str)
    return result.output


async def snapshot_of(platform: Penstock, run: UUID) -> Snapshot:
    return (await platform.journal.snapshots.latest([(TENANT, run)]))[TENANT, run]


async def state_of(platform: Penstock, run: UUID) -> State:
    snapshot = await snapshot_of(platform, run)
    stored = await platform.journal.get_payloads(TENANT, str(run), [snapshot.address])
    state = decode_state(unpack(stored[snapshot.address], await platform.journal.subject_key(TENANT, str(run))))
    assert state is not None
    return state


async def forge(platform: Penstock, run: UUID, state: State, **fields: Any) -> None:
    """Put another state in the place of the snapshot's, as somebody could who holds the subject's key."""
    key = await platform.journal.subject_key(TENANT, str(run))
    assert key is not None
    data = encode_state(state)
    where = address(key, data)
    await platform.journal.put_payloads([make_payload(TENANT, str(run), where, data)])
    snapshot = msgspec.structs.replace(await snapshot_of(platform, run), address=where, **fields)
    assert isinstance(platform.journal, MemoryJournal)
    platform.journal._store.snapshots[TENANT, run] = snapshot


async def test_a_run_goes_on_from_its_snapshot_and_asks_nothing_again(begun: list[State | None]) -> None:
    async with stopped_at(60) as (platform, _, model, run):
        snapshot = await snapshot_of(platform, run)
        row = await platform.journal.get_run(TENANT, run)
        assert row is not None
        assert row.last_seq - EVERY - 4 <= snapshot.seq <= row.last_seq
        assert (await verify_run(platform.journal, TENANT, run)).snapshots == 1
        assert await finish(platform, model, run) == "60 steps"
        assert model.asked == [60], "only the call that was in flight is made again"
        assert begun[-1] is not None
        assert begun[-1].engine.seq == snapshot.seq
        assert await platform.journal.snapshots.latest([(TENANT, run)]) == {}, "an ended run needs none"


async def test_without_snapshots_none_is_taken_or_used(begun: list[State | None]) -> None:
    async with stopped_at(30) as (platform, _, model, run):
        platform.services.settings = Settings(poll_seconds=0.02, snapshot_every_events=0)
        assert await finish(platform, model, run) == "30 steps"
        assert begun == [None, None]


@pytest.mark.parametrize("harm", ["missing", "changed", "another history", "another run's", "a newer format"])
async def test_a_snapshot_that_cannot_be_trusted_is_left_alone(
    harm: str, begun: list[State | None], caplog: pytest.LogCaptureFixture
) -> None:
    async with stopped_at(30) as (platform, _, model, run):
        snapshot, state = await snapshot_of(platform, run), await state_of(platform, run)
        journal = platform.journal
        assert isinstance(journal, MemoryJournal)
        payloads = journal._store.payloads[TENANT, str(run)]
        if harm == "missing":
            del payloads[snapshot.address]
        elif harm == "changed":
            other = encode_state(state).replace(b'"repairs":0', b'"repairs":1')
            payloads[snapshot.address] = make_payload(TENANT, str(run), snapshot.address, other)
        elif harm == "another history":
            await forge(platform, run, state, head=b"x" * 32)
        elif harm == "another run's":
            await forge(platform, run, msgspec.structs.replace(state, run=str(UUID(int=7))))
        else:
            await forge(platform, run, msgspec.structs.replace(state, format=FORMAT + 1), format=FORMAT + 1)
        audit = await verify_run(journal, TENANT, run)
        with caplog.at_level(logging.WARNING):
            assert await finish(platform, model, run) == "30 steps"
        assert begun[-1] is None
        assert model.asked == [30]
        if harm != "a newer format":
            assert [broken.problem for broken in audit.broken] == ["snapshot"]
            assert "is not used" in caplog.text


async def test_the_audit_finds_a_figure_that_does_not_follow_from_the_events() -> None:
    async with stopped_at(30) as (platform, _, model, run):
        state = await state_of(platform, run)
        state.engine.counters["tokens"] -= 1
        await forge(platform, run, state)
        [broken] = (await verify_run(platform.journal, TENANT, run)).broken
        assert (broken.problem, broken.seq) == ("snapshot", state.engine.seq)
        assert "counters" in broken.words
        state.engine.counters["tokens"] += 1
        state.loop.refs[1] = state.loop.refs[0]
        await forge(platform, run, state)
        [broken] = (await verify_run(platform.journal, TENANT, run)).broken
        assert "conversation" in broken.words
        await finish(platform, model, run)


async def test_a_state_that_the_code_does_not_agree_with_makes_way_for_the_tape(begun: list[State | None]) -> None:
    async with stopped_at(30) as (platform, _, model, run):
        state = await state_of(platform, run)
        state.loop.refs[1] = state.loop.refs[0]
        await forge(platform, run, state)
        assert await finish(platform, model, run) == "30 steps"
        assert [one is not None for one in begun] == [False, True, False]
        events = [decode(row.body) for row in await platform.journal.tape(TENANT, run)]
        assert any(isinstance(event, RunHandedBack) and "snapshot" in event.reason for event in events)
        assert model.asked == [30]


async def test_the_code_finds_a_state_that_it_does_not_come_to() -> None:
    """Only the code can tell how often an answer was sent back: that is not in the events."""
    async with stopped_at(30) as (platform, one, model, run):
        row = await platform.journal.get_run(TENANT, run)
        assert row is not None
        assert await check_state(platform.services, row, [one])
        state = await state_of(platform, run)
        state.loop.repairs = 1
        await forge(platform, run, state)
        assert (await verify_run(platform.journal, TENANT, run)).ok, "the events alone do not show it"
        with pytest.raises(ChainBroken, match="stands elsewhere"):
            await check_state(platform.services, row, [one])
        await finish(platform, model, run)
        assert not await check_state(platform.services, row, [one])


async def test_another_release_replays_the_whole_tape(begun: list[State | None]) -> None:
    async with stopped_at(30) as (platform, _, model, run):
        snapshot, state = await snapshot_of(platform, run), await state_of(platform, run)
        state.release = "f" * 16
        await forge(platform, run, state, release="f" * 16)
        assert snapshot.release != "f" * 16
        assert await finish(platform, model, run) == "30 steps"
        assert begun[-1] is None


async def test_one_snapshot_after_another_over_many_workers(begun: list[State | None]) -> None:
    model = Counter(120)
    model.stops = {number: asyncio.Event() for number in (30, 60, 90)}
    one = looker(model)
    async with assemble(MemoryJournal(), SETTINGS, agents=[one]) as platform:
        run = await platform.submit(one, "go")
        for number in (30, 60, 90):
            model.stands.clear()
            platform.start_worker(f"w{number}")
            await model.stands.wait()
            await crash(platform)
            model.stops[number].set()
            assert (await verify_run(platform.journal, TENANT, run)).ok
        assert await finish(platform, model, run) == "120 steps"
        seqs = [state.engine.seq if state else 0 for state in begun]
        assert seqs == sorted(seqs)
        assert seqs[0] == 0
        assert all(seqs[1:])
        assert sorted(model.asked) == sorted([*range(121), 30, 60, 90])
        events = [decode(row.body) for row in await platform.journal.tape(TENANT, run)]
        sent = [len(event.payloads["messages"]) for event in events if isinstance(event, ModelIntent)]
        assert max(sent[1:]) <= 2, "what was sent before is on the tape once"


async def test_after_prepare_and_with_a_consequence(begun: list[State | None]) -> None:
    prepared: list[int] = []

    async def gather_context(run: Run, value: str) -> str:
        prepared.append(1)
        await run.call(look, 1)
        return value + "!"

    async def deliver(run: Run, value: str, result: str) -> str:
        await run.call(look, 2)
        return f"{value} {result}"

    async with stopped_at(30, prepare=gather_context, consequence=deliver) as (platform, _, model, run):
        assert await finish(platform, model, run) == "go! 30 steps"
        assert begun[-1] is not None
        assert prepared == [1]


async def test_an_agent_with_a_compensation_is_replayed_from_its_tape(begun: list[State | None]) -> None:
    async def take_back(run: Run, value: str, failed: Any) -> None:
        raise AssertionError("nothing failed")

    async with stopped_at(30, compensate=take_back) as (platform, _, model, run):
        assert await platform.journal.snapshots.latest([(TENANT, run)]) == {}
        assert await finish(platform, model, run) == "30 steps"
        assert begun == [None, None]


async def test_function_agents_have_none() -> None:
    @agent("by-hand")
    async def by_hand(run: Run, upto: int) -> int:
        for number in range(upto):
            await run.call(look, number)
        return upto

    async with assemble(MemoryJournal(), SETTINGS, agents=[by_hand]) as platform:
        platform.start_worker("w")
        run = await platform.submit(by_hand, 80)
        assert (await platform.result(run, timeout_seconds=60)).output == 80
        assert isinstance(platform.journal, MemoryJournal)
        assert platform.journal._store.snapshots == {}


async def test_an_erased_subject_leaves_no_state_behind() -> None:
    async with stopped_at(30) as (platform, _, model, run):
        snapshot = await snapshot_of(platform, run)
        await platform.journal.erase_subject(TENANT, str(run))
        assert await platform.journal.get_payloads(TENANT, str(run), [snapshot.address]) == {}
        assert (await verify_run(platform.journal, TENANT, run)).ok
        for stop in model.stops.values():
            stop.set()


def test_a_state_that_is_no_json_is_unreadable_and_one_of_another_format_is_none() -> None:
    with pytest.raises(EventUnreadable):
        decode_state(b'{"format": 2')
    with pytest.raises(EventUnreadable):
        decode_state(b'{"format": 2}')
    assert decode_state(b'{"format": 99}') is None
