"""Snapshots against the tape: random programs of the standard loop, a snapshot at every step, crashes everywhere.

Each snapshot holds byte for byte what the run's events, and the code replayed against them, come to; and a run that
goes on from one ends as it would have from its whole tape.
"""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.sim.tapes import SETTINGS, TENANT, Tape, comings_and_goings, cut, open_on

from penstock import Agent, Budget, Run, TransientToolError, tool
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.memory.snapshots import MemorySnapshots
from penstock.agents.tool import Tool
from penstock.events import Amount, Event
from penstock.events.messages import Message, Part, Text, ToolCall, say
from penstock.gates.limits import retry
from penstock.gates.order.tape import Tape as RunTape
from penstock.gates.run.context import RunContext
from penstock.gates.run.ledger import Ledger
from penstock.gates.run.services import Services
from penstock.gates.snapshots.state import Loop, State, decode_state, encode_state, fold
from penstock.journal.log import RunLog
from penstock.journal.payloads import unpack
from penstock.ports.model import ModelRequest, ModelResponse, Price
from penstock.ports.records import Claim, Payload
from penstock.ports.snapshots import Snapshot
from penstock.ports.tools import IdempotencyKey, ToolContext
from penstock.rules.verdict import RunFacts
from penstock.runs.approvals import Approval
from penstock.runs.replaying.replay import replay
from penstock.runs.work import loading
from penstock.runs.work.beginning import begin
from penstock.testing import ScriptedModel

