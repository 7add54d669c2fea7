"""Approvals over HTTP: the question as it is, one decision that counts, and who may not decide."""

import asyncio
import dataclasses
from typing import Any
from uuid import UUID

import pytest
from tests.server import desk as agents
from tests.server.conftest import Api, served
from tests.server.test_runs import ended, shown_as, submit

from penstock.adapters.memory import MemoryJournal
from penstock.events import ApprovalRequested, decode
from penstock.kernel.clock import wall_seconds
from penstock.ports.tools import ToolDef
from penstock.server import waiters


@pytest.fixture(params=["api", "api_on_postgres"])
def both(request: pytest.FixtureRequest) -> Api:
    """On either journal."""
    api: Api = request.getfixturevalue(request.param)
    return api


async def question(api: Api, as_: str = "approver", **fields: Any) -> dict[str, Any]:
    """A run that asks whether it may pay back, and its question."""
    run = await submit(api, "desk", fields.pop("value", "I was charged twice"), **fields)
    await shown_as(api, run, "waiting_approval")
    items = (await api.get("/v1/approvals", as_)).json()["items"]
    return next(item for item in items if item["run"] == run)


async def decide(api: Api, asked: dict[str, Any], as_: str = "approver", **changed: Any) -> Any:
    """The answer to a decision on what was shown."""
    body = {"decision": "approve", "digest": asked["digest"], "version": asked["version"], **changed}
    return await api.post(f"/v1/approvals/{asked['id']}/decision", as_, json=body)


async def test_a_person_sees_what_will_be_done_and_approves_it(both: Api) -> None:
    asked = await question(both, tags={"customer": "ada"})
    assert (asked["tool"], asked["risk"], asked["question"], asked["mine"]) == ("refund", "high", "may_run", True)
    assert (asked["summary"], asked["customer"]) == ("refund order o-1, 5.00", "ada")
    shown = (await both.get(f"/v1/approvals/{asked['id']}", "approver")).json()
    assert shown["args"] == '{"cents":500,"order":"o-1"}'
    assert shown["goal"] == "I was charged twice"
    assert (shown["effect"], shown["spent_nano"] > 0, shown["budget_nano"]) == ("write", True, 500_000_000)
    assert [rule["verdict"] for rule in shown["why"]] == ["hold"]
    assert any("look" in line for line in shown["so_far"])
    assert (shown["previewed"], shown["changes_unknown"]) == (True, "")
    assert shown["changes"] == [{"what": "order o-1: refunded", "before": "$0.00", "after": "$5.00"}]
    assert shown["like"]["approved"] == 0
    answer = await decide(both, asked, reason="it is right", seen_seconds=4.5)
    assert (answer.status_code, answer.json()["actor"]) == (200, "key:default-approver")
    assert (await ended(both, asked["run"]))["output"] == "You get 5.00 back."
    assert (await both.get("/v1/approvals", "approver")).json()["items"] == []
    actions = (await both.get("/v1/actions", "admin", params={"action": "approval.decide"})).json()["items"]
    assert actions[0]["detail"]["digest"] == asked["digest"]

    again = await question(both, value="once more")
    like = (await both.get(f"/v1/approvals/{again['id']}", "approver")).json()["like"]
    assert (like["approved"], like["denied"]) == (1, 0)
    assert like["numbers"]["cents"] == {"value": 500.0, "median": 500.0, "percentile": 100.0, "count": 1}
    [past] = like["recent"]
    assert (past["reason"], past["summary"], past["actor"]) == (
        "it is right",
        "refund order o-1, 5.00",
        "key:default-approver",
    )


