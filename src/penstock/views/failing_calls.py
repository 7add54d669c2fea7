"""Which calls of a run failed, and which of them it failed by; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from penstock.events import (
    ANSWERED,
    ApprovalDecided,
    ChildIntent,
    ChildOutcome,
    DocumentRead,
    DocumentWritten,
    Event,
    ModelIntent,
    ModelOutcome,
    NoteRecorded,
    RunEnded,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
    WaitBegun,
    WaitEnded,
)

_OPENINGS = (ToolIntent, ModelIntent, ChildIntent, WaitBegun)
_CODES: dict[str, tuple[type[Event], ...]] = {
    "tool_failed": (ToolOutcome, NoteRecorded),
    "tool_result_invalid": (ToolOutcome,),
    "isolation_full": (ToolOutcome,),
    "model_failed": (ModelOutcome,),
    "child_failed": (ChildOutcome,),
    "call_denied": (VerdictRecorded,),
    "approval_denied": (ApprovalDecided,),
    "wait_cycle": (WaitEnded,),
    "wait_failed": (WaitEnded,),
    "timed_out": (WaitEnded,),
    "document_conflict": (DocumentWritten,),
    "document_unreadable": (DocumentRead, DocumentWritten),
}
"""By the code of a run's end: the last events of the calls whose errors have that code."""


@dataclass(slots=True, frozen=True)
class Failing:
    """A call that failed, or (``open``) had no outcome yet. ``at`` is the store's time of its last event.

    ``run`` is the other run that it was about: a child, or one that was waited for.
    """

    path: str
    kind: str  # tool | model | child | approval | rule | wait | note | document
    name: str
    code: str
    words: str
    seq: int
    at: int
    last: type[Event]
    run: UUID | None = None
    open: bool = False


@dataclass(slots=True, frozen=True)
class Stored:
    """An event and the store's time of its commit."""

    event: Event
    at: int


def contributors(events: Sequence[Stored]) -> list[Failing]:
    """The calls by which a run failed, in the order in which they did; [] when it failed by itself.

    An end that names a call's error has that call, and those that failed in other branches of the same gather: had
    this one not failed, one of them would have been raised. Any other end (a limit, an error of the agent's own code)
    has the calls that failed since the last one that did not, and those that were still open: they are what the run
    was busy with. Failures that the code went on from are none of them.
    """
    end = events[-1].event if events else None
    calls = _calls(events)
    failed = sorted(filter(None, (_failing(path, call) for path, call in calls.items())), key=lambda call: call.seq)
    kinds = _CODES.get(end.code, ()) if isinstance(end, RunEnded) else ()
    named = [call for call in failed if call.last in kinds]
    if named and isinstance(end, RunEnded):
        told = [call for call in named if (str(call.run) if call.run else call.words or "\0") in end.reason]
        chosen = (told or named)[-1]
        return sorted({chosen, *_beside(chosen, failed, calls)}, key=lambda call: call.seq)
    return _trailing(failed, calls)


def open_calls(events: Sequence[Stored]) -> list[Failing]:
    """Calls that had begun and not ended, in the order in which they began."""
    found = []
    for path, call in _calls(events).items():
        last = call[-1].event
        if isinstance(last, _OPENINGS):
            found.append(_of(path, call[-1], _kind(last), _name(call), "open", "it had not ended", is_open=True))
    return sorted(found, key=lambda call: call.seq)


def recovered(events: Sequence[Stored]) -> list[Failing]:
    """Failed calls that the code went on from."""
    causes = {call.path for call in contributors(events)}
    calls = _calls(events)
    failed = filter(None, (_failing(path, call) for path, call in calls.items()))
    return sorted((call for call in failed if call.path not in causes), key=lambda call: call.seq)


def _calls(events: Sequence[Stored]) -> dict[str, list[Stored]]:
    calls: dict[str, list[Stored]] = {}
    for stored in events:
        if stored.event.path and not isinstance(stored.event, RunEnded):
            calls.setdefault(stored.event.path, []).append(stored)
    return calls


