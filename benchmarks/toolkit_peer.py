"""Asks the agent governance toolkit in its own virtualenv: ``python toolkit_peer.py FILE``; prints its answers as JSON.

It stands alone: nothing of ours is installed there. The file holds rules and calls to time.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_os.policies import PolicyDocument, PolicyEvaluator
from agentmesh.governance import AuditLog
from agentmesh.governance.audit import AuditEntry
from agentmesh.governance.audit_backends import FileAuditSink, HashChainVerifier
from agentmesh.governance.policy import Policy, PolicyEngine
from hypervisor.security.kill_switch import KillReason, KillSwitch

ENTRIES = 20
KEY = b"k" * 32
STUBBORN = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)
UNREADABLE = (
    "not amount < 100",
    "(amount > 100)",
    "amount >> 100",
    "amount above 100",
    "amount > limit",
    "100 < amount",
    "len(to) > 3",
    "to = 'eve'",
    "to == eve",
    "to matches 'e.*'",
)
"""Conditions that hold for the call below in any reading, and that the documented grammar does not have."""
CALL = {"amount": 5000, "limit": 100, "to": "eve"}


def written(sink: Any = None) -> AuditLog:
    """A log of some entries with every documented field."""
    log = AuditLog(sink=sink)
    now = datetime.now(UTC)
    for number in range(ENTRIES):
        log.log(
            "tool_invocation",
            f"did:mesh:a{number}",
            "refund",
            resource=f"order/{number}",
            data={"amount": number},
            outcome="success",
            policy_decision="allow",
            trace_id=f"t{number}",
            arguments_hash="a" * 64,
            approver_did="did:mesh:ann",
            policy_version="7",
            issued_at=now,
            completed_at=now,
        )
    return log


def other(value: Any) -> Any:
    """Another value of its kind."""
    if isinstance(value, datetime):
        return value.replace(year=2001)
    if isinstance(value, dict):
        return {**value, "amount": 10**6}
    return f"{value or ''}x"


def entries_of(log: AuditLog) -> list[Any]:
    """Where it keeps them: it has no other store."""
    return log._chain._entries  # noqa: SLF001 - who changes a record does not ask for its methods


def in_memory() -> dict[str, Any]:
    """Each field of one entry changed in place, then the log's own check; and the list of entries changed."""
    fields = {}
    for name in AuditEntry.model_fields:
        log = written()
        entry = entries_of(log)[7]
        setattr(entry, name, other(getattr(entry, name)))
        fields[name] = not log.verify_integrity()[0]
    ways: dict[str, Callable[[list[Any]], Any]] = {
        "dropped": lambda entries: entries.pop(7),
        "swapped": lambda entries: entries.insert(3, entries.pop(7)),
        "truncated": lambda entries: entries.__delitem__(slice(12, None)),
        "emptied": lambda entries: entries.clear(),
        "rewritten": rewrite,
    }
    found = {}
    for name, change in ways.items():
        log = written()
        change(entries_of(log))
        found[name] = not log.verify_integrity()[0]
    return {"fields": fields, "ways": found}


def rewrite(entries: list[Any]) -> None:
    """One entry changed, and all hashes after it made to fit: there is no key in them."""
    entries[7].data = {"amount": 10**6}
    previous = entries[6].entry_hash
    for entry in entries[7:]:
        entry.previous_hash = previous
        entry.entry_hash = previous = entry.compute_hash()


