"""Who may decide and what counts: several people, roles, delegation, edits, policies that change, and cases."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from tests.server.conftest import Api, served
from tests.server.test_runs import ended, shown_as

from penstock import Run, agent, tool
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import open_journal
from penstock.events import ApprovalDecided, ApprovalEdited, ApprovalRequested, ApprovalVoted, ToolIntent, decode
from penstock.kernel.errors import CallDenied
from penstock.ports.people import Person
from penstock.rules.policy.policy_set import PolicySet
from penstock.runs.replaying.replay import replay

POLICY = """
version: 1
rules:
  - name: {name}
    owner: finance
    reviewed: 2026-11-01
    reason: money leaves
    when: {{tool: pay_out}}
    then: hold
    approvers: {{{approvers}}}
  - name: rest
    owner: finance
    reviewed: 2026-11-01
    reason: nothing leaves
    when: {{tool: note_down}}
    then: hold
"""
paid: list[tuple[str, int]] = []


class Guard:
    """A policy that is changed by hand."""

    def __init__(self) -> None:
        self.say()

    def say(self, approvers: str = "count: 2", name: str = "payouts") -> None:
        self.current = PolicySet.compile({"a.yaml": POLICY.format(approvers=approvers, name=name)})

    def for_run(self, agent: str, release: str, environment: str) -> PolicySet:
        return self.current


@tool(effect="write", risk="medium", in_doubt="idempotent", permission="confirm", approval_seconds=600)
async def pay_out(order: str, cents: int) -> str:
    """Pays."""
    paid.append((order, cents))
    return f"paid {cents}"


@agent("payer", version="1")
async def payer(run: Run, cents: int) -> Any:
    try:
        return await run.call(pay_out, "o-1", cents)
    except CallDenied as error:
        return str(error)


@agent("asker", version="1")
async def asker(run: Run, question: str) -> Any:
    return await run.ask_person(question)


@pytest.fixture(autouse=True)
def _nothing_yet() -> None:
    paid.clear()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with served(MemoryJournal(), agents=[payer, asker]) as api:
        yield api


@pytest.fixture
async def on_postgres(journal_dsn: str) -> AsyncIterator[Api]:
    journal = await open_journal(ConnectionSettings(journal_dsn))
    async with served(journal, agents=[payer, asker]) as api:
        yield api
    await journal.close()


@pytest.fixture
def guard(api: Api) -> Guard:
    """The policy of the worker; at first two people are needed."""
    guard = Guard()
    api.platform.services.policy = guard  # type: ignore[assignment]
    return guard


async def people(api: Api, *names: str) -> None:
    """A key of the role approver for each, known by the name."""
    for name in names:
        api.keys[name] = await api.make_key("approver", name=name)


async def question(api: Api, cents: int = 500, who: str = "approver", *, last: str = "") -> dict[str, Any]:
    """A run that asks to pay out, and its question; ``last``: not that one any more."""
    if not last:
        run = (await api.post("/v1/runs", "operator", json={"agent": "payer", "input": cents})).json()["id"]
    else:
        run = last.partition(" ")[0]
    async with asyncio.timeout(20):
        while True:
            items = (await api.get("/v1/approvals", who)).json()["items"]
            for item in items:
                if item["run"] == run and f"{run} {item['id']}" != last:
                    return dict(item)
            await asyncio.sleep(0.01)


async def decide(api: Api, asked: dict[str, Any], who: str, decision: str = "approve", **more: Any) -> Any:
    body = {"decision": decision, "digest": asked["digest"], "version": asked["version"], **more}
    return await api.post(f"/v1/approvals/{asked['id']}/decision", who, json=body)


async def events(api: Api, run: str) -> list[Any]:
    return [decode(row.body) for row in await api.journal.tape("default", UUID(run))]


async def still_waits(api: Api, run: str) -> None:
    await shown_as(api, run, "waiting_approval")
    assert paid == []


async def test_two_people_have_to_allow_it_and_each_is_on_the_tape(api: Api, guard: Guard) -> None:
    await people(api, "ann", "bob")
    asked = await question(api)
    assert asked["terms"] == {"roles": [], "count": 2, "escalate_to": [], "escalate_after_seconds": 0}
    first = await decide(api, asked, "ann", reason="seen it")
    assert (first.status_code, first.json()["counts"], first.json()["missing"]) == (200, False, 1)
    twice = await decide(api, asked, "ann")
    assert (twice.status_code, twice.json()["code"]) == (409, "approval_twice")
    await still_waits(api, asked["run"])
    again = await question(api, last=f"{asked['run']} ")
    assert ([vote["actor"] for vote in again["votes"]], again["version"]) == (["key:ann"], asked["version"])
    mine = (await api.get("/v1/approvals", "ann")).json()["items"][0]
    assert (mine["mine"], mine["why_not"]) == (False, "you have allowed it; others are needed")
    second = await decide(api, asked, "bob")
    assert (second.json()["counts"], second.json()["allowed"]) == (True, ["key:ann", "key:bob"])
    assert (await ended(api, asked["run"]))["output"] == "paid 500"
    tape = await events(api, asked["run"])
    votes = [event for event in tape if isinstance(event, ApprovalVoted)]
    assert [(vote.actor, vote.roles) for vote in votes] == [("key:ann", ["approver"]), ("key:bob", ["approver"])]
    assert votes[0].payloads["reason"]
    [last] = [event for event in tape if isinstance(event, ApprovalDecided)]
    assert (last.decision, last.people) == ("approve", ["bob", "ann"])
    [intent] = [event for event in tape if isinstance(event, ToolIntent)]
    assert intent.approval == asked["id"]
    await replays(api, asked["run"])


async def test_people_vote_and_edit_on_postgres(on_postgres: Api) -> None:
    api, guard = on_postgres, Guard()
    api.platform.services.policy = guard  # type: ignore[assignment]
    await people(api, "ann", "bob", "cid")
    asked = await question(api)
    assert (await decide(api, asked, "cid", "edit", args={"order": "o-1", "cents": 400})).status_code == 200
    again = await question(api, last=f"{asked['run']} {asked['id']}")
    answers = await asyncio.gather(*(decide(api, again, who) for who in ("ann", "bob")))
    assert sorted(answer.json()["counts"] for answer in answers) == [False, True]
    assert (await ended(api, asked["run"]))["output"] == "paid 400"
    like = (await api.get(f"/v1/approvals/{(await question(api))['id']}", "ann")).json()["like"]
    assert (like["approved"], like["edited"], like["denied"]) == (1, 1, 0)
    await replays(api, asked["run"])


async def test_keys_of_one_person_count_once(api: Api, guard: Guard) -> None:
    await people(api, "ann", "ann-phone")
    await api.journal.questions.people.put(Person("default", "key:ann-phone", "ann"))
    asked = await question(api)
    await decide(api, asked, "ann")
    twice = await decide(api, asked, "ann-phone")
    assert (twice.status_code, twice.json()["code"]) == (409, "approval_twice")
    await still_waits(api, asked["run"])


async def test_who_asked_for_it_decides_by_no_key_of_theirs(api: Api, guard: Guard) -> None:
    guard.say("count: 1")
    await people(api, "mallory")
    await api.journal.questions.people.put(Person("default", "key:mallory", "default-operator"))
    asked = await question(api)
    refused = await decide(api, asked, "mallory")
    assert (refused.status_code, refused.json()["code"]) == (403, "approval_own")
    await still_waits(api, asked["run"])


async def test_the_role_that_the_policy_asks_for(api: Api, guard: Guard) -> None:
    guard.say("roles: [finance]")
    await people(api, "ann", "fay")
    asked = await question(api)
    refused = await decide(api, asked, "ann")
    assert (refused.status_code, refused.json()["code"]) == (403, "approver_unfit")
    put = await api.put("/v1/people/key:fay", {"roles": ["finance"]}, "admin")
    assert put.status_code == 200, put.text
    assert (await decide(api, asked, "fay")).status_code == 200
    assert (await ended(api, asked["run"]))["output"] == "paid 500"


async def test_an_approver_whose_key_was_revoked_before_the_last_vote_does_not_count(api: Api, guard: Guard) -> None:
    await people(api, "ann", "bob", "cid")
    asked = await question(api)
    await decide(api, asked, "ann")
    await api.delete(f"/v1/keys/{api.ids[api.keys['ann']]}")
    second = await decide(api, asked, "bob")
    assert (second.json()["counts"], second.json()["allowed"]) == (False, ["key:bob"])
    await still_waits(api, asked["run"])
    assert (await decide(api, asked, "cid")).json()["counts"]
    assert (await ended(api, asked["run"]))["output"] == "paid 500"


@contextlib.asynccontextmanager
async def asked_and_left(guard: Guard, *names: str) -> AsyncIterator[tuple[Api, dict[str, Any]]]:
    """A question whose worker is gone; a server of the same journal without one. What is decided takes effect when one
    is started."""
    journal = MemoryJournal()
    async with served(journal, agents=[payer]) as api:
        api.platform.services.policy = guard  # type: ignore[assignment]
        asked = await question(api)
        await shown_as(api, asked["run"], "waiting_approval")
    async with served(journal, agents=[payer], worker=False) as api:
        api.platform.services.policy = guard  # type: ignore[assignment]
        await people(api, *names)
        yield api, asked


async def test_an_approver_who_lost_the_right_before_it_took_effect_does_not_count() -> None:
    guard = Guard()
    guard.say("count: 1")
    async with asked_and_left(guard, "ann", "bob") as (api, asked):
        assert (await decide(api, asked, "ann")).json()["counts"]
        await api.delete(f"/v1/keys/{api.ids[api.keys['ann']]}")
        api.platform.start_worker("later")
        again = await question(api, last=f"{asked['run']} {asked['id']}")
        assert again["digest"] == asked["digest"]
        assert paid == []
        decided = [event for event in await events(api, asked["run"]) if isinstance(event, ApprovalDecided)]
        assert [(one.decision, one.actor) for one in decided] == [("void", "key:ann")]
        assert (await decide(api, again, "bob")).json()["counts"]
        assert (await ended(api, asked["run"]))["output"] == "paid 500"
        await replays(api, asked["run"])


async def test_an_approval_under_another_policy_is_asked_anew() -> None:
    guard = Guard()
    guard.say("count: 1")
    async with asked_and_left(guard, "ann", "bob") as (api, asked):
        before = guard.current.version
        assert (await decide(api, asked, "ann")).json()["counts"]
        guard.say("roles: [finance]")
        api.platform.start_worker("later")
        again = await question(api, last=f"{asked['run']} {asked['id']}")
        assert again["terms"]["roles"] == ["finance"]
        tape = await events(api, asked["run"])
        asked_under = [event.policy for event in tape if isinstance(event, ApprovalRequested)]
        assert asked_under == [before, guard.current.version]
        assert [event.decision for event in tape if isinstance(event, ApprovalDecided)] == ["stale"]
        assert (await decide(api, again, "bob")).json()["code"] == "approver_unfit"
        assert paid == []


async def test_an_edit_makes_another_call_that_the_rules_judge_anew(api: Api, guard: Guard) -> None:
    guard.say("count: 1")
    await people(api, "ann", "bob")
    asked = await question(api)
    for args in ({"order": "o-1", "cents": 500}, None):
        refused = await decide(api, asked, "ann", "edit", args=args)
        assert (refused.status_code, refused.json()["code"]) == (422, "answer_invalid"), args
    assert (await decide(api, asked, "ann", "approve", args={"order": "o-1", "cents": 7})).status_code == 422
    done = await decide(api, asked, "ann", "edit", args={"order": "o-1", "cents": 400}, reason="100 were paid back")
    assert (done.status_code, done.json()["decision"]) == (200, "edit")
    assert (await ended(api, asked["run"]))["output"] == "paid 400"
    assert paid == [("o-1", 400)]
    [edit] = [event for event in await events(api, asked["run"]) if isinstance(event, ApprovalEdited)]
    assert (edit.actor, edit.digest) == ("key:ann", asked["digest"])
    assert edit.edited != edit.digest
    await replays(api, asked["run"])


async def test_an_edit_that_the_tool_does_not_take_is_refused_and_nothing_is_done(api: Api, guard: Guard) -> None:
    guard.say("count: 1")
    asked = await question(api)
    assert (await decide(api, asked, "approver", "edit", args={"order": "o-1", "cents": "many"})).status_code == 200
    assert "edited arguments not accepted" in (await ended(api, asked["run"]))["output"]
    assert paid == []
    await replays(api, asked["run"])


async def test_an_edit_by_one_is_no_approval_by_two(api: Api, guard: Guard) -> None:
    await people(api, "ann", "bob")
    asked = await question(api)
    assert (await decide(api, asked, "ann", "edit", args={"order": "o-1", "cents": 400})).status_code == 200
    again = await question(api, last=f"{asked['run']} {asked['id']}")
    shown = (await api.get(f"/v1/approvals/{again['id']}", "ann")).json()
    assert shown["args"] == '{"cents":400,"order":"o-1"}'
    await decide(api, again, "ann")
    assert paid == []
    await decide(api, again, "bob")
    assert (await ended(api, asked["run"]))["output"] == "paid 400"
    await replays(api, asked["run"])


async def test_who_was_handed_the_right_decides_by_it_until_it_is_taken_back(api: Api, guard: Guard) -> None:
    guard.say("roles: [finance]")
    await people(api, "ann", "fay")
    await api.put("/v1/people/key:fay", {"roles": ["finance"]}, "admin")
    asked = await question(api)
    none = await decide(api, asked, "ann", behalf="key:fay")
    assert (none.status_code, none.json()["code"]) == (404, "delegation_unknown")
    own = await api.post("/v1/delegations", "fay", json={"to": "key:fay", "seconds": 60})
    assert (own.status_code, own.json()["code"]) == (422, "delegation_invalid")
    made = await api.post("/v1/delegations", "fay", json={"to": "key:ann", "seconds": 60, "reason": "on leave"})
    assert (made.status_code, made.json()["roles"]) == (201, ["approver", "finance"])
    assert (await decide(api, asked, "ann")).json()["code"] == "approver_unfit"
    assert (await decide(api, asked, "ann", behalf="key:fay")).status_code == 200
    assert (await ended(api, asked["run"]))["output"] == "paid 500"
    ended_ = await api.delete(f"/v1/delegations/{made.json()['id']}", "ann")
    assert ended_.json()["ended_by"] == "key:ann"
    other = await question(api, 7)
    assert (await decide(api, other, "ann", behalf="key:fay")).json()["code"] == "delegation_unknown"


async def test_a_right_that_was_handed_on_counts_as_its_givers(api: Api, guard: Guard) -> None:
    await people(api, "ann", "bob", "cid")
    asked = await question(api)
    await api.post("/v1/delegations", "bob", json={"to": "key:ann", "seconds": 60})
    await decide(api, asked, "ann", behalf="key:bob")
    assert (await decide(api, asked, "bob")).json()["code"] == "approval_twice"
    assert (await decide(api, asked, "ann")).json()["code"] == "approval_twice"
    assert (await decide(api, asked, "cid")).json()["counts"]
    assert (await ended(api, asked["run"]))["output"] == "paid 500"


async def test_one_rule_decides_many_each_by_itself(api: Api, guard: Guard) -> None:
    guard.say("count: 1")
    asked = [await question(api, cents) for cents in (100, 200, 9000)]
    rule = {"tool": "pay_out", "rule": "payouts", "where": ["cents<=500", "order=o-1"], "decision": "approve"}
    shown = (await api.post("/v1/approvals/batch", "approver", json=rule)).json()["items"]
    assert [item["id"] for item in shown] == [asked[0]["id"], asked[1]["id"]]
    assert paid == []
    ids = [*(item["id"] for item in shown), asked[2]["id"]]
    done = (await api.post("/v1/approvals/batch", "approver", json={**rule, "ids": ids})).json()["items"]
    assert [item["decided"] for item in done] == [True, True]
    for one in asked[:2]:
        await ended(api, one["run"])
    assert sorted(paid) == [("o-1", 100), ("o-1", 200)]
    actions = (await api.get("/v1/actions", "admin", params={"action": "approval.decide"})).json()["items"]
    assert [action["detail"]["batch"]["rule"] for action in actions] == ["payouts", "payouts"]
    bad = await api.post("/v1/approvals/batch", "approver", json={**rule, "where": ["cents<=many"]})
    assert (bad.status_code, bad.json()["code"]) == (422, "answer_invalid")


async def test_questions_of_one_rule_are_seen_together_and_decided_each_as_it_was_seen(api: Api, guard: Guard) -> None:
    guard.say("count: 1")
    asked = [await question(api, cents) for cents in (100, 200)]
    groups = {item["group"] for item in asked}
    assert len(groups) == 1
    (group,) = groups
    shown = (await api.get(f"/v1/approvals/alike?group={group}", "approver")).json()
    assert [item["args"] for item in shown["items"]] == ['{"cents":100,"order":"o-1"}', '{"cents":200,"order":"o-1"}']
    assert (shown["why"][0]["rule"], shown["more"]) == ("policy", False)
    hidden = (await api.get(f"/v1/approvals/alike?group={group}", "viewer")).json()["items"]
    assert {(item["args"], item["hidden"], item["mine"]) for item in hidden} == {("", "forbidden", False)}
    guard.say("count: 2")
    other = await question(api, 300)
    assert other["group"] not in groups, "other terms, and another version of the policy"
    await decide(api, asked[0], "approver", "deny", together=2)
    [action] = (await api.get("/v1/actions", "admin", params={"action": "approval.decide"})).json()["items"]
    assert action["detail"]["together"] == 2
    left = (await api.get(f"/v1/approvals/alike?group={group}", "approver")).json()["items"]
    assert [item["id"] for item in left] == [asked[1]["id"]]
    assert (await api.get(f"/v1/approvals/alike?group={'0' * 32}", "approver")).json()["items"] == []


async def test_some_roles_are_handed_on_and_others_kept(api: Api, guard: Guard) -> None:
    guard.say("roles: [finance]")
    await people(api, "ann", "fay", "bob")
    await api.put("/v1/people/key:fay", {"roles": ["finance", "lead"]}, "admin")
    asked = await question(api)
    strange = {"to": "key:ann", "seconds": 60, "roles": ["legal"]}
    refused = await api.post("/v1/delegations", "fay", json=strange)
    assert (refused.status_code, refused.json()["code"]) == (422, "delegation_invalid")
    await api.post("/v1/delegations", "fay", json={**strange, "roles": ["lead"]})
    unfit = (await api.get(f"/v1/approvals/{asked['id']}?behalf=key:fay", "ann")).json()
    assert (unfit["mine"], unfit["why_not"]) == (False, "key:fay is not finance, which the policy asks for")
    assert (await decide(api, asked, "ann", behalf="key:fay")).json()["code"] == "approver_unfit"
    await api.post("/v1/delegations", "fay", json={**strange, "roles": ["finance"]})
    seen = await api.get("/v1/delegations", "ann")
    assert [item["roles"] for item in seen.json()["items"]] == [["finance"], ["lead"]]
    assert (await api.get("/v1/delegations", "bob")).json()["items"] == []
    mine = (await api.get("/v1/delegations", "fay")).json()
    assert (mine["roles"], mine["why_not"]) == (["approver", "finance", "lead"], "")
    assert len((await api.get("/v1/delegations", "admin")).json()["items"]) == 2
    fit = (await api.get(f"/v1/approvals/{asked['id']}?behalf=key:fay", "ann")).json()
    assert (fit["mine"], fit["why_not"]) == (True, "")
    stranger = (await api.get(f"/v1/approvals/{asked['id']}?behalf=key:fay", "bob")).json()
    assert "has not handed their right" in stranger["why_not"]
    assert (await decide(api, asked, "ann", behalf="key:fay")).status_code == 200
    assert (await ended(api, asked["run"]))["output"] == "paid 500"


async def test_a_case_that_somebody_holds_is_decided_by_nobody_else(api: Api, guard: Guard) -> None:
    guard.say("count: 1")
    await people(api, "ann", "bob")
    asked = await question(api)
    run = asked["run"]
    claimed = await api.post(f"/v1/cases/{run}/claim", "ann", json={"seconds": 60})
    assert (claimed.status_code, claimed.json()["holder"]) == (200, "key:ann")
    held = await decide(api, asked, "bob")
    assert (held.status_code, held.json()["code"], held.json()["fields"]["holder"]) == (409, "case_held", "key:ann")
    assert (await api.post(f"/v1/cases/{run}/claim", "bob", json={})).json()["code"] == "case_held"
    assert (await api.post(f"/v1/cases/{run}/claim", "bob", json={"take_over": True})).status_code == 403
    assert (await api.post(f"/v1/cases/{run}/hand-back", "bob", json={})).json()["code"] == "case_unknown"
    assert (await api.post(f"/v1/cases/{run}/hand-back", "ann", json={"close": True})).status_code == 422
    assert (await api.post(f"/v1/cases/{run}/hand-back", "ann", json={"note": "not mine"})).status_code == 200
    await api.post(f"/v1/cases/{run}/assign", "ann", json={"to": "key:bob", "due": 1})
    [line] = (await api.get("/v1/cases", "bob")).json()["items"]
    assert line["questions"] == [asked["id"]]
    assert (line["holder"], line["note"], line["assignee"], line["late"], line["why"]) == (
        "",
        "not mine",
        "key:bob",
        True,
        "question",
    )
    await api.post(f"/v1/cases/{run}/claim", "bob", json={})
    taken = await api.post(f"/v1/cases/{run}/claim", "admin", json={"take_over": True, "reason": "bob is ill"})
    assert taken.json()["holder"] == "key:default-admin"
    [last, *_] = (await api.get("/v1/actions", "admin", params={"action": "case.claim"})).json()["items"]
    assert (last["detail"]["forced"], last["detail"]["reason"]) == (True, "bob is ill")
    assert (await decide(api, asked, "admin")).status_code == 200
    assert (await ended(api, run))["output"] == "paid 500"
    over = await api.post(f"/v1/cases/{run}/claim", "ann", json={})
    assert (over.status_code, over.json()["code"]) == (404, "case_unknown")


async def test_who_asked_for_a_run_does_not_take_its_case(api: Api, guard: Guard) -> None:
    run = (await api.post("/v1/runs", "admin", json={"agent": "payer", "input": 5})).json()["id"]
    await shown_as(api, run, "waiting_approval")
    refused = await api.post(f"/v1/cases/{run}/claim", "admin", json={})
    assert (refused.status_code, refused.json()["code"]) == (403, "approval_own")


async def test_an_agent_asks_a_person_and_goes_on_with_the_answer(api: Api) -> None:
    run = (await api.post("/v1/runs", "operator", json={"agent": "asker", "input": "which account?"})).json()["id"]
    await shown_as(api, run, "waiting_approval")
    [asked] = (await api.get("/v1/approvals", "approver")).json()["items"]
    assert (asked["question"], asked["tool"], asked["mine"]) == ("help", "escalate", True)
    assert (await decide(api, asked, "approver", "approve")).json()["code"] == "answer_invalid"
    [case] = (await api.get("/v1/cases", "approver")).json()["items"]
    assert case["run"] == run
    assert (await decide(api, asked, "approver", "answer", reason="the second one")).status_code == 200
    assert (await ended(api, run))["output"] == "the second one"
    await replays(api, run)


async def replays(api: Api, run: str) -> None:
    """The run replays to the same events."""
    row = await api.journal.get_run("default", UUID(run))
    assert row is not None
    replayed = await replay(api.platform.services, row, [payer, asker])
    assert replayed.same, replayed.divergence
