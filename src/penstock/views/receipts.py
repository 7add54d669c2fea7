"""Action Receipts: what was done by one call, in a form that others define and can check.

A receipt says who asked for which write, with which arguments (as a hash), under which policy, approved by whom, and
what came of it. It follows AgentBoundary v0.2-alpha (https://github.com/jamjet-labs/agentboundary), whose validator
reads it without Penstock. It is a view: made from a run's events each time, and the same each time. So a receipt that
somebody hands in is checked against the record, field by field, and not only against itself.

What the record does not say is not made up: ``provenance`` marks each field as observed, inferred or synthesized.
Conventions, where the specification leaves them to whoever issues receipts:

* Actor: the agent, when a model has asked for the call; a person, when they edited its arguments, or when plain code
  did what was submitted on their behalf or at their command line; else the system.
* A hold that nobody allowed is ``escalate`` and ``blocked``: ``require-approval`` demands an approver.
* ``blocked`` is also a call that went ahead and of which it is certain that nothing happened.
* Where several people allowed a call, the approver is the last of them: the format has room for one.
* The version of the framework is the digest of the agent's release: prompt, model, tools, settings and code.
* The prior receipt is that of the last call of the run that had ended when this one began. Calls side by side share it.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from penstock.events import (
    ApprovalDecided,
    ApprovalEdited,
    ApprovalRequested,
    Event,
    ModelIntent,
    RuleVerdict,
    RunSubmitted,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
    decode,
)
from penstock.gates.order.tape import NOT_APPROVED
from penstock.kernel.canonical import canonical_digest, canonical_json
from penstock.kernel.errors import InputInvalid, PayloadMissing
from penstock.kernel.ids import derived_id
from penstock.ports.journal import Journal
from penstock.ports.records import RunRow
from penstock.views.contents import Contents, Missing, read_contents

VERSION = "agentboundary/v0.2-alpha"
EVENTS_AT_ONCE = 2000
HASH = "receipt_hash"
ENVIRONMENTS = {
    "prod": "prod",
    "production": "prod",
    "staging": "staging",
    "dev": "dev",
    "development": "dev",
    "test": "dev",
}
_STRICTNESS = ("allow", "flag", "hold", "deny")
_SUCCESS = ("ok", "happened")
_NOTHING_HAPPENED = ("not_started", "did_not_happen")
_WEIGHTS = {"observed": 2, "inferred": 1, "synthesized": 0}
"""Of the specification's score, v0.2-alpha."""
_UNSCORED = ("version", "provenance", "completeness_score", HASH)

Receipt = dict[str, Any]
_Begun = ToolIntent | VerdictRecorded | ApprovalRequested


@dataclass(slots=True)
class _Call:
    """A call that is over: the event it began with, the one it ended with, and the question that a person allowed."""

    begun: _Begun
    ended: Event
    model: str
    asked: ApprovalRequested | None = None
    allowed: ApprovalDecided | ApprovalEdited | None = None


@dataclass(slots=True)
class _Record:
    """The calls of a run, as its events say."""

    submitted: RunSubmitted | None = None
    model: str = ""
    intents: dict[str, ToolIntent] = field(default_factory=dict)  # by path: the latest attempt
    models: dict[str, str] = field(default_factory=dict)  # by path: the model that had spoken last when it began
    asked: dict[str, ApprovalRequested] = field(default_factory=dict)  # by approval
    allowed: dict[str, ApprovalDecided | ApprovalEdited] = field(default_factory=dict)
    calls: list[_Call] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """Note what the event says."""
        match event:
            case RunSubmitted():
                self.submitted = event
            case ModelIntent():
                self.model = event.model
            case ToolIntent():
                self.intents[event.path] = event
                self.models.setdefault(event.path, self.model)
            case ApprovalRequested() if event.question == "may_run":
                self.asked[event.approval] = event
                self.models.setdefault(event.path, self.model)
            case ApprovalEdited():
                self.allowed[event.approval] = event
            case ApprovalDecided() if event.approval in self.asked:
                self._decided(event)
            case ToolOutcome() if not event.again and event.path in self.intents:
                self._ended(self.intents[event.path], event)
            case VerdictRecorded() if event.gate == "tool":
                self.calls.append(_Call(event, event, self.models.get(event.path, self.model)))

    def _decided(self, event: ApprovalDecided) -> None:
        asked = self.asked[event.approval]
        if event.decision == "approve":
            self.allowed[event.approval] = event
        elif event.decision in NOT_APPROVED:
            self.calls.append(_Call(asked, event, self.models[event.path], asked))

    def _ended(self, intent: ToolIntent, outcome: ToolOutcome) -> None:
        if intent.effect != "read":
            asked, allowed = self.asked.get(intent.approval), self.allowed.get(intent.approval)
            self.calls.append(_Call(intent, outcome, self.models[intent.path], asked, allowed))


