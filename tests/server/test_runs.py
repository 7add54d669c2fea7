"""Runs over HTTP: submitted once, waited for, listed, looked at; a run of another tenant is not there."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from tests.server.conftest import Api, served

from penstock.adapters.memory import MemoryJournal


@pytest.fixture(params=["api", "api_on_postgres"])
def both(request: pytest.FixtureRequest) -> Api:
    """On either journal."""
    api: Api = request.getfixturevalue(request.param)
    return api


async def submit(api: Api, agent: str = "echo", value: Any = 1, **fields: Any) -> str:
    """The id of a new run."""
    headers = fields.pop("headers", {})
    key = fields.pop("as_", "operator")
    answer = await api.post("/v1/runs", key, json={"agent": agent, "input": value, **fields}, headers=headers)
    assert answer.status_code == 202, answer.text
    run: str = answer.json()["id"]
    return run


async def ended(api: Api, run: str) -> dict[str, Any]:
    """A run's result, waited for."""
    answer = await api.get(f"/v1/runs/{run}/result", params={"wait": 20})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


async def shown_as(api: Api, run: str, word: str) -> dict[str, Any]:
    """The run, once it is shown so."""
    async with asyncio.timeout(20):
        while (found := (await api.get(f"/v1/runs/{run}")).json())["shown"] != word:
            await asyncio.sleep(0.02)
    return dict(found)


async def test_a_run_is_accepted_and_its_result_can_be_waited_for(api: Api) -> None:
    answer = await api.post("/v1/runs", json={"agent": "echo", "input": {"a": [1]}, "tags": {"customer": "ada"}})
    accepted = answer.json()
    assert (answer.status_code, accepted["created"], accepted["status"]) == (202, True, "queued")
    assert answer.headers["location"] == accepted["location"] == f"/v1/runs/{accepted['id']}"
    result = await ended(api, accepted["id"])
    assert (result["outcome"], result["output"]) == ("succeeded", {"a": [1]})
    run = (await api.get(accepted["location"])).json()
    assert (run["shown"], run["tags"], run["actor"]) == ("succeeded", {"customer": "ada"}, "key:default-operator")
    assert run["input"]["value"] == {"a": [1]}
    assert run["command"] == f"penstock runs show {accepted['id']}"


