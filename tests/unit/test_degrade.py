"""What stands in for an agent's answer, by how it failed; and what a failed run says it has done."""

import asyncio
import contextlib
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import Agent, Budget, OutcomeUnknown, Run, agent, escalate, tool
from penstock.agents.degrade import Person, Template
from penstock.cli.runs.why import report_words
from penstock.kernel.errors import AgentInvalid, Reject
from penstock.ports.controls import of_run
from penstock.runs.replaying.replay import replay
from penstock.settings import Settings
from penstock.testing import ScriptedModel, in_memory
from penstock.views.failure_report import read_failure_report

FREE: dict[str, Any] = {"effect": "write", "risk": "low", "permission": "auto", "in_doubt": "idempotent"}
DOWN = ValueError("no words")


def model(*turns: Any) -> ScriptedModel:
    return ScriptedModel(list(turns), repeat=True)


def plain(name: str = "plain", *turns: Any) -> Agent:
    return Agent(name, model=model(*(turns or ("We will get back to you.",))), instructions="Apologise.")


async def ended(code: Any, value: Any = "hello") -> Any:
    async with in_memory(Settings(poll_seconds=0.05), agents=[code]) as known:
        run = await known.submit(code, value)
        result = await known.result(run, timeout_seconds=20)
        row = await known.journal.get_run("default", run)
        assert row is not None
        found = await replay(known.services, row, [code, *(item for item in _agents(code))])
        assert found.same, found.divergence
        return result, await read_failure_report(known.journal, "default", run)


def _agents(code: Any) -> list[Any]:
    return [step for steps in code.fallbacks.values() for step in steps if isinstance(step, Agent)]


@tool(**FREE)
async def ship(order: str) -> str:
    """Ship."""
    if order == "bad":
        raise ValueError("no such order")
    return "shipped"


@tool(effect="write", risk="prohibited")
async def forbidden(order: str) -> str:
    """Never."""
    return "done"


def failing_by(how: str) -> Any:
    """An agent function that fails so."""

    async def work(run: Run, value: str) -> str:
        match how:
            case "model_failed":
                return str(await run.ask(model(DOWN), "hello"))
            case "tool_failed":
                await run.call(ship, order="bad")
            case "refused":
                await run.call(forbidden, order="o-1")
            case "child_failed":
                await run.call(Agent("sad", model=model(DOWN), instructions="x"), "hello")
            case "timed_out":
                await run.timeout(0.05, run.sleep(30))
            case "not_confident":
                escalate("not sure")
            case "output_invalid":
                odd = Agent("odd", model=model("{}"), instructions="x", output=Answer, repairs=0)
                return str(await run.call(odd, "x"))
        return "?"

    return work


class Answer(BaseModel):
    text: str
    sure: bool = True


CLASSES = ["model_failed", "tool_failed", "refused", "child_failed", "timed_out", "not_confident"]


@pytest.mark.parametrize("how", CLASSES)
async def test_each_way_to_fail_has_its_own_answer(how: str) -> None:
    """And that of another class is not given."""
    answers = {name: f"prepared for {name}" for name in CLASSES}
    code = agent("clerk", version=how, fallback=answers)(failing_by(how))
    result, report = await ended(code)
    assert (result.outcome, result.code, result.output) == ("succeeded", "fallback", f"prepared for {how}")
    assert result.reason.startswith("a prepared answer answered, because: ")
    assert report.answered_by
    del answers[how]
    code = agent("clerk", version=how, fallback=answers)(failing_by(how))
    result, _ = await ended(code)
    assert result.outcome != "succeeded"


@pytest.mark.parametrize(("how", "taken"), [("model_failed", True), ("timed_out", True), ("not_confident", False)])
async def test_any_is_for_all_but_those_of_their_own(how: str, taken: bool) -> None:
    code = agent("clerk", version=how, fallback="sorry")(failing_by(how))
    result, _ = await ended(code)
    assert (result.output == "sorry") is taken


async def test_several_are_tried_in_their_order_and_the_first_that_can_answers() -> None:
    broken = Agent(
        "broken", model=model(DOWN), instructions="x", fallback=[plain("worse", DOWN), plain("better"), "never asked"]
    )
    result, _ = await ended(broken)
    assert result.output == "We will get back to you."
    assert result.reason.startswith("the fallback answered, because: ")
    broken = Agent("broken", model=model(DOWN), instructions="x", fallback=[plain("worse", DOWN)])
    result, _ = await ended(broken)
    assert (result.outcome, result.code) == ("failed", "child_failed")


