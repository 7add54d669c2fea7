"""An agent's memory of a session: what the model is shown, how much of it there is, and that it is there once."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from penstock import Agent, Budget, Reject, Revise, Run, Settings, agent
from penstock.agents.memory import HEADING, Memory, SessionMemory, Turn
from penstock.events import Failure
from penstock.events.messages import Message, Text
from penstock.gates.model.conversation import Conversation
from penstock.journal.documents import pack, read
from penstock.kernel.errors import AgentInvalid, DocumentUnreadable
from penstock.ports.model import ModelError, ModelRequest
from penstock.runs.client import Penstock
from penstock.runs.replaying.replay import replay
from penstock.runs.result import Result
from penstock.testing import ScriptedModel
from penstock.wiring import open_in_memory

QUICK = Settings(poll_seconds=0.02)


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(QUICK) as opened:
        yield opened


def echo(request: ModelRequest) -> str:
    return f"heard: {next(message.text for message in reversed(request.messages) if message.role == 'user')}"


def desk(memory: Any = "session", model: ScriptedModel | None = None, **options: Any) -> Agent:
    return Agent(
        "desk", model=model or ScriptedModel([echo], repeat=True), instructions="Reply.", memory=memory, **options
    )


def message(role: Any, text: str) -> Message:
    return Message(role, [Text(text)])


async def say(platform: Penstock, to: Agent, text: Any, session: str = "s", **options: Any) -> Result:
    run = await platform.submit(to, text, session=session, **options)
    result = await platform.result(run, timeout_seconds=60)
    row = await platform.journal.get_run("default", run)
    assert row is not None
    replayed = await replay(platform.services, row, [to])
    assert replayed.same, replayed.divergence
    return result


async def stored(platform: Penstock, session: str = "s") -> Memory:
    found = await platform.journal.documents.get("default", "memory", session)
    data = read(found.latest) if found is not None else None
    return msgspec.json.decode(data, type=Memory) if data else Memory()


def shown(model: Any) -> list[tuple[str, str]]:
    """What the model was shown in its latest call, without the instructions."""
    messages: Sequence[Message] = model.calls[-1].messages
    return [(message.role, message.text) for message in messages[1:]]


async def test_a_run_goes_on_where_the_session_stood(platform: Penstock) -> None:
    model = ScriptedModel([echo], repeat=True)
    clerk = desk(model=model)
    assert (await say(platform, clerk, "I am Ada")).output == "heard: I am Ada"
    assert shown(model) == [("user", "I am Ada")]
    await say(platform, clerk, "who am I?")
    assert shown(model) == [("user", "I am Ada"), ("assistant", "heard: I am Ada"), ("user", "who am I?")]
    await say(platform, clerk, "hello", session="other")
    assert shown(model) == [("user", "hello")]
    assert [turn.user for turn in (await stored(platform)).turns] == ["I am Ada", "who am I?"]


async def test_a_session_of_300_turns_has_a_bounded_memory_and_prompt(platform: Penstock) -> None:
    model = ScriptedModel([echo], repeat=True)
    bounds = SessionMemory(turns=8, max_bytes=2048)
    clerk = desk(bounds, model)
    sizes = []
    for number in range(300):
        run = await platform.submit(clerk, f"turn {number}: {'x' * (number % 150)}", session="s")
        assert (await platform.result(run, timeout_seconds=60)).outcome == "succeeded"
        sizes.append(sum(len(text.encode()) for _, text in shown(model)))
    memory = await stored(platform)
    assert len(memory.turns) <= 8
    assert sum(turn.size for turn in memory.turns) <= 2048
    assert len(memory.summary.encode()) <= 512
    assert memory.folded + len(memory.turns) == 300
    assert f"[{memory.folded} older turns, cut down or left out]" in memory.summary
    assert max(sizes) <= 2048 + 512 + len(HEADING) + 1 + 160
    assert shown(model)[-1][1].startswith("turn 299")
    assert shown(model)[-3][1].startswith("turn 298")
    versions = await platform.journal.documents.history("default", "memory", "s", 0, 1000)
    assert sum(version.content is not None for version in versions) == QUICK.document_versions_kept


async def test_older_turns_are_folded_by_a_model_through_the_gate(platform: Penstock) -> None:
    model = ScriptedModel([echo], repeat=True)
    summariser = ScriptedModel(["Ada likes tea.", "Ada likes tea and cake."], "scripted:summariser")
    clerk = desk(SessionMemory(turns=2, summarise=summariser), model)
    results = [await say(platform, clerk, text) for text in ("I like tea", "b", "c", "d")]
    memory = await stored(platform)
    assert (memory.summary, memory.folded) == ("Ada likes tea.", 2)
    assert "User: I like tea" in summariser.calls[0].messages[-1].text
    assert shown(model)[0] == ("note", f"{HEADING}\nAda likes tea.")
    assert results[2].totals.model_calls == 2
    await say(platform, clerk, "e")
    assert (await stored(platform)).summary == "Ada likes tea and cake."
    assert "Ada likes tea." in summariser.calls[1].messages[-1].text


async def test_an_agent_may_fold_them(platform: Penstock) -> None:
    @agent("noter", version="1")
    async def noter(run: Run, text: str) -> str:
        return f"{text.count('User:')} turns"

    platform.registry.add(noter)
    clerk = desk(SessionMemory(turns=2, summarise=noter))
    for text in "abc":
        await say(platform, clerk, text)
    assert (await stored(platform)).summary == "2 turns"


@pytest.mark.parametrize("budget", [None, Budget(steps=1)])
async def test_the_answer_does_not_hang_on_the_summary(platform: Penstock, budget: Budget | None) -> None:
    """The summariser fails, or the budget has no room for it: the turns are cut down instead."""
    broken = ScriptedModel([ModelError(Failure("model_refused", "permanent", "no"))], "scripted:broken", repeat=True)
    clerk = desk(SessionMemory(turns=1, summarise=broken), budget=budget)
    assert [(await say(platform, clerk, text)).outcome for text in ("one", "two")] == ["succeeded"] * 2
    memory = await stored(platform)
    assert memory.summary == "[1 older turns, cut down or left out]\none → heard: one"
    assert len(broken.calls) == (budget is None)


async def test_long_texts_are_cut_with_a_mark(platform: Penstock) -> None:
    clerk = desk(SessionMemory(max_bytes=1024), ScriptedModel(["é" * 3000]))
    await say(platform, clerk, "ä" * 3000)
    [turn] = (await stored(platform)).turns
    assert turn.size <= 512
    assert turn.user.endswith("ä […]")
    assert turn.assistant.endswith("é […]")


async def test_a_small_budget_is_shown_less(platform: Penstock) -> None:
    model = ScriptedModel([echo], repeat=True)
    clerk = desk(model=model)
    for number in range(6):
        await say(platform, clerk, f"{number} {'x' * 400}")
    run = await platform.submit(clerk, "short", session="s", budget=Budget(tokens=5000))
    assert (await platform.result(run, timeout_seconds=60)).outcome == "succeeded"
    assert sum(len(text) for _, text in shown(model)) < 5000 // 4 + len("short")
    assert len(shown(model)) > 1
    assert len((await stored(platform)).turns) == 7


async def test_only_a_run_that_succeeded_is_remembered_and_once(platform: Penstock) -> None:
    async def check(run: Run, prepared: str, result: str) -> str:
        if prepared == "reject":
            raise Reject("no")
        if prepared == "revise" and run.revision is None and "not accepted" not in result:
            raise Revise("again")
        return result

    clerk = desk(consequence=check)
    assert (await say(platform, clerk, "reject")).outcome == "refused"
    assert (await stored(platform)).turns == []
    result = await say(platform, clerk, "revise")
    assert result.output == "heard: Your answer was not accepted: again. Answer again."
    assert (await stored(platform)).turns == [Turn("revise", result.output)]


async def test_typed_answers_are_remembered_as_json(platform: Penstock) -> None:
    class Answer(BaseModel):
        word: str

    clerk = desk(model=ScriptedModel(['{"word": "yes"}']), output=Answer)
    await say(platform, clerk, "?")
    assert (await stored(platform)).turns == [Turn("?", '{"word":"yes"}')]


async def test_without_a_session_it_fails_rather_than_forget(platform: Penstock) -> None:
    result = await say(platform, desk(), "hello", session="")
    assert (result.outcome, result.code) == ("failed", "gate_misused")
    assert "keeps its memory in a session" in result.reason
    assert result.totals.model_calls == 0


async def test_memory_in_another_form_is_quarantined_and_escalated(platform: Penstock) -> None:
    clerk = desk()
    await say(platform, clerk, "a")
    entry = platform.journal.documents._entries["default", "memory", "s"]  # type: ignore[attr-defined]
    entry.versions[1] = replace(entry.versions[1], content=pack(b'{"turns": 7}'))
    result = await say(platform, clerk, "b")
    assert (result.outcome, result.code) == ("escalated", DocumentUnreadable.code)
    assert result.totals.model_calls == 0


def test_what_is_asked_stays_in_a_shortened_prompt() -> None:
    """The last answer of a budget is given to a shorter prompt, which keeps the opening, not the remembered answers."""
    model = ScriptedModel([echo])
    remembered = [message("user", "old"), message("assistant", "old answer")]
    opening = [message("system", "Reply."), *remembered, message("user", "the question")]
    conversation = Conversation(opening, len(opening))
    assert conversation.head() == opening
    conversation.answered_by(model)
    for text in ("step", "result " * 500):
        conversation.add(message("assistant", text), message("tool", text))
    shorter = conversation.shortened(model, (), 60, message("note", "answer now"))
    assert shorter == [*opening, message("note", "answer now")]


def test_what_cannot_be() -> None:
    for turns, size in ((0, 2048), (1001, 2048), (1, 1000), (1, 1 << 20)):
        with pytest.raises(AgentInvalid):
            SessionMemory(turns, size)
    with pytest.raises(AgentInvalid, match="memory"):
        desk("forever")


def test_memory_makes_another_release_and_none_keeps_the_old_one() -> None:
    model = ScriptedModel([echo], repeat=True)
    plain, with_memory = desk(None, model), desk("session", model)
    assert plain.release == Agent("desk", model=model, instructions="Reply.").release
    assert len({plain.release, with_memory.release, desk(SessionMemory(turns=3), model).release}) == 3
    assert with_memory.with_model("openai:x").memory == with_memory.memory
