"""The audit log: events sealed a second while they are appended, a million events checked by the stand-alone verifier,
and forgeries that it misses.

Events are appended on one connection as in "The append alone"; beside that, a sealer on another does what a worker's
does. What is said to be sealed is covered by a signed checkpoint when the clock is stopped. Forgeries are random: half
of them by somebody without the key, in any line of the file; half by the key's owner, who makes all hashes, leaves, the
tree and the checkpoint fit again. The verifier holds a checkpoint from before. Its own check of signatures, in plain
Python, is replaced by a library's for the forgeries, and is used for the million.
"""

import asyncio
import hashlib
import itertools
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import UUID

from benchmarks.append import RELEASE, keep_appending
from benchmarks.bench import Bench, clock
from benchmarks.figures import Figure
from benchmarks.forging import Forger, load_verifier, parsed, signed, verdict
from penstock import verifier
from penstock.adapters.memory import MemoryJournal
from penstock.adapters.postgres.database import ConnectionSettings
from penstock.adapters.postgres.journal import PostgresJournal, open_journal
from penstock.events import NoteRecorded, RunSubmitted, encode
from penstock.journal.chain import genesis, link
from penstock.journal.leaves import KeyLeaf, RunLeaf, first_statement, make_leaf
from penstock.journal.merkle import Frontier, leaf_hash
from penstock.journal.notes import Checkpoint, Note, SigningKey, Verifier, origin_of
from penstock.journal.sealing import Signer, seal
from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.ports.actions import NewAction
from penstock.ports.audit import LogKey
from penstock.ports.records import Batch, NewRun, Row, Summary
from penstock.views.exports import Export, Wanted, newest

GROUP = "The audit log"
SIZE = 900
SEAL_SECONDS = 1.0
RUN_EVENTS = 20
"""Of a run in the export that is checked: about a run of five steps."""
TENANT, BASE = "acme", "bench.example/log"
KEY = SigningKey.from_seed(b"b" * 32)


async def measure(bench: Bench) -> list[Figure]:
    """All of it."""
    figures = await _sealing(bench)
    with tempfile.TemporaryDirectory(prefix="penstock-audit-") as name:
        figures += await asyncio.to_thread(_verifying, bench, Path(name))
        figures += await _forging(bench, Path(name))
    return figures


async def _sealing(bench: Bench) -> list[Figure]:
    bench.say("appending with a sealer beside it")
    journal = await open_journal(ConnectionSettings(bench.server.dsn, pool_size=2))
    beside = await open_journal(ConnectionSettings(bench.server.dsn, pool_size=2), prepare=False)
    try:
        seconds = bench.seconds(8, 1.5)
        alone = await keep_appending(journal, SIZE, seconds)
        if not await journal.audit.keys():
            await journal.audit.add_key(LogKey(1, KEY.public, first_statement(BASE, KEY)))
        signer = Signer(KEY, BASE, await journal.audit.keys())
        before, begun = (await beside.audit.state()).leaves, clock()
        await _seal_all(beside, signer)
        backlog, took = alone.events, clock() - begun
        leaves = (await beside.audit.state()).leaves - before
        stop, rounds = asyncio.Event(), [0, 0.0]
        sealer = asyncio.create_task(_keep_sealing(beside, signer, stop, rounds))
        done = await keep_appending(journal, SIZE, seconds)
        stop.set()
        await sealer
        ended = clock()
        await _seal_all(beside, signer)
        behind = clock() - ended
    finally:
        await journal.close()
        await beside.close()
    each = rounds[1] / max(1, rounds[0]) * 1e3
    note = (
        f"of the seconds of appends, and {behind:.2f} s until the last was sealed; {rounds[0]} rounds of {each:.0f} ms"
    )
    slower = 1 - (done.events / done.seconds) / (alone.events / alone.seconds)
    return [
        Figure(GROUP, "events appended and sealed", done.events / (done.seconds + behind), "events/s", "35,000", note),
        Figure(GROUP, "appends slower than without a sealer by", slower * 100, "%", note="same machine, both cores"),
        Figure(GROUP, "a backlog sealed", backlog / took, "events/s", note=f"{backlog:,} events, {leaves:,} leaves"),
    ]


