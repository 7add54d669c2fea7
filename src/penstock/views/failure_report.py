"""One report on a run that did not simply succeed: what happened, what it has done and what not, what it would need.

All of it from the run's own record, so that it holds whoever asks and whenever: what the engine had in mind when the
run ended is not needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from penstock.events import (
    ApprovalDecided,
    ApprovalRequested,
    Event,
    RunEnded,
    StageEnded,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
    decode,
)
from penstock.gates.order.tape import NOT_APPROVED
from penstock.kernel.errors import UsageError
from penstock.ports.journal import Journal
from penstock.views.rows import known_row

PAGE = 5_000
EFFECTS_MOST = 1_000
"""Calls that each list names; the others are counted."""


@dataclass(slots=True, frozen=True)
class Effect:
    """A call of a tool that writes, or one that was not made.

    Attributes:
        state: ``done`` | ``undecided``: it may or may not have happened | ``failed``: it was made and failed |
            ``not_begun`` | ``denied``: by a rule | ``not_approved``: by a person, or nobody did in time.
        at: of its last event, microseconds.
    """

    tool: str
    path: str
    state: str
    words: str
    at: int


@dataclass(slots=True)
class FailureReport:
    """``what`` happened in words; ``answered_by``: whose answer stands in for the agent's own, "" = nobody's.

    ``done`` were taken back when ``compensated``. ``missing``: what the run could not say at its end.
    """

    run: UUID
    agent: str
    outcome: str
    code: str
    what: str
    answered_by: str
    ended_at: int
    done: list[Effect] = field(default_factory=list)
    undecided: list[Effect] = field(default_factory=list)
    not_done: list[Effect] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)
    compensated: bool = False
    more: int = 0


async def read_failure_report(journal: Journal, tenant: str, run: UUID) -> FailureReport:
    """The report on a run that has ended without its agent's own answer.

    Raises:
        RunUnknown: no such run for this tenant.
        UsageError: it has not ended, has succeeded by itself, or its record is archived.
    """
    row = await known_row(journal, tenant, run)
    if row.outcome is None or (row.outcome == "succeeded" and row.code != "fallback"):
        how = "succeeded" if row.outcome else f"has not ended: it is {row.status.value}"
        raise UsageError(f"run {run} {how}", hint="see `penstock runs show`")
    if row.pruned_at is not None:
        raise UsageError(f"the record of run {run} is not here any more", hint="see `penstock retention`")
    calls: dict[str, list[Event]] = {}
    report = FailureReport(run, row.agent, row.outcome, row.code, "", "", row.ended_at or 0)
    after = 0
    while rows := await journal.tape(tenant, run, after=after, limit=PAGE):
        for stored in rows:
            event = decode(stored.body)
            if isinstance(event, RunEnded):
                report.what, report.missing, report.needed = event.reason, list(event.missing), list(event.needed)
            elif isinstance(event, StageEnded) and event.name == "compensate":
                report.compensated = True
            elif isinstance(event, ToolIntent | ToolOutcome | VerdictRecorded | ApprovalRequested | ApprovalDecided):
                calls.setdefault(event.path, []).append(event)
        after = rows[-1].seq
    for path, events in calls.items():
        effect = _effect(path, events)
        if effect is not None:
            _place(report, effect)
    if row.code == "fallback":
        report.answered_by = report.what.partition(" answered, because: ")[0]
    report.needed += [f"find out whether {item.tool} at {item.path} took effect" for item in report.undecided]
    return report


def _effect(path: str, events: Sequence[Event]) -> Effect | None:
    """What became of one call; None of a read, and of one that is nobody's business."""
    last = events[-1]
    if isinstance(last, VerdictRecorded):
        if last.gate != "tool":
            return None
        reason = next((item.reason for item in reversed(last.verdicts) if item.verdict == "deny"), "")
        return Effect(last.name, path, "denied", reason, last.at)
    intents = [event for event in events if isinstance(event, ToolIntent)]
    if not intents:
        asked = next((event.tool for event in events if isinstance(event, ApprovalRequested)), "")
        if not isinstance(last, ApprovalDecided) or last.decision not in NOT_APPROVED:
            return None
        return Effect(asked, path, "not_approved", last.decision, last.at)
    if intents[-1].effect != "write":
        return None
    tool = intents[-1].tool
    outcomes = {event.attempt: event for event in events if isinstance(event, ToolOutcome)}
    if any(event.attempt not in outcomes for event in intents):
        return Effect(tool, path, "undecided", "it was under way, and its answer is not known", last.at)
    end = outcomes[intents[-1].attempt]
    failure = end.failure
    words = failure.words or failure.code if failure is not None else ""
    if end.status in ("ok", "happened") or (failure is not None and failure.code == "tool_result_invalid"):
        return Effect(tool, path, "done", words, end.at)
    if end.again and end.settled_by:
        return Effect(tool, path, "undecided", words, end.at)
    state = "not_begun" if end.status in ("not_started", "did_not_happen") else "failed"
    return Effect(tool, path, state, words, end.at)


def _place(report: FailureReport, effect: Effect) -> None:
    place = {"done": report.done, "undecided": report.undecided}.get(effect.state, report.not_done)
    if len(place) < EFFECTS_MOST:
        place.append(effect)
    else:
        report.more += 1