def _failing(path: str, call: Sequence[Stored]) -> Failing | None:
    stored = call[-1]
    match stored.event:
        case ToolOutcome(status=status, again=False, failure=failure) if status not in ("ok", "happened"):
            code, words = (failure.code, failure.words) if failure else (status, status.replace("_", " "))
            return _of(path, stored, "tool", _name(call), code, words)
        case ModelOutcome(status=status, again=False, failure=failure) if status not in ANSWERED:
            code, words = (failure.code, failure.words) if failure else (status, status.replace("_", " "))
            return _of(path, stored, "model", _name(call), code, words)
        case ChildOutcome(outcome=outcome, code=code, reason=reason, child=child) if outcome != "succeeded":
            return _of(path, stored, "child", _name(call), code or outcome, reason, child)
        case VerdictRecorded(verdict="deny", name=name, verdicts=verdicts):
            last = verdicts[-1] if verdicts else None
            return _of(path, stored, "rule", name, last.code if last else "denied", last.reason if last else "denied")
        case ApprovalDecided(decision=decision) if decision in ("deny", "expired", "withdrawn"):
            words = "nobody decided in time" if decision == "expired" else f"a person said no ({decision})"
            return _of(path, stored, "approval", _name(call), f"approval_{decision}", words)
        case DocumentRead() | DocumentWritten() as document if document.status in ("conflict", "unreadable"):
            words = document.reason or f"version {document.version} stood there"
            return _of(path, stored, "document", f"{document.of} {document.name}", f"document_{document.status}", words)
        case WaitEnded() as ended if ended.status not in ("received", "ended"):
            words = ended.reason or ("it did not come in time" if ended.status == "timed_out" else ended.status)
            return _of(path, stored, "wait", _name(call), ended.status, words)
        case WaitEnded(status="ended", target=target) as ended if ended.outcome != "succeeded":
            return _of(path, stored, "wait", _name(call), ended.code or ended.outcome, ended.reason, target)
        case NoteRecorded(name=name, failure=failure) if failure is not None:
            return _of(path, stored, "note", name, failure.code, failure.words)
    return None


def _beside(chosen: Failing, failed: Sequence[Failing], calls: dict[str, list[Stored]]) -> list[Failing]:
    """Calls that ended other branches of the outermost gather that the call is in: the last of their branch."""
    gather = _gather_of(chosen.path, calls)
    if not gather:
        return []
    last: dict[str, int] = {}
    for path, call in calls.items():
        if path.startswith(f"{gather}."):
            branch = path[len(gather) + 1 :].split(".")[0]
            last[branch] = max(last.get(branch, 0), call[-1].event.seq)
    return [
        call
        for call in failed
        if call.path.startswith(f"{gather}.") and last[call.path[len(gather) + 1 :].split(".")[0]] == call.seq
    ]


def _gather_of(path: str, calls: dict[str, list[Stored]]) -> str:
    """The outermost gather around a call: ``4`` of ``4.0.1``. Stages and time-outs have an event at that path."""
    steps = path.split(".")
    for length in range(1, len(steps) - 1, 2):
        around = ".".join(steps[:length])
        if around not in calls:
            return around
    return ""


def _trailing(failed: Sequence[Failing], calls: dict[str, list[Stored]]) -> list[Failing]:
    by_path = {call.path: call for call in failed}
    found = []
    for path, call in sorted(calls.items(), key=lambda item: item[1][-1].event.seq, reverse=True):
        last = call[-1].event
        failing = by_path.get(path)
        if failing is not None:
            found.append(failing)
        elif isinstance(last, _OPENINGS):
            found.append(_of(path, call[-1], _kind(last), _name(call), "open", "it had not ended", is_open=True))
        elif isinstance(last, ToolOutcome | ChildOutcome | WaitEnded):
            break
    return sorted(found, key=lambda call: call.seq)


def _of(
    path: str,
    stored: Stored,
    kind: str,
    name: str,
    code: str,
    words: str,
    run: UUID | None = None,
    *,
    is_open: bool = False,
) -> Failing:
    event = stored.event
    if is_open and isinstance(event, ChildIntent):
        run = event.child
    if is_open and isinstance(event, WaitBegun) and event.what == "run":
        run = event.target
    return Failing(path, kind, name, code, words, event.seq, stored.at, type(event), run, is_open)


def _kind(event: Event) -> str:
    return str(event.__struct_config__.tag).split(".", maxsplit=1)[0]


def _name(call: Sequence[Stored]) -> str:
    for stored in call:
        match stored.event:
            case ToolIntent(tool=name) | ModelIntent(model=name) | ChildIntent(child_agent=name):
                return name
            case WaitBegun() as begun:
                return begun.name or f"run {begun.target}"
        if getattr(stored.event, "tool", ""):
            return str(stored.event.tool)  # type: ignore[attr-defined]
    return ""
