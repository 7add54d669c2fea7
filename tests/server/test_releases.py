"""Releases over HTTP: drafted by one, approved by another, rolled out, compared, rolled back."""

from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import Api

from penstock import Agent
from penstock.ports.model import ModelRequest
from penstock.runs.rollouts.signing import make_key
from penstock.testing import ScriptedModel


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


def told(request: ModelRequest) -> str:
    return request.messages[0].text


CLERK = Agent("clerk-r", model=ScriptedModel([told], "m", repeat=True), instructions="As coded.\nBe kind.")


def trust(api: Api, key: Path) -> None:
    """The server signs with this key."""
    object.__setattr__(api.server.settings, "release_key_file", key)


async def test_releases(api: Api, key_file: Path) -> None:
    await a_life(api, key_file)


async def test_releases_on_postgres(api_on_postgres: Api, key_file: Path) -> None:
    await a_life(api_on_postgres, key_file)


async def test_a_draft_is_looked_at_before_it_is_kept(api: Api, key_file: Path) -> None:
    api.platform.registry.add(CLERK)
    trust(api, key_file)
    offered = (await api.get("/v1/releases/offered?agent=clerk-r", "operator")).json()
    assert offered["manifest"]["prompts"] == {"instructions": "As coded.\nBe kind."}
    assert offered["route"]["live"] == ""
    draft: dict[str, Any] = {
        "agent": "clerk-r",
        "prompts": {"instructions": "As coded.\nBe brief."},
        "models": ["m", "n"],
    }
    told = (await api.post("/v1/releases/preview", json=draft, key="operator")).json()
    assert {item["what"]: item["lines"] for item in told["differences"]} == {
        "prompt instructions": ["line 2:", "- Be kind.", "+ Be brief."],
        "model": ["m then n, was m"],
    }
    assert (await api.get("/v1/releases", "operator")).json()["items"] == [], "nothing is kept"
    made = (await api.post("/v1/releases", json=draft, key="operator")).json()
    assert made["id"] == told["new"]
    same = {**draft, "base": made["id"], "budget": {"steps": 4}}
    told = (await api.post("/v1/releases/preview", json=same, key="operator")).json()
    assert [item["what"] for item in told["differences"]] == ["budget"]
    made = await api.post("/v1/releases", json={**draft, "budget": {"seconds": 0, "steps": 4}}, key="operator")
    assert made.json()["id"] == told["new"], "what is not limited is not written"
    wrong = await api.post("/v1/releases/preview", json={**draft, "settings": {"max_tokens": 0}}, key="operator")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "release_invalid")
    assert (await api.get("/v1/releases/offered?agent=nobody", "operator")).json()["code"] == "agent_unknown"
    blind = await api.make_key("operator", permissions=["releases:manage", "runs:read"], name="blind")
    refused = await api.get("/v1/releases/offered?agent=clerk-r", blind)
    assert (refused.status_code, refused.json()["fields"]["permission"]) == (403, "payloads:read")
    assert (await api.post("/v1/releases/preview", json=draft, key=blind)).status_code == 403


async def test_a_draft_may_have_filters(api: Api, key_file: Path) -> None:
    api.platform.registry.add(CLERK)
    trust(api, key_file)
    draft: dict[str, Any] = {"agent": "clerk-r", "filters": {"output": {"card": "block"}}}
    told = (await api.post("/v1/releases/preview", json=draft, key="operator")).json()
    assert told["differences"] == [
        {
            "what": "filters",
            "lines": ["filters of its own, in place of those of the code:", "output: card is blocked, was passed"],
        }
    ]
    made = (await api.post("/v1/releases", json=draft, key="operator")).json()
    shown = (await api.get(f"/v1/releases/{made['id']}", "operator")).json()
    assert shown["manifest"]["filters"] == draft["filters"]
    draft["filters"] = {"output": {"cards": "block"}}
    wrong = await api.post("/v1/releases", json=draft, key="operator")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "release_invalid")
    assert "'cards', which nothing looks for" in wrong.text


async def a_life(api: Api, key: Path) -> None:
    api.platform.registry.add(CLERK)
    refused = await api.post("/v1/releases", json={"agent": "clerk-r"}, key="operator")
    assert (refused.status_code, refused.json()["code"]) == (503, "release_key_missing")
    trust(api, key)
    prompts = {"instructions": "As released.\nBe kind."}
    asked: dict[str, Any] = {"agent": "clerk-r", "prompts": prompts, "settings": {"max_tokens": 9}, "reason": "shorter"}
    made = (await api.post("/v1/releases", json=asked, key="operator")).json()
    assert (made["state"], made["author"], made["objection"]) == ("draft", "key:default-operator", "")
    path = f"/v1/releases/{made['id']}"
    assert (await api.post(f"{path}/submit", json={}, key="operator")).json()["state"] == "review"
    assert (await api.post(f"{path}/approve", json={}, key="operator")).status_code == 403, "not the permission"
    both = await api.make_key("operator", "approver", name="both")
    own = (await api.post("/v1/releases", json={"agent": "clerk-r", "version": "2"}, key=both)).json()
    await api.post(f"/v1/releases/{own['id']}/submit", json={}, key=both)
    refused = await api.post(f"/v1/releases/{own['id']}/approve", json={}, key=both)
    assert (refused.status_code, refused.json()["code"]) == (403, "release_own")
    refused = await api.post(f"{path}/promote", json={}, key="operator")
    assert (refused.status_code, refused.json()["code"]) == (409, "release_state")

    assert (await api.post(f"{path}/approve", json={"reason": "fine"}, key="approver")).json()["state"] == "approved"
    canary = (await api.post(f"{path}/canary", json={"percent": 12.5}, key="operator")).json()
    assert (canary["state"], canary["percent"]) == ("canary", 12.5)
    assert (await api.post(f"{path}/promote", json={}, key="operator")).json()["state"] == "live"
    shown = (await api.get(path, "operator")).json()
    assert [step["state"] for step in shown["steps"]] == ["draft", "review", "approved", "canary", "live"]
    assert shown["manifest"]["prompts"] == prompts
    assert (await api.get(path, "viewer")).json()["manifest"] is None, "prompts are content"
    assert shown["route"] == {"agent": "clerk-r", "live": made["id"], "canary": "", "percent": 0}

    second = (await api.get("/v1/releases?agent=clerk-r&limit=1", "viewer")).json()
    assert second["items"][0]["id"] == own["id"]
    rest = (await api.get(f"/v1/releases?agent=clerk-r&limit=1&cursor={second['next']}", "viewer")).json()
    assert rest["items"][0]["id"] == made["id"]
    told = (await api.get(f"{path}/diff?to={own['id']}", "operator")).json()["differences"]
    assert {item["what"]: item["lines"] for item in told} == {
        "prompt instructions": ["line 1:", "- As released.", "+ As coded."],
        "settings": ["max_tokens 1024, was 9"],
        "code version": [f"2, was {shown['manifest']['version']}"],
    }
    done = (await api.post("/v1/releases/rollback", json={"agent": "clerk-r", "reason": "odd"}, key="operator")).json()
    assert (done["bad"], done["live"], done["sealed"]) == ([made["id"]], "", None)
    refused = await api.post("/v1/releases/rollback", json={"agent": "clerk-r"}, key="operator")
    assert refused.json()["code"] == "release_state"
    actions = (await api.get("/v1/actions?action=release.rollback", "admin")).json()["items"]
    assert [item["detail"]["reason"] for item in actions] == ["odd"]
