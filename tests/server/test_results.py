"""Results in the order of ends, over HTTP."""

import asyncio
from typing import Any

import pytest
from tests.server.conftest import Api
from tests.server.test_runs import ended, submit

from penstock import Run, agent


@pytest.fixture(params=["api", "api_on_postgres"])
def both(request: pytest.FixtureRequest) -> Api:
    """On either journal."""
    api: Api = request.getfixturevalue(request.param)
    return api


async def test_each_result_comes_once_in_the_order_of_ends(both: Api) -> None:
    order = []
    for value in range(5):
        run = await submit(both, "broken" if value == 3 else "echo", value)
        await ended(both, run)
        order.append(run)
    cursor, seen = "", []
    for _ in range(4):
        page = (await both.get("/v1/results", params={"limit": 2, "cursor": cursor})).json()
        seen += page["items"]
        cursor = page["next"]
    assert [item["id"] for item in seen] == order
    assert [item["output"] for item in seen] == [0, 1, 2, None, 4]
    assert [item["outcome"] for item in seen][3] == "failed"
    assert (await both.get("/v1/results", "stranger")).json()["items"] == []
    [hidden] = (await both.get("/v1/results", "viewer", params={"limit": 1})).json()["items"]
    assert (hidden["output"], hidden["hidden"]) == (None, "forbidden")


async def test_a_reader_waits_for_the_next(both: Api) -> None:
    run = await submit(both, "waiter")
    waiting = asyncio.create_task(both.get("/v1/results", params={"wait": 20}))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await both.post(f"/v1/runs/{run}/events", json={"name": "go", "value": "now"})
    page = (await waiting).json()
    assert [(item["id"], item["output"]) for item in page["items"]] == [(run, "now")]
    nothing = (await both.get("/v1/results", params={"cursor": page["next"]})).json()
    assert (nothing["items"], nothing["next"]) == ([], page["next"])


async def test_children_are_results_only_when_asked_for(api: Api) -> None:
    @agent("inner", version="1")
    async def inner(run: Run, value: Any) -> Any:
        return value

    @agent("outer", version="1")
    async def outer(run: Run, value: Any) -> Any:
        return await run.call(inner, value)

    for one in (inner, outer):
        api.platform.registry.add(one)
    run = await submit(api, "outer", 7)
    await ended(api, run)
    assert [item["agent"] for item in (await api.get("/v1/results")).json()["items"]] == ["outer"]
    both = (await api.get("/v1/results", params={"children": "true"})).json()["items"]
    assert [item["agent"] for item in both] == ["inner", "outer"]


async def test_a_run_that_has_not_ended_has_no_result(api: Api) -> None:
    run = await submit(api, "waiter")
    answer = await api.get(f"/v1/runs/{run}/result", params={"wait": 0.05})
    assert (answer.status_code, answer.json()["code"]) == (409, "run_not_ended")
    for cursor in ("x", "-1", "9" * 19, "1.5"):
        assert (await api.get("/v1/results", params={"cursor": cursor})).json()["code"] == "cursor_invalid"
