"""`Agent` and `@agent`: names, releases, typed inputs and outputs, contradictions."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from penstock import Agent, Budget, Run, agent, tool
from penstock.events import BudgetRecord
from penstock.kernel.errors import AgentInvalid, BudgetInvalid, InputInvalid, NoRuntime, OutputInvalid
from penstock.testing import ScriptedModel

model = ScriptedModel(["-"])


class Reply(BaseModel):
    text: str
    sure: bool = True


class Ticket(BaseModel):
    text: str


@tool(effect="read")
async def look(x: int) -> int:
    """Look."""
    return x


def made(**how: Any) -> Agent:
    return Agent(**{"name": "desk", "model": model, "instructions": "Help.", **how})


@pytest.mark.parametrize("name", ["", "Desk", "desk!", "-desk", "d" * 65, "desk\n", "ä"])
def test_a_name_is_short_plain_and_lower_case(name: str) -> None:
    with pytest.raises(AgentInvalid, match="is not an agent name"):
        made(name=name)


def test_what_changes_what_is_asked_of_the_gates_makes_another_release() -> None:
    variants: list[dict[str, Any]] = [
        {},
        {"name": "desk2"},
        {"model": "openai:gpt-5-mini"},
        {"instructions": "Help!"},
        {"tools": [look]},
        {"output": Reply},
        {"max_tokens": 99},
        {"temperature": 0.5},
        {"repairs": 1},
        {"show_budget": False},
        {"can_escalate": True},
        {"extra": {"a": 1}},
        {"tools": [made(name="other").as_tool()]},
        {"tools": [made(name="other", instructions="Else.").as_tool()]},
    ]
    releases = [made(**how).release for how in variants]
    assert len(set(releases)) == len(variants)
    assert made().release == releases[0], "and nothing else does"
    assert made(budget=Budget(steps=3)).release == releases[0]


def test_instructions_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prompt.md"
    file.write_text("Help.", encoding="utf-8")
    assert made(instructions=file).release == made().release
    with pytest.raises(AgentInvalid, match="cannot be read"):
        made(instructions=tmp_path / "missing.md")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(AgentInvalid, match="cannot be read"):
        made(instructions=file)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"tools": [look, look]}, "two tools named look"),
        ({"tools": [look, made(name="look").as_tool()]}, "two tools named look"),
        ({"tools": [made(name="final_answer").as_tool()]}, "reserved"),
        ({"tools": [lambda x: x]}, "is no tool"),
        ({"output": int}, "not an object"),
        ({"output": list[Reply]}, "not an object"),
    ],
)
def test_contradictions_are_refused(how: dict[str, Any], words: str) -> None:
    with pytest.raises(AgentInvalid, match=words):
        made(**how)


def test_a_budget_is_checked_when_the_agent_is_made() -> None:
    with pytest.raises(BudgetInvalid):
        made(budget=Budget(usd="0"))
    assert made(budget=Budget(steps=3)).budget == BudgetRecord(steps=3)


def test_an_agent_as_a_tool() -> None:
    offered = made(name="know-it.all").as_tool(budget=Budget(steps=2))
    assert offered.name == "know_it_all"
    assert offered.budget == BudgetRecord(steps=2)
    assert offered.spec.schema["required"] == ["input"]
    assert offered.spec.schema["properties"]["input"]["type"] == "string"
    assert made().as_tool(name="ask", description="Asks.").spec.description == "Asks."


@pytest.mark.parametrize(
    "text",
    [
        '{"text": "hello", "sure": true}',
        '```json\n{"text": "hello"}\n```',
        '```\n{"text": "hello"}```',
        ' {"text":"hello"} ',
    ],
)
def test_a_typed_answer_is_read_with_or_without_a_fence(text: str) -> None:
    assert made(output=Reply).parse_output(text) == Reply(text="hello")


@pytest.mark.parametrize(
    ("output", "text", "words"),
    [
        (Reply, "{}", "text: Field required"),
        (Reply, "hello", "Invalid JSON"),
        (Reply, '{"text": 3}', "text: Input should be a valid string"),
        (None, "  \n", "empty"),
    ],
)
def test_an_answer_that_does_not_fit_is_explained(output: Any, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(output=output).parse_output(text)


@agent("pipeline", budget=Budget(steps=4))
async def pipeline(run: Run, ticket: Ticket) -> Reply:
    """Works on a ticket."""
    return Reply(text=ticket.text)


def test_a_plain_function_as_an_agent() -> None:
    assert (pipeline.name, pipeline.__name__, pipeline.__doc__) == ("pipeline", "pipeline", "Works on a ticket.")
    assert pipeline.budget == BudgetRecord(steps=4)
    assert pipeline.plain_input(Ticket(text="a")) == pipeline.plain_input({"text": "a"}) == {"text": "a"}
    assert pipeline.read_input(b'{"text":"a"}') == Ticket(text="a")
    assert pipeline.plain_output(Reply(text="b")) == {"text": "b", "sure": True}
    assert pipeline.read_output(b'{"text":"b"}') == Reply(text="b")
    assert pipeline.read_output(b"") is None


@pytest.mark.parametrize("wrong", [{}, {"text": 3}, "a", {"text": "a\x00b"}, {"text": "\ud800"}, None])
def test_an_input_that_does_not_fit_is_refused(wrong: Any) -> None:
    with pytest.raises(InputInvalid):
        pipeline.plain_input(wrong)


@pytest.mark.parametrize("wrong", [{}, 3, {"text": "a\x00"}, {"text": "\udfff"}])
def test_an_output_that_does_not_fit_is_refused(wrong: Any) -> None:
    with pytest.raises(OutputInvalid):
        pipeline.plain_output(wrong)


def test_a_functions_release_is_its_text_or_its_version() -> None:
    def declare(version: str = "", number: int = 1) -> str:
        if number == 1:

            @agent("a", version=version)
            async def one(run: Run, value: int) -> int:
                return 1

            return one.release

        @agent("a", version=version)
        async def two(run: Run, value: int) -> int:
            return 2

        return two.release

    assert declare() == declare() != declare(number=2)
    assert declare("v1") == declare("v1", 2) != declare("v2")


def sync(run: Any, value: Any) -> None: ...


async def alone(run: Any) -> None: ...


async def many(run: Any, one: Any, two: Any) -> None: ...


@pytest.mark.parametrize("function", [sync, alone, many])
def test_what_is_no_agent_function_is_refused(function: Any) -> None:
    with pytest.raises(AgentInvalid, match="is not an agent function"):
        agent("a")(function)


async def test_without_an_open_platform_running_says_what_to_open(monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock.agents import runtime

    monkeypatch.setattr(runtime, "_default", [])
    monkeypatch.setattr(runtime, "_stack", [])
    with pytest.raises(NoRuntime, match="nothing is open that could run pipeline"):
        await pipeline.run({"text": "a"})
