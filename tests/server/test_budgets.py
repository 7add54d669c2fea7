"""Budgets over HTTP: set, listed with their accounts, lifted; and what one would have stopped."""

import asyncio
from typing import Any

import httpx2 as httpx
import pytest
from tests.server.conftest import Api

from penstock import Agent
from penstock.ports.model import Price
from penstock.testing import ScriptedModel

PATH = "/v1/budgets/monthly"
HOUR = 3_600_000_000


def clerk() -> Agent:
    model = ScriptedModel(["So."], "scripted:budgets", Price(10_000.0, 10_000.0), repeat=True)
    return Agent("clerk-b", model=model, instructions="Help.")


async def test_budgets(api: Api) -> None:
    await budgets(api)


async def test_budgets_on_postgres(api_on_postgres: Api) -> None:
    await budgets(api_on_postgres)


async def budgets(api: Api) -> None:
    """One of each customer: two calls of one and one of another, then a third that is one too many."""
    asked = {"match": {"customer": "*"}, "calls": 2, "nano": 10**9, "timezone": "Europe/Berlin"}
    made = (await api.put(PATH, asked, "operator")).json()
    assert (made["calls"], made["timezone"], made["accounts"], made["thresholds"]) == (
        2,
        "Europe/Berlin",
        [],
        [70, 90, 100],
    )
    one = clerk()
    ends = []
    for customer in ("acme", "acme", "zeta", "acme"):
        run = await api.platform.submit(one, "Well?", tags={"customer": customer})
        ends.append(await api.platform.result(run, timeout_seconds=20))
    assert [end.code for end in ends] == ["", "", "", "over_shared_calls"]
    [shown] = (await api.get("/v1/budgets", "viewer")).json()["items"]
    by_who = {account["who"]["customer"]: account for account in shown["accounts"]}
    acme = by_who["acme"]
    assert (acme["calls"], acme["left_calls"], acme["held_calls"]) == (2, 0, 0)
    assert acme["nano"] == ends[0].totals.nano + ends[1].totals.nano == 10**9 - acme["left_nano"]
    assert acme["used_percent"] == 100
    assert acme["left_tokens"] is None
    assert acme["since"] < await api.journal.now() < acme["until"]
    page = (await api.get(f"{PATH}/accounts?limit=1", "viewer")).json()
    rest = (await api.get(f"{PATH}/accounts?limit=5&cursor={page['next']}", "viewer")).json()
    assert {item["who"]["customer"] for item in page["items"] + rest["items"]} == {"acme", "zeta"}
    raised = (await api.put(PATH, asked | {"calls": 3})).json()
    assert [account["calls"] for account in raised["accounts"]] == [1, 2]
    assert (await api.get("/v1/budgets", "stranger")).json()["items"] == []
    assert (await api.delete(PATH)).json() == {"name": "monthly"}
    assert (await api.get(PATH)).json()["code"] == "budget_unknown"
    kinds = []
    for action in ("budget.set", "budget.remove"):
        kinds += [action] * len(await api.journal.actions.page("default", action=action))
    assert kinds == ["budget.set", "budget.set", "budget.remove"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"nano": -1},
        {"nano": 1, "period": "week"},
        {"nano": 1, "timezone": "Mars/Base"},
        {"nano": 1, "match": {"customer": "a\0b"}},
        {"nano": 1, "match": {f"t{n}": "*" for n in range(9)}},
        {"nano": 1, "limit": 5},
        {"nano": 10**19},
    ],
)
async def test_what_cannot_be_is_refused(api: Api, body: dict[str, Any]) -> None:
    answer = await api.put(PATH, body)
    assert answer.status_code == 422
    assert answer.json()["code"] in ("budget_invalid", "request_invalid")
    assert (await api.get("/v1/budgets")).json()["items"] == []


async def preview(api: Api, body: dict[str, Any]) -> httpx.Response:
    return await api.post("/v1/budgets/preview", "viewer", json=body)


async def test_what_a_budget_would_have_stopped(api: Api) -> None:
    one = clerk()
    spent = {"acme": 0, "zeta": 0}
    for customer in ("acme", "acme", "acme", "zeta"):
        run = await api.platform.submit(one, "Well?", tags={"customer": customer})
        spent[customer] += (await api.platform.result(run, timeout_seconds=20)).totals.nano
    body = {"match": {"customer": "*"}, "nano": spent["zeta"], "period": "total"}
    async with asyncio.timeout(20):
        while (found := (await preview(api, body)).json())["accounts"] < 2:
            await asyncio.sleep(0.05)
        while found["stopped"] and found["stopped"][0]["nano"] < spent["acme"]:
            found = (await preview(api, body)).json()
            await asyncio.sleep(0.05)
    [stopped] = found["stopped"]
    assert stopped["who"] == {"customer": "acme"}
    assert found["over_nano"] == stopped["over_nano"] == spent["acme"] - spent["zeta"]
    assert (await api.get("/v1/budgets")).json()["items"] == []
    empty = await preview(api, body | {"since": 5, "until": 5})
    assert empty.json()["code"] == "request_invalid"
    assert (await preview(api, body | {"period": "run"})).json()["code"] == "budget_invalid"
