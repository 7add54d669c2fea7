"""The cache over HTTP: what it is worth, and dropping what it holds; on both stores."""

import asyncio

import pytest
from tests.server.conftest import Api

from penstock import Agent, Cache
from penstock.ports.cache import HOUR
from penstock.ports.model import Price
from penstock.server.schemas.cache import CacheShown
from penstock.testing import ScriptedModel


def agent() -> Agent:
    model = ScriptedModel(["So."], "scripted:cached", Price(100.0, 500.0), repeat=True)
    return Agent("cached", model=model, instructions="Help.", temperature=0, cache=Cache(seconds=60))


async def test_the_cache(api: Api) -> None:
    await the_cache(api)


async def test_the_cache_on_postgres(api_on_postgres: Api) -> None:
    await the_cache(api_on_postgres)


async def the_cache(api: Api) -> None:
    """Two runs of one customer and one of another; then one customer's answers are dropped."""
    one = agent()
    for number, customer in enumerate(("acme", "acme", "zeta")):
        run = await api.platform.submit(one, "Well?", tags={"customer": customer})
        assert (await api.platform.result(run, timeout_seconds=20)).output == "So."
        async with asyncio.timeout(20):  # counts and entries are written beside the runs
            while (found := await shown(api)).total.hits + found.total.misses <= number or not found.entries:
                await asyncio.sleep(0.02)
    async with asyncio.timeout(20):
        while (found := await shown(api)).entries < 2:
            await asyncio.sleep(0.02)
    [row] = found.rows
    assert (row.gate, row.agent, row.name) == ("model", "cached", "scripted:cached")
    assert (row.hits, row.misses, row.calls) == (1, 2, 2)
    assert row.hit_rate == pytest.approx(1 / 3)
    assert row.saved_nano == found.total.saved_nano > 0
    assert (row.tokens_cached, row.prompt_cache_rate) == (0, 0.0)
    assert found.since % HOUR == 0
    assert found.bytes > 0
    foreign = await shown(api, "stranger")
    assert (foreign.rows, foreign.entries, foreign.total.hits, foreign.total.hit_rate) == ([], 0, 0, None)
    assert (await api.delete("/v1/cache", "stranger")).json() == {"entries": 0}
    assert (await shown(api)).entries == 2
    gone = await api.delete("/v1/cache?scope=customer&scope_name=acme", "operator")
    assert gone.json() == {"entries": 1}
    assert (await api.delete("/v1/cache?tag=nothing")).json() == {"entries": 0}
    assert (await api.delete("/v1/cache")).json() == {"entries": 1}
    recorded = await api.journal.actions.page("default", action="cache.clear")
    assert len(recorded) == 3


async def shown(api: Api, key: str = "viewer") -> CacheShown:
    response = await api.get("/v1/cache", key)
    assert response.status_code == 200, response.text
    return CacheShown.model_validate_json(response.content)


@pytest.mark.parametrize(
    "asked",
    [
        "?scope=customer",
        "?scope_name=acme",
        "?scope=tenant&scope_name=acme",
        "?scope=everybody&scope_name=acme",
        "?gate=child",
        "?agents=desk",
        f"?agent={'x' * 301}",
        "?agent=%00",
    ],
)
async def test_what_cannot_be_meant_is_refused_and_drops_nothing(api: Api, asked: str) -> None:
    response = await api.delete(f"/v1/cache{asked}")
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("asked", ["?since=2&until=1", "?since=-1", "?since=x", "?sinc=1"])
async def test_times_that_cannot_be_are_refused(api: Api, asked: str) -> None:
    assert (await api.get(f"/v1/cache{asked}")).status_code == 422
