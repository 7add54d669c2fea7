"""The agents that a process offers."""

from typing import Any

import pytest

from penstock import Agent, Run, agent
from penstock.kernel.errors import AgentInvalid
from penstock.runs.registry import Registry
from penstock.testing import ScriptedModel


def make(name: str, **how: Any) -> Agent:
    return Agent(name, **{"model": ScriptedModel(["-"]), "instructions": "Help.", **how})


@agent("plain", version="1")
async def plain(run: Run, value: int) -> int:
    return value


def test_agents_are_found_by_name_and_by_release() -> None:
    desk = make("desk")
    known = Registry([desk, plain])
    assert known.names == ["desk", "plain"]
    assert known.find("desk") is desk
    assert known.find("desk", desk.release) is desk
    assert known.find("desk", "another") is None
    assert known.find("nobody") is None
    assert known.releases == sorted([desk.release, plain.release])


def test_whom_an_agent_delegates_to_is_offered_with_it() -> None:
    deepest = make("deepest")
    deep = make("deep", tools=[deepest.as_tool()])
    spare = make("spare")
    known = Registry([make("desk", tools=[deep.as_tool()], fallback=spare)])
    assert known.names == ["deep", "deepest", "desk", "spare"]


def test_two_releases_of_one_name_are_refused_and_the_same_one_twice_is_not() -> None:
    known = Registry([make("desk")])
    known.add(make("desk"))
    with pytest.raises(AgentInvalid, match="two agents are named desk"):
        known.add(make("desk", instructions="Else."))
