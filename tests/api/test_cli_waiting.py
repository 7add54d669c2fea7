"""``penstock runs waits``, ``why`` and ``send``, on runs that two workers of a real database made."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest
from tests.api.conftest import CommandLine, Done
from tests.families import AGENTS, SOON, boss, hang_on, meets, patient, sleeper, waits_on

from penstock import agent
from penstock.adapters.postgres.journal import open_journal
from penstock.agents.run import Run
from penstock.cli.exits import ExitCode
from penstock.ports.records import RunFilter, Status
from penstock.runs.client import Penstock
from penstock.wiring import assemble

Ask = Callable[..., Any]
TENANT = "waiting"


@agent("told", version="1")
async def told(run: Run, key: str) -> Any:
    return [await run.wait_event("paid", key=key), await run.wait_event("go")]


@pytest.fixture
async def platform(command_line: CommandLine) -> AsyncIterator[Penstock]:
    """One with a worker of its own; another works beside it on the same database."""
    agents = [*AGENTS, told]
    async with assemble(await open_journal(command_line.dsn), SOON, agents=agents) as other:
        other.start_worker("waiting-other")
        async with assemble(await open_journal(command_line.dsn), SOON, agents=agents) as opened:
            opened.start_worker("waiting-one")
            yield opened


@pytest.fixture
def ask(command_line: CommandLine) -> Ask:
    """A command, without blocking the workers."""

    async def run(*arguments: str) -> Done:
        return await asyncio.to_thread(command_line.quick, "runs", *arguments, "--tenant", TENANT)

    return run


async def parked(platform: Penstock, run: UUID) -> None:
    async with asyncio.timeout(20):
        while (row := await platform.journal.get_run(TENANT, run)) is None or row.status is not Status.PARKED:
            await asyncio.sleep(0.01)


async def test_an_event_from_the_command_line(platform: Penstock, ask: Ask) -> None:
    run = await platform.submit(told, "order-7", tenant=TENANT)
    sent = await ask("send", "-", "paid", '{"cents": 5}', "--key", "order-7", "--dedup", "a")
    assert (sent.code, sent.out) == (ExitCode.OK, "sent paid\n"), sent.err
    again = await ask("send", "-", "paid", "null", "--key", "order-7", "--dedup", "a", "--json")
    assert again.document == {"key": "order-7", "name": "paid", "sent": False}
    assert (await ask("send", str(run), "go", '"now"')).code == ExitCode.OK
    result = await platform.result(run, tenant=TENANT, timeout_seconds=60)
    assert result.output == [{"cents": 5}, "now"]
    refused = await ask("send", str(run), "go", "not json")
    assert (refused.code, "is not JSON" in refused.err) == (ExitCode.USAGE, True)
    ended = await ask("send", str(run), "go")
    assert (ended.code, "has ended" in ended.err) == (ExitCode.USAGE, True)


async def test_two_workers_and_the_two_last_edges_of_a_circle(platform: Penstock, ask: Ask) -> None:
    """Each round two runs ask for each other at once; one of them is refused, and both end."""
    shown: list[UUID] = []
    for _ in range(5):
        one, other = [await platform.submit(meets, 0, tenant=TENANT) for _ in range(2)]
        await parked(platform, one)
        await parked(platform, other)
        await asyncio.gather(
            platform.send_event(one, "other", str(other), tenant=TENANT),
            platform.send_event(other, "other", str(one), tenant=TENANT),
        )
        results = [await platform.result(run, tenant=TENANT, timeout_seconds=60) for run in (one, other)]
        assert sorted(str(result.output) for result in results) == ["succeeded", "wait_cycle"]
        shown.append(one)
    drawn = await ask("show", str(shown[-1]))
    assert drawn.code == ExitCode.OK
    assert "wait run" in drawn.out


async def test_the_graph_draws_circles_and_leaves(platform: Penstock, ask: Ask) -> None:
    family = await platform.submit(patient, 0.0, tenant=TENANT)
    first = await platform.submit(meets, 60, tenant=TENANT)
    second = await platform.submit(meets, 0, tenant=TENANT)
    for run, other in ((first, second), (second, first)):
        await parked(platform, run)
        await platform.send_event(run, "other", str(other), tenant=TENANT)
    async with asyncio.timeout(20):
        while len([edge for edge in await platform.journal.waits.edges(TENANT, 100) if edge.kind == "run"]) < 2:
            await asyncio.sleep(0.02)
    drawn = await ask("waits")
    assert drawn.code == ExitCode.OK, drawn.err
    circle = drawn.out.splitlines()[0]
    assert re.match(rf"circle, until .* UTC: ({first}|{second}) → ({first}|{second}) → ", circle)
    assert f"{family} patient (parked)" in drawn.out
    assert re.search(r"  waits for its child \S+ sleeper \(parked\)\n    waits for a timer until", drawn.out)
    near = (await ask("waits", str(first), "--json")).document
    assert set(near["nodes"]) == {str(first), str(second)}
    assert [circle["runs"] for circle in near["circles"]] == [sorted([str(first), str(second)])]
    assert near["circles"][0]["ends_at"] > 0
    for run in (first, second, family):
        await platform.cancel(run, actor="test", tenant=TENANT)
        await platform.result(run, tenant=TENANT, timeout_seconds=60)
    assert (await ask("waits", str(first), "--json")).document["edges"] == []


async def test_the_first_cause_in_a_family_of_three_levels(platform: Penstock, ask: Ask) -> None:
    target = await platform.submit(boss, "lookup fails", tenant=TENANT)
    run = await platform.submit(waits_on, str(target), tenant=TENANT)
    await platform.result(run, tenant=TENANT, timeout_seconds=60)
    said = await ask("why", str(target))
    assert said.code == ExitCode.OK, said.err
    lines = said.out.splitlines()
    assert re.match(r"first cause: tool lookup at 0 of run \S+ \(clerk\) \[\w+\] at .*: .*no such customer", lines[1])
    assert [line.split()[3] for line in lines[2:5]] == ["clerk", "manager", "boss"]
    assert "spread: 3 of 3 runs of the family failed by it" in said.out
    rows = await platform.journal.list_runs(TENANT, RunFilter(root=target), 10)
    document = (await ask("why", str(run), "--json")).document
    assert document["cause"]["run"] in {str(row.id) for row in rows if row.agent == "clerk"}
    assert [link["agent"] for link in document["way"]] == ["clerk", "manager", "boss", "waits-on"]


async def test_nothing_is_wrong_with_a_run_that_goes_on(platform: Penstock, ask: Ask) -> None:
    run = await platform.submit(sleeper, 0.0, tenant=TENANT)
    why = await ask("why", str(run))
    assert (why.code, "has not ended" in why.err) == (ExitCode.USAGE, True)
    await platform.cancel(run, actor="test", tenant=TENANT)
    await platform.result(run, tenant=TENANT, timeout_seconds=60)
    assert "first cause: stop of run" in (await ask("why", str(run))).out


async def test_a_timed_out_wait_is_named(platform: Penstock, ask: Ask) -> None:
    run = await platform.submit(hang_on, 0.05, tenant=TENANT)
    await platform.result(run, tenant=TENANT, timeout_seconds=60)
    assert "first cause: wait word at 0 of run" in (await ask("why", str(run))).out
