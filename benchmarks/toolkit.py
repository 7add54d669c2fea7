"""Four questions put to the agent governance toolkit and to us: who notices a changed record, what a rule does that
cannot be read, what a kill reports, what a decision over 100 rules takes.

The toolkit is the newest one, with its defaults: `AuditLog` (in memory) and `FileAuditSink` (a file with HMACs), each
asked by its own check; `PolicyEngine` with conditions outside its grammar; `KillSwitch` with an agent that ignores
SIGTERM and is registered with `Popen.terminate`; `PolicyEvaluator`. Ours: an export with a held checkpoint, asked by
`verify.py`; policies with the same texts, and with slips of the pen; a kill of an agent that catches everything.
"""

import asyncio
import copy
import json
import random
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.audit import KEY, _real_export
from benchmarks.bench import Bench, Unavailable
from benchmarks.environment import Environment
from benchmarks.figures import Figure, quantile
from benchmarks.forging import Forger, Line, joined, load_verifier, parsed, verdict
from benchmarks.policy import _ours_one, _took, _toolkit_one
from benchmarks.served import ROOT
from penstock import Run, agent, tool
from penstock.journal.notes import SigningKey
from penstock.kernel.errors import PenstockError, PolicyInvalid
from penstock.kernel.ids import new_id
from penstock.rules.policy.policy_set import PolicyCall, PolicySet
from penstock.rules.verdict import Verdict
from penstock.runs.client import Penstock
from penstock.testing import in_memory

GROUP = "Beside the agent governance toolkit"
TOOLKIT = Environment("toolkit", "agent-governance-toolkit")
PEER = ROOT / "benchmarks" / "toolkit_peer.py"
PEER_SECONDS = 600
NO_KEY = SigningKey.from_seed(b"n" * 32)
_RULES = """
version: 1
rules:
  - name: go
    owner: bench
    reviewed: 2026-11-01
    reason: all goes
    when: {{tool: pay}}
    then: allow
  - name: r
    owner: bench
    reviewed: 2026-11-01
    reason: not this
    when: {when}
    then: deny
"""
SLIPS = (
    "{tool: pay, args.amount: {abov: 100}}",
    "{tool: pay, args.amount: {above: '100'}}",
    "{tool: pay, args.amount: {above: }}",
    "{tool: pay, args.amount: {above: .nan}}",
    "{tool: pay, arg.amount: {above: 100}}",
    "{tool: pay, args..amount: {above: 100}}",
    "{tol: pay}",
    "{tool: pay, args.to: {matches: '('}}",
    "{tool: pay, args.to: {ends_with: 5}}",
    "{tool: pay, not: {args.amount: {max: 100}}}",
)
"""Conditions of a denial in our language with a slip of the pen."""
CALL = PolicyCall("pay", args={"amount": 5000, "limit": 100, "to": "eve"})


async def measure(bench: Bench) -> list[Figure]:
    """Both, in the same run."""
    chance = random.Random(5)
    calls = [{"tool": "pay", "args": {f"n{n}": chance.randrange(1000) for n in range(10)}} for _ in range(1000)]
    rounds = 1 if bench.quick else 5
    task = {"rules": _toolkit_one(), "calls": calls, "rounds": rounds}
    said = await asyncio.to_thread(_peer, bench, task)
    bench.say("the same of ours")
    with tempfile.TemporaryDirectory(dir=bench.folder) as name:
        fields, ways = _ours_changed(Path(name), await _real_export(Path(name)))
    took = _took(PolicySet.compile({"one.yaml": _ours_one()}), calls, rounds)
    version = f"agent-governance-toolkit {TOOLKIT.version()}"
    return [
        *_records(said, fields, ways, version),
        *_unread(said["unreadable"], version),
        *_killed(said["kill"], await _ours_killed(), version),
        *_timed(said["took"], took, version),
    ]


def _records(said: dict[str, Any], fields: dict[str, bool], ways: dict[str, bool], version: str) -> list[Figure]:
    def figure(whose: str, found: dict[str, bool], note: str, aim: str = "") -> Figure:
        missed = ", ".join(sorted(name for name, noticed in found.items() if not noticed))
        words = f"of {len(found)}{'; not: ' + missed if missed else ''}; {note}"
        return Figure(GROUP, whose, sum(found.values()), "noticed", aim, words)

    memory, file = said["memory"], said["file"]
    dropped = ", ".join(file["left_out"])
    return [
        figure("record, ours: fields changed", fields, "of an event, by verify.py", str(len(fields))),
        figure("record, ours: dropped, swapped, cut off, rewritten", ways, "with a checkpoint held", str(len(ways))),
        figure("record, AuditLog: fields changed", memory["fields"], f"{version}; of five its documents say so"),
        figure("record, AuditLog: dropped, swapped, cut off, rewritten", memory["ways"], f"{version}; no key is in it"),
        figure("record, FileAuditSink: fields changed", file["fields"], f"{version}; it does not keep {dropped}"),
        figure("record, FileAuditSink: dropped, swapped, cut off", file["ways"], f"{version}; checked with its key"),
    ]


def _unread(said: dict[str, Any], version: str) -> list[Figure]:
    texts = [json.dumps(text) for text in said["texts"]]
    refused, allowed = _ours_unread([*texts, *SLIPS])
    count = len(texts) + len(SLIPS)
    note = f"of {count}: {len(texts)} the toolkit was asked, {len(SLIPS)} slips; {refused} texts refused when read"
    theirs = f"of {len(texts)} over a default of allow, {len(said['own'])} over its own, deny; {version}"
    read = f"{len(set(said['refused']))} texts refused when read"
    return [
        Figure(GROUP, "denials that cannot be read, ours: calls allowed", allowed, "calls", "0", note),
        Figure(GROUP, "the same, PolicyEngine", len(said["allow"]), "calls", "", f"{theirs}; {read}"),
    ]


