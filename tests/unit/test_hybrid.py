"""A fast answer first: provisional, then confirmed or replaced, and never in the way of the real one."""

import asyncio
from typing import Any

import msgspec
import pytest

from penstock import Agent, Budget, Responder
from penstock.agents.hybrid import PROVISIONAL, SETTLED
from penstock.events import ChildOutcome, Event, ModelOutcome, NoteRecorded, RunEnded
from penstock.journal.payloads import ref_address
from penstock.kernel.errors import AgentInvalid
from penstock.ports.model import ModelRequest, ModelResponse
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.testing import ScriptedModel, in_memory
from penstock.views.trace import read_events

FAST = Budget(tokens=2_000)


class Patient(ScriptedModel):
    """Answers when it is let."""

    def __init__(self, answer: str, may: asyncio.Event) -> None:
        super().__init__([answer], "scripted:patient", repeat=True)
        self.may = may

    async def request(self, request: ModelRequest) -> ModelResponse:
        await self.may.wait()
        return await super().request(request)


def fast(answer: str = "We look into it.", **options: Any) -> Agent:
    model = ScriptedModel([answer], "scripted:fast", repeat=True)
    return Agent("fast-reply", model=model, instructions="Answer at once.", budget=FAST, **options)


def desk(model: ScriptedModel, responder: Agent | Responder, **options: Any) -> Agent:
    return Agent("desk", model=model, instructions="Work.", responder=responder, **options)


async def notes(platform: Penstock, events: list[Event]) -> dict[str, Any]:
    found = {}
    for event in events:
        if isinstance(event, NoteRecorded):
            address = ref_address(event.payloads["value"][0])
            row = await platform.journal.get_run(event.tenant, event.run)
            assert row is not None
            found[event.name] = msgspec.json.decode(
                await platform.services.reader.read(row.tenant, row.subject, address)
            )
    return found


async def test_the_first_answer_is_on_the_record_before_the_agent_has_worked_and_is_replaced_by_its() -> None:
    may = asyncio.Event()
    agent = desk(Patient("Your money is back.", may), fast())
    async with in_memory(agents=[agent]) as platform:
        run = await platform.submit(agent, "I was charged twice")
        while not any(
            isinstance(event, NoteRecorded) and event.name == PROVISIONAL
            for event in await read_events(platform.journal, "default", run)
        ):
            await asyncio.sleep(0.01)
        may.set()
        result = await platform.result(run, timeout_seconds=60)
        events = await read_events(platform.journal, "default", run)
        assert result.output == "Your money is back."
        assert await notes(platform, events) == {
            PROVISIONAL: {"agent": "fast-reply", "output": "We look into it."},
            SETTLED: {"kind": "replaced"},
        }
        order = [type(event) for event in events]
        assert order.index(ChildOutcome) < order.index(ModelOutcome) < order.index(RunEnded)
        row = await platform.journal.get_run("default", run)
        assert row is not None
        assert (await replay(platform.services, row, [agent])).same


async def test_the_same_answer_confirms_the_first() -> None:
    agent = desk(ScriptedModel(["Yes."]), fast("Yes."))
    async with in_memory(agents=[agent]) as platform:
        run = await platform.submit(agent, "Is it open?")
        await platform.result(run, timeout_seconds=60)
        events = await read_events(platform.journal, "default", run)
        assert (await notes(platform, events))[SETTLED] == {"kind": "confirmed"}


async def test_a_responder_that_fails_is_missed_by_nobody() -> None:
    broken = Agent("fast-reply", model=ScriptedModel([RuntimeError("no")]), instructions="x", budget=FAST, attempts=1)
    agent = desk(ScriptedModel(["Done."]), broken)
    async with in_memory(agents=[agent]) as platform:
        run = await platform.submit(agent, "x")
        assert (await platform.result(run, timeout_seconds=60)).output == "Done."
        events = await read_events(platform.journal, "default", run)
        assert await notes(platform, events) == {}


async def test_a_responder_that_is_late_is_given_up() -> None:
    never = asyncio.Event()
    slow = Agent("fast-reply", model=Patient("late", never), instructions="x", budget=FAST)
    agent = desk(ScriptedModel(["Done."]), Responder(slow, seconds=0.1))
    async with in_memory(agents=[agent]) as platform:
        assert (await agent.run("x")).output == "Done."
        never.set()
        assert platform.registry.find("fast-reply") is not None


async def test_a_run_without_room_for_the_responder_answers_all_the_same() -> None:
    agent = desk(ScriptedModel(["Done."]), fast(), budget=Budget(tokens=1_500), max_tokens=100)
    async with in_memory(agents=[agent]):
        result = await agent.run("x")
        assert (result.outcome, result.output) == ("succeeded", "Done.")


def test_a_responder_needs_a_budget_and_a_time() -> None:
    model = ScriptedModel(["x"])
    with pytest.raises(AgentInvalid, match="no budget"):
        desk(model, Agent("fast-reply", model=model, instructions="x"))
    with pytest.raises(AgentInvalid, match="seconds"):
        Responder(fast(), seconds=0)


def test_the_responder_belongs_to_the_release() -> None:
    model = ScriptedModel(["x"])
    plain = Agent("desk", model=model, instructions="Work.")
    releases = {plain.release, desk(model, fast()).release, desk(model, Responder(fast(), 3)).release}
    assert len(releases) == 3
