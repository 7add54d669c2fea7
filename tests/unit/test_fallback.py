"""An agent's fallback answers when it fails, and the record says so."""

from penstock import Agent
from penstock.testing import ScriptedModel, in_memory


async def test_the_fallback_answers_and_the_run_says_why() -> None:
    plain = Agent("plain", model=ScriptedModel(["We will get back to you."]), instructions="Apologise.")
    broken = Agent("broken", model=ScriptedModel([ValueError("no words")]), instructions="Answer.", fallback=plain)
    async with in_memory():
        result = await broken.run("hello")
    assert (result.outcome, result.code, result.output) == ("succeeded", "fallback", "We will get back to you.")
    assert "plain" not in result.reason


async def test_without_one_the_failure_stands() -> None:
    broken = Agent("broken", model=ScriptedModel([ValueError("no words")]), instructions="Answer.")
    async with in_memory():
        result = await broken.run("hello")
    assert (result.outcome, result.code) == ("failed", "model_failed")