async def test_of_many_who_decide_at_once_exactly_one_does_and_the_others_learn_who(both: Api) -> None:
    asked = await question(both)
    people = [await both.make_key("approver", name=f"person-{number}") for number in range(5)]
    answers = await asyncio.gather(*(decide(both, asked, key) for key in people))
    [won] = [answer.json() for answer in answers if answer.status_code == 200]
    lost = [answer.json() for answer in answers if answer.status_code != 200]
    assert {(problem["status"], problem["code"]) for problem in lost} == {(409, "approval_decided")}
    for problem in lost:
        said = problem["fields"]
        assert (said["actor"], said["decision"], said["at"]) == (won["actor"], "approve", won["at"])
    await ended(both, asked["run"])
    late = await decide(both, asked, "admin", decision="deny")
    assert (late.status_code, late.json()["fields"]["actor"]) == (409, won["actor"])
    seen = await both.get(f"/v1/approvals/{asked['id']}", "approver")
    assert (seen.status_code, seen.json()["code"]) == (409, "approval_decided")


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"digest": "0" * 64}, 409, "approval_mismatch"),
        ({"version": 1}, 409, "approval_changed"),
        ({"decision": "happened"}, 422, "answer_invalid"),
        ({"decision": "maybe"}, 422, "request_invalid"),
        ({"reason": "x" * 2001}, 422, "request_invalid"),
    ],
)
async def test_a_decision_on_something_else_does_not_count(
    api: Api, changed: dict[str, Any], status: int, code: str
) -> None:
    asked = await question(api)
    answer = await decide(api, asked, **changed)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await api.get(f"/v1/runs/{asked['run']}")).json()["shown"] == "waiting_approval"


async def test_nobody_decides_on_what_they_asked_for(both: Api) -> None:
    run = await submit(both, "desk", "mine", as_="admin")
    await shown_as(both, run, "waiting_approval")
    [mine] = (await both.get("/v1/approvals", "admin")).json()["items"]
    assert (mine["mine"], mine["why_not"]) == (False, "you asked for this run yourself")
    refused = await decide(both, mine, "admin")
    assert (refused.status_code, refused.json()["code"]) == (403, "approval_own")
    behalf = await submit(both, "desk", "for somebody", behalf="key:default-approver")
    await shown_as(both, behalf, "waiting_approval")
    theirs = next(
        item for item in (await both.get("/v1/approvals", "approver")).json()["items"] if item["run"] == behalf
    )
    assert (await decide(both, theirs)).json()["code"] == "approval_own"
    assert (await decide(both, mine)).status_code == 200


async def test_where_one_person_does_both_a_setting_allows_it() -> None:
    async with served(MemoryJournal(), approvals_own=1) as api:
        run = await submit(api, "desk", "mine", as_="admin")
        await shown_as(api, run, "waiting_approval")
        [asked] = (await api.get("/v1/approvals", "admin")).json()["items"]
        assert asked["mine"]
        assert (await decide(api, asked, "admin")).status_code == 200


async def test_a_run_that_waits_says_for_whom_and_names_its_question_apart(api: Api) -> None:
    asked = await question(api)
    run = (await api.get(f"/v1/runs/{asked['run']}")).json()
    assert run["sentence"].startswith(f"It waits for a person to say whether {asked['tool']} may run, until ")
    assert asked["id"] not in run["sentence"]
    assert [waited["id"] for waited in run["waiting"]] == [asked["id"]]


async def test_what_has_expired_cannot_be_decided(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = await question(api)
    assert asked["expires"] > asked["asked_at"]

    async def later() -> int:
        return int(asked["expires"])

    monkeypatch.setattr(api.journal, "now", later)
    answer = await decide(api, asked)
    assert (answer.status_code, answer.json()["code"]) == (409, "approval_expired")
    unknown = await api.get("/v1/approvals/nothing", "approver")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "approval_unknown")


