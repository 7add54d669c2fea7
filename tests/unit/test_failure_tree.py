"""The first cause of a cascade, the way it took, and how far it spread: real families, in memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from tests.families import (
    AGENTS,
    SOON,
    boss,
    crew,
    hang_on,
    hurried,
    manager,
    misbehaved,
    mixed,
    patient,
    stubborn,
    waits_on,
)

from penstock.cli.runs.why import words
from penstock.kernel.errors import UsageError
from penstock.ports.records import Post, RunFilter, RunRow
from penstock.runs.client import Penstock
from penstock.views.failure_tree import FailureTree, read_failure_tree
from penstock.wiring import open_in_memory


@pytest.fixture
async def platform() -> AsyncIterator[Penstock]:
    async with open_in_memory(SOON, agents=AGENTS) as opened:
        yield opened


async def family(platform: Penstock, root: UUID) -> dict[str, list[RunRow]]:
    """The family's runs by agent, when all of it has ended."""
    async with asyncio.timeout(30):
        while True:
            rows = await platform.journal.list_runs("default", RunFilter(root=root), 100)
            if rows and all(row.outcome for row in rows):
                break
            await asyncio.sleep(0.01)
    found: dict[str, list[RunRow]] = {}
    for row in rows:
        found.setdefault(row.agent, []).append(row)
    return found


async def ended(platform: Penstock, agent: Any, value: Any, **options: Any) -> tuple[FailureTree, dict[str, Any]]:
    """The tree of a run of that agent, and its family."""
    run = await platform.submit(agent, value, **options)
    await platform.result(run, timeout_seconds=60)
    rows = await family(platform, run)
    return await read_failure_tree(platform.journal, "default", run), rows


async def test_a_tool_in_a_grandchild(platform: Penstock) -> None:
    tree, rows = await ended(platform, boss, "lookup fails")
    assert (tree.cause.kind, tree.cause.name, tree.cause.path) == ("tool", "lookup", "0")
    assert tree.cause.run == rows["clerk"][0].id
    assert "no such customer" in tree.cause.words
    assert [link.agent for link in tree.way] == ["clerk", "manager", "boss"]
    assert [link.by for link in tree.way] == ["0", "0", "0"]
    assert {item.agent for item in tree.affected} == {"boss", "manager", "clerk"}
    assert not tree.unaffected
    assert "first cause: tool lookup at 0 of run" in words(tree)[1]


async def test_from_the_middle_of_the_family_the_cause_is_the_same(platform: Penstock) -> None:
    tree, rows = await ended(platform, boss, "lookup fails")
    middle = await read_failure_tree(platform.journal, "default", rows["manager"][0].id)
    assert middle.cause == tree.cause
    assert [link.agent for link in middle.way] == ["clerk", "manager"]
    assert len(middle.affected) == 3


async def test_of_gathered_children_the_one_that_failed_first(platform: Penstock) -> None:
    """The gather raises the failure of its first branch; the cascade began in the last one."""
    tree, rows = await ended(platform, crew, [0.3, 0.0, 0.05])
    late, good, early = sorted(rows["worker"], key=lambda row: row.parent_path)
    assert (late.outcome, good.outcome, early.outcome) == ("failed", "succeeded", "failed")
    assert tree.cause.run == early.id
    assert [link.agent for link in tree.way] == ["worker", "crew"]
    assert tree.way[-1].by == early.parent_path
    assert {item.run for item in tree.affected} == {early.id, tree.run}
    assert [item.run for item in tree.unaffected] == [good.id]
    assert [item.run for item in tree.others] == [late.id]


async def test_a_failure_that_the_code_went_on_from_is_no_cause(platform: Penstock) -> None:
    tree, _ = await ended(platform, mixed, "first fails")
    assert (tree.cause.name, tree.cause.path) == ("lookup", "1")
    assert [call.path for call in tree.recovered] == ["0"]
    assert any("the code went on" in line for line in words(tree))


async def test_the_agents_own_mistake(platform: Penstock) -> None:
    tree, _ = await ended(platform, misbehaved, "x")
    assert (tree.cause.kind, tree.cause.code, tree.cause.path) == ("code", "agent_raised", "")
    assert "KeyError" in tree.cause.words


