"""What a policy would have said of calls that were made: the journal read under it, and what would have changed.

A call's run is taken as it went: what the policy would have refused still counts in the sums of the calls after it, for
nobody knows what the agent would have done instead.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from penstock.events import (
    ApprovalRequested,
    Event,
    RuleVerdict,
    RunSubmitted,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
    decode,
)
from penstock.journal.payloads import PayloadReader, ref_address
from penstock.kernel.errors import EventUnreadable
from penstock.ports.journal import Journal
from penstock.ports.records import Row, RunFilter
from penstock.rules.policy.explaining import decide_safely
from penstock.rules.policy.measures import Uses
from penstock.rules.policy.policy_set import PolicyCall, PolicySet, use_of
from penstock.rules.verdict import Verdict

PAGE = 25
PAYLOADS_AT_ONCE = 500
PAYLOAD_BYTES = 16 * 1024 * 1024
EXAMPLES_MAX = 3
"""Of each kind of change."""
OURS = frozenset(("policy", "permission"))
"""Rules whose verdicts a policy would have given instead; what another rule denied it would not have changed."""
NOT_DONE = frozenset(("not_started", "did_not_happen"))


@dataclass(slots=True, frozen=True)
class ChangedCall:
    """A call that would have fared otherwise. ``rule``: the policy's that decides now; "" = none."""

    run: UUID
    path: str
    agent: str
    tool: str
    was: str
    now: str
    rule: str
    reason: str
    at: int  # microseconds since the epoch
    args: Any = None


@dataclass(slots=True)
class Replayed:
    """What a policy would have changed.

    ``unread``: calls whose arguments are erased: their rules were asked without them, which is strict. ``whole``: no
    bound was reached.
    """

    policy: str
    since: int
    runs: int = 0
    calls: int = 0
    changed: int = 0
    unread: int = 0
    whole: bool = True
    changes: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # was, now, tool
    examples: list[ChangedCall] = field(default_factory=list)

    def plain(self, *, content: bool) -> dict[str, Any]:
        """For programs; ``content``: with the examples' arguments."""
        return {
            "policy": self.policy,
            "since": self.since,
            "runs": self.runs,
            "calls": self.calls,
            "changed": self.changed,
            "unread": self.unread,
            "whole": self.whole,
            "changes": [
                {"was": was, "now": now, "tool": tool, "calls": count}
                for (was, now, tool), count in self.changes.most_common()
            ],
            "examples": [
                {
                    "run": str(one.run),
                    "path": one.path,
                    "agent": one.agent,
                    "tool": one.tool,
                    "was": one.was,
                    "now": one.now,
                    "rule": one.rule,
                    "reason": one.reason,
                    "at": one.at,
                    **({"args": one.args} if content else {}),
                }
                for one in self.examples
            ],
        }


@dataclass(slots=True)
class _Asked:
    """A call as the tape has it."""

    event: ToolIntent | ApprovalRequested | VerdictRecorded
    tool: str
    was: Verdict
    at: int
    taint: dict[str, str]
    done: bool = False

    @property
    def ref(self) -> str:
        refs = self.event.payloads.get("args")
        return refs[0] if refs else ""


async def replay_policy(
    journal: Journal, reader: PayloadReader, tenant: str, policy: PolicySet, *, since: int, runs_max: int
) -> Replayed:
    """Ask the policy about the tool calls of runs since a time (microseconds), the newest runs first.

    Raises:
        JournalError: the journal cannot be read.
    """
    result = Replayed(policy.version, since)
    known: dict[str, tuple[str, str]] = {}
    async for submitted, subject, rows in _tapes(journal, tenant, since, runs_max, result):
        asked = _asked(rows, known)
        if asked:
            args = await _arguments(reader, tenant, subject, [one.ref for one in asked if one.ref])
            _ask(result, policy, submitted, asked, args, known)
    return result