def signed_file(folder: Path) -> dict[str, Any]:
    """The same of its signed file: each field of a line, then lines, checked by its own verifier with the key."""

    def asked(name: str, change: Callable[[list[str]], Any]) -> bool:
        path = folder / f"{name}.jsonl"
        written(FileAuditSink(path, KEY))
        lines = path.read_text(encoding="utf-8").splitlines()
        change(lines)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return not HashChainVerifier().verify_file(path, KEY)[0]

    def field(name: str) -> Callable[[list[str]], None]:
        def change(lines: list[str]) -> None:
            said = json.loads(lines[7])
            said[name] = other(said[name])
            lines[7] = json.dumps(said, sort_keys=True)

        return change

    first = folder / "first.jsonl"
    written(FileAuditSink(first, KEY))
    names = json.loads(first.read_text(encoding="utf-8").splitlines()[0])
    return {
        "fields": {name: asked(f"field-{name}", field(name)) for name in names},
        "left_out": sorted(
            {"arguments_hash", "approver_did", "policy_version", "issued_at", "completed_at"} - set(names)
        ),
        "ways": {
            "dropped": asked("dropped", lambda lines: lines.pop(7)),
            "swapped": asked("swapped", lambda lines: lines.insert(3, lines.pop(7))),
            "truncated": asked("truncated", lambda lines: lines.__delitem__(slice(12, None))),
            "emptied": asked("emptied", lambda lines: lines.clear()),
        },
    }


def unreadable() -> dict[str, Any]:
    """A rule that denies, with a condition that cannot be read: over a default of allow, and over its own default."""
    said: dict[str, list[str]] = {"allow": [], "own": [], "refused": []}
    for condition in UNREADABLE:
        for default in ("allow", "own"):
            text: dict[str, Any] = {
                "apiVersion": "governance.toolkit/v1",
                "name": "p",
                "agents": ["*"],
                "rules": [{"name": "r", "condition": condition, "action": "deny"}],
            }
            if default == "allow":
                text["default_action"] = "allow"
            engine = PolicyEngine()
            try:
                engine.load_policy(Policy.model_validate(text))
            except Exception:  # noqa: BLE001 - however it refuses the text
                said["refused"].append(condition)
                continue
            if engine.evaluate("did:mesh:a", dict(CALL)).allowed:
                said[default].append(condition)
    return {**said, "texts": UNREADABLE}


def killing() -> dict[str, Any]:
    """Who does not exist; who does not stop; steps that nobody takes over."""
    switch = KillSwitch()
    unknown = switch.kill("did:mesh:nobody", "s", KillReason.MANUAL)
    counted = switch.total_kills
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    switch.register_agent("did:mesh:stubborn", process.terminate)
    switch.register_substitute("s", "did:mesh:nobody-either")
    result = switch.kill(
        "did:mesh:stubborn", "s", KillReason.MANUAL, in_flight_steps=[{"step_id": "1", "saga_id": "1"}]
    )
    time.sleep(1)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return {
        "unknown_terminated": unknown.terminated,
        "unknown_counted": counted == 1,
        "stubborn_terminated": result.terminated,
        "stubborn_alive": alive,
        "handed_off": [step.status.value for step in result.handoffs],
    }


def timed(task: dict[str, Any]) -> dict[str, list[int]]:
    """Nanoseconds of each decision, alone and with an entry in its audit log."""
    evaluator = PolicyEvaluator(policies=[PolicyDocument.model_validate(task["rules"])])
    took: dict[str, list[int]] = {"decision": [], "audited": []}
    for _ in range(task["rounds"]):
        log = AuditLog()
        for call in task["calls"]:
            context = {"tool_name": call["tool"], **call["args"]}
            begun = time.perf_counter_ns()
            decision = evaluator.evaluate(context)
            decided = time.perf_counter_ns()
            log.log("policy_evaluation", "did:mesh:a", call["tool"], data=call["args"], policy_decision=decision.action)
            took["audited"].append(time.perf_counter_ns() - begun)
            took["decision"].append(decided - begun)
            assert decision.allowed
    return took


def main(path: str) -> None:
    """Ask everything."""
    task = json.loads(Path(path).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        said = {"memory": in_memory(), "file": signed_file(Path(folder))}
    said |= {"unreadable": unreadable(), "kill": killing(), "took": timed(task)}
    sys.stdout.write(json.dumps(said))


main(sys.argv[1])