async def _seal_all(journal: PostgresJournal, signer: Signer) -> None:
    while True:
        found = await journal.audit.ahead([], 10_000)
        await seal(journal.audit, signer, found.ahead, await journal.now())
        await journal.audit.looked(found.place)
        if not found.ahead and not found.more:
            return


async def _keep_sealing(journal: PostgresJournal, signer: Signer, stop: asyncio.Event, rounds: list[float]) -> None:
    seen: list[tuple[str, UUID]] = []
    while not stop.is_set():
        begun = clock()
        found = await journal.audit.ahead(seen, 10_000)
        await seal(journal.audit, signer, found.ahead, await journal.now())
        await journal.audit.looked(found.place)
        seen = list(found.running)
        rounds[0] += 1
        rounds[1] += clock() - begun
        await asyncio.sleep(SEAL_SECONDS)


def _verifying(bench: Bench, folder: Path) -> list[Figure]:
    events = 50_000 if bench.quick else 1_000_000
    bench.say(f"writing an export of {events:,} events")
    export, key = folder / "export", folder / "log.pub"
    size = _write_export(export, events)
    key.write_text(Verifier(BASE, KEY.public).text())
    bench.say("checking it")
    script = Path(verifier.__file__).parent / "verify.py"
    begun = clock()
    done = subprocess.run(
        [sys.executable, str(script), str(export), str(key)], capture_output=True, text=True, check=False
    )
    took = clock() - begun
    if done.returncode or f"{events:,} events" not in done.stdout:
        raise RuntimeError(f"{done.stdout}{done.stderr}")
    export.unlink()
    note = f"{size / 2**20:,.0f} MiB, {events // RUN_EVENTS:,} runs; one process, start and signatures included"
    return [
        Figure(
            GROUP,
            f"{events:,} events checked by verify.py in",
            took,
            "s",
            aim="20" if not bench.quick else "",
            note=note,
        )
    ]


