"""Policies over HTTP: what is in force, and what a text would change of it."""

import asyncio
from pathlib import Path
from typing import Any

from tests.server.conftest import Api
from tests.server.desk import desk

from penstock.adapters.policy_files import PolicyFiles
from penstock.gates.policy.guard import PolicyGuard

RULE = """
  - name: {name}
    owner: ada
    reviewed: 2026-10-01
    reason: because
    when: {when}
    then: {then}
"""
SMALL = RULE.format(name="small", when="{tool: refund, risk: high, args.cents: {min: 1, max: 5000}}", then="allow")
LARGER = SMALL.replace("5000", "9000")
TEST = """
version: 1
tests:
  - name: a small one
    call: {tool: refund, risk: high, args: {cents: 100}}
    expect: {verdict: allow, rule: small}
"""


def holding(api: Api, folder: Path) -> PolicyGuard:
    (folder / "a.yaml").write_text("version: 1\nrules:" + SMALL)
    (folder / "a.test.yaml").write_text(TEST)
    services = api.platform.services
    services.policy = PolicyGuard(PolicyFiles(folder), services.clock)
    return services.policy


async def test_the_policy_in_force_is_shown_with_its_tests(api: Api, tmp_path: Path) -> None:
    none = (await api.get("/v1/policies", "viewer")).json()
    assert (none["version"], none["rules"]) == (None, [])
    guard = holding(api, tmp_path)
    shown = (await api.get("/v1/policies", "viewer")).json()
    assert (shown["version"], shown["files"], shown["problem"]) == (guard.version, ["a.test.yaml", "a.yaml"], "")
    [rule] = shown["rules"]
    assert (rule["name"], rule["owner"], rule["then"], rule["line"]) == ("small", "ada", "allow", 3)
    assert rule["when"]["args.cents"] == {"min": 1, "max": 5000}
    assert (shown["tests"]["run"], shown["tests"]["failed"], shown["tests"]["untested"]) == (1, 0, [])


async def test_rules_about_other_tenants_are_not_shown(api: Api, tmp_path: Path) -> None:
    guard = holding(api, tmp_path)
    theirs = RULE.format(name="secret", when="{tenant: [other, 'x*'], tool: pay}", then="deny")
    (tmp_path / "b.yaml").write_text("version: 1\nrules:" + theirs)
    guard.reload()
    third = await api.make_key("viewer", "operator", tenant="third")
    seen = (await api.get("/v1/policies", third)).json()
    assert ([rule["name"] for rule in seen["rules"]], seen["source"], seen["tests"]["items"]) == (["small"], "", [])
    assert seen["version"] == guard.version
    body: dict[str, Any] = {"files": {"b.yaml": "version: 1\nrules:" + LARGER}}
    checked = (await api.post("/v1/policies/check", third, json=body)).json()
    assert "secret" not in str(checked)
    assert [rule["name"] for rule in (await api.get("/v1/policies", "viewer")).json()["rules"]] == ["small", "secret"]


async def test_a_text_is_looked_at_and_nothing_of_it_comes_into_force(api: Api, tmp_path: Path) -> None:
    guard = holding(api, tmp_path)
    body: dict[str, Any] = {"files": {"b.yaml": "version: 1\nrules:" + LARGER}}
    checked = (await api.post("/v1/policies/check", json=body)).json()
    assert (checked["problems"], checked["findings"], checked["unproved"]) == ([], [], "")
    assert checked["changes"] == [
        {"rule": "small", "how": "changed", "lines": ["when: args.cents min 1; max 9000, was min 1; max 5000"]}
    ]
    [call] = checked["calls"]
    assert call["kind"] == "newly_allow"
    assert 5000 < call["example"]["args"]["cents"] <= 9000
    assert guard.version != checked["version"]
    broken = (await api.post("/v1/policies/check", json={"files": {"b.yaml": "version: 1\nruls: []"}})).json()
    assert [(one["file"], one["line"], one["column"]) for one in broken["problems"]] == [
        ("b.yaml", 1, 1),
        ("b.yaml", 2, 1),
    ]
    assert broken["version"] is None


async def test_the_journal_is_read_under_a_text(api: Api, tmp_path: Path) -> None:
    run = await api.platform.submit(desk, "twice")
    async with asyncio.timeout(20):
        while not [item for item in await api.platform.approvals() if item.run == run]:
            await asyncio.sleep(0.02)
    body = {"files": {"b.yaml": "version: 1\nrules:" + SMALL}, "prove": False, "replay_days": 1}
    replayed = (await api.post("/v1/policies/check", json=body)).json()["replay"]
    assert (replayed["runs"], replayed["calls"], replayed["changed"], replayed["whole"]) == (1, 2, 1, True)
    assert replayed["changes"] == [{"was": "hold", "now": "allow", "tool": "refund", "calls": 1}]
    [example] = replayed["examples"]
    assert (example["run"], example["rule"], "args" in example) == (str(run), "small", False)