Program = list[Any]
CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
EAGER = SETTINGS.__class__(poll_seconds=0.01, drain_seconds=0.1, snapshot_every_events=1)


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short runs go on from snapshots too, and nothing waits for long."""
    monkeypatch.setattr(loading, "LONG_EVENTS", 0)
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.001)


@tool(effect="read", repeatable=True)
async def look(number: int) -> dict[str, int]:
    """Look something up."""
    return {"found": number * 7}


@tool(effect="write", permission="auto", in_doubt="keyed", repeatable=True)
async def note(number: int, key: IdempotencyKey) -> str:
    """Write something down."""
    return f"noted {number}"


@tool(effect="read", attempts=2, repeatable=True)
async def flaky(number: int, context: ToolContext) -> int:
    """Fails the first time it is asked at each place."""
    if context.attempt == 1:
        raise TransientToolError("try again")
    return number


@tool(effect="read")
async def broken(number: int) -> int:
    """Always fails."""
    raise ValueError(f"{number} is not acceptable")


@tool(effect="write", risk="high", in_doubt="keyed", repeatable=True)
async def held(number: int, key: IdempotencyKey) -> int:
    """Waits for a person."""
    return number


@tool(effect="write", risk="prohibited")
async def prohibited(number: int) -> None:
    """Is never called."""


class Reply(BaseModel):
    """What the agent answers."""

    words: str
    steps: int


class Obedient(ScriptedModel):
    """Does what the program in the first message says: each step is a list of calls, or a word that is no answer."""

    def __init__(self, name: str) -> None:
        super().__init__([self._next], name, Price(1.0, 2.0), repeat=True)

    def _next(self, request: ModelRequest) -> ModelResponse:
        program: Program = json.loads(request.messages[1].text)
        done = sum(message.role == "assistant" for message in request.messages)
        used = Amount(len(request.messages) * 3, 7)
        if done >= len(program) or request.tool_choice == "none":
            answer = json.dumps({"words": f"after {done}", "steps": done})
            return ModelResponse(say("assistant", answer), used, "stop")
        step = program[done]
        if isinstance(step, str):
            return ModelResponse(say("assistant", step), used, "stop")
        parts: list[Part] = [Text(f"step {done}")]
        parts += [ToolCall(f"c{done}-{i}", name, json.dumps({"number": n})) for i, (name, n) in enumerate(step)]
        return ModelResponse(Message("assistant", parts), used, "tool_calls")


async def gather_context(run: Run, value: list[Any]) -> list[Any]:
    """Prepare: looks something up, asks which branch to take."""
    await run.call(look, 1)
    await run.patched("new-way")
    return value


async def check_reply(run: Run, prepared: list[Any], result: Reply) -> Reply:
    """Consequence: one more call."""
    await run.call(look, result.steps)
    return result


TOOLS: list[Tool[..., Any]] = [look, note, flaky, broken, held, prohibited]
plain = Agent(
    "plain-loop",
    model=Obedient("sim:obedient"),
    instructions="Obey.",
    tools=TOOLS,
    output=Reply,
    repairs=50,
    budget=Budget(steps=40, calls=60, retries=100, usd="100"),
)
staged = Agent(
    "staged-loop",
    model=Obedient("sim:staged"),
    instructions="Obey.",
    tools=TOOLS,
    output=Reply,
    repairs=50,
    budget=Budget(steps=30, retries=100),
    prepare=gather_context,
    consequence=check_reply,
)
AGENTS = {"plain": plain, "staged": staged}

calls = st.tuples(
    st.sampled_from(["look", "look", "note", "flaky", "broken", "held", "prohibited", "absent"]), st.integers(0, 3)
)
steps = st.one_of(st.lists(calls, min_size=1, max_size=3), st.just("not json"))
whole_programs = st.lists(steps, min_size=1, max_size=7)


def every_third_no(approval: Approval) -> str:
    """No to every third thing, yes to the rest."""
    return "deny" if approval.args["number"] % 3 == 0 else "approve"


class KeptSnapshots(MemorySnapshots):
    """Remembers every snapshot that was ever taken."""

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__(journal._store)
        self.all: list[tuple[Snapshot, Payload]] = []

    async def put(self, snapshot: Snapshot, state: Payload) -> bool:
        kept = await super().put(snapshot, state)
        if kept:
            self.all.append((snapshot, state))
        return kept


async def execute(
    journal: MemoryJournal, agent: Agent, run: UUID | None, program: Program
) -> tuple[Tape, KeptSnapshots]:
    """Run it, or go on with it, to its end."""
    kept = journal.snapshots = KeptSnapshots(journal)
    async with open_on(journal, [agent], settings=EAGER, person=every_third_no) as platform:
        run = run or await platform.submit(agent, program if agent is staged else json.dumps(program))
        await platform.result(run, timeout_seconds=20)
    return Tape(run, journal), kept


def state_of(tape: Tape, snapshot: Snapshot, payload: Payload) -> State:
    key = tape.journal._store.runs[TENANT, tape.run].subject_key
    state = decode_state(unpack(payload, key))
    assert state is not None
    return state


async def loop_by_replay(tape: Tape, agent: Agent, seq: int) -> Loop:
    """Where the code stands when it is replayed against the first ``seq`` events."""
    copy = cut(tape, seq)
    found: list[Loop] = []
    async with open_on(copy, [agent], person=None) as platform:
        assert platform.worker is not None
        platform.worker.drain()
        row = await copy.get_run(TENANT, tape.run)
        assert row is not None
        done = await replay(platform.services, row, [agent], on_state=found.append)
        assert done.same, done.divergence
    return found[-1]


@settings(max_examples=25, deadline=None, suppress_health_check=CHECKS)
@given(st.sampled_from(sorted(AGENTS)), whole_programs)
def test_each_snapshot_is_what_the_tape_and_the_code_come_to(name: str, program: Program) -> None:
    async def check() -> None:
        live, kept = await execute(MemoryJournal(), AGENTS[name], None, program)
        assert live.end.outcome in ("succeeded", "exhausted") or live.end.code == "output_invalid", live.end
        assert len(kept.all) >= 1
        for snapshot, payload in kept.all:
            state = state_of(live, snapshot, payload)
            assert live.rows[snapshot.seq - 1].hash == snapshot.head
            assert encode_state(state.engine) == encode_state(fold(live.rows[: snapshot.seq]))
            assert encode_state(state.loop) == encode_state(await loop_by_replay(live, AGENTS[name], snapshot.seq))

    asyncio.run(check())


@settings(max_examples=6, deadline=None, suppress_health_check=CHECKS)
@given(st.sampled_from(sorted(AGENTS)), whole_programs)
def test_from_every_crash_a_run_with_a_snapshot_ends_as_one_without(
    monkeypatch: pytest.MonkeyPatch, name: str, program: Program
) -> None:
    async def check() -> None:
        live, kept = await execute(MemoryJournal(), AGENTS[name], None, program)
        resumed = watch_resumes(monkeypatch)
        for count in range(1, len(live.rows)):
            copy = cut(live, count)
            before = [item for item in kept.all if item[0].seq <= count]
            if before:
                give(copy, live.run, before[-1])
                resumed.clear()
            again, _ = await execute(copy, AGENTS[name], live.run, program)
            again.verify()
            assert again.output() == live.output(), f"after event {count}"
            assert what_was_asked(again.events) == what_was_asked(live.events), f"after event {count}"
            assert same_totals(again, live)
            if before:
                assert resumed[0] == before[-1][0].seq, f"after event {count} the snapshot was not used"

    asyncio.run(check())


@settings(max_examples=15, deadline=None, suppress_health_check=CHECKS)
@given(st.sampled_from(sorted(AGENTS)), whole_programs)
def test_what_a_run_does_after_a_snapshot_replays_from_the_beginning(name: str, program: Program) -> None:
    async def check() -> None:
        live, kept = await execute(MemoryJournal(), AGENTS[name], None, program)
        snapshot = kept.all[len(kept.all) // 2]
        copy = cut(live, snapshot[0].seq)
        give(copy, live.run, snapshot)
        again, later = await execute(copy, AGENTS[name], live.run, program)
        async with open_on(again.journal, [AGENTS[name]], person=None) as platform:
            row = await again.journal.get_run(TENANT, live.run)
            assert row is not None
            assert (done := await replay(platform.services, row, [AGENTS[name]])).same, done.divergence
        for item in later.all:
            assert encode_state(state_of(again, *item).engine) == encode_state(fold(again.rows[: item[0].seq]))

    asyncio.run(check())


def give(journal: MemoryJournal, run: UUID, kept: tuple[Snapshot, Payload]) -> None:
    """Let the copy of a run have that snapshot."""
    snapshot, payload = kept
    journal._store.snapshots[TENANT, run] = snapshot
    journal._store.payloads.setdefault((TENANT, payload.subject), {})[payload.address] = payload


def watch_resumes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Filled with the events after which runs go on from their snapshots; 0 = from their beginning.

    What a run begins with from a snapshot must be what it would begin with from its whole tape.
    """
    resumed: list[int] = []

    def noted(claim: Claim, tape: RunTape, log: RunLog, services: Services, state: State | None) -> RunContext:
        resumed.append(state.engine.seq if state is not None else 0)
        ctx = begin(claim, tape, log, services, state)
        if state is not None:
            assert isinstance(services.journal, MemoryJournal)
            whole = RunTape(services.journal._store.runs[claim.tenant, claim.run].tape[: claim.last_seq])
            facts = RunFacts(tape.submitted.budget)
            ledger = Ledger(facts, whole)
            assert (tape.size, tape.format, tape.active_us()) == (whole.size, whole.format, whole.active_us())
            assert ctx.ledger.totals() == ledger.totals()
            assert ctx.ledger.summary() == ledger.summary()
            assert (ctx.facts.past, ctx.facts.failed_children) == (facts.past, facts.failed_children)
            assert (ctx.facts.held_tokens, ctx.facts.children) == (facts.held_tokens, facts.children)
        return ctx

    monkeypatch.setattr("penstock.runs.work.executor.begin", noted)
    return resumed


def what_was_asked(events: list[Event]) -> set[tuple[str, str]]:
    """The calls and their digests."""
    return {(event.path, getattr(event, "digest", "")) for event in comings_and_goings(events) if event.path}


def same_totals(again: Tape, live: Tape) -> bool:
    """Calls are counted once, however often they had to be attempted."""
    one, other = again.end.totals, live.end.totals
    return (one.steps, one.tool_calls) == (other.steps, other.tool_calls)
