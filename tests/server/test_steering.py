"""Steering over HTTP: one run, then by scope; each order once, and told how far it has come."""

import asyncio
import time
from typing import Any
from uuid import UUID

import pytest
from tests.contract.journal_world import Holder
from tests.server.conftest import Api
from tests.server.desk import broken
from tests.server.test_runs import ended, shown_as, submit

from penstock import Run, agent
from penstock.kernel.ids import new_id
from penstock.ports.records import Move, Status


@pytest.fixture(params=["api", "api_on_postgres"])
def both(request: pytest.FixtureRequest) -> Api:
    """On either journal."""
    api: Api = request.getfixturevalue(request.param)
    return api


async def order(api: Api, kind: str, name: str, action: str, as_: str = "operator", **fields: Any) -> Any:
    """The answer to a stop, or to taking it back."""
    key = {"Idempotency-Key": fields.pop("key")} if "key" in fields else {}
    path = fields.pop("path", "/v1/controls")
    body = {"scope": {"kind": kind, "name": name}, "action": action, "reason": "look at it", **fields}
    return await api.post(path, as_, json=body, headers=key)


async def test_a_run_is_paused_resumed_and_cancelled(both: Api) -> None:
    run = await submit(both, "waiter")
    await shown_as(both, run, "waiting")
    paused = (await both.post(f"/v1/runs/{run}/pause", json={"reason": "wait"})).json()
    assert (paused["run"], paused["sealed"], paused["open_intents"]) == (run, True, 0)
    assert (await both.get(f"/v1/runs/{run}")).json()["shown"] == "paused"
    assert (await both.post(f"/v1/runs/{run}/resume", json={})).status_code == 200
    again = await both.post(f"/v1/runs/{run}/resume", json={})
    assert (again.status_code, again.json()["code"]) == (404, "control_unknown")
    assert (await both.post(f"/v1/runs/{run}/cancel", json={"reason": "no longer"})).json()["sealed"]
    assert (await ended(both, run))["outcome"] == "cancelled"
    kinds = [item["action"] for item in (await both.get("/v1/actions", "admin")).json()["items"]]
    assert kinds[:3] == ["run.cancel", "run.resume", "run.pause"]
    [cancel] = (await both.get("/v1/actions", "admin", params={"action": "run.cancel"})).json()["items"]
    assert (cancel["target"], cancel["detail"]["reason"]) == (run, "no longer")


async def test_a_kill_lists_what_is_open_and_says_when_it_is_over(both: Api) -> None:
    run = await submit(both, "slow", 60.0)
    async with asyncio.timeout(20):
        while not (await both.get(f"/v1/runs/{run}")).json()["open_intents"]:
            await asyncio.sleep(0.02)
    preview = (await order(both, "run", run, "kill", path="/v1/controls/preview")).json()
    assert (preview["running"], preview["open_total"]) == (1, 1)
    assert preview["open_effects"][0]["name"] == "dawdle"
    assert preview["command"] == f"penstock kill {run} --tenant default --reason …"
    answer = await order(both, "run", run, "kill", key="stop-1")
    state = answer.json()
    assert (answer.status_code, state["scope"]) == (202, {"kind": "run", "name": run})
    assert state["sealed_at"]
    if state["state"] == "sealed":  # else the worker has given the call up already
        assert state["latest_end"] == state["open_effects"][0]["ends_by"]
    else:
        assert state["state"] == "quiesced"
    assert (state["actor"], state["reason"]) == ("key:default-operator", "look at it")
    again = await order(both, "run", run, "kill", key="stop-1")
    assert again.json()["id"] == state["id"], "the same order is not another"
    conflict = await order(both, "run", run, "cancel", key="stop-1")
    assert (conflict.status_code, conflict.json()["code"]) == (409, "idempotency_conflict")
    assert (await ended(both, run))["outcome"] == "killed"
    after = (await both.get(answer.headers["location"])).json()
    assert (after["state"], after["in_force"], after["stopped_runs"]) == ("quiesced", False, 1)
    assert len((await both.get("/v1/controls")).json()["items"]) == 1


async def test_what_has_ended_is_not_stopped(both: Api) -> None:
    run = await submit(both)
    await ended(both, run)
    for action in ("kill", "cancel", "pause"):
        for path, body in (("/v1/controls", None), (f"/v1/runs/{run}/{action}", {"reason": "late"})):
            answer = await (order(both, "run", run, action) if body is None else both.post(path, json=body))
            assert (answer.status_code, answer.json()["code"]) == (409, "run_is_over")
            assert answer.json()["fields"]["outcome"] == "succeeded"


