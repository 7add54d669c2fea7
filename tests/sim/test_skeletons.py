"""Skeletons of recorded runs of a real agent: the same spans as the trace, and a path that comes to the whole."""

import asyncio

import pytest
from tests.sim import airline as world
from tests.sim.airline import Airline, case_of, desk
from tests.sim.tapes import open_on
from tests.unit.test_skeleton import columns_of, tree

from penstock.adapters.memory import MemoryJournal
from penstock.runs.submit import Request
from penstock.views.skeleton import Skeleton
from penstock.views.skeleton_reading import read_skeleton
from penstock.views.trace import read_trace

CASES = 40
TENANT = "default"


@pytest.fixture(scope="module")
def skeletons() -> list[Skeleton]:
    """Of the first recorded runs, each held against its trace."""

    async def serve() -> list[Skeleton]:
        world.airline = Airline()
        found = []
        async with open_on(MemoryJournal(), [desk], person=lambda approval: "approve") as platform:
            requests = [Request(desk, case_of(n), tags={"x_case": str(n)}) for n in range(CASES)]
            runs = await platform.submit_many(requests)
            for run in runs:
                await platform.result(run, timeout_seconds=60)
                skeleton = await read_skeleton(platform.journal, TENANT, run)
                trace = await read_trace(platform.journal, TENANT, run)
                assert columns_of(skeleton) == tree(trace.spans)
                found.append(skeleton)
        return found

    return asyncio.run(serve())


def test_each_path_comes_to_the_whole(skeletons: list[Skeleton]) -> None:
    for skeleton in skeletons:
        assert skeleton.ended
        assert sum(part.duration for part in skeleton.critical) == skeleton.total
        assert abs(sum(skeleton.critical_share.values()) - 1) < 1e-9 or skeleton.total == 0


def test_loops_are_calls_without_news(skeletons: list[Skeleton]) -> None:
    """What is bracketed has one name, and either one group of equal calls or only failures."""
    bracketed = 0
    for skeleton in skeletons:
        spans = skeleton.spans
        for loop in skeleton.loops:
            bracketed += 1
            assert {skeleton.names[spans.name[index]] for index in loop.spans} == {loop.name}
            groups = {spans.same[index] for index in loop.spans}
            stati = {skeleton.statuses[spans.status[index]] for index in loop.spans}
            assert len(groups) == 1 or not stati & {"ok", "happened"}
            assert loop.spans == sorted(loop.spans)
    assert bracketed < len(skeletons) / 4, "a real agent's runs are mostly no loops"
