"""Arranging a run's events as its skeleton, piece by piece: what is held grows with the number of spans alone."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from penstock.events import (
    ApprovalDecided,
    ApprovalEdited,
    ApprovalRequested,
    ChildIntent,
    ChildOutcome,
    Event,
    LimitReached,
    ModelIntent,
    ModelOutcome,
    RunClaimed,
    RunEnded,
    RunHandedBack,
    RunParked,
    RunPatched,
    RunSubmitted,
    TimerSet,
    ToolDoubted,
    ToolIntent,
    ToolOutcome,
    VerdictRecorded,
    decode,
    kind_of,
)
from penstock.kernel.errors import EventUnreadable
from penstock.ports.records import Row
from penstock.views.budget_line import BudgetLine
from penstock.views.critical_path import NO_SPAN, Timeline, critical_path, shares, shortened
from penstock.views.lines import event_line
from penstock.views.loops import Stretches, find_loops, same_groups
from penstock.views.skeleton import Columns, Mark, Skeleton
from penstock.views.spans import MARKS
from penstock.views.standing import BEGUN, UNFINISHED, Standing, standing_after

MARKS_MAX = 2_000
"""Things that happened between the calls that are told, at most: the latest."""

STRICTNESS = {"allow": 0, "flag": 1, "hold": 2, "deny": 3}
_MARKS = frozenset(MARKS)
_PARTS = {"model": "model", "tool": "tool", "child": "wait", "timer": "wait", "wait": "wait", "gather": "", "stage": ""}
"""What the time of a span counts as; other kinds take none but the engine's."""


