"""Submissions that the queue refuses, and runs whose time is over before it is their turn."""

from typing import Any

import pytest

from penstock import Agent, Run, Settings, agent
from penstock.adapters.memory import MemoryJournal
from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import InputInvalid, QueueFull
from penstock.ports.records import RunFilter
from penstock.runs.submit import Request, submit
from penstock.testing import ScriptedModel, in_memory

SETTINGS = Settings(tenant="acme", queue_max_per_agent=5, queue_max_per_customer=2)


@agent("echo", version="1")
async def echo(run: Run, value: Any) -> Any:
    return value


async def send(journal: MemoryJournal, *requests: Request) -> list[Any]:
    return await submit(journal, SystemClock(), SETTINGS, list(requests))


async def test_the_settings_bound_the_queue_and_a_refusal_stores_nothing() -> None:
    journal = MemoryJournal()
    mine = {"customer": "c-1"}
    await send(journal, Request(echo, 1, tags=mine), Request(echo, 2, tags=mine))
    with pytest.raises(QueueFull, match="agent echo for customer c-1 holds 2 of at most 2") as refused:
        await send(journal, Request(echo, 3), Request(echo, 4, tags=mine))
    assert refused.value.fields["place"] == 3
    assert len(await journal.list_runs("acme", RunFilter(), 10)) == 2
    await send(journal, Request(echo, 3), Request(echo, 4), Request(echo, 5))
    with pytest.raises(QueueFull, match="agent echo holds 5 of at most 5"):
        await send(journal, Request(echo, 6))


async def test_a_repeat_is_answered_although_the_queue_is_full() -> None:
    journal = MemoryJournal()
    requests = [Request(echo, number, key=f"k{number}") for number in range(5)]
    runs = await send(journal, *requests)
    assert await send(journal, *requests) == runs


@pytest.mark.parametrize("seconds", [-1, float("nan"), 10**9])
async def test_a_longest_wait_must_make_sense(seconds: float) -> None:
    with pytest.raises(InputInvalid, match="max_wait_seconds"):
        await send(MemoryJournal(), Request(echo, 1, max_wait_seconds=seconds))


async def test_a_run_whose_deadline_passed_in_the_queue_ends_without_a_model_call() -> None:
    model = ScriptedModel(["never asked"])
    late = Agent("late", model=model, instructions="Answer.")
    async with in_memory() as platform:
        passed = await platform.journal.now() - 1
        result = await platform.result(await platform.submit(late, "hello", deadline=passed), timeout_seconds=60)
    assert (result.outcome, result.code) == ("exhausted", "over_deadline")
    assert "queued" in result.reason
    assert result.totals.model_calls == 0
    assert model.calls == []


async def test_runs_of_a_session_see_each_other_done() -> None:
    """In order and one at a time, through the engine."""
    seen: list[str] = []

    @agent("steps", version="1")
    async def steps(run: Run, value: str) -> str:
        seen.append(f"{value} begins")
        await run.sleep(0.01)
        seen.append(f"{value} ends")
        return value

    async with in_memory() as platform:
        runs = [await platform.submit(steps, name, session="s") for name in "abc"]
        for run in runs:
            await platform.result(run, timeout_seconds=60)
    begun = list(dict.fromkeys(seen))
    assert begun == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]
