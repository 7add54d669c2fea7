"""The stand-alone verifier: real exports pass; forged, foreign and cut ones do not, and what is bad is named."""

import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from benchmarks.forging import Forger, joined, load_verifier, parsed, signed, verdict
from tests.contract.journal_world import new_run

from penstock.adapters.memory import MemoryJournal
from penstock.events import NoteRecorded, encode
from penstock.journal.chain import link
from penstock.journal.leaves import first_statement, rotation_statement
from penstock.journal.notes import SigningKey, Verifier
from penstock.journal.payloads import address, make_payload, ref_text
from penstock.journal.sealing import Signer, seal
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.kernel.randomness import token_bytes
from penstock.ports.actions import NewAction
from penstock.ports.audit import LogKey
from penstock.ports.records import Batch, Row, Summary
from penstock.verifier import ed25519
from penstock.views.exports import Export, Wanted, newest

KEY = SigningKey.from_seed(b"\x07" * 32)
BASE = "audit.example/log"
CLOCK = SystemClock()
EVENTS = 6


@dataclass
class Record:
    """A journal with some runs of two customers, sealed in pieces."""

    journal: MemoryJournal
    runs: list[UUID]
    signer: Signer
    folder: Path

    async def seal(self) -> None:
        found = await self.journal.audit.ahead([], 1000)
        await seal(self.journal.audit, self.signer, found.ahead, await self.journal.now())

    async def grow(self, run: UUID, count: int = 2) -> None:
        """Append events to a run."""
        journal = self.journal
        row = await journal.get_run("acme", run)
        assert row is not None
        worker = new_id(CLOCK)
        await journal.enlist(worker, str(worker), 60)
        claims = {claim.run: claim for claim in await journal.claim(worker, ["r1"], 100)}
        claim = claims[run]
        key = await journal.subject_key("acme", str(run))
        assert key is not None
        rows, head = [], claim.head
        payloads = []
        for seq in range(claim.last_seq + 1, claim.last_seq + 1 + count):
            data = f"said {seq} in {run}".encode()
            where = address(key, data)
            payloads.append(make_payload("acme", str(run), where, data))
            event = NoteRecorded(
                tenant="acme",
                run=run,
                agent="clerk",
                name=f"n{seq}",
                seq=seq,
                epoch=claim.epoch,
                at=seq,
                tags={"customer": "c", "feature": "f"},
                payloads={"body": [ref_text(where)]},
            )
            body = encode(event)
            head = link(head, body)
            rows.append(Row(seq, body, head))
        await journal.append([Batch("acme", run, claim.epoch, claim.last_seq, rows, Summary())], payloads)
        await journal.put_back(worker, [])

    async def export(self, wanted: Wanted, name: str = "export") -> Path:
        made = Export(self.journal, "acme", wanted, self.signer.key.sign)
        path = self.folder / name
        path.write_bytes(b"".join([line async for line in made.lines()]))
        return path

    async def hold(self, name: str = "held") -> Path:
        path = self.folder / name
        path.write_bytes((await newest(self.journal, "acme")).whole.encode())
        return path

    @property
    def key(self) -> Path:
        path = self.folder / "log.pub"
        path.write_text(Verifier(BASE, KEY.public).text() + "\n")
        return path


@pytest.fixture
async def record(tmp_path: Path) -> Record:
    journal = MemoryJournal()
    await journal.audit.add_key(LogKey(1, KEY.public, first_statement(BASE, KEY)))
    made = Record(journal, [], Signer(KEY, BASE, await journal.audit.keys()), tmp_path)
    for number in range(5):
        run = new_run(tags={"customer": f"c{number % 2}"}, subject_key=token_bytes(32))
        await journal.submit([run])
        made.runs.append(run.id)
        await made.grow(run.id, EVENTS - 1)
        await journal.actions.record([NewAction("acme", "key:a", "run.submit", b'{"actor":"key:a","action":"x"}')])
        await made.seal()
    return made


