"""Circuit breakers over HTTP: set, tripped by calls and by hand, looked at, closed, taken away."""

from typing import Any

from tests.server.conftest import Api

from penstock import Agent
from penstock.testing import ScriptedModel

PATH = "/v1/breakers/desk"
ASKED: dict[str, Any] = {
    "scope": "agent",
    "value": "clerk-x",
    "conditions": [{"kind": "failures", "limit": 2}, {"kind": "cost_mean", "expected": 1000}],
    "open_seconds": 20,
}


async def test_breakers(api: Api) -> None:
    await breakers(api)


async def test_breakers_on_postgres(api_on_postgres: Api) -> None:
    await breakers(api_on_postgres)


async def breakers(api: Api) -> None:
    made = (await api.put(PATH, ASKED, "operator")).json()
    assert (made["open"], made["circuits"], made["conditions"][1]["calls"]) == (0, [], 50)
    clerk = Agent("clerk-x", model=ScriptedModel([ValueError("down")] * 9, "m"), instructions="Help.")
    runs = [(await api.platform.run(clerk, "hello")).run for _ in range(2)]
    assert (await api.platform.run(clerk, "hello")).code == "breaker_open"
    shown = (await api.get(PATH, "viewer")).json()
    (circuit,) = shown["circuits"]
    assert (shown["open"], circuit["value"], circuit["state"], circuit["expected_nano"]) == (1, "clerk-x", "open", 1000)
    (trip,) = (await api.get(f"{PATH}/trips", "viewer")).json()["items"]
    assert trip["evidence"]["condition"] == "failures"
    assert [call["run"] for call in trip["evidence"]["calls"]] == [str(run) for run in runs]
    assert (trip["id"], trip["sealed"], trip["closed_at"]) == (circuit["trip"], True, None)
    done = (await api.post(f"{PATH}/reset", json={"reason": "it was a test"})).json()
    assert done["closed"] == 1
    (noted,) = (await api.get("/v1/actions?action=breaker.reset", "admin")).json()["items"]
    assert noted["detail"] == {"value": "", "reason": "it was a test", "closed": 1}
    (trip,) = (await api.get(f"{PATH}/trips", "viewer")).json()["items"]
    assert trip["closed_by"] != "probes"
    by_hand = (await api.post(f"{PATH}/trip", json={"reason": "odd answers", "seconds": 5})).json()
    first = (await api.get(f"{PATH}/trips?limit=1", "viewer")).json()
    assert first["items"][0]["id"] == by_hand["trip"]
    assert first["items"][0]["evidence"]["words"] == "odd answers"
    rest = (await api.get(f"{PATH}/trips?limit=1&cursor={first['next']}", "viewer")).json()
    assert rest["items"][0]["id"] == trip["id"]
    listed = (await api.get("/v1/breakers", "viewer")).json()
    assert ([item["name"] for item in listed["items"]], listed["next"]) == (["desk"], None)
    assert (await api.delete(PATH, "operator")).status_code == 200
    assert (await api.get(PATH, "viewer")).status_code == 404
    assert len((await api.get(f"{PATH}/trips", "viewer")).json()["items"]) == 2


async def test_what_cannot_be_is_refused(api: Api) -> None:
    cases: tuple[dict[str, Any], ...] = (
        {"conditions": []},
        {"conditions": [{"kind": "failures"}, {"kind": "failures", "limit": 3}]},
        {"conditions": [{"kind": "error_rate", "limit": 1.5}]},
        {"conditions": [{"kind": "cost_rate"}]},
        {"conditions": [{"kind": "latency"}]},
        {"conditions": [{"kind": "failures", "limit": 1e12}]},
        {"open_seconds": 0},
        {"probes": 0},
        {"meanwhile": "fallback"},
        {"fallback": "m"},
        {"value": "cl*"},
        {"scope": "planet"},
    )
    for wrong in cases:
        answer = await api.put(PATH, ASKED | wrong, "operator")
        assert 400 <= answer.status_code < 500, wrong
        assert answer.json()["code"], wrong
    assert (await api.post(f"{PATH}/trip", json={})).status_code == 404
    assert (await api.get(f"{PATH}/trips?cursor=zz", "viewer")).status_code == 422
    await api.put(PATH, ASKED | {"value": "*"}, "operator")
    assert (await api.post(f"{PATH}/trip", json={})).status_code == 422, "which of them?"