async def _tapes(
    journal: Journal, tenant: str, since: int, runs_max: int, result: Replayed
) -> AsyncIterator[tuple[RunSubmitted, str, list[tuple[Row, Event]]]]:
    before: UUID | None = None
    while True:
        room = runs_max - result.runs
        listed = await journal.list_runs(tenant, RunFilter(since=since, before=before), min(PAGE, room + 1))
        for row in listed[:room]:
            result.runs += 1
            tape = (await journal.tapes([(tenant, row.id)])).get((tenant, row.id), [])
            try:
                events = [(stored, decode(stored.body)) for stored in tape]
            except EventUnreadable:
                result.whole = False
                continue
            if events and isinstance(events[0][1], RunSubmitted):
                yield events[0][1], row.subject, events
        if len(listed) > room:
            result.whole = False
            return
        if len(listed) < PAGE:
            return
        before = listed[-1].id


def _asked(events: Sequence[tuple[Row, Event]], known: dict[str, tuple[str, str]]) -> list[_Asked]:
    """The tool calls of a tape, each once: how it was first answered."""
    calls: dict[str, _Asked] = {}
    taint: dict[str, str] = {}  # what the run had read from outside by then
    for row, event in events:
        at = row.at or event.at
        taint |= getattr(event, "taint", None) or {}
        match event:
            case ApprovalRequested() if event.question == "may_run":
                calls.setdefault(event.path, _Asked(event, event.tool, Verdict.HOLD, at, dict(taint)))
            case ToolIntent():
                known[event.tool] = (event.effect, event.risk)
                was = _strictest(event.verdicts)
                call = calls.setdefault(event.path, _Asked(event, event.tool, was, at, dict(taint)))
                call.done = True
            case VerdictRecorded() if event.gate == "tool" and any(v.rule in OURS for v in event.verdicts):
                calls.setdefault(event.path, _Asked(event, event.name, Verdict.DENY, at, dict(taint)))
            case ToolOutcome() if event.status in NOT_DONE and not event.again and event.path in calls:
                calls[event.path].done = False
            case _:
                pass
    return list(calls.values())


def _strictest(verdicts: Sequence[RuleVerdict]) -> Verdict:
    """Of a call that went: flagged or not."""
    return Verdict.FLAG if any(verdict.verdict == "flag" for verdict in verdicts) else Verdict.ALLOW


async def _arguments(reader: PayloadReader, tenant: str, subject: str, refs: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for start in range(0, len(refs), PAYLOADS_AT_ONCE):
        part = {ref_address(ref): ref for ref in refs[start : start + PAYLOADS_AT_ONCE]}
        left = list(part)
        while left:
            got = await reader.read_some(tenant, subject, left, PAYLOAD_BYTES)
            for where, data in got.items():
                found[part[where]] = msgspec.json.decode(data)
            last = max((place for place, where in enumerate(left) if where in got), default=len(left))
            left = left[last + 1 :]
    return found


def _ask(
    result: Replayed,
    policy: PolicySet,
    submitted: RunSubmitted,
    asked: Sequence[_Asked],
    args: dict[str, Any],
    known: dict[str, tuple[str, str]],
) -> None:
    uses = Uses()
    for one in asked:
        event = one.event
        effect, risk = known.get(one.tool, ("write", "medium"))
        if isinstance(event, ToolIntent | ApprovalRequested):
            risk = event.risk
        given = args.get(one.ref)
        result.calls += 1
        result.unread += one.ref not in args
        call = PolicyCall(
            one.tool,
            effect,
            risk,
            given,
            submitted.agent,
            event.release or submitted.release,
            submitted.env,
            submitted.tenant,
            submitted.behalf or None,
            submitted.tags,
            one.taint,
            uses=uses,
            at=one.at,
            path=event.path,
        )
        decision = decide_safely(policy, call)
        if one.done:
            uses.add(event.path, use_of(one.tool, given, one.at, policy.paths))
        if decision.verdict is one.was:
            continue
        was, now = one.was.name.lower(), decision.verdict.name.lower()
        result.changed += 1
        result.changes[was, now, one.tool] += 1
        if result.changes[was, now, one.tool] <= EXAMPLES_MAX:
            result.examples.append(
                ChangedCall(
                    submitted.run,
                    event.path,
                    submitted.agent,
                    one.tool,
                    was,
                    now,
                    decision.clause,
                    decision.reason,
                    one.at,
                    given,
                )
            )