async def test_a_prepared_answer_is_of_the_agents_type_and_names_its_run() -> None:
    prepared = Template({"text": "We answer soon. Your number is {run}.", "sure": False})
    broken = Agent("broken", model=model(DOWN), instructions="x", output=Answer, fallback={"model_failed": prepared})
    result, _ = await ended(broken)
    assert isinstance(result.output, Answer)
    assert str(result.run) in result.output.text


async def test_a_person_takes_over() -> None:
    broken = Agent("broken", model=model(DOWN), instructions="x", fallback={"model_failed": Person("call them back")})
    result, report = await ended(broken)
    assert result.outcome == "escalated"
    assert result.reason.startswith("call them back: ")
    assert report.needed == ["a person's decision"]


async def test_a_limit_hands_over_the_prepared_answer_as_partial() -> None:
    @agent("looping", budget=Budget(steps=2), fallback={"exhausted": "We are still at it: {run}", "any": "not this"})
    async def looping(run: Run, value: str) -> str:
        for number in range(5):
            await run.call(ship, order=f"o-{number}")
            await run.ask(model("more"), "hello", max_tokens=10)
        return "done"

    result, report = await ended(looping)
    assert result.outcome == "exhausted"
    assert result.partial
    assert result.output == f"We are still at it: {result.run}"
    assert result.done == [f"ship at {effect.path}" for effect in report.done]
    assert len(report.done) >= 2


async def test_an_agents_own_refusal_stands() -> None:
    @agent("clerk", fallback="sorry")
    async def clerk(run: Run, value: str) -> str:
        raise Reject("not for us", "not_ours")

    result, _ = await ended(clerk)
    assert (result.outcome, result.code) == ("refused", "not_ours")


@pytest.mark.parametrize(
    ("fallback", "words"),
    [
        ({"sometimes": "x"}, "has a fallback for 'sometimes'"),
        ({"any": []}, "has 0 fallbacks"),
        ({"any": 7}, "falls back to int"),
        ({"any": Template({"text": 7})}, "does not fit"),
        ({"any": "a text"}, "does not fit"),
        ({"exhausted": Person()}, "nothing more may be spent"),
        ({"any": Person(waits=True)}, "no output of typed"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_declared(fallback: Any, words: str) -> None:
    with pytest.raises(AgentInvalid) as refused:
        Agent("typed", model=model("x"), instructions="x", output=Answer, fallback=fallback)
    assert words in str(refused.value)


def test_it_belongs_to_the_release() -> None:
    def release(fallback: Any) -> str:
        return Agent("a", model="openai:gpt-5", instructions="x", fallback=fallback).release

    assert len({release(None), release("sorry"), release("sorry!"), release({"model_failed": "sorry"})}) == 4
    assert release(None) == release(plain()), "as it was before there were others"


async def test_a_failed_run_says_what_it_did_and_what_it_did_not() -> None:
    @tool(effect="write", risk="low", permission="auto", in_doubt="escalate", timeout_seconds=0.1)
    async def pay(order: str) -> str:
        """Pay."""
        raise OutcomeUnknown("the line broke")

    @agent("clerk")
    async def clerk(run: Run, value: str) -> str:
        await run.call(ship, order="o-1")
        for what, order in ((ship, "bad"), (forbidden, "o-2")):
            with contextlib.suppress(Exception):
                await run.call(what, order=order)
        return str(await run.call(pay, order="o-3"))

    async with in_memory(Settings(poll_seconds=0.05), agents=[clerk]) as known:
        run = await known.submit(clerk, "hello")
        async with asyncio.timeout(20):
            while not [item for item in await known.journal.open_intents(of_run("default", run)) if item.name == "pay"]:
                await asyncio.sleep(0.005)
        await known.kill(run, actor="ops", reason="enough")
        result = await known.result(run, timeout_seconds=20)
        report = await read_failure_report(known.journal, "default", run)
    assert result.outcome == "killed"
    assert [effect.tool for effect in report.done] == ["ship"]
    assert result.done == [f"ship at {report.done[0].path}"]
    assert [(effect.tool, effect.state) for effect in report.not_done] == [("ship", "failed"), ("forbidden", "denied")]
    assert [effect.tool for effect in report.undecided] == ["pay"]
    assert any("pay" in words for words in report.needed)
    assert report.what
    said = report_words(report)
    assert said[said.index("done:") + 1].strip().startswith("ship at ")
    assert said[said.index("may have happened:") + 1].strip().startswith("pay at ")
    assert any("forbidden at" in line and "(denied)" in line for line in said)
    assert any(line.startswith("needed: find out whether pay at ") for line in said)