async def test_why_the_state_before_is_unknown_is_shown(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    definition = agents.refund.definition
    assert definition.preview is not None

    async def fails(**_: Any) -> Any:
        raise LookupError("no such order")

    monkeypatch.setattr(agents.desk.tools["refund"], "definition", _with_preview(definition, fails))
    asked = await question(api)
    shown = (await api.get(f"/v1/approvals/{asked['id']}", "approver")).json()
    assert (shown["previewed"], shown["changes"]) == (True, [])
    assert shown["changes_unknown"] == "its preview failed: LookupError: no such order"


def _with_preview(definition: ToolDef, function: Any) -> ToolDef:
    assert definition.preview is not None
    return dataclasses.replace(definition, preview=dataclasses.replace(definition.preview, call=function))


async def test_what_nobody_decided_is_counted_and_told_to_who_comes_late(
    both: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    definition = agents.refund.definition
    hasty = dataclasses.replace(definition, approval_seconds=0.1)
    monkeypatch.setattr(agents.desk.tools["refund"], "definition", hasty)
    run = await submit(both, "desk", "I was charged twice")
    await ended(both, run)
    monkeypatch.undo()
    tape = [decode(row.body) for row in await both.journal.tape("default", UUID(run))]
    [asked] = [event for event in tape if isinstance(event, ApprovalRequested)]
    again = await question(both, value="again")
    async with asyncio.timeout(20):  # it is remembered a moment after the run has noted it
        while (like := (await both.get(f"/v1/approvals/{again['id']}", "approver")).json()["like"])["expired"] == 0:
            await asyncio.sleep(0.01)
    assert (like["approved"], like["denied"], like["expired"], like["recent"]) == (0, 0, 1, [])
    assert like["median_seconds"] is None
    late = await both.get(f"/v1/approvals/{asked.approval}", "approver")
    assert (late.status_code, late.json()["code"]) == (409, "approval_expired")
    assert late.json()["fields"]["expired_at"] >= asked.expires
    decision = await decide(both, {"id": asked.approval, "digest": asked.digest, "version": asked.seq})
    assert decision.json()["code"] == "approval_expired"


async def test_who_else_looks_is_a_hint_that_passes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = await question(api)
    await api.get(f"/v1/approvals/{asked['id']}", "approver")
    seen = (await api.get(f"/v1/approvals/{asked['id']}", "admin")).json()
    assert seen["seen_by"] == ["key:default-approver"]
    [line] = (await api.get("/v1/approvals", "operator")).json()["items"]
    assert line["seen_by"] == ["key:default-admin", "key:default-approver"]
    assert (line["mine"], line["why_not"]) == (False, "you do not have the permission approvals:decide")
    later = wall_seconds() + waiters.SEEN_SECONDS
    monkeypatch.setattr(waiters, "wall_seconds", lambda: later)
    [line] = (await api.get("/v1/approvals", "operator")).json()["items"]
    assert line["seen_by"] == []


async def test_who_may_not_see_content_sees_no_arguments(api: Api) -> None:
    asked = await question(api)
    shown = (await api.get(f"/v1/approvals/{asked['id']}", "viewer")).json()
    assert (shown["args"], shown["hidden"], shown["goal"], shown["summary"]) == ("", "forbidden", "", "refund")
    assert (shown["previewed"], shown["changes"]) == (False, [])
    await decide(api, asked, reason="seen the invoice")
    await ended(api, asked["run"])
    again = await question(api, value="again")
    for role, summary, reason in (("approver", "refund order o-1, 5.00", "seen the invoice"), ("viewer", "", "")):
        like = (await api.get(f"/v1/approvals/{again['id']}", role)).json()["like"]
        assert (like["approved"], bool(like["numbers"])) == (1, role == "approver")
        assert [(past["summary"], past["reason"]) for past in like["recent"]] == [(summary, reason)]


async def test_other_runs_that_ask_the_same_are_named_and_pages_go_on(both: Api) -> None:
    first, second = await question(both, value="a"), await question(both, value="b")
    shown = (await both.get(f"/v1/approvals/{second['id']}", "approver")).json()
    assert shown["conflicts"] == [first["run"]]
    page = (await both.get("/v1/approvals", "approver", params={"limit": 1})).json()
    rest = (await both.get("/v1/approvals", "approver", params={"limit": 1, "cursor": page["next"]})).json()
    assert [page["items"][0]["id"], rest["items"][0]["id"]] == [first["id"], second["id"]]
    last = (await both.get("/v1/approvals", "approver", params={"limit": 1, "cursor": rest["next"]})).json()
    assert (last["items"], last["next"]) == ([], None)
    assert (await both.get("/v1/approvals", "approver", params={"cursor": "x"})).json()["code"] == "cursor_invalid"
