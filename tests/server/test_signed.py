"""Over HTTP: decisions are signed, forged ones are shown, what is in use is confirmed; and who had a run in hand."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from tests.server.conftest import Api, served
from tests.server.test_approving import Guard, decide, events, payer, people, question
from tests.server.test_runs import ended
from tests.unit.test_signed_decisions import KEYS, deliver, vote

from penstock import Agent
from penstock.adapters.memory import MemoryJournal
from penstock.events import ApprovalDecided, ApprovalVoted
from penstock.gates.tool.approval import Decision
from penstock.journal.decisions import DecisionKeys
from penstock.ports.questions import Voter
from penstock.ports.rollouts import Move, Route
from penstock.runs import approvals as questions
from penstock.runs.rollouts.signing import make_key
from penstock.testing import ScriptedModel
from penstock.views.accountability import accounts_of

CLERK = Agent("clerk-c", model=ScriptedModel(["x"], "m"), instructions="As coded.")


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with served(MemoryJournal(), agents=[payer]) as api:
        api.platform.services.decisions = KEYS
        api.platform.services.policy = Guard()  # type: ignore[assignment]
        yield api


async def test_forged_votes_and_decisions_are_shown_and_do_not_count(api: Api) -> None:
    await people(api, "ann", "bob")
    asked = await question(api)
    waiting = await questions.get(api.journal, api.platform.services.reader, "default", asked["id"])
    forged = Decision("approve", "key:eve", "", waiting.digest, Voter("key:eve"), None, waiting.policy)
    await vote(api.journal, waiting, forged)
    shown = (await api.get(f"/v1/approvals/{asked['id']}", "ann")).json()
    assert [(item["actor"], item["problem"]) for item in shown["votes"]] == [("key:eve", "it is not signed")]
    await deliver(api.journal, waiting, msgspec.json.encode(forged))
    again = await question(api, last=f"{asked['run']} {asked['id']}")
    assert (again["again"], again["votes"], shown["again"]) == ("it is not signed", [], "")
    assert (await decide(api, again, "ann")).json()["missing"] == 1
    assert (await decide(api, again, "bob")).json()["counts"]
    assert (await ended(api, asked["run"]))["output"] == "paid 500"
    said = [item for item in await events(api, asked["run"]) if isinstance(item, ApprovalVoted | ApprovalDecided)]
    counted = [item for item in said if not item.problem]
    assert [item.actor for item in counted] == ["key:ann", "key:bob", "key:bob"], "two votes, and what they decide"
    assert all(item.signed is not None and item.signed.key == KEYS.trusted[0] for item in counted)

    api.platform.services.decisions = DecisionKeys(None, [KEYS.private.public] if KEYS.private is not None else [])
    asked = await question(api)
    refused = await decide(api, asked, "ann")
    assert (refused.status_code, refused.json()["code"]) == (503, "decision_key_missing")


async def test_who_had_a_run_in_their_hands_is_told_with_its_calls(api: Api) -> None:
    await people(api, "ann", "bob")
    asked = await question(api)
    run = asked["run"]
    await api.post(f"/v1/cases/{run}/assign", "ann", json={"to": "key:bob"})
    await api.post(f"/v1/cases/{run}/claim", "ann", json={"seconds": 600})
    assert (await decide(api, asked, "ann")).status_code == 200
    await api.post(f"/v1/cases/{run}/hand-back", "ann", json={"note": "bob has to look, too"})
    await api.post(f"/v1/cases/{run}/claim", "bob", json={"seconds": 600})
    await api.post(f"/v1/cases/{run}/claim", "admin", json={"take_over": True, "reason": "bob is ill"})
    await api.post(f"/v1/cases/{run}/hand-back", "admin", json={})
    assert (await decide(api, asked, "bob")).json()["counts"]
    await ended(api, run)
    other = await question(api)
    told = (await api.get(f"/v1/audit/runs/{run}/accounts", "auditor")).json()
    watched = [(item["who"], item["how"], item["end"], bool(item["until"])) for item in told["watched"]]
    assert watched == [
        ("key:bob", "assigned", "", False),
        ("key:ann", "claimed", "handed back", True),
        ("key:bob", "claimed", "taken over", True),
        ("key:default-admin", "took over", "handed back", True),
    ]
    assert all(item["since"] <= (item["until"] or item["since"]) for item in told["watched"])
    (call,) = told["calls"]
    oversaw = {item["who"]: item["detail"] for item in call["parties"] if item["part"] == "oversaw"}
    assert set(oversaw) == {"key:ann", "key:bob", "key:default-admin"}
    vote_of_ann = next(item for item in await events(api, run) if isinstance(item, ApprovalVoted))
    assert oversaw["key:ann"].startswith("held the case, handed back, from 20")
    assert oversaw["key:ann"].endswith(f"; answered: event {vote_of_ann.seq}")
    policy = next(item for item in call["parties"] if item["part"] == "policy" and item["who"] == "finance")
    assert policy["detail"].startswith("hold: ")
    nobody = (await api.get(f"/v1/audit/runs/{other['run']}/accounts", "auditor")).json()
    assert nobody["watched"] == []
    row = await api.journal.get_run("default", UUID(run))
    assert row is not None
    exported = await accounts_of(api.journal, row)  # as an export does, which has no policy at hand
    assert ("policy", "finance") in {(party.part, party.who) for party in exported[0].parties}


async def test_what_is_in_use_unsigned_is_confirmed(api: Api, tmp_path: Path) -> None:
    make_key(tmp_path / "key.pem")
    object.__setattr__(api.server.settings, "release_key_file", tmp_path / "key.pem")
    api.platform.registry.add(CLERK)
    made = (await api.post("/v1/releases", "operator", json={"agent": CLERK.name, "version": "1"})).json()
    move = Move(made["id"], "draft", "live", "ben", approved_by="ben")  # as a server of older code did
    assert await api.journal.rollouts.change(Route("default", CLERK.name, 1, live=made["id"]), [move])
    shown = (await api.get(f"/v1/releases/{made['id']}", "viewer")).json()
    assert (shown["problem"], shown["keys"]) == ("the change 1 is not signed", [])
    refused = await api.post(f"/v1/releases/{made['id']}/retire", "operator", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "release_unsigned")
    asked = (await api.get("/v1/releases/confirm", "approver", params={"agent": CLERK.name})).json()
    assert ([item["id"] for item in asked["items"]], asked["problem"]) == ([made["id"]], shown["problem"])
    body = {"agent": CLERK.name, "releases": [made["id"]], "reason": "looked at it"}
    assert (await api.post("/v1/releases/confirm", "operator", json=body)).status_code == 403
    confirmed = (await api.post("/v1/releases/confirm", "approver", json=body)).json()
    assert confirmed == {"agent": CLERK.name, "live": made["id"], "canary": "", "percent": 0}
    shown = (await api.get(f"/v1/releases/{made['id']}", "viewer")).json()
    assert (shown["problem"], len(shown["keys"])) == ("", 1)
    (action,) = (await api.get("/v1/actions", "admin", params={"action": "release.confirm"})).json()["items"]
    assert action["detail"]["releases"] == [made["id"]]