async def test_a_parent_that_spent_its_budget_on_a_failing_child(platform: Penstock) -> None:
    tree, rows = await ended(platform, stubborn, 10)
    assert tree.state == "exhausted"
    assert tree.cause.kind == "tool"
    assert tree.cause.run == min(rows["clerk"], key=lambda row: row.ended_at or 0).id
    assert [link.agent for link in tree.way] == ["clerk", "stubborn"]


async def test_what_a_child_was_busy_with_when_its_time_was_over(platform: Penstock) -> None:
    tree, rows = await ended(platform, hurried, 0.2)
    assert (rows["hung"][0].outcome, rows["hung"][0].code) == ("exhausted", "over_seconds")
    assert (tree.cause.kind, tree.cause.name, tree.cause.run) == ("tool", "hang", rows["hung"][0].id)
    assert [link.agent for link in tree.way] == ["hung", "hurried"]


async def test_a_child_that_its_parents_end_took_along(platform: Penstock) -> None:
    """The parent's deadline passes while it waits: the limit is the cause, also of the child's cancelling."""
    deadline = await platform.journal.now() + 300_000
    run = await platform.submit(patient, 0.0, deadline=deadline)
    await asyncio.sleep(0.35)
    await platform.journal.deliver(Post("default", run, "nudge", "message", b"{}"))
    rows = await family(platform, run)
    assert (rows["patient"][0].outcome, rows["sleeper"][0].outcome) == ("exhausted", "cancelled")
    child = await read_failure_tree(platform.journal, "default", rows["sleeper"][0].id)
    assert child.cause.run in {run, rows["sleeper"][0].id}
    assert [link.agent for link in child.way] == ["patient", "sleeper"]
    assert len(child.affected) == 2


async def test_a_cancelled_family(platform: Penstock) -> None:
    run = await platform.submit(patient, 0.0)
    async with asyncio.timeout(30):
        while len(await platform.journal.list_runs("default", RunFilter(root=run), 10)) < 2:
            await asyncio.sleep(0.01)
    await platform.cancel(run, actor="ada")
    rows = await family(platform, run)
    child = await read_failure_tree(platform.journal, "default", rows["sleeper"][0].id)
    assert (child.cause.kind, child.cause.code, child.cause.run) == ("stop", "cancelled", run)
    assert len(child.affected) == 2


async def test_a_child_that_was_killed_by_itself_is_the_cause(platform: Penstock) -> None:
    run = await platform.submit(patient, 0.0)
    async with asyncio.timeout(30):
        while len(rows := await platform.journal.list_runs("default", RunFilter(parent=run), 10)) < 1:
            await asyncio.sleep(0.01)
    await platform.kill(rows[0].id, actor="ada")
    await platform.result(run, timeout_seconds=60)
    tree = await read_failure_tree(platform.journal, "default", run)
    assert (tree.cause.kind, tree.cause.code, tree.cause.run) == ("stop", "killed", rows[0].id)
    assert [link.agent for link in tree.way] == ["sleeper", "patient"]


async def test_a_rule_that_denied(platform: Penstock) -> None:
    tree, _ = await ended(platform, manager, "denied")
    assert tree.state in ("failed", "refused")
    assert (tree.cause.kind, tree.cause.name) == ("rule", "forbidden")


async def test_the_failure_of_a_run_that_was_waited_for(platform: Penstock) -> None:
    target = await platform.submit(boss, "lookup fails")
    tree, _ = await ended(platform, waits_on, str(target))
    assert (tree.cause.kind, tree.cause.name) == ("tool", "lookup")
    assert [link.agent for link in tree.way] == ["clerk", "manager", "boss", "waits-on"]
    assert [item.agent for item in tree.affected] == ["waits-on"], "the other family is not this one's"


async def test_a_wait_that_timed_out(platform: Penstock) -> None:
    tree, _ = await ended(platform, hang_on, 0.05)
    assert (tree.cause.kind, tree.cause.name, tree.cause.code) == ("wait", "word", "timed_out")


async def test_a_run_that_did_well_has_no_failure(platform: Penstock) -> None:
    run = await platform.submit(boss, "fine")
    await platform.result(run, timeout_seconds=60)
    with pytest.raises(UsageError, match="succeeded"):
        await read_failure_tree(platform.journal, "default", run)