async def test_a_tenant_is_stopped_only_when_its_name_is_typed(both: Api) -> None:
    run = await submit(both, "waiter")
    await shown_as(both, run, "waiting")
    for armed in ("", "defaul", "zeta"):
        refused = await order(both, "tenant", "", "kill", armed=armed)
        assert (refused.status_code, refused.json()["code"]) == (409, "not_armed")
    nameless = await order(both, "tenant", "", "kill", armed="default", reason=" ")
    assert nameless.json()["code"] == "input_invalid"
    stopped = (await order(both, "tenant", "zeta", "kill", armed="default", key="k")).json()
    assert (stopped["scope"], stopped["in_force"]) == ({"kind": "tenant", "name": "default"}, True)
    assert stopped["state"] in ("sealed", "quiesced")
    assert (await both.get("/v1/controls", "stranger")).json()["items"] == []
    queued = await submit(both)
    await asyncio.sleep(0.2)
    assert (await both.get(f"/v1/runs/{queued}")).json()["shown"] == "queued"
    lifted = (await order(both, "tenant", "", "resume", armed="default")).json()
    assert (lifted["id"], lifted["state"], lifted["lifted_by"]) == (stopped["id"], "lifted", "key:default-operator")
    again = (await order(both, "tenant", "", "kill", armed="default", key="k")).json()
    assert again["state"] == "lifted", "an order that was taken back is not carried out by repeating it"
    assert (await ended(both, queued))["outcome"] == "succeeded"
    nothing = await order(both, "tenant", "", "resume", armed="default")
    assert (nothing.status_code, nothing.json()["code"]) == (404, "control_unknown")


async def test_a_pause_that_was_taken_back_is_not_repeated_with_its_order(both: Api) -> None:
    run = await submit(both, "waiter")
    await shown_as(both, run, "waiting")
    paused = (await order(both, "run", run, "pause", key="p")).json()
    resumed = (await order(both, "run", run, "resume")).json()
    assert (resumed["id"], resumed["state"]) == (paused["id"], "lifted")
    again = (await order(both, "run", run, "pause", key="p")).json()
    assert (again["id"], again["state"]) == (paused["id"], "lifted")
    assert (await both.get(f"/v1/runs/{run}")).json()["shown"] == "waiting"
    assert (await order(both, "run", run, "pause", key="another")).json()["in_force"]
    assert (await both.get(f"/v1/runs/{run}")).json()["shown"] == "paused"


async def test_everything_takes_a_right_of_its_own_and_the_environments_name(both: Api) -> None:
    for path in ("/v1/controls", "/v1/controls/preview"):
        refused = await order(both, "everything", "", "kill", armed="development", path=path)
        assert (refused.status_code, refused.json()["fields"]["permission"]) == (403, "everything:stop")
    assert (await order(both, "everything", "", "kill", "admin", armed="everything")).json()["code"] == "not_armed"
    stopped = (await order(both, "everything", "", "kill", "admin", armed="development")).json()
    assert stopped["scope"] == {"kind": "everything", "name": ""}
    [seen] = (await both.get("/v1/controls", "stranger")).json()["items"]
    assert (seen["id"], seen["in_force"]) == (stopped["id"], True), "whom it stops can see it"
    assert (await order(both, "everything", "", "resume", "operator", armed="development")).status_code == 403
    assert (await order(both, "everything", "", "resume", "admin", armed="development")).json()["state"] == "lifted"


@pytest.mark.parametrize(("kind", "action"), [("agent", "cancel"), ("tenant", "cancel"), ("everything", "cancel")])
async def test_a_scope_that_cannot_be_stopped_so_says_it(api: Api, kind: str, action: str) -> None:
    answer = await order(api, kind, "desk", action, armed="desk")
    assert (answer.status_code, answer.json()["code"]) == (422, "scope_unsupported")


