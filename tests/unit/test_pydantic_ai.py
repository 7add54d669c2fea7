"""pydantic-ai agents under the gates: one run as people write it, its limits, its parking, and what is refused."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, ModelRetry, RunContext, ToolOutput, ToolReturn
from pydantic_ai.capabilities import NativeTool, ProcessEventStream
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.native_tools import WebSearchTool
from tests.sim.tapes import comings_and_goings, go_on, run_live

from penstock import Budget, Run
from penstock.events import ModelIntent, ToolIntent, ToolOutcome, VerdictRecorded, decode
from penstock.gates.run import scopes
from penstock.integrations.pydantic_ai import govern, tool_context
from penstock.kernel.errors import AgentInvalid, GateMisused, ToolInvalid
from penstock.ports.records import Status
from penstock.runs.client import Penstock
from penstock.testing import in_memory

TENANT = "default"
READ: Any = {"effect": "read"}
AUTO: Any = {"effect": "write", "permission": "auto", "in_doubt": "idempotent"}
done: list[str] = []
asked: list[list[ModelMessage]] = []
gate: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    done.clear()
    asked.clear()
    gate.clear()
    yield
    gate.clear()


class Reply(BaseModel):
    text: str
    cents: int = 0


def call(name: str, call_id: str = "", **args: Any) -> ToolCallPart:
    return ToolCallPart(name, args, call_id or f"{name}-{len(asked)}-{sorted(args.items())}")


def model(*turns: Any) -> FunctionModel:
    """Its n-th answer is the n-th turn: parts, or words; the last one goes on for ever."""

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked.append(list(messages))
        turn = turns[min(sum(isinstance(one, ModelResponse) for one in messages), len(turns) - 1)]
        if isinstance(turn, str):
            return ModelResponse([TextPart(turn)])
        if isinstance(turn, Reply):
            return ModelResponse([ToolCallPart(info.output_tools[0].name, turn.model_dump(), f"out-{len(asked)}")])
        return ModelResponse(list(turn))

    return FunctionModel(answer, model_name="scripted")


def desk(*turns: Any, output: Any = str, **options: Any) -> Agent[str, Any]:
    agent: Agent[str, Any] = Agent(model(*turns), deps_type=str, output_type=output, **options)

    @agent.tool
    async def look(ctx: RunContext[str], order: str) -> dict[str, str]:
        """Look an order up."""
        done.append(f"look {order}")
        if order in gate:
            await gate[order].wait()
        if order == "gone":
            raise LookupError("no such order")
        if order == "again" and done.count("look again") == 1:
            raise ModelRetry("say it differently")
        return {"order": order, "for": ctx.deps}

    @agent.tool_plain
    async def refund(order: str, cents: int) -> str:
        """Give money back."""
        done.append(f"refund {order} {cents} {tool_context().key[-5:]}")
        if order in gate:
            await gate[order].wait()
        return "refunded"

    return agent


def what_the_model_saw() -> list[tuple[str, Any, str]]:
    """The tool results of the latest request: name, content, outcome."""
    return [
        (part.tool_name, part.content, part.outcome)
        for message in asked[-1]
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]


async def parked(platform: Penstock, run: Any) -> None:
    async with asyncio.timeout(30):
        while (row := await platform.journal.get_run(TENANT, run)) is None or row.status is not Status.PARKED:
            await asyncio.sleep(0.01)


async def test_an_agent_as_people_write_it_runs_under_the_gates() -> None:
    agent = desk([call("look", order="1"), call("look", order="2")], Reply(text="no"), Reply(text="ok"), output=Reply)
    revised: list[str] = []

    @agent.instructions
    def who(ctx: RunContext[str]) -> str:
        return f"You serve {ctx.deps}."

    @agent.output_validator
    async def check(value: Reply) -> Reply:
        revised.append(value.text)
        if value.text == "no":
            raise ModelRetry("say ok")
        return value

    governed = govern(agent, name="desk", effects={"look": READ, "refund": AUTO}, deps=lambda run, text: text.upper())
    async with in_memory():
        result = await governed.run("acme")
    assert (result.outcome, result.output) == ("succeeded", Reply(text="ok"))
    assert revised == ["no", "ok"]
    assert sorted(done) == ["look 1", "look 2"]
    assert result.totals.model_calls == 3
    assert result.totals.tool_calls == 2
    assert asked[0][0].instructions == "You serve ACME."  # type: ignore[union-attr]
    assert ("look", {"order": "1", "for": "ACME"}, "success") in what_the_model_saw()


async def test_every_call_is_on_the_record_and_a_replay_asks_nobody() -> None:
    agent = desk([call("look", order="1"), call("refund", order="1", cents=5)], "done")
    governed = govern(agent, name="desk", effects={"look": READ, "refund": AUTO}, deps=lambda *_: "acme")
    live = await run_live(governed, "hello")
    intents = [event for event in live.events if isinstance(event, ModelIntent | ToolIntent)]
    assert [event.path for event in intents] == ["0.1.0", "0.2.0", "0.3.0", "0.4.0"]
    before = (len(asked), list(done))
    for count in range(1, len(live.rows)):
        again = await go_on(live, count, [governed])
        assert again.output() == live.output(), count
        paths = {event.path for event in comings_and_goings(live.events)}
        assert {event.path for event in comings_and_goings(again.events)} == paths, count
    assert (len(asked), done) != before, "crashes in the middle made nothing again: the test sees nothing"
    before = (len(asked), list(done))
    await go_on(live, len(live.rows) - 1, [governed])
    assert (len(asked), done) == before


async def test_a_run_that_waits_for_a_person_is_a_row_and_goes_on_when_they_decide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scopes, "SETTLE_SECONDS", 600.0)  # nothing is unknown of it: it parks at once
    agent = desk([call("refund", order="1", cents=500)], "done")
    risky: Any = {"effect": "write", "risk": "high", "in_doubt": "keyed"}
    governed = govern(agent, name="desk", effects={"look": READ, "refund": risky}, deps=lambda *_: "")
    async with in_memory() as platform:
        run = await platform.submit(governed, "hello")
        await parked(platform, run)
        (waiting,) = await platform.approvals()
        assert (waiting.tool, waiting.args) == ("refund", {"order": "1", "cents": 500})
        assert done == []
        await platform.decide(waiting, "approve", actor="ada")
        assert (await platform.result(run, timeout_seconds=60)).output == "done"
    assert done == ["refund 1 500 0.2.0"]
    assert len(asked) == 2, "the model was asked again for what is on the tape"


async def test_the_model_hears_of_a_denial_and_of_a_failure() -> None:
    agent = desk([call("refund", order="1", cents=500), call("look", order="gone")], "sorry")
    governed = govern(agent, name="desk", effects={"look": READ}, deps=lambda *_: "")
    async with in_memory() as platform:
        run = await platform.submit(governed, "hello")
        await parked(platform, run)
        (waiting,) = await platform.approvals()  # what is not declared is a write that a person approves
        await platform.decide(waiting, "deny", actor="ada")
        assert (await platform.result(run, timeout_seconds=60)).output == "sorry"
    assert done == ["look gone"]
    assert what_the_model_saw() == [
        ("refund", "denied: a person denied it", "failed"),
        ("look", "LookupError: no such order", "failed"),
    ]


async def test_an_approval_that_the_framework_asks_for_is_asked_at_the_gate() -> None:
    agent = desk([call("pay", order="1")], "done")

    @agent.tool_plain(requires_approval=True)
    async def pay(order: str) -> str:
        done.append(f"pay {order}")
        return "paid"

    governed = govern(agent, name="desk", effects={"pay": AUTO}, deps=lambda *_: "")
    async with in_memory() as platform:
        run = await platform.submit(governed, "hello")
        await parked(platform, run)
        (waiting,) = await platform.approvals()
        assert done == []
        await platform.decide(waiting, "approve", actor="ada")
        assert (await platform.result(run, timeout_seconds=60)).output == "done"
    assert done == ["pay 1"]


async def test_a_tool_may_ask_the_model_to_try_again_and_the_tape_repeats_that() -> None:
    agent = desk([call("look", order="again")], [call("look", order="1")], "done", retries=3)
    governed = govern(agent, name="desk", effects={"look": READ, "refund": AUTO}, deps=lambda *_: "")
    live = await run_live(governed, "hello")
    assert live.end.outcome == "succeeded"
    assert what_the_model_saw()[0][2] == "retried"
    before = len(asked)
    again = await go_on(live, len(live.rows) - 1, [governed])
    assert again.output() == live.output()
    assert len(asked) == before


@pytest.mark.parametrize(
    ("budget", "code"),
    [
        (Budget(steps=4), "over_steps"),
        (Budget(calls=3), "over_calls"),
        (Budget(tokens=6_000), "over_tokens"),
    ],
)
async def test_an_agent_that_goes_round_in_circles_is_stopped_by_its_budget(budget: Budget, code: str) -> None:
    agent = desk([call("poll")])  # for ever, whatever the gate says of the last step

    @agent.tool_plain
    async def poll() -> int:
        done.append("poll")
        return len(done)

    repeated: Any = {"effect": "read", "repeatable": True}
    governed = govern(agent, name="desk", effects={"poll": repeated}, deps=lambda *_: "", budget=budget)
    async with in_memory():
        result = await governed.run("hello")
    assert result.outcome == "exhausted", result
    assert result.code == code
    assert result.totals.steps <= 40
    if budget.tokens:
        assert result.totals.tokens_in + result.totals.tokens_out <= budget.tokens


async def test_no_tool_runs_after_the_budgets_last_answer() -> None:
    agent = desk([call("look", order="1")])
    governed = govern(
        agent,
        name="desk",
        effects={"look": {"effect": "read", "repeatable": True}},
        deps=lambda *_: "",
        budget=Budget(steps=5),
    )
    live = await run_live(governed, "hello")
    intents = [event for event in live.events if isinstance(event, ModelIntent | ToolIntent)]
    final = next(i for i, event in enumerate(intents) if isinstance(event, ModelIntent) and event.purpose == "final")
    assert not any(isinstance(event, ToolIntent) for event in intents[final:])
    assert any("Answer now" in str(part) for part in asked[-1][-1].parts), "the model was not told"


async def test_a_kill_ends_a_run_in_the_middle_of_its_framework() -> None:
    gate["slow"] = asyncio.Event()
    agent = desk([call("look", order="slow"), call("look", order="1")], "done")
    governed = govern(agent, name="desk", effects={"look": READ}, deps=lambda *_: "")
    async with in_memory() as platform:
        run = await platform.submit(governed, "hello")
        while "look slow" not in done:
            await asyncio.sleep(0.01)
        await platform.kill(run, actor="ada")
        result = await platform.result(run, timeout_seconds=60)
        async with asyncio.timeout(30):
            while _tasks_of_the_framework():
                await asyncio.sleep(0.01)
    assert result.outcome == "killed"
    assert len(asked) == 1


def _tasks_of_the_framework() -> list[Any]:
    coros: list[Any] = [task.get_coro() for task in asyncio.all_tasks() - {asyncio.current_task()}]
    return [coro for coro in coros if "pydantic" in getattr(getattr(coro, "cr_code", None), "co_filename", "")]


async def test_a_failing_sibling_does_not_cut_a_write_short() -> None:
    """The framework cancels what runs beside a tool that fails for good: what it did is recorded all the same."""
    gate["1"] = asyncio.Event()
    agent = desk([call("refund", order="1", cents=5), call("bad")], "done", retries=0)

    @agent.tool_plain
    async def bad() -> str:
        asyncio.get_running_loop().call_later(0.05, gate["1"].set)
        raise ModelRetry("never")

    governed = govern(agent, name="desk", effects={"refund": AUTO, "bad": READ}, deps=lambda *_: "")
    live = await run_live(governed, "hello")
    assert (live.end.outcome, live.end.code) == ("failed", "output_invalid")
    outcomes = {event.path: event.status for event in live.events if isinstance(event, ToolOutcome)}
    assert outcomes == {"0.2.0": "ok", "0.3.0": "ok"}


async def test_a_run_parks_also_when_a_call_of_the_answer_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "SETTLE_SECONDS", 0.05)
    agent = desk([call("refund", order="1", cents=5), call("look", nothing="x")], "done", retries=2)
    governed = govern(agent, name="desk", effects={"look": READ}, deps=lambda *_: "")
    async with in_memory() as platform:
        run = await platform.submit(governed, "hello")
        await parked(platform, run)
        (waiting,) = await platform.approvals()
        await platform.decide(waiting, "approve", actor="ada")
        assert (await platform.result(run, timeout_seconds=60)).output == "done"
    assert [one.split()[0] for one in done] == ["refund"]


async def test_code_that_does_other_than_its_tape_says_diverges() -> None:
    turns: list[Any] = [[call("look", order="1"), call("look", order="2")], "done"]
    options: Any = {"name": "desk", "effects": {"look": READ}, "deps": lambda *_: "", "version": "1"}
    live = await run_live(govern(desk(*turns), **options), "hello")
    changed = desk(*turns, instructions="Something else entirely.")
    governed = govern(changed, **options)
    governed.release = govern(desk(*turns), **options).release
    copy = await _quarantined(live, governed)
    assert "0.1.0" in copy


async def _quarantined(live: Any, governed: Any) -> str:
    from tests.sim.tapes import cut, open_on

    journal = cut(live, len(live.rows) - 1)
    async with open_on(journal, [governed]) as platform:
        async with asyncio.timeout(30):
            while (row := await platform.journal.get_run(TENANT, live.run)) is None or (
                row.status is not Status.QUARANTINED
            ):
                assert row is None or row.status is not Status.ENDED
                await asyncio.sleep(0.01)
        events = [decode(one.body) for one in await platform.journal.tape(TENANT, live.run)]
    return str(getattr(events[-1], "reason", ""))


@pytest.mark.parametrize("settle", [0.05])
async def test_a_call_on_the_tape_that_the_framework_never_makes_diverges(
    monkeypatch: pytest.MonkeyPatch, settle: float
) -> None:
    monkeypatch.setattr(scopes, "SETTLE_SECONDS", settle)
    turns: list[Any] = [[call("look", order="1"), call("look", order="2")], "done"]
    options: Any = {"name": "desk", "effects": {"look": READ}, "deps": lambda *_: ""}
    live = await run_live(govern(desk(*turns), **options), "hello")
    picky = desk(*turns, retries=3)
    first = next(event.path for event in live.events if isinstance(event, ToolOutcome))
    refused = "1" if first == "0.2.0" else "2"  # the one whose outcome is next on the tape

    async def check(ctx: RunContext[str], order: str) -> None:
        if order == refused:
            raise ModelRetry("not this one")

    toolset: Any = picky._function_toolset
    toolset.tools["look"].args_validator = check
    governed = govern(picky, **options)
    governed.release = govern(desk(*turns), **options).release
    assert first in await _quarantined(live, governed)


async def test_what_would_go_past_the_gates_is_refused() -> None:
    agent = desk("hi")
    with pytest.raises(AgentInvalid, match="no tool lok"):
        govern(agent, name="desk", effects={"lok": READ})
    with pytest.raises(AgentInvalid, match="no model"):
        govern(Agent(), name="desk")
    with pytest.raises(ToolInvalid, match="look-up"):
        govern(agent, name="desk", effects={"look": {"in_doubt": "confirm"}})
    with pytest.raises(ToolInvalid, match="nothing that can be said"):
        govern(agent, name="desk", effects={"look": {"efect": "read"}})  # type: ignore[typeddict-unknown-key]

    with pytest.raises(GateMisused):
        tool_context()


async def test_an_agent_that_streams_is_refused() -> None:
    async def watch(_: RunContext[Any], events: Any) -> None:
        async for _event in events:
            pass

    agent = Agent(TestModel(), capabilities=[ProcessEventStream(watch)])
    async with in_memory():
        result = await govern(agent, name="desk").run("hello")
    assert (result.outcome, result.code) == ("failed", "gate_misused")
    assert "stream" in result.reason


async def test_a_providers_own_tools_are_refused() -> None:
    agent = Agent(model("hi"), capabilities=[NativeTool(WebSearchTool())])
    async with in_memory():
        result = await govern(agent, name="desk").run("hello")
    assert (result.outcome, result.code) == ("failed", "gate_misused")
    assert "web_search" in result.reason
    assert asked == []


async def test_what_no_bound_is_known_of_is_refused_in_words() -> None:
    picture: Any = lambda _: [BinaryContent(b"x", media_type="image/png")]  # noqa: E731 - not the type it should be
    governed = govern(desk("hi"), name="desk", deps=lambda *_: "", prompt=picture)
    async with in_memory():
        result = await governed.run("hello")
    assert (result.outcome, result.code) == ("failed", "gate_misused")
    assert "BinaryContent" in result.reason
    assert asked == []


async def test_a_result_that_does_not_replay_is_refused() -> None:
    agent = desk([call("odd")], "done")

    @agent.tool_plain
    async def odd() -> ToolReturn[str]:
        return ToolReturn("x", content="more")

    governed = govern(agent, name="desk", effects={"odd": READ}, deps=lambda *_: "")
    async with in_memory():
        await governed.run("hello")
    assert what_the_model_saw()[0][2] == "failed"


def test_a_release_is_what_decides_what_is_asked() -> None:
    def release(**options: Any) -> str:
        agent = desk("hi", **options.pop("agent", {}))
        return govern(agent, name="desk", **options).release

    same = release()
    assert same == release()
    different = [
        release(agent={"instructions": "Be brief."}),
        release(agent={"output": ToolOutput(Reply)}),
        release(agent={"model_settings": {"temperature": 0.0}}),
        release(agent={"retries": 5}),
        release(effects={"look": READ}),
        release(max_tokens=10),
        release(version="2"),
        release(deps=lambda *_: "x"),
        release(model="openai:gpt-5-mini"),
    ]
    assert len({same, *different}) == 1 + len(different)


async def test_the_output_is_typed_as_the_agent_says() -> None:
    class Other(BaseModel):
        number: int

    agent = desk(Reply(text="x", cents=3), output=[Reply, Other])
    governed = govern(agent, name="desk", deps=lambda *_: "")
    async with in_memory():
        result = await governed.run("hello")
    assert result.output == Reply(text="x", cents=3)


async def test_sync_tools_know_their_call_and_structured_arguments_are_recorded() -> None:
    agent = Agent(model([call("file", reply={"text": "x", "cents": 2})], "done"))

    @agent.tool_plain
    def file(reply: Reply) -> Reply:
        done.append(tool_context().path)
        return reply

    governed = govern(agent, name="desk", effects={"file": AUTO})
    live = await run_live(governed, "hello")
    assert done == ["0.2.0"]
    assert what_the_model_saw() == [("file", {"text": "x", "cents": 2}, "success")]
    intent = next(event for event in live.events if isinstance(event, ToolIntent))
    assert live.payload(intent.payloads["args"][0]) == {"reply": {"text": "x", "cents": 2}}


async def test_a_rule_that_denies_is_told_to_the_model() -> None:
    agent = desk([call("refund", order="1", cents=900)], "no")
    limited: Any = {**AUTO, "validate": [lambda args: "too much" if args["cents"] > 500 else None]}
    governed = govern(agent, name="desk", effects={"refund": limited}, deps=lambda *_: "")
    live = await run_live(governed, "hello")
    assert done == []
    assert any(isinstance(event, VerdictRecorded) for event in live.events)
    assert "too much" in what_the_model_saw()[0][1]


async def test_gates_of_the_run_itself_cannot_be_called_from_the_frameworks_tasks() -> None:
    """Their order there is nobody's: the agent's code uses its tools and model."""
    runs: list[Run] = []
    agent = desk("hi")

    @agent.instructions
    async def late() -> str:
        await runs[0].sleep(1)
        return ""

    governed = govern(agent, name="desk", deps=lambda run, _: runs.append(run))
    async with in_memory():
        result = await governed.run("hello")
    assert (result.outcome, result.code) == ("failed", "gate_misused")