async def receipts_of(journal: Journal, row: RunRow) -> list[Receipt]:
    """The receipts of a run's writes that are over and of calls of tools that were refused, in the order of their ends.

    Raises:
        PayloadMissing: arguments were erased: what cannot be hashed has no receipt, nor has what comes after it.
        EventUnreadable: an event cannot be read.
    """
    record, after = _Record(), 0
    while after < row.last_seq:
        rows = await journal.tape(row.tenant, row.id, after=after, limit=EVENTS_AT_ONCE)
        if not rows:
            break
        for item in rows:
            record.take(decode(item.body))
        after = rows[-1].seq
    named: list[Event] = [call.begun for call in record.calls]
    named += [call.allowed for call in record.calls if call.allowed is not None]
    contents = await read_contents(journal, row.tenant, row.subject, named)
    made: list[tuple[int, Receipt]] = []
    for call in record.calls:
        prior = next((receipt for seq, receipt in reversed(made) if seq < call.begun.seq), None)
        made.append((call.ended.seq, _receipt(row, record, call, contents, prior)))
    return [receipt for _, receipt in made]


def check(receipt: object, recorded: Sequence[Receipt], seen: Collection[str] = ()) -> list[str]:
    """What is wrong with a receipt that somebody hands in; empty = it says what the record says.

    Args:
        recorded: the receipts of the run that it is said to be of.
        seen: ids of receipts that were handed in before.
    """
    if not isinstance(receipt, dict):
        return ["it is no JSON object"]
    found = []
    try:
        if receipt.get(HASH) != _hash(receipt):
            found.append(f"{HASH}: it does not fit the receipt")
    except InputInvalid as error:
        return [f"it cannot be hashed: {error.what}"]
    identity = receipt.get("receipt_id")
    if isinstance(identity, str) and identity in seen:
        found.append("receipt_id: it was handed in before")
    original = next((item for item in recorded if item["receipt_id"] == identity), None)
    if original is None:
        return [*found, "receipt_id: the run has no call with this receipt"]
    said, was = dict(_leaves(receipt)), dict(_leaves(original))
    for path in sorted(said.keys() | was.keys()):
        if path not in said:
            found.append(f"{path}: it is left out")
        elif path not in was:
            found.append(f"{path}: it was not recorded")
        elif path != HASH and canonical_json(said[path]) != canonical_json(was[path]):
            found.append(f"{path}: it is not what was recorded")
    return found


def completeness(receipt: Receipt) -> float:
    """The specification's score: the mean weight of the fields' provenance, cut to thousandths."""
    paths = [path for path, _ in _leaves(receipt) if path.split(".")[0] not in _UNSCORED]
    weights = sum(_WEIGHTS[receipt["provenance"].get(path, "synthesized")] for path in paths)
    return weights * 1000 // (2 * len(paths)) / 1000


def _receipt(row: RunRow, record: _Record, call: _Call, contents: Contents, prior: Receipt | None) -> Receipt:
    begun = call.begun
    labels = begun.labels if isinstance(begun, ToolIntent) else {}
    tool = begun.name if isinstance(begun, VerdictRecorded) else begun.tool
    actor = _actor(record, call)
    receipt: Receipt = {
        "version": VERSION,
        "receipt_id": str(derived_id(row.id, f"receipt:{begun.path}:{begun.seq}")),
        "issued_at": _moment(begun.at),
        "actor": {"type": actor[0], "id": actor[1]},
        "agent": {
            "framework": "penstock",
            "framework_version": begun.release or row.release,
            "model": call.model or "none",
        },
        "tool": {"name": tool, "capability": labels.get("capability", tool)},
        "target": {
            "system": labels.get("system", tool),
            "environment": ENVIRONMENTS.get(begun.env.lower(), "prod"),
        },
        "arguments_hash": _arguments_hash(row, begun, contents),
        "policy": _policy(call),
        "execution": _execution(call),
    }
    if "version" in labels:
        receipt["tool"]["version"] = labels["version"]
    if "target" in labels:
        receipt["target"]["resource_id"] = labels["target"]
    if call.allowed is not None:
        receipt["approval"] = {"approver": {"id": call.allowed.actor}, "approved_at": _moment(call.allowed.at)}
        words = contents.one(call.allowed, "reason")
        if isinstance(words, str) and words:
            receipt["approval"]["context"] = words
    if prior is not None:
        receipt["prior_receipt"] = {name: prior[name] for name in ("receipt_id", HASH)}
    inferred = {"actor.type", "agent.framework_version"}
    inferred |= set() if "capability" in labels else {"tool.capability"}
    inferred |= set() if begun.env.lower() in ENVIRONMENTS else {"target.environment"}
    made_up = set() if "system" in labels else {"target.system"}
    receipt["provenance"] = {
        path: "inferred" if path in inferred else "synthesized" if path in made_up else "observed"
        for path, _ in _leaves(receipt)
        if path not in _UNSCORED
    }
    receipt["completeness_score"] = completeness(receipt)
    return {**receipt, HASH: _hash(receipt)}