@pytest.mark.parametrize(("kind", "name"), [("run", "nonsense"), ("agent", ""), ("customer", " ")])
async def test_a_scope_without_a_name_is_refused(api: Api, kind: str, name: str) -> None:
    bad = await order(api, kind, name, "kill", armed=name)
    assert (bad.status_code, bad.json()["code"]) == (422, "input_invalid")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *[("agent", "echo"), ("customer", "ada"), ("session", "s-1"), ("tenant", ""), ("release", None)],
        ("environment", "development"),
    ],
)
async def test_a_paused_scope_waits_and_goes_on(both: Api, kind: str, name: str | None) -> None:
    if name is None:
        done = await submit(both, session="s-0")
        await ended(both, done)
        name = str((await both.get(f"/v1/runs/{done}")).json()["release"])
    name = name or "default"
    paused = (await order(both, kind, name, "pause", armed=name, key="p")).json()
    assert (paused["scope"], paused["action"], paused["in_force"]) == ({"kind": kind, "name": name}, "pause", True)
    held = await submit(both, tags={"customer": "ada"}, session="s-1")
    preview = (await order(both, kind, name, "resume", path="/v1/controls/preview")).json()
    assert (preview["queued"], preview["running"]) == (1, 0)
    what = "--all" if kind == "tenant" else f"--{kind} {name}"
    assert preview["command"] == f"penstock resume {what} --tenant default"
    refused = await order(both, kind, name, "resume", armed="another")
    assert refused.json()["code"] == "not_armed"
    await asyncio.sleep(0.2)
    page = (await both.get(f"/v1/runs/{held}")).json()
    of = "everything of tenant default" if kind == "tenant" else f"{kind} {name}"
    assert page["sentence"] == f"It is held back by a pause of {of}, ordered by key:default-operator."
    assert page["shown"] == "queued"
    lifted = (await order(both, kind, name, "resume", armed=name)).json()
    assert (lifted["id"], lifted["state"]) == (paused["id"], "lifted")
    assert (await ended(both, held))["outcome"] == "succeeded"


async def test_a_tool_is_stopped_by_its_name_and_no_run_with_it(both: Api) -> None:
    run = await submit(both, "slow", 60.0)
    async with asyncio.timeout(20):
        while not (await both.get(f"/v1/runs/{run}")).json()["open_intents"]:
            await asyncio.sleep(0.02)
    preview = (await order(both, "tool", "dawdle", "kill", path="/v1/controls/preview")).json()
    assert (preview["running"], preview["open_total"]) == (1, 1)
    assert any("no run ends of it" in words for words in preview["not_reached"])
    assert preview["command"] == "penstock kill --tool dawdle --tenant default --reason …"
    assert (await order(both, "tool", "dawdle", "kill")).json()["code"] == "not_armed"
    stopped = (await order(both, "tool", "dawdle", "kill", armed="dawdle", key="t")).json()
    assert (stopped["state"], stopped["in_force"], stopped["stopped_runs"]) == ("sealed", True, 0)
    assert [effect["name"] for effect in stopped["open_effects"]] == ["dawdle"]
    assert (await both.get("/v1/controls", "stranger")).json()["items"] == []
    assert (await both.get(f"/v1/runs/{run}")).json()["shown"] == "running"
    lifted = (await order(both, "tool", "dawdle", "resume", armed="dawdle")).json()
    assert (lifted["id"], lifted["state"]) == (stopped["id"], "lifted")
    await both.post(f"/v1/runs/{run}/kill", json={"reason": "enough"})
    assert (await ended(both, run))["outcome"] == "killed"
    report = (await both.get(f"/v1/runs/{run}/report")).json()
    assert (report["outcome"], [effect["tool"] for effect in report["done"] + report["undecided"]]) in (
        ("killed", []),
        ("killed", ["dawdle"]),
    )


async def test_a_resume_whose_answer_was_lost_is_sent_again(both: Api) -> None:
    run = await submit(both, "waiter")
    await shown_as(both, run, "waiting")
    for kind, name in (("run", run), ("agent", "waiter")):
        paused = (await order(both, kind, name, "pause", armed=name)).json()
        for _ in range(2):
            lifted = (await order(both, kind, name, "resume", armed=name, key="r")).json()
            assert (lifted["id"], lifted["state"]) == (paused["id"], "lifted")
        assert (await order(both, kind, name, "resume", armed=name)).json()["code"] == "control_unknown"
        other = await order(both, kind, name, "resume", "admin", armed=name, key="r")
        assert other.json()["code"] == "control_unknown", "what another has lifted is not one's own order"


async def test_a_killed_agents_runs_end_and_anothers_go_on(both: Api) -> None:
    mine = await submit(both, "waiter")
    await shown_as(both, mine, "waiting")
    stopped = (await order(both, "agent", "waiter", "kill", armed="waiter")).json()
    assert stopped["state"] in ("sealed", "quiesced")
    assert (await ended(both, await submit(both)))["outcome"] == "succeeded"
    assert (await both.get(f"/v1/runs/{mine}")).json()["shown"] == "waiting", "what is parked is kept"
    [need] = [item for item in (await both.get("/v1/overview")).json()["needs"] if item["kind"] == "control"]
    assert need["words"].startswith("kill of agent waiter in force")


