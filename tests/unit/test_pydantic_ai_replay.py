"""Whatever a pydantic-ai agent did, its tape leads to the same events again, from every place it can be cut off at."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext, ToolFailed
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from tests.sim.tapes import Tape, comings_and_goings, go_on, run_live

from penstock import Budget
from penstock.events import RunClaimed
from penstock.gates.limits import retry
from penstock.integrations.pydantic_ai import govern, tool_context

WAYS = ("ok", "slow", "retry", "failed", "raises", "bad arguments", "unknown")
asked: list[int] = []
effects: dict[str, int] = {}


class Turn(BaseModel):
    """What the model asks for at once: ways of calls of `act`, and whether each writes."""

    calls: list[tuple[str, bool]]
    words: str = ""


class Plan(BaseModel):
    turns: list[Turn]
    rejected: int


_calls = st.lists(st.tuples(st.sampled_from(WAYS), st.booleans()), min_size=1, max_size=4)
plans = st.builds(
    Plan,
    turns=st.lists(st.builds(Turn, calls=_calls, words=st.sampled_from(["", "I look."])), max_size=3),
    rejected=st.integers(0, 2),
)


async def _answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    asked.append(1)
    plan = Plan.model_validate_json(str(messages[0].parts[0].content))  # type: ignore[union-attr]
    place = sum(isinstance(message, ModelResponse) for message in messages)
    if place >= len(plan.turns):
        return ModelResponse([TextPart("no" if place < len(plan.turns) + plan.rejected else "yes")])
    turn = plan.turns[place]
    parts: list[Any] = [TextPart(turn.words)] if turn.words else []
    for index, (way, writes) in enumerate(turn.calls):
        name = "nothing" if way == "unknown" else "write" if writes else "read"
        args: dict[str, Any] = {"wrong": 1} if way == "bad arguments" else {"way": way, "place": f"{place}.{index}"}
        parts.append(ToolCallPart(name, args, f"call-{place}-{index}"))
    return ModelResponse(parts)


def _agent() -> Any:
    agent = Agent(FunctionModel(_answer, model_name="planned"), deps_type=str, retries=20, instructions="Do it.")

    async def act(way: str) -> str:
        await asyncio.sleep(0.002 if way == "slow" else 0)
        if way == "retry":
            raise ModelRetry("another way")
        if way == "failed":
            raise ToolFailed("no way")
        if way == "raises":
            raise ValueError("broken")
        return f"did {way}"

    @agent.tool
    async def read(ctx: RunContext[str], way: str, place: str) -> str:
        return await act(way) + ctx.deps

    @agent.tool_plain
    async def write(way: str, place: str) -> dict[str, str]:
        key = tool_context().key
        effects[key] = effects.get(key, 0) + 1
        return {"answer": await act(way)}

    @agent.output_validator
    def check(text: str) -> str:
        if text == "no":
            raise ModelRetry("say yes")
        return text

    return govern(
        agent,
        name="planned",
        input=Plan,
        budget=Budget(steps=60, calls=200),
        effects={
            "read": {"effect": "read", "repeatable": True},
            "write": {"effect": "write", "permission": "auto", "in_doubt": "keyed", "repeatable": True},
        },
        deps=lambda run, plan: f" for {run.tenant}",
    )


AGENT = _agent()
CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.001)


def paths(tape: Tape) -> set[str]:
    return {event.path for event in comings_and_goings(tape.events)}


@settings(max_examples=12, deadline=None, suppress_health_check=CHECKS)
@given(plans)
def test_a_replay_makes_no_call_and_reaches_the_same_end(plan: Plan) -> None:
    async def check() -> None:
        live = await run_live(AGENT, plan)
        live.verify()
        assert live.end.outcome == "succeeded", live.end
        before = (len(asked), dict(effects))
        again = await go_on(live, len(live.rows) - 1, [AGENT])
        added = again.events[len(live.rows) - 1 :]
        assert [type(event) for event in added[:-1]] == [RunClaimed], added
        assert again.output() == live.output()
        assert (again.end.totals, again.end.outcome) == (live.end.totals, live.end.outcome)
        assert (len(asked), effects) == before

    asyncio.run(check())


@settings(max_examples=4, deadline=None, suppress_health_check=CHECKS)
@given(plans, st.integers(0, 6))
def test_from_a_crash_anywhere_a_run_ends_alike_and_doubles_nothing_settled(plan: Plan, first: int) -> None:
    async def check() -> None:
        live = await run_live(AGENT, plan)
        for count in range(1 + first, len(live.rows), 7):
            again = await go_on(live, count, [AGENT])
            again.verify()
            assert again.output() == live.output(), f"after event {count}"
            assert paths(again) == paths(live), f"after event {count}"

    asyncio.run(check())