def _write_export(path: Path, events: int) -> int:
    """As `penstock.views.exports` writes one, without a journal of that size."""
    clock_, tree = SystemClock(), Frontier()
    runs = [new_id(clock_) for _ in range(events // RUN_EVENTS)]
    origin, statement = origin_of(BASE, TENANT), first_statement(BASE, KEY)
    leaves = [make_leaf(0, KeyLeaf(tenant=TENANT, at=1, number=1, statement=statement)).data]
    bodies = path.with_suffix(".bodies")
    with bodies.open("wb") as file:
        for run in runs:
            file.write(b'chain {"run":"%s","salt":"","erased":0,"pruned":false}\n' % str(run).encode())
            head = genesis(TENANT, run)
            for seq in range(1, RUN_EVENTS + 1):
                body = _body(run, seq)
                head = link(head, body)
                file.write(b"event %d %s %s\n" % (seq, head.hex().encode(), body))
            leaf = RunLeaf(tenant=TENANT, at=2, run=run, seq=RUN_EVENTS, hash=head.hex())
            leaves.append(make_leaf(len(leaves), leaf).data)
    for leaf_data in leaves:
        tree.append(leaf_hash(leaf_data))
    text = Checkpoint(origin, tree.size, tree.root()).text()
    about = {
        "base": BASE,
        "tenant": TENANT,
        "keys": [statement],
        "checkpoint": str(Note(text, [KEY.sign_note(origin, text)])),
        "since": 0,
        "until": 1 << 62,
    }
    digest = hashlib.sha256()
    with path.open("wb") as file, bodies.open("rb") as written:
        head_lines = (b"leaf " + data + b"\n" for data in leaves)
        for line in itertools.chain([b"log " + json.dumps(about).encode() + b"\n"], head_lines, written):
            digest.update(line)
            file.write(line)
        said = f"penstock.audit.export/v1\n{digest.hexdigest()}\n".encode()
        file.write(b"end " + KEY.sign(said).hex().encode() + b"\n")
    bodies.unlink()
    return path.stat().st_size


def _body(run: UUID, seq: int) -> bytes:
    event = NoteRecorded(
        tenant=TENANT,
        run=run,
        agent="support-desk",
        at=1_795_000_000_000_000 + seq,
        seq=seq,
        epoch=1,
        path=str(seq),
        release="f" * 64,
        actor="support-desk",
        tags={"customer": "acme", "feature": "inbox", "note": "x" * 120},
        payloads={"args": ["A" * 43], "result": ["B" * 43]},
        name="n" * 40,
    )
    return encode(event)


async def _forging(bench: Bench, folder: Path) -> list[Figure]:
    trials = 1_000 if bench.quick else 20_000
    bench.say(f"{trials:,} forgeries")
    data, held, key = await _real_export(folder)
    module, export = load_verifier(fast=True), folder / "forged"
    checked = ("--checkpoint", str(held))
    forger = Forger(parsed(data), KEY, random.Random(20261122))
    missed, tried, kinds = [], 0, set()
    for number in range(trials):
        name, forged = forger.outside() if number % 2 else forger.owner()
        if forged == data:
            continue
        tried += 1
        kinds.add(name)
        export.write_bytes(forged)
        if not verdict(module, export, key, *checked):
            missed.append(name)
    if missed:
        bench.say(f"missed: {sorted(set(missed))}")
    export.write_bytes(data)
    if verdict(module, export, key, *checked):
        raise RuntimeError("the export that was not forged does not verify")
    note = f"{tried:,} edits of {len(kinds)} kinds, every field of events and leaves among them; {len(missed)} missed"
    return [Figure(GROUP, "forgeries found", 100 * (1 - len(missed) / tried), "%", aim="100", note=note)]


async def _real_export(folder: Path) -> tuple[bytes, Path, Path]:
    """Of a journal with some runs and actions, sealed in pieces."""
    journal, clock_ = MemoryJournal(), SystemClock()
    await journal.audit.add_key(LogKey(1, KEY.public, first_statement(BASE, KEY)))
    signer = Signer(KEY, BASE, await journal.audit.keys())
    for number in range(8):
        run = new_id(clock_)
        tags = {"customer": f"c{number % 3}"}
        event = RunSubmitted(tenant=TENANT, run=run, agent="desk", at=clock_.now_us(), seq=1, tags=tags, behalf="ann")
        body = encode(event)
        first = Row(1, body, link(genesis(TENANT, run), body))
        await journal.submit([NewRun(TENANT, run, "desk", RELEASE, first, str(run), b"k" * 32, tags=tags)])
        await _append_notes(journal, run, 5)
        said = b'{"action":"run.submit","actor":"key:a","target":"%s"}' % str(run).encode()
        await journal.actions.record([NewAction(TENANT, "key:a", "run.submit", said)])
        found = await journal.audit.ahead([], 1000)
        await seal(journal.audit, signer, found.ahead, await journal.now())
    held, key = folder / "held", folder / "log.pub"
    held.write_bytes((await newest(journal, TENANT)).whole.encode())
    key.write_text(Verifier(BASE, KEY.public).text())
    made = Export(journal, TENANT, Wanted(since=0), KEY.sign)
    data = b"".join([line async for line in made.lines()])
    assert data == signed(parsed(data)[:-1], KEY)
    return data, held, key


async def _append_notes(journal: MemoryJournal, run: UUID, count: int) -> None:
    worker = new_id(SystemClock())
    await journal.enlist(worker, str(worker), 600)
    claim = next(claim for claim in await journal.claim(worker, [RELEASE], 100) if claim.run == run)
    rows, head = [], claim.head
    for seq in range(claim.last_seq + 1, claim.last_seq + 1 + count):
        body = _body(run, seq)
        head = link(head, body)
        rows.append(Row(seq, body, head))
    await journal.append([Batch(TENANT, run, claim.epoch, claim.last_seq, rows, Summary())])
