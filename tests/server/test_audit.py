"""The audit log over HTTP: checkpoints, proofs, witnesses, accounts and exports; who may, and what is written down."""

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.forging import load_verifier, verdict
from tests.server.conftest import Api, served
from tests.server.desk import echo

from penstock.adapters.memory import MemoryJournal
from penstock.journal.actions import decode_said
from penstock.journal.merkle import leaf_hash, verify_consistency, verify_inclusion
from penstock.journal.notes import COSIGNATURE, Checkpoint, Note, SigningKey, Verifier
from penstock.runs.sealing import seal_now

WITNESS = SigningKey.from_seed(b"w" * 32)
AS_WITNESS = Verifier("witness.example/w1", WITNESS.public, COSIGNATURE)


async def actions_of(api: Api, kind: str) -> list[tuple[str, dict[str, object]]]:
    found = [decode_said(item.body) for item in await api.journal.actions.page("default", action=kind)]
    return [(said.target, said.detail) for said in found][::-1]


async def test_the_audit_log(tmp_path: Path) -> None:
    """One scenario: nothing is sealed, then a run is; proofs, a witness, who answers, exports of it."""
    (tmp_path / "key.pem").write_bytes(SigningKey.make().pem())
    settings: dict[str, Any] = {
        "audit_key_file": tmp_path / "key.pem",
        "audit_seal_seconds": 3600,
        "audit_witnesses": AS_WITNESS.text(),
    }
    async with served(MemoryJournal(), worker=False, **settings) as api:
        shown = (await api.get("/v1/audit", "auditor")).json()
        assert (shown["newest"], shown["keys"], shown["problem"]) == (None, [], "")
        assert (await api.get("/v1/audit/checkpoint", "auditor")).status_code == 404
        run = await api.platform.submit(echo, {"said": "hello"}, tags={"customer": "acme"})
        await seal_now(api.journal, api.server.settings, "default")
        held = (await api.get("/v1/audit/checkpoint", "auditor")).text
        first = Checkpoint.parse(Note.parse(held).text)

        proof = (await api.get(f"/v1/audit/inclusion?run={run}", "auditor")).json()
        leaf, path = leaf_hash(proof["leaf"].encode()), [bytes.fromhex(node) for node in proof["proof"]]
        assert verify_inclusion(leaf, proof["index"], proof["size"], path, first.root)

        await api.platform.submit(echo, {"said": "again"})
        await seal_now(api.journal, api.server.settings, "default")
        grown = (await api.post("/v1/audit/consistency", "auditor", json={"checkpoint": held})).json()
        after = Checkpoint.parse(Note.parse(grown["checkpoint"]).text)
        path = [bytes.fromhex(node) for node in grown["proof"]]
        assert verify_consistency(first.size, after.size, path, first.root, after.root)
        foreign = (
            await api.post("/v1/audit/consistency", "auditor", json={"checkpoint": held.replace("default", "x")})
        ).json()
        assert foreign["code"] == "checkpoint_foreign"

        request = (await api.get(f"/v1/audit/witness-request?old={first.size}", "auditor")).text
        text = Note.parse(request.partition("\n\n")[2]).text
        line = WITNESS.cosign(AS_WITNESS.name, text, 1_795_000_000).line()
        for key, status in (("auditor", 403), ("witness", 200)):
            response = await api.post("/v1/audit/cosignatures", key, json={"signatures": line})
            assert response.status_code == status, response.text
        assert (await api.get("/v1/audit", "auditor")).json()["newest"]["witnesses"] == 1
        points = (await api.get("/v1/audit/checkpoints?limit=1", "auditor")).json()
        assert [item["size"] for item in points["items"]] == [after.size]
        assert points["next"] == str(after.size)

        accounts = (await api.get(f"/v1/audit/runs/{run}/accounts", "auditor")).json()
        assert accounts == {"run": str(run), "calls": [], "watched": []}
        assert (await actions_of(api, "audit.read")) == [(str(run), {"step": ""})]

        await exports(api, str(run), held, tmp_path)


async def exports(api: Api, run: str, held: str, folder: Path) -> None:
    module = load_verifier(fast=True)
    key, checkpoint, export = folder / "log.pub", folder / "held", folder / "export"
    key.write_text((await api.get("/v1/audit", "auditor")).json()["keys"][-1])
    checkpoint.write_bytes(held.encode())
    size = Note.parse(held).text.split("\n")[1]
    for asked in (f"run={run}&held={size}", f"customer=acme&held={size}", "since=0"):
        response = await api.get(f"/v1/audit/export?{asked}", "auditor")
        assert response.status_code == 200, response.text
        export.write_bytes(response.content)
        assert verdict(module, export, key, "--checkpoint", str(checkpoint)) == ""
    refused = await api.get(f"/v1/audit/export?run={run}&content=true", "auditor")
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_missing")
    response = await api.get(f"/v1/audit/export?run={run}&content=true", "admin")
    assert b"\npayload " in response.content
    for asked in ("", "?customer=acme&since=0", "?since=x"):
        assert (await api.get(f"/v1/audit/export{asked}", "auditor")).status_code == 422
    recorded = await actions_of(api, "audit.export")
    assert [target for target, _ in recorded] == [run, "acme", "period", run]
    lines = (await api.get("/v1/audit/export?since=0", "auditor")).content.split(b"\n")
    assert sum(b'"action":"audit.export"' in line for line in lines) == 5  # itself among them


async def test_without_a_key_there_is_no_export(api: Api) -> None:
    response = await api.get("/v1/audit/export?since=0", "auditor")
    assert (response.status_code, response.json()["code"]) == (409, "audit_key_missing")


@pytest.mark.parametrize("key", ["operator", "viewer", "approver"])
async def test_reading_content_is_written_down(api: Api, key: str) -> None:
    """Once for a look through a run, whatever pieces of it are read."""
    run = await api.platform.submit(echo, {"said": "hello"})
    await api.platform.result(run, timeout_seconds=20)
    trace = (await api.get(f"/v1/runs/{run}/events", key)).json()
    assert trace
    tape = await api.journal.tape("default", run)
    ref = json.loads(tape[0].body)["payloads"]["input"][0]
    statuses = {(await api.get(f"/v1/runs/{run}/payloads/{ref}", key)).status_code for _ in range(3)}
    read = [target for target, _ in await actions_of(api, "content.read")]
    assert (statuses, read) == (({403}, []) if key == "viewer" else ({200}, [str(run)]))
