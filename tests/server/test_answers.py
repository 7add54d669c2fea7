"""What the caller has been given: a first answer and what became of it, over HTTP."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from tests.server.conftest import Api

from penstock import Agent, Budget, Run
from penstock.testing import ScriptedModel

FIRST, LAST = "We look into it.", "Your money is back."


def desk(last: Any = LAST) -> Agent:
    async def delivered(run: Run, value: str, result: str) -> str:
        await run.wait_event("go")
        return result

    fast = Agent(
        "fast-reply",
        model=ScriptedModel([FIRST], "scripted:fast", repeat=True),
        instructions="x",
        budget=Budget(tokens=2_000),
    )
    model = ScriptedModel([last], repeat=True)
    return Agent("two-answers", model=model, instructions="x", responder=fast, consequence=delivered, attempts=1)


async def shown(api: Api, run: UUID, key: str = "operator") -> list[dict[str, Any]]:
    answer = await api.get(f"/v1/runs/{run}", key)
    assert answer.status_code == 200, answer.text
    answers: list[dict[str, Any]] = answer.json()["answers"]
    return answers


async def until_given(api: Api, run: UUID) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        while not (answers := await shown(api, run)):
            await asyncio.sleep(0.02)
    return answers


async def test_the_first_answer_is_shown_as_provisional_until_the_last_replaces_it(api: Api) -> None:
    run = await api.platform.submit(desk(), "I was charged twice")
    [first] = await until_given(api, run)
    assert (first["kind"], first["content"]["value"]) == ("provisional", FIRST)
    assert UUID(first["run"]) != run
    await api.platform.send_event(run, "go")
    await api.platform.result(run, timeout_seconds=20)
    assert [(one["kind"], one["content"]["value"]) for one in await shown(api, run)] == [
        ("provisional", FIRST),
        ("replaced", LAST),
    ]
    assert [one["content"]["hidden"] for one in await shown(api, run, "viewer")] == ["forbidden", "forbidden"]


@pytest.mark.parametrize(("last", "kinds"), [(FIRST, ["provisional", "confirmed"]), (ValueError("x"), ["withdrawn"])])
async def test_it_is_confirmed_or_withdrawn(api: Api, last: Any, kinds: list[str]) -> None:
    run = await api.platform.submit(desk(last), "I was charged twice")
    await until_given(api, run)
    if last == FIRST:
        await api.platform.send_event(run, "go")
    await api.platform.result(run, timeout_seconds=20)
    assert [one["kind"] for one in await shown(api, run)] == kinds


async def test_a_run_with_one_answer(api: Api) -> None:
    echo = api.platform.registry.find("echo")
    assert echo is not None
    run = await api.platform.submit(echo, "hello")
    await api.platform.result(run, timeout_seconds=20)
    [only] = await shown(api, run)
    assert (only["kind"], only["content"]["value"], UUID(only["run"])) == ("final", "hello", run)
