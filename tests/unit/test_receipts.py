"""Receipts: what they say of runs that were run, that they say the same each time, and that no change of one goes
unnoticed. The scenarios are of the form of AgentBoundary's, which `benchmarks/boundary.py` plays all of."""

import asyncio
import copy
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from benchmarks import boundary

from penstock import Run, agent, tool
from penstock.kernel.errors import PayloadMissing
from penstock.testing import in_memory
from penstock.views import receipts
from penstock.views.receipts import HASH, check, completeness, receipts_of

ARGS = {"charge": "ch-1", "cents": 4200}


def scenario(name: str, rule: str, *, actor: str = "agent", inject: Any = (), **more: Any) -> dict[str, Any]:
    policy = {"name": "acme.refunds", "version": "1", "rule": rule, "capabilities": ["stripe.refund"], **more}
    wrong = bool(inject) and not name.startswith(("29-", "31-", "32-", "37-"))
    return {
        "name": name,
        "setup": {"policies": [policy], "approvals": []},
        "action": {
            "actor": {"type": actor, "id": f"{actor}:ann"},
            "tool": {"name": "stripe", "version": "12", "capability": "stripe.refund"},
            "target": {"system": "stripe.com", "environment": "staging", "resource_id": "ch-1"},
            "arguments": ARGS,
            "inject": list(inject),
        },
        "expect": {"failures_must_include": ["SOMETHING"] if wrong else []},
    }


def held(name: str, approver: str) -> dict[str, Any]:
    made = scenario(name, "require-approval", approvers=[{"id": "user:lead", "type": "human"}])
    made["setup"]["approvals"] = [{"approver": {"id": approver}, "approved_at": "2024-01-01T00:00:00Z", "context": "x"}]
    if name.startswith(("11-", "12-")):
        made["expect"]["failures_must_include"] = ["SOMETHING"]
    return made


def set_to(path: str, value: Any) -> dict[str, Any]:
    return {"op": "mutate_field", "path": path, "value": value, "recompute_hash": True}


def leaves(value: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, item in value.items():
        if isinstance(item, dict) and item:
            yield from leaves(item, f"{before}{name}\n")
        else:
            yield f"{before}{name}"


async def test_a_call_that_was_allowed() -> None:
    played = await boundary.play(scenario("a", "allow"))
    receipt = played.receipt
    assert (played.decision, played.problems, played.fault) == ("allow", [], "")
    assert receipt["actor"] == {"type": "agent", "id": "agent:boundary"}
    assert receipt["policy"]["name"] == "acme.refunds"
    assert receipt["target"] == {"system": "stripe.com", "environment": "staging", "resource_id": "ch-1"}
    assert receipt["execution"]["status"] == "success"
    plain = json.dumps(ARGS, sort_keys=True, separators=(",", ":")).encode()
    assert receipt["arguments_hash"] == hashlib.sha256(plain).hexdigest()
    body = {name: value for name, value in receipt.items() if name not in (HASH, "completeness_score")}
    body["completeness_score"] = completeness(receipt)
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    assert receipt[HASH] == hashlib.sha256(canonical).hexdigest()


async def test_no_field_can_be_changed_left_out_or_added_unnoticed() -> None:
    played = await boundary.play(held("b", "user:lead"))
    original = played.receipt
    assert check(original, [original]) == []
    for rehash in (True, False):
        for path in leaves(original):
            *above, last = path.split("\n")
            for how in ("changed", "left out"):
                forged = copy.deepcopy(original)
                holder = forged
                for part in above:
                    holder = holder[part]
                holder.pop(last) if how == "left out" else holder.update({last: f"{holder[last]}x"})
                if rehash and last != HASH:
                    forged[HASH] = receipts._hash(forged)
                assert check(forged, [original]), (path, how)
    assert check({**original, "more": 1}, [original])
    assert check(original, [original], {original["receipt_id"]}) == ["receipt_id: it was handed in before"]
    assert check(original, []) == ["receipt_id: the run has no call with this receipt"]
    nonsenses: list[object] = [None, [], "x", {}, {"receipt_id": []}, {"x": float("nan")}, {HASH: original}]
    for nonsense in nonsenses:
        assert check(nonsense, [original])


@pytest.mark.parametrize(
    ("made", "decision", "status"),
    [
        (scenario("c", "deny"), "deny", "blocked"),
        (scenario("31-c", "allow", inject=[set_to("execution.status", "blocked")]), "allow", "blocked"),
        (
            scenario(
                "37-c",
                "allow",
                inject=[set_to("execution.status", "failure"), set_to("execution.error_code", "BAD_GATEWAY")],
            ),
            "allow",
            "failure",
        ),
        (scenario("d", "allow", actor="human"), "allow", "success"),
        (scenario("e", "allow", actor="system"), "allow", "success"),
    ],
)
async def test_what_came_of_it(made: dict[str, Any], decision: str, status: str) -> None:
    played = await boundary.play(made)
    assert (played.decision, played.problems, played.fault) == (decision, [], "")
    assert played.receipt["execution"]["status"] == status
    assert played.receipt["actor"]["type"] == made["action"]["actor"]["type"]


async def test_an_approval_that_is_late_or_a_strangers_executes_nothing_and_forged_is_found() -> None:
    late, stranger = await asyncio.gather(
        boundary.play(held("11-f", "user:lead")), boundary.play(held("12-f", "user:intern"))
    )
    assert (late.fault, late.problems) == ("", ["approval.approved_at: it is not what was recorded"])
    assert (stranger.fault, stranger.problems) == ("", ["approval.approver.id: it is not what was recorded"])


async def test_where_the_gate_takes_anybody_the_scenario_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "TITLE", "approver")  # which every key has
    assert (await boundary.play(held("12-g", "user:intern"))).fault == "a stranger's approval was taken"


async def test_calls_of_a_run_are_chained_and_those_side_by_side_share_the_one_before() -> None:
    made = scenario("32-h", "allow", inject=[set_to("prior_receipt", {})])
    made["action"]["arguments"] = {**ARGS, "sha": "2222"}
    played = await boundary.play(made)
    assert (played.fault, played.problems) == ("", [])
    assert len(played.setup["prior_receipt_hashes"]) == 3


async def test_reads_have_none_and_what_was_erased_has_none_either() -> None:
    @tool(effect="read")
    async def look(order: str) -> str:
        return order

    @tool(effect="write", permission="auto", in_doubt="idempotent")
    async def pay(order: str) -> str:
        return order

    @agent("desk", version="1")
    async def desk(run: Run, order: str) -> str:
        await run.call(look, order)
        return str(await run.call(pay, order))

    async with in_memory() as platform:
        run = (await desk.run("o-1")).run
        row = await platform.journal.get_run("default", run)
        assert row is not None
        [receipt] = await receipts_of(platform.journal, row)
        assert (receipt["tool"]["name"], receipt["target"]["environment"]) == ("pay", "dev")
        assert receipt["provenance"]["target.system"] == "synthesized"
        assert receipt["policy"]["decision"] == "allow"
        assert await receipts_of(platform.journal, row) == [receipt]
        await platform.journal.erase_subject("default", row.subject)
        with pytest.raises(PayloadMissing):
            await receipts_of(platform.journal, row)