async def test_the_same_key_gives_the_same_run_and_another_request_conflicts(api: Api) -> None:
    headers = {"Idempotency-Key": "order-7"}
    first = await submit(api, value=1, headers=headers)
    again = await api.post("/v1/runs", json={"agent": "echo", "input": 1}, headers=headers)
    assert (again.json()["id"], again.json()["created"]) == (first, False)
    other = await api.post("/v1/runs", json={"agent": "echo", "input": 2}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert other.json()["fields"]["run"] == first
    differ = await api.post("/v1/runs", json={"agent": "echo", "input": 1, "key": "x"}, headers=headers)
    assert (differ.status_code, differ.json()["code"]) == (422, "request_invalid")
    elsewhere = await api.post("/v1/runs", "stranger", json={"agent": "echo", "input": 2}, headers=headers)
    assert elsewhere.json()["created"] is True, "a key belongs to its tenant"


async def test_prefer_wait_answers_with_the_result_when_it_comes_in_time(api: Api) -> None:
    asked = {"agent": "echo", "input": "hi"}
    answer = await api.post("/v1/runs", json=asked, headers={"Prefer": "respond-async, wait=20"})
    assert (answer.status_code, answer.json()["output"]) == (200, "hi")
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.headers["location"] == f"/v1/runs/{answer.json()['id']}"
    late = await api.post("/v1/runs", json={"agent": "waiter"}, headers={"Prefer": "wait=0"})
    assert (late.status_code, late.headers["preference-applied"]) == (202, "wait=0")
    bounded = await api.post("/v1/runs", json=asked, headers={"Prefer": "wait=99999"})
    assert bounded.headers["preference-applied"] == "wait=30"


async def test_more_waiters_than_there_may_be_are_answered_at_once() -> None:
    async with served(MemoryJournal(), http_waiters=0) as api:
        answer = await api.post("/v1/runs", json={"agent": "waiter"}, headers={"Prefer": "wait=20"})
        assert answer.status_code == 202


async def test_a_batch_is_made_in_order_or_not_at_all(api: Api) -> None:
    runs = [{"agent": "echo", "input": number, "key": f"k{number}"} for number in range(5)]
    answer = await api.post("/v1/runs/batch", json={"runs": runs})
    made = answer.json()["runs"]
    assert (answer.status_code, len(made)) == (202, 5)
    assert [(await ended(api, item["id"]))["output"] for item in made] == [0, 1, 2, 3, 4]
    again = (await api.post("/v1/runs/batch", json={"runs": [*runs, {"agent": "echo", "input": 9}]})).json()["runs"]
    assert [item["created"] for item in again] == [False] * 5 + [True]
    assert [item["status"] for item in again][:5] == ["ended"] * 5
    bad = [*runs[:1], {"agent": "echo", "input": 1, "tags": {"nonsense": "x"}}]
    before = len((await api.get("/v1/runs")).json()["items"])
    refused = await api.post("/v1/runs/batch", json={"runs": bad})
    assert (refused.status_code, refused.json()["code"]) == (422, "tag_invalid")
    assert len((await api.get("/v1/runs")).json()["items"]) == before


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"agent": "nobody", "input": 1}, 422, "agent_unknown"),
        ({"agent": "echo", "input": 1, "inputs": 2}, 422, "request_invalid"),
        ({"input": 1}, 422, "request_invalid"),
        ({"agent": "echo", "input": "\x00"}, 422, "request_invalid"),
        ({"agent": "echo", "input": 2**60}, 422, "input_invalid"),
        ({"agent": "echo", "input": 1, "tags": {"customer": ""}}, 422, "tag_invalid"),
        ({"agent": "echo", "input": 1, "priority": 10**9}, 422, "input_invalid"),
        ({"agent": "echo", "input": 1, "budget": {"usd": "-1"}}, 422, "request_invalid"),
        ({"agent": "echo", "input": "x" * 3_000_000}, 413, "input_too_large"),
        ({"agent": "echo", "input": 1, "session": "a\nb"}, 422, "input_invalid"),
    ],
)
async def test_what_is_not_acceptable_is_refused_with_its_reason(
    api: Api, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await api.post("/v1/runs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await api.get("/v1/runs")).json()["items"] == []


async def test_an_unknown_agent_is_answered_with_those_there_are(api: Api) -> None:
    answer = await api.post("/v1/runs", json={"agent": "nobody"})
    assert answer.json()["fields"]["agents"] == ["broken", "desk", "echo", "slow", "waiter"]


async def test_a_full_queue_is_answered_with_when_to_try_again() -> None:
    async with served(MemoryJournal(), worker=False, queue_max_per_agent=2, queue_max_per_customer=2) as api:
        for number in range(2):
            await submit(api, value=number)
        answer = await api.post("/v1/runs", json={"agent": "echo", "input": 1})
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (429, "queue_full")
        assert int(answer.headers["retry-after"]) == round(problem["fields"]["retry_after_seconds"])
        assert problem["fields"]["place"] == 3
        queued = (await api.get("/v1/runs", params={"status": "queued"})).json()["items"]
        place = (await api.get(f"/v1/runs/{queued[0]['id']}")).json()["place"]
        assert place == 1, "one comes before it"


async def test_lists_filter_and_go_page_by_page(both: Api) -> None:
    runs: list[str] = []
    for number in range(6):
        tags = {"customer": "ada" if number % 2 else "bob", "x_team": "red"}
        runs.append(await submit(both, value=number, tags=tags))
        await ended(both, runs[-1])
        await asyncio.sleep(0.002)  # runs of the same millisecond have no order
    failed = await submit(both, "broken", session="s-1")
    await ended(both, failed)

    async def ids(**params: Any) -> list[str]:
        answer = await both.get("/v1/runs", params=params)
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    assert await ids() == [failed, *runs[::-1]]
    assert await ids(outcome="failed") == await ids(agent="broken") == await ids(session="s-1") == [failed]
    assert await ids(customer="ada") == [runs[5], runs[3], runs[1]]
    assert await ids(**{"tag.x_team": "red", "customer": "bob"}) == [runs[4], runs[2], runs[0]]
    assert await ids(shown="succeeded", limit=2) == [runs[5], runs[4]]
    first = (await both.get("/v1/runs", params={"limit": 4, "q": "ada"})).json()
    assert (len(first["items"]), first["next"], first["read_as"]) == (3, None, "customer")
    first = (await both.get("/v1/runs", params={"limit": 2, "q": "red"})).json()
    assert (first["read_as"], [item["id"] for item in first["items"]]) == ("tag", [runs[5], runs[4]])
    rest = (await both.get("/v1/runs", params={"limit": 9, "q": "red", "cursor": first["next"]})).json()
    assert [item["id"] for item in rest["items"]] == runs[3::-1]
    assert await ids(q=failed) == await ids(q="s-1") == [failed]
    assert await ids(q=failed[:13]) != []
    assert await ids(q="nothing like it") == []
    made = (await both.get(f"/v1/runs/{runs[2]}")).json()["created_at"]
    assert runs[0] not in await ids(since=made + 3_600_000_000)
    assert await ids(until=made - 3_600_000_000) == []
    facets = (await both.get("/v1/runs/facets", params={"outcome": "failed"})).json()
    assert (facets["found"], facets["agent"][0]["value"], facets["agent"][0]["share"]) == (1, "broken", 1.0)


@pytest.mark.parametrize(
    "params",
    [{"cursor": "nonsense"}, {"cursor": "00.nonsense"}, {"limit": 0}, {"limit": 501}, {"status": "x"}, {"root": "x"}],
)
async def test_a_list_refuses_what_it_cannot_read(api: Api, params: dict[str, Any]) -> None:
    assert (await api.get("/v1/runs", params=params)).status_code == 422


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("outcome=won", "outcome is never 'won'"),
        ("shown=asleep", "shown is never 'asleep'"),
        ("waiting_for=godot", "waiting_for is never 'godot'"),
        ("agnet=echo", "there is no filter 'agnet'"),
        ("agent=echo&agent=waiter", "the filter 'agent' is given 2 times"),
    ],
)
async def test_a_filter_with_a_mistake_is_refused(api: Api, query: str, words: str) -> None:
    """It would find nothing, or all, and look like an answer."""
    for path in ("/v1/runs", "/v1/runs/facets"):
        answer = await api.get(f"{path}?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "input_invalid")
        assert words in answer.json()["title"] + answer.json().get("detail", "")


async def test_a_batch_says_which_of_its_runs_is_not_acceptable(api: Api) -> None:
    answer = await api.post("/v1/runs/batch", json={"runs": [{"agent": "echo"}, {"agent": "nobody"}]})
    assert (answer.status_code, answer.json()["code"]) == (422, "agent_unknown")
    assert "runs.1: " in answer.json()["title"] + answer.json().get("detail", "")


async def test_events_are_given_as_they_are_stored(both: Api) -> None:
    run = await submit(both)
    await ended(both, run)
    page = (await both.get(f"/v1/runs/{run}/events", params={"limit": 1})).json()
    assert (page["items"][0]["body"]["kind"], page["next"]) == ("run.submitted", 1)
    rest = (await both.get(f"/v1/runs/{run}/events", params={"after": page["next"]})).json()
    assert (rest["items"][-1]["body"]["kind"], rest["next"]) == ("run.ended", None)
    head = (await both.get(f"/v1/runs/{run}")).json()["head"]
    assert rest["items"][-1]["hash"] == head


async def test_content_is_shown_by_right(both: Api) -> None:
    run = await submit(both, value="a secret " + "x" * 100_000)
    await ended(both, run)
    seen = (await both.get(f"/v1/runs/{run}", "approver")).json()
    assert (seen["input"]["cut"], seen["input"]["size"]) == (True, 100_011)
    assert seen["goal"].startswith("a secret")
    hidden = (await both.get(f"/v1/runs/{run}", "viewer")).json()
    assert (hidden["input"]["hidden"], hidden["input"]["value"], hidden["goal"]) == ("forbidden", None, "")
    result = (await both.get(f"/v1/runs/{run}/result", "viewer")).json()
    assert (result["output"], result["hidden"], result["outcome"]) == (None, "forbidden", "succeeded")

    ref = seen["input"]["ref"]
    answer = await both.get(f"/v1/runs/{run}/payloads/{ref}")
    assert (answer.status_code, len(answer.content)) == (200, 64 * 1024)
    assert answer.headers["x-payload-size"] == "100011"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    rest = await both.get(f"/v1/runs/{run}/payloads/{ref}", params={"offset": 64 * 1024})
    assert (answer.content + rest.content).startswith(b'"a secret x')
    assert len(answer.content + rest.content) == 100_011
    assert (await both.get(f"/v1/runs/{run}/payloads/{ref}", "viewer")).status_code == 403
    assert (await both.get(f"/v1/runs/{run}/payloads/{'A' * 43}")).status_code == 404
    assert (await both.get(f"/v1/runs/{run}/payloads/{'!' * 43}")).status_code == 404
    other = await submit(both)
    assert (await both.get(f"/v1/runs/{other}/payloads/{ref}")).status_code == 404, "of another data subject"


async def test_a_run_of_another_tenant_is_not_there_on_any_route(both: Api) -> None:
    run = await submit(both, "desk", "twice", session="s-9")
    await shown_as(both, run, "waiting_approval")
    [approval] = (await both.get("/v1/approvals", "approver")).json()["items"]
    detail = (await both.get(f"/v1/runs/{run}")).json()
    ref = detail["input"]["ref"]
    control = (await both.post(f"/v1/runs/{run}/pause", json={"reason": "x"})).json()
    assert control["sealed"]
    [paused] = (await both.get("/v1/controls")).json()["items"]
    missing = str(uuid4())

    decision = {"decision": "approve", "digest": approval["digest"], "version": approval["version"]}
    asked = {"scope": {"kind": "run", "name": run}, "action": "kill", "reason": "x"}
    routes: list[tuple[str, str, Any]] = [
        *(("GET", f"/v1/runs/{run}{rest}", None) for rest in ("", "/events", "/result", f"/payloads/{ref}")),
        *(("POST", f"/v1/runs/{run}/{verb}", {}) for verb in ("cancel", "kill", "pause", "resume", "release")),
        *(("POST", f"/v1/runs/{run}/{verb}", None) for verb in ("retry", "replay")),
        ("POST", f"/v1/runs/{run}/events", {"name": "go"}),
        ("GET", f"/v1/approvals/{approval['id']}", None),
        ("POST", f"/v1/approvals/{approval['id']}/decision", decision),
        ("GET", f"/v1/controls/{paused['id']}", None),
        ("POST", "/v1/controls", asked),
        ("POST", "/v1/controls/preview", asked),
        ("GET", "/v1/sessions/s-9", None),
    ]
    for method, path, body in routes:
        foreign = await both.ask(method, path, "stranger", json=body)
        nowhere = path.replace(run, missing).replace(approval["id"], missing).replace(paused["id"], missing)
        absent = await both.ask(
            method,
            nowhere.replace("s-9", "s-x"),
            "stranger",
            json={**asked, "scope": {"kind": "run", "name": missing}} if body is asked else body,
        )
        assert foreign.status_code == absent.status_code == 404, (method, path, foreign.text, absent.text)
        assert foreign.json()["code"] == absent.json()["code"], path
    for path in ("/v1/runs", "/v1/approvals", "/v1/controls", "/v1/results"):
        assert (await both.get(path, "stranger")).json()["items"] == [], path
    for params in ({"q": run}, {"root": run}, {"parent": run}, {"session": "s-9"}):
        assert (await both.get("/v1/runs", "stranger", params=params)).json()["items"] == []
    after = (await both.get(f"/v1/runs/{run}")).json()
    assert (after["shown"], after["stop"]) == ("paused", "pause"), "nothing was done to it"


async def test_sessions_agents_and_tools(both: Api) -> None:
    first = await submit(both, "waiter", session="desk/7")
    behind = await submit(both, session="desk/7")
    await shown_as(both, first, "waiting")
    session = (await both.get("/v1/sessions/desk/7")).json()
    assert (session["holder"], session["waiting"]) == (first, 1)
    assert [run["id"] for run in session["runs"]] == [first, behind]
    agents = {agent["name"]: agent for agent in (await both.get("/v1/agents")).json()["items"]}
    assert sorted(agents) == ["broken", "desk", "echo", "slow", "waiter"]
    assert agents["desk"]["tools"] == ["look", "refund"]
    assert agents["desk"]["budget"]["nano"] == 500_000_000
    assert agents["slow"]["input"] == {"type": "number"}
    assert agents["echo"]["offered"]
    tools = {tool["name"]: tool for tool in (await both.get("/v1/tools")).json()["items"]}
    assert (tools["refund"]["risk"], tools["refund"]["agents"]) == ("high", ["desk"])
    assert set(tools["refund"]["args"]["properties"]) == {"order", "cents"}