def _actor(record: _Record, call: _Call) -> tuple[str, str]:
    if isinstance(call.allowed, ApprovalEdited):
        return "human", call.allowed.actor
    if call.model:
        return "agent", f"agent:{call.begun.agent}"
    said = record.submitted
    if said is not None and said.behalf:
        return "human", said.behalf
    actor = said.actor if said is not None else ""
    return "human" if actor.startswith("cli:") else "system", actor or f"agent:{call.begun.agent}"


def _policy(call: _Call) -> dict[str, str]:
    """The rule that decided, and the version of the policy that it is part of."""
    verdicts = call.asked.verdicts if call.asked is not None else call.begun.verdicts
    decided = max(verdicts, key=_weight, default=None)
    if decided is None:
        passed = call.begun.passed if not isinstance(call.begun, ApprovalRequested) else []
        return {"name": "penstock.rules", "version": ",".join(passed) or "none", "decision": "allow"}
    decision = {"hold": "require-approval", "deny": "deny"}.get(decided.verdict, "allow")
    if decision == "require-approval" and call.allowed is None:
        decision = "escalate"
    if decided.clause:
        return {"name": decided.clause, "version": decided.policy, "decision": decision}
    version = decided.policy or f"{decided.rule}@{decided.version}"
    return {"name": decided.rule, "version": version, "decision": decision}


def _weight(verdict: RuleVerdict) -> tuple[int, bool]:
    strict = _STRICTNESS.index(verdict.verdict) if verdict.verdict in _STRICTNESS else len(_STRICTNESS)
    return strict, bool(verdict.policy)


def _execution(call: _Call) -> dict[str, str]:
    ended = call.ended
    said = {"completed_at": _moment(ended.at)}
    if not isinstance(ended, ToolOutcome):
        reason = ended.decision if isinstance(ended, ApprovalDecided) else "refused"
        return {"status": "blocked", **said, "error_code": reason}
    if ended.status in _SUCCESS:
        result = ended.payloads.get("result")
        return {"status": "success", **said, **({"result_ref": f"commitment:{result[0]}"} if result else {})}
    code = ended.failure.code if ended.failure is not None else ended.status
    nothing = ended.status in _NOTHING_HAPPENED or code == "tool_transient"
    return {"status": "blocked" if nothing else "failure", **said, "error_code": code}


def _arguments_hash(row: RunRow, begun: _Begun, contents: Contents) -> str:
    args = contents.one(begun, "args")
    if isinstance(args, Missing):
        raise PayloadMissing(
            f"the arguments of call {begun.path} of run {row.id} are {args.missing}: it can have no receipt"
        )
    return canonical_digest(args)


def _hash(receipt: Receipt) -> str:
    body = {name: value for name, value in receipt.items() if name != HASH}
    return hashlib.sha256(canonical_json(body)).hexdigest()


def _leaves(value: Receipt, before: str = "") -> Iterator[tuple[str, Any]]:
    """Fields with their dotted paths; the map of provenance, whose keys are paths themselves, is one."""
    for name, item in value.items():
        path = f"{before}{name}"
        if isinstance(item, dict) and path != "provenance":
            yield from _leaves(item, f"{path}.")
        else:
            yield path, item


def _moment(at: int) -> str:
    """Microseconds since the epoch as RFC 3339 has it."""
    seconds, rest = divmod(at, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"


__all__ = ["Receipt", "check", "completeness", "receipts_of"]