async def test_an_ended_run_is_made_once_more(both: Api) -> None:
    run = await submit(both, "echo", {"a": 1}, tags={"customer": "ada"}, behalf="ann", budget={"usd": "0.25"})
    await ended(both, run)
    answer = await both.post(f"/v1/runs/{run}/retry", headers={"Idempotency-Key": "again"})
    made = answer.json()
    assert (answer.status_code, made["of"], answer.headers["location"]) == (202, run, made["location"])
    assert (await ended(both, made["id"]))["output"] == {"a": 1}
    shown = (await both.get(f"/v1/runs/{made['id']}")).json()
    assert (shown["tags"], shown["behalf"], shown["budget"]["nano"]) == ({"customer": "ada"}, "ann", 250_000_000)
    twice = await both.post(f"/v1/runs/{run}/retry", headers={"Idempotency-Key": "again"})
    assert twice.json()["id"] == made["id"]
    waiting = await submit(both, "waiter")
    refused = await both.post(f"/v1/runs/{waiting}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "run_not_ended")


async def test_events_are_taken_once(both: Api) -> None:
    run = await submit(both, "waiter")
    sent = [
        (await both.post(f"/v1/runs/{run}/events", json={"name": "go", "value": {"n": 1}, "dedup": "d"}))
        for _ in range(2)
    ]
    assert [(answer.status_code, answer.json()["delivered"]) for answer in sent] == [(202, True), (202, False)]
    assert (await ended(both, run))["output"] == {"n": 1}
    late = await both.post(f"/v1/runs/{run}/events", json={"name": "go"})
    assert (late.status_code, late.json()["code"]) == (404, "run_unknown")


async def test_a_quarantined_run_is_let_out_once(both: Api) -> None:
    run = await submit(both, "waiter")
    await shown_as(both, run, "waiting")
    refused = await both.post(f"/v1/runs/{run}/release", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "run_not_set_aside")
    assert both.platform.worker is not None
    both.platform.worker.drain()
    await asyncio.sleep(0)
    await both.post(f"/v1/runs/{run}/events", json={"name": "go"})
    mine = new_id(both.platform.services.clock)
    await both.journal.enlist(mine, "by-hand", 60)
    row = await both.journal.get_run("default", UUID(run))
    assert row is not None
    async with asyncio.timeout(10):
        while not (claims := await both.journal.claim(mine, [row.release], 10)):
            await asyncio.sleep(0.02)
    await Holder(both.journal, claims[0]).append(move=Move(Status.QUARANTINED, code="divergence"))
    assert (await both.get(f"/v1/runs/{run}")).json()["shown"] == "quarantined"
    set_aside = await both.get(f"/v1/runs/{run}/result")
    assert (set_aside.status_code, set_aside.json()["code"]) == (409, "run_quarantined")
    out = await both.post(f"/v1/runs/{run}/release", json={"reason": "mended"})
    assert (out.status_code, out.json()["status"]) == (200, "queued")


async def test_a_replay_tells_what_differs_and_makes_no_call(both: Api) -> None:
    run = await submit(both, "desk", "twice")
    await shown_as(both, run, "waiting_approval")
    same = await both.post(f"/v1/runs/{run}/replay")
    assert (same.status_code, same.json()["same"], same.json()["divergence"]) == (200, True, None)
    done = await submit(both, "echo", 3)
    await ended(both, done)

    @agent("echo", version="1")
    async def echo(run: Run, value: object) -> object:
        return await run.call(broken, value)

    both.platform.registry._latest["echo"] = echo
    both.platform.registry._by_release.clear()
    differs = (await both.post(f"/v1/runs/{done}/replay")).json()
    assert (differs["same"], bool(differs["divergence"])) == (False, True)


async def test_a_replay_that_takes_too_long_is_cut_and_others_are_served_meanwhile(api: Api) -> None:
    done = await submit(api, "echo", 3)
    await ended(api, done)

    @agent("echo", version="1")
    async def echo(run: Run, value: object) -> object:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:  # code that never waits
            sum(range(1000))
        return value

    api.platform.registry._latest["echo"] = echo
    api.platform.registry._by_release.clear()
    replaying = asyncio.create_task(api.post(f"/v1/runs/{done}/replay"))
    longest = 0.0
    while not replaying.done():
        begun = time.monotonic()
        await asyncio.sleep(0.005)  # a request to a journal in memory need not give way to others
        assert (await api.get("/v1/agents")).status_code == 200
        longest = max(longest, time.monotonic() - begun)
    assert (await replaying).json()["same"]
    assert longest < 0.9, "the server stood still while the replay computed"