def _killed(said: dict[str, Any], ours: tuple[int, int], version: str) -> list[Figure]:
    false = int(said["unknown_terminated"]) + int(said["stubborn_terminated"] and said["stubborn_alive"])
    unknown = "said not terminated" if not said["unknown_terminated"] else "said terminated"
    stubborn = "said terminated" if said["stubborn_terminated"] else "said not terminated"
    theirs = f"nobody: {unknown}; one that ignores SIGTERM: {stubborn}, alive a second later: {said['stubborn_alive']}"
    step = f"its open step: {', '.join(said['handed_off'])}, to a substitute that does not exist"
    note = f"a run that does not exist: refused; an agent that catches everything: {ours[1]} writes after the seal"
    return [
        Figure(GROUP, "kills reported that were none, ours", ours[0], "of 2", "0", note),
        Figure(GROUP, "kills reported that were none, KillSwitch", false, "of 2", "", f"{theirs}; {step}; {version}"),
    ]


def _timed(said: dict[str, list[int]], ours: list[int], version: str) -> list[Figure]:
    def figure(name: str, took: list[int], note: str) -> Figure:
        return Figure(GROUP, name, quantile(took, 0.5) / 1000, "µs", "", note)

    return [
        figure("a decision over 100 rules, ours, median", ours, "the rules of the group Policy, all about the tool"),
        figure("a decision over 100 rules, PolicyEvaluator, median", said["decision"], version),
        figure("the same with an entry in its AuditLog, median", said["audited"], f"{version}, in memory"),
    ]


def _ours_changed(folder: Path, export: tuple[bytes, Path, Path]) -> tuple[dict[str, bool], dict[str, bool]]:
    """Whether the verifier notices each field of an event changed; and lines."""
    data, held, key = export
    module, file, lines = load_verifier(fast=True), folder / "changed", parsed(data)
    events = [at for at, (word, _) in enumerate(lines) if word == b"event"]
    at = events[2]

    def noticed(forged: bytes) -> bool:
        file.write_bytes(forged)
        return bool(verdict(module, file, key, "--checkpoint", str(held)))

    assert not noticed(data), "the export that was not changed does not verify"
    head, brace, rest = lines[at][1].partition(b"{")
    body = json.loads(brace + rest)
    fields = {}
    for name, value in body.items():
        changed = {**body, name: value + 1 if isinstance(value, int) else f"{value}x"}
        text = head + json.dumps(changed, sort_keys=True, separators=(",", ":")).encode()
        fields[name] = noticed(joined([*lines[:at], (b"event", text), *lines[at + 1 :]]))
    forged = (b"event", head + json.dumps({**body, "name": "x"}, sort_keys=True, separators=(",", ":")).encode())
    end = next(place for place in range(at, len(lines)) if lines[place][0] != b"event")
    ways: dict[str, list[Line]] = {
        "dropped": [*lines[:at], *lines[at + 1 :]],
        "swapped": [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
        "truncated": [*lines[: end - 1], *lines[end:]],
        "emptied": [lines[0], lines[-1]],
        "rewritten": [*lines[:at], forged, *lines[at + 1 :]],
    }
    found = {}
    for name, made in ways.items():
        found[f"{name}, as it is"] = noticed(joined(made))
        for words, signer in (("made to fit", NO_KEY), ("made to fit and signed", KEY)):
            found[f"{name}, {words}"] = noticed(Forger(lines, signer, random.Random(7)).repaired(copy.copy(made)))
    return fields, found


def _ours_unread(texts: list[str]) -> tuple[int, int]:
    """How many policies are refused, and how many of the others let the call go."""
    refused = allowed = 0
    for text in texts:
        try:
            made = PolicySet.compile({"a.yaml": _RULES.format(when=text)})
        except PolicyInvalid:
            refused += 1
            continue
        allowed += made.decide(CALL).verdict is Verdict.ALLOW
    return refused, allowed


async def _ours_killed() -> tuple[int, int]:
    """Kills of nobody that are reported as sealed; writes that a sealed kill did not keep from beginning."""
    begun: list[int] = []
    first = asyncio.Event()

    @tool(effect="write", permission="auto", in_doubt="idempotent", repeatable=True)
    async def write(number: int) -> str:
        begun.append(number)
        first.set()
        return "done"

    @agent("stubborn", version="1")
    async def stubborn(run: Run, text: str) -> str:
        number = 0
        while number < 10_000:
            number += 1
            try:
                await run.call(write, number)
            except Exception:  # noqa: BLE001 - it goes on whatever it is told
                await asyncio.sleep(0)
        return text

    async with in_memory() as platform:
        false = await _unknown(platform)
        run = await platform.submit(stubborn, "go")
        await first.wait()
        sealed = await platform.kill(run, actor="bench")
        before = len(begun)
        await platform.result(run)
        await asyncio.sleep(0.5)
        return false + int(sealed.sealed and len(begun) > before), len(begun) - before


async def _unknown(platform: Penstock) -> int:
    try:
        sealed = await platform.kill(new_id(platform.services.clock), actor="bench")
    except PenstockError:
        return 0
    return int(sealed.sealed)


def _peer(bench: Bench, task: dict[str, Any]) -> dict[str, Any]:
    TOOLKIT.install(bench)
    bench.say("asking the toolkit")
    file = bench.folder / "toolkit.json"
    file.write_text(json.dumps(task), encoding="utf-8")
    done = subprocess.run(
        [TOOLKIT.python, str(PEER), str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PEER_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise Unavailable(f"the toolkit failed: {done.stderr.strip()[-300:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
