"""What the overview says of budgets near their end and of breakers that are open."""

from typing import Any

import pytest
from tests.server.conftest import Api
from tests.server.desk import desk

from penstock.server.schemas.overview import Overview
from penstock.views.overview import Overviews
from penstock.views.spending_limits import LOOK_SECONDS, SpendingLimits

TRIP_ALL = {"scope": "customer", "conditions": [{"kind": "failures", "limit": 5}], "open_seconds": 600}


@pytest.fixture(params=["memory", "postgres"])
def either(request: pytest.FixtureRequest) -> Api:
    """The application on each journal in turn."""
    api: Api = request.getfixturevalue("api" if request.param == "memory" else "api_on_postgres")
    return api


async def overview(api: Api, key: str = "viewer") -> Overview:
    """One that is read now, whatever is kept."""
    api.server.reading.overviews = Overviews(api.journal, api.platform.services.clock)
    response = await api.get("/v1/overview", key)
    assert response.status_code == 200, response.text
    return Overview.model_validate_json(response.content)


async def spent(api: Api, customer: str) -> None:
    """One run of the desk, which makes three calls and then asks a person."""
    run = await api.platform.submit(desk, "I was charged twice for o-1", tags={"customer": customer})
    stopped = {"parked", "ended"}
    while (await api.get(f"/v1/runs/{run}")).json()["status"] not in stopped:
        await api.platform.services.clock.sleep(0.01)


async def put(api: Api, path: str, body: dict[str, Any]) -> None:
    response = await api.put(path, body)
    assert response.status_code == 200, response.text


async def test_an_open_breaker_needs_somebody_until_it_is_closed(either: Api) -> None:
    await put(either, "/v1/breakers/a%20b", TRIP_ALL)
    assert [need.kind for need in (await overview(either)).needs] == []
    for value in ("acme", "beta"):
        assert (await either.post("/v1/breakers/a%20b/trip", json={"value": value, "reason": "x"})).status_code == 200
    [need] = (await overview(either)).needs
    assert (need.kind, need.count, need.link) == ("breaker", 2, "/controls/breakers?breaker=a%20b")
    assert need.words == "2 circuit breakers are open: breaker 'a b' of customer acme is open"
    assert need.since > 0
    assert (await overview(either, "stranger")).needs == []
    await either.post("/v1/breakers/a%20b/reset", json={"value": "acme"})
    [need] = (await overview(either)).needs
    assert need.words == "breaker 'a b' of customer beta is open"
    await either.post("/v1/breakers/a%20b/reset", json={})
    assert (await overview(either)).needs == []


async def test_an_account_near_its_end_needs_somebody(either: Api) -> None:
    await put(either, "/v1/budgets/each", {"match": {"customer": "*"}, "period": "total", "calls": 4})
    await spent(either, "acme")
    needs = {need.kind: need for need in (await overview(either)).needs}
    assert "budget" not in needs, "three of four are not 90 %"
    await put(either, "/v1/budgets/each", {"match": {"customer": "*"}, "period": "total", "calls": 3})
    need = {need.kind: need for need in (await overview(either)).needs}["budget"]
    assert need.words == "budget 'each' (customer acme) is at its end"
    assert (need.count, need.link) == (1, "/costs/budgets?budget=each")
    assert [need.kind for need in (await overview(either, "stranger")).needs] == []


async def test_the_day_has_the_budget_of_all_that_the_tenant_spends(either: Api) -> None:
    assert (await overview(either)).budget_today == 0
    await put(either, "/v1/budgets/day", {"period": "day", "nano": 60_000_000_000})
    await put(either, "/v1/budgets/tighter", {"period": "day", "nano": 50_000_000_000})
    await put(either, "/v1/budgets/narrow", {"match": {"customer": "acme"}, "period": "day", "nano": 1})
    await put(either, "/v1/budgets/elsewhere", {"period": "day", "timezone": "Asia/Tokyo", "nano": 1})
    await put(either, "/v1/budgets/month", {"period": "month", "nano": 1})
    assert (await overview(either)).budget_today == 50_000_000_000


async def test_accounts_are_read_once_in_a_while(api: Api) -> None:
    class StillClock:
        ns = 0

        def boot_ns(self) -> int:
            return self.ns

    clock = StillClock()
    limits = SpendingLimits(api.journal, clock)  # type: ignore[arg-type]
    assert (await limits.limits("default")).day_nano == 0
    await put(api, "/v1/budgets/day", {"period": "day", "nano": 7})
    clock.ns = int(LOOK_SECONDS * 1e9) - 1
    assert (await limits.limits("default")).day_nano == 0
    clock.ns += 1
    assert (await limits.limits("default")).day_nano == 7