class Words:
    """Words by number, each once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, word: str) -> int:
        return self._numbers.setdefault(word, len(self._numbers))

    def all(self) -> list[str]:
        return list(self._numbers)


class SkeletonBuilder:
    """Fed with a run's stored events in order; what it holds grows with the number of spans alone."""

    def __init__(self) -> None:
        self.columns = Columns()
        self.standing: list[Standing] = []
        self.digests: list[str] = []
        """Of what each call was asked; "" = the kind has none."""
        self.results: list[str] = []
        """Commitment to what it gave, or ""."""
        self.first: RunSubmitted | None = None
        self.last: Event | None = None
        self._index: dict[str, int] = {}
        self._branches: dict[tuple[int, str], int] = {}
        self._branch: list[int] = []
        self._cuts: dict[int, list[tuple[int, str]]] = {}
        self._until: dict[int, int] = {}  # when a timer was due
        self._stretches = Stretches()
        self._marks: list[Mark] = []
        self._idle: list[tuple[int, int]] = []
        self._idle_from: int | None = 0
        self._budget: BudgetLine | None = None
        self._seen_at = 0
        self._epoch = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Take further events.

        Raises:
            EventUnreadable: one cannot be read, or the first is not the submission.
        """
        for row in rows:
            event = decode(row.body)
            if self.first is None or self._budget is None:
                if not isinstance(event, RunSubmitted):
                    raise EventUnreadable("the first event of a run is not its submission")
                self.first, self._budget = event, BudgetLine(event.budget)
            at = max(0, event.at - self.first.at)
            if event.path and type(event) not in _MARKS:
                self._call(event, at, self._budget)
            else:
                self._between(event, at, self._budget)
            self._stretches.take(event)
            self.last, self._seen_at = event, max(self._seen_at, at)

    def _call(self, event: Event, at: int, budget: BudgetLine) -> None:
        columns = self.columns
        index = self._index.get(event.path, NO_SPAN)
        if index == NO_SPAN:
            index = self._open(event, at)
        self.standing[index] = standing_after(event, self.standing[index])
        columns.end_seq[index] = event.seq
        columns.duration[index] = max(columns.duration[index], at)
        handle = _TAKE.get(type(event))
        if handle is not None:
            handle(self, event, index, at)
        budget.take(event, at, index)

    def _open(self, event: Event, at: int) -> int:
        """A new span, in the group that it belongs to: ``4.0.1`` is call 1 of branch 0 of the group ``4``."""
        place = (NO_SPAN, "") if isinstance(event, RunPatched) else self._group_of(event.path, event.seq, at)
        return self._new(event.path, event.seq, at, place)

    def _group_of(self, path: str, seq: int, at: int) -> tuple[int, str]:
        if path.count(".") < 2:
            return NO_SPAN, ""
        above, branch, _ = path.rsplit(".", 2)
        group = self._index.get(above, NO_SPAN)
        if group == NO_SPAN:
            group = self._new(above, seq, at, self._group_of(above, seq, at))
            self.standing[group] = ("gather", "", "ok")
        return group, branch

    def _new(self, path: str, seq: int, at: int, place: tuple[int, str]) -> int:
        columns = self.columns
        index = self._index[path] = len(columns.path)
        columns.path.append(path)
        columns.parent.append(place[0])
        columns.seq.append(seq)
        columns.end_seq.append(seq)
        columns.start.append(at)
        columns.duration.append(at)  # when its last event was, until the end
        for column in (columns.verdict, columns.tokens, columns.nano, columns.attempts):
            column.append(0)
        self.standing.append(BEGUN)
        self.digests.append("")
        self.results.append("")
        self._branch.append(self._branches.setdefault(place, len(self._branches)))
        return index

    def _between(self, event: Event, at: int, budget: BudgetLine) -> None:
        if isinstance(event, RunClaimed):
            begun = self._idle_from
            if begun is None:  # the worker before was lost: nobody worked since its last event
                begun = self._seen_at
            if at > begun:
                self._idle.append((begun, at))
            self._idle_from = None
        elif isinstance(event, RunParked | RunHandedBack):
            self._idle_from = at
        elif isinstance(event, LimitReached | RunEnded):
            budget.note(event)
        self._marks.append(Mark(kind_of(event), event.seq, at, event_line(event)))
        if len(self._marks) > 2 * MARKS_MAX:
            del self._marks[:MARKS_MAX]

    def _remark(self, index: int, verdicts: Sequence[object]) -> None:
        for said in verdicts:
            self._worse(index, getattr(said, "verdict", ""))

    def _worse(self, index: int, verdict: str) -> None:
        strict = STRICTNESS.get(verdict, 0)
        self.columns.verdict[index] = max(self.columns.verdict[index], strict)

    def _turn(self, index: int, at: int, part: str, before: str) -> None:
        """From ``at`` on the span's time counts as ``part``; until then, if nothing was said yet, as ``before``."""
        cuts = self._cuts.get(index)
        if cuts is None:
            start = self.columns.start[index]
            cuts = self._cuts[index] = [(start, before)] if start < at else []
        cuts.append((at, part))

    def _attempt(self, event: ModelIntent | ToolIntent, index: int, at: int, part: str) -> None:
        self.columns.attempts[index] += 1
        self.digests[index] = event.digest
        if event.verdicts:
            self._remark(index, event.verdicts)
        if index in self._cuts:
            self._turn(index, at, part, part)

    def take_model(self, event: ModelIntent | ModelOutcome, index: int, at: int) -> None:
        columns = self.columns
        if isinstance(event, ModelIntent):
            self._attempt(event, index, at, "model")
            return
        columns.tokens[index] += event.used.tokens
        columns.nano[index] += event.used.nano
        if event.again:
            self._turn(index, at, "wait", "model")
        if refs := event.payloads.get("response"):
            self.results[index] = refs[0]

    def take_tool(self, event: ToolIntent | ToolDoubted | ToolOutcome, index: int, at: int) -> None:
        columns = self.columns
        if isinstance(event, ToolIntent):
            self._attempt(event, index, at, "tool")
            return
        if isinstance(event, ToolDoubted):
            self._turn(index, at, "wait", "tool")
            return
        columns.tokens[index] += event.used.tokens
        columns.nano[index] += event.used.nano
        if event.again:
            self._turn(index, at, "wait", "tool")
        if refs := event.payloads.get("result"):
            self.results[index] = refs[0]

    def take_approval(self, event: ApprovalRequested | ApprovalEdited | ApprovalDecided, index: int, at: int) -> None:
        if isinstance(event, ApprovalRequested):
            self.digests[index] = self.digests[index] or event.call_digest
            self._worse(index, "hold")
            self._remark(index, event.verdicts)
            self._turn(index, at, "approval", "tool")
            return
        self._turn(index, at, "engine", "approval")

    def take_verdict(self, event: VerdictRecorded, index: int, at: int) -> None:
        self.digests[index] = event.digest
        self._worse(index, event.verdict)
        self._remark(index, event.verdicts)

    def take_child(self, event: ChildIntent | ChildOutcome, index: int, at: int) -> None:
        if isinstance(event, ChildIntent):
            self.columns.attempts[index] += 1
            self.columns.child[index] = event.child
            self.digests[index] = event.digest
            self._remark(index, event.verdicts)
            return
        self.columns.tokens[index] += event.totals.tokens
        self.columns.nano[index] += event.totals.nano
        if refs := event.payloads.get("output"):
            self.results[index] = refs[0]

    def take_timer(self, event: TimerSet, index: int, at: int) -> None:
        if self.first is not None:
            self._until[index] = max(0, event.until - self.first.at)

    def build(self, run: UUID, agent: str, now: int) -> Skeleton:
        """The skeleton of what was taken so far; once only. ``now`` (microseconds since the epoch) ends what goes on.

        Raises:
            EventUnreadable: there was no event.
        """
        if self.first is None or self.last is None or self._budget is None:
            raise EventUnreadable(f"run {run} has no events")
        ended = isinstance(self.last, RunEnded)
        total = self._seen_at if ended else max(self._seen_at, now - self.first.at)
        if not ended and self._idle_from is not None:
            self._idle.append((self._idle_from, total))
        columns, kinds, names, statuses = self.columns, Words(), Words(), Words()
        ends = self._close(total)
        for kind, name, status in self.standing:
            columns.kind.append(kinds.number(kind))
            columns.name.append(names.number(name))
            columns.status.append(statuses.number(status))
        columns.same = same_groups(
            [
                (kind, name, digest) if digest and kind != "model" else None
                for (kind, name, _), digest in zip(self.standing, self.digests, strict=True)
            ]
        )
        path = critical_path(self._timeline(total, ends))
        return Skeleton(
            run=run,
            agent=agent,
            as_of_seq=self.last.seq,
            submitted_at=self.first.at,
            ended=ended,
            total=total,
            kinds=kinds.all(),
            names=names.all(),
            statuses=statuses.all(),
            spans=columns,
            critical=shortened(path),
            critical_share=shares(path, total),
            budget=self._budget.points(),
            marks=self._budget.marks,
            loops=find_loops(self._stretches.all(), self._index),
            events=self._marks[-MARKS_MAX:],
        )

    def _close(self, total: int) -> list[int]:
        """When each span ended, on the path (what goes on ends now); and its duration, in the columns."""
        columns, standing = self.columns, self.standing
        branches: dict[int, set[int]] = {}
        ends = list(columns.duration)
        for index in range(len(ends) - 1, -1, -1):
            kind, _, status = standing[index]
            is_group = index in branches
            if is_group and kind == "gather":
                standing[index] = (kind, f"{len(branches[index])} branches", status)
            if status in UNFINISHED:
                ends[index] = total
            columns.duration[index] = -1 if status in UNFINISHED else max(0, ends[index] - columns.start[index])
            parent = columns.parent[index]
            if parent != NO_SPAN:
                branches.setdefault(parent, set()).add(self._branch[index])
                ends[parent] = max(ends[parent], ends[index])
                columns.end_seq[parent] = max(columns.end_seq[parent], columns.end_seq[index])
                if status in UNFINISHED and standing[parent][0] == "gather":
                    standing[parent] = ("gather", "", "open")
        return ends

    def _timeline(self, total: int, ends: list[int]) -> Timeline:
        columns = self.columns
        groups = set(columns.parent)
        parts, starts = [], list(columns.start)
        for index, (kind, name, _) in enumerate(self.standing):
            part = _PARTS.get(kind, "engine")
            if index in groups:
                part = ""  # its time is that of what is in it
            elif kind == "timer" and name == "timeout":
                part = "engine"
                ends[index] = starts[index]  # it runs beside what it limits, and takes no time itself
            parts.append(part or ("engine" if index not in groups else ""))
            until = self._until.get(index, 0)
            if part == "wait" and 0 < until < ends[index]:
                late = "queue" if any(begun <= until < over for begun, over in self._idle) else "engine"
                self._cuts[index] = [(starts[index], "wait"), (until, late)]
        return Timeline(total, columns.parent, self._branch, starts, ends, parts, self._cuts, self._idle)


_TAKE: dict[type[Event], Callable[[SkeletonBuilder, Any, int, int], None]] = {
    ModelIntent: SkeletonBuilder.take_model,
    ModelOutcome: SkeletonBuilder.take_model,
    ToolIntent: SkeletonBuilder.take_tool,
    ToolDoubted: SkeletonBuilder.take_tool,
    ToolOutcome: SkeletonBuilder.take_tool,
    ApprovalRequested: SkeletonBuilder.take_approval,
    ApprovalEdited: SkeletonBuilder.take_approval,
    ApprovalDecided: SkeletonBuilder.take_approval,
    VerdictRecorded: SkeletonBuilder.take_verdict,
    ChildIntent: SkeletonBuilder.take_child,
    ChildOutcome: SkeletonBuilder.take_child,
    TimerSet: SkeletonBuilder.take_timer,
}