def run_script(*options: object) -> subprocess.CompletedProcess[str]:
    """The verifier as a stranger runs it, with its own check of signatures."""
    script = Path(ed25519.__file__).parent / "verify.py"
    return subprocess.run(
        [sys.executable, "-I", str(script), *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": ""},
        cwd=script.parent,
    )


ALL = Wanted(since=0)


async def test_real_exports_pass(record: Record) -> None:
    module, held = load_verifier(), await record.hold()
    for wanted in (ALL, Wanted(runs=record.runs[1:3]), Wanted(customer="c1"), Wanted(since=0, content=True)):
        export = await record.export(wanted)
        assert verdict(module, export, record.key, "--checkpoint", str(held)) == ""


async def test_a_stranger_runs_it_with_nothing_installed(record: Record, tmp_path: Path) -> None:
    """Two files, isolated from the environment and from this project."""
    folder = tmp_path / "away"
    folder.mkdir()
    for name in ("verify.py", "ed25519.py"):
        (folder / name).write_bytes((Path(ed25519.__file__).parent / name).read_bytes())
    export, held = await record.export(Wanted(since=0, content=True)), await record.hold()
    command = [sys.executable, "-S", "-B", "verify.py", str(export), str(record.key), "--checkpoint", str(held)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "35 events, 0 newer, 25 payloads, 0 erased" in done.stdout
    export.write_bytes(export.read_bytes().replace(b'"name":"n3"', b'"name":"n9"', 1))
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 1
    assert f"run {min(record.runs)}: event 3 is not what was recorded" in done.stderr


@pytest.mark.parametrize("wanted", ["all", "some"])
async def test_forgeries_are_found(record: Record, wanted: str) -> None:
    """By somebody without the key, in any line; by the key's owner, in anything that was recorded before the held
    checkpoint. Ten thousand of each are tried by ``python -m benchmarks audit``."""
    module, held, key = load_verifier(fast=True), await record.hold(), record.key
    export = await record.export(ALL if wanted == "all" else Wanted(runs=record.runs[1:4]))
    data = export.read_bytes()
    forger = Forger(parsed(data), KEY, random.Random(7))
    unfound, tried = [], set()
    for number in range(300):
        name, forged = forger.outside() if number % 2 else forger.owner()
        if forged == data:
            continue
        tried.add(name)
        export.write_bytes(forged)
        if not verdict(module, export, key, "--checkpoint", str(held)):
            unfound.append(name)
    assert unfound == []
    assert len(tried) > 20


async def test_the_owner_passes_where_nobody_holds_a_checkpoint(record: Record) -> None:
    """What the held checkpoint is for; and that the forgeries above are good ones."""
    module, key = load_verifier(fast=True), record.key
    export = await record.export(ALL)
    forger = Forger(parsed(export.read_bytes()), KEY, random.Random(7))
    passed = set()
    for _ in range(60):
        name, forged = forger.owner()
        export.write_bytes(forged)
        if not verdict(module, export, key):
            passed.add(name)
    assert {"run truncated", "event dropped", "run spliced", "run dropped with its leaves"} <= passed


async def test_history_that_goes_on_after_the_held_checkpoint(record: Record) -> None:
    module, held = load_verifier(fast=True), await record.hold()
    await record.grow(record.runs[0], 3)
    await record.seal()
    options = ["--checkpoint", str(held)]
    assert verdict(module, await record.export(ALL), record.key, *options) == ""
    one = await record.export(Wanted(runs=[record.runs[1]]))
    assert "does not connect to your checkpoint" in verdict(module, one, record.key, *options)
    one = await record.export(Wanted(runs=[record.runs[0]], held=11))
    assert "newer than your checkpoint" in verdict(module, one, record.key, *options)
    assert verdict(module, one, record.key, *options, "--newer") == ""
    newest_one = await record.hold("newer")
    assert verdict(module, one, record.key, "--checkpoint", str(newest_one)) == ""


async def test_an_older_export_than_the_held_checkpoint(record: Record) -> None:
    module, export = load_verifier(fast=True), await record.export(ALL)
    await record.grow(record.runs[0])
    await record.seal()
    found = verdict(module, export, record.key, "--checkpoint", str(await record.hold()))
    assert "newer than the export" in found


async def test_a_checkpoint_or_key_of_another_log(record: Record, tmp_path: Path) -> None:
    module, export, held = load_verifier(fast=True), await record.export(ALL), await record.hold()
    held.write_text(held.read_text().replace(f"{BASE}/acme", f"{BASE}/zeta"))
    assert "of another log" in verdict(module, export, record.key, "--checkpoint", str(held))
    held.write_text("nothing")
    assert verdict(module, export, record.key, "--checkpoint", str(held))
    for other in (Verifier(BASE, SigningKey.make().public), Verifier("other.example", KEY.public)):
        key = tmp_path / "other.pub"
        key.write_text(other.text())
        assert "is none of the keys of the log" in verdict(module, export, key)


async def test_a_history_of_keys(record: Record) -> None:
    """Who holds the old key can check what the new one signs, and the other way round; a false history is found."""
    module, new = load_verifier(fast=True), SigningKey.make()
    held = await record.hold()
    await record.journal.audit.add_key(LogKey(2, new.public, rotation_statement(BASE, KEY, new)))
    record.signer = Signer(new, BASE, await record.journal.audit.keys())
    await record.grow(record.runs[0])
    await record.seal()
    export = await record.export(ALL)
    new_key = record.folder / "new.pub"
    new_key.write_text(Verifier(f"{BASE}/acme", new.public).text())
    for key in (record.key, new_key):
        assert verdict(module, export, key, "--checkpoint", str(held)) == ""
    lines = parsed(export.read_bytes())
    about = json.loads(lines[0][1])
    thief = SigningKey.make()
    about["keys"][1] = rotation_statement(BASE, thief, thief)
    lines[0] = (b"log", json.dumps(about).encode())
    export.write_bytes(signed(lines[:-1], thief))
    assert f"not signed with the key of '{BASE}'" in verdict(module, export, record.key)


async def test_erased_payloads_are_said_to_be_and_the_proofs_stay(record: Record) -> None:
    module, held = load_verifier(fast=True), await record.hold()
    before = (await record.export(ALL)).read_bytes()
    await record.journal.erase_subject("acme", str(record.runs[2]))
    export = await record.export(Wanted(since=0, content=True))
    assert verdict(module, export, record.key, "--checkpoint", str(held)) == ""
    chains = [json.loads(text) for word, text in parsed(export.read_bytes()) if word == b"chain"]
    assert [chain["erased"] for chain in chains if chain["run"] == str(record.runs[2])] == [5]
    assert sum(chain["erased"] for chain in chains) == 5
    events = [line for line in parsed(before) if line[0] == b"event"]
    assert [line for line in parsed(export.read_bytes()) if line[0] == b"event"] == events


async def test_content_must_be_what_was_committed_to(record: Record) -> None:
    module, export = load_verifier(fast=True), await record.export(Wanted(runs=[record.runs[0]], content=True))
    lines = parsed(export.read_bytes())
    at = next(number for number, (word, _) in enumerate(lines) if word == b"payload")
    ref = lines[at][1].split()[0]
    other = [*lines[:at], (b"payload", ref + b" c2FpZA=="), *lines[at + 1 : -1]]
    export.write_bytes(signed(other, KEY))
    assert "was changed" in verdict(module, export, record.key)
    export.write_bytes(signed([*lines[:at], *lines[at + 1 : -1]], KEY))
    assert "a payload is missing" in verdict(module, export, record.key)


async def test_a_run_that_was_pruned_is_not_taken_on_trust(record: Record) -> None:
    module, held = load_verifier(fast=True), await record.hold()
    export = await record.export(ALL)
    lines = parsed(export.read_bytes())
    begin = next(n for n, (word, text) in enumerate(lines) if word == b"chain" and json.loads(text)["run"])
    about = json.loads(lines[begin][1])
    about["pruned"] = True
    kept = [*lines[:begin], (b"chain", json.dumps(about).encode()), *lines[begin + 1 + EVENTS : -1]]
    export.write_bytes(signed(kept, KEY))
    options = ["--checkpoint", str(held)]
    assert "(pruned, says the operator: see --pruned)" in verdict(module, export, record.key, *options)
    assert verdict(module, export, record.key, *options, "--pruned") == ""


async def test_a_period_is_whole(record: Record) -> None:
    """Leaves are shown from before its beginning on, so no run of it can be left out."""
    module = load_verifier(fast=True)
    export = await record.export(ALL)
    lines = parsed(export.read_bytes())
    about = json.loads(lines[0][1])
    actions = next(n for n, (word, text) in enumerate(lines) if word == b"chain" and not json.loads(text)["run"])
    shown = [(b"log", json.dumps(about).encode()), *lines[1:actions]]
    export.write_bytes(signed(shown, KEY))
    assert "the actions are missing" in verdict(module, export, record.key)


def test_signatures_are_checked_as_the_library_does() -> None:
    """RFC 8032, 7.1, and edits of every byte of one."""
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert ed25519.verify(public, b"\x72", signature)
    assert not ed25519.verify(public, b"\x73", signature)
    for at in range(0, 64, 5):
        changed = bytes([*signature[:at], signature[at] ^ 1, *signature[at + 1 :]])
        try:
            assert not ed25519.verify(public, b"\x72", changed)
        except ValueError:
            continue
    for _ in range(3):
        key = SigningKey.make()
        message = token_bytes(20)
        assert ed25519.verify(key.public, message, key.sign(message))
    assert not ed25519.verify(public, b"\x72", signature + b"\0")


def test_it_is_as_short_as_it_says_and_imports_nothing_of_penstock() -> None:
    folder = Path(ed25519.__file__).parent
    text = (folder / "verify.py").read_text()
    assert len(text.splitlines()) <= 150
    assert "import penstock" not in text
    assert "from penstock" not in text
    assert joined([(b"a", b"b")]) == b"a b\n"
