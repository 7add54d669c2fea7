"""Where ``agent.run`` runs: in what is open, else in something that is opened for the calls that go on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from penstock import Agent
from penstock.agents import runtime
from penstock.kernel.errors import NoRuntime
from penstock.testing import ScriptedModel, in_memory

greeter = Agent("greeter", model=ScriptedModel(["Hello."], repeat=True), instructions="Greet.")


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was opened and closed by default; nothing is open otherwise."""
    seen: list[str] = []

    @asynccontextmanager
    async def opener() -> AsyncIterator[Any]:
        seen.append("opened")
        async with in_memory() as platform:
            yield platform
        seen.append("closed")

    defaults: list[Callable[[], Any]] = [opener]
    monkeypatch.setattr(runtime, "_default", defaults)
    return seen


async def test_an_open_platform_is_used(openings: list[str]) -> None:
    async with in_memory():
        assert (await greeter.run("hi")).output == "Hello."
    assert openings == []


async def test_calls_that_find_none_share_one(openings: list[str]) -> None:
    results = await asyncio.gather(*(greeter.run("hi") for _ in range(5)))
    assert [result.output for result in results] == ["Hello."] * 5
    assert openings == ["opened", "closed"]
    assert (await greeter.run("again")).ok
    assert openings == ["opened", "closed"] * 2
    assert runtime.current() is None


async def test_a_call_that_fails_closes_what_it_opened(openings: list[str]) -> None:
    with pytest.raises(Exception, match="tag"):
        await greeter.run("hi", tags={"unknown": "x"})
    assert openings == ["opened", "closed"]


async def test_where_nothing_can_be_opened_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_default", [])
    with pytest.raises(NoRuntime, match=r"penstock\.open"):
        await greeter.run("hi")


def test_the_package_sets_a_default() -> None:
    assert runtime._default
