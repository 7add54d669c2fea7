"""The order of the queue in memory: ranks, virtual times, whose turn it is in a session. As in PostgreSQL."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from penstock.ports.queue import BUCKET_SECONDS, PRIORITY_UNIT, UNIT
from penstock.ports.records import NewRun, RunKey, Status, Stop

if TYPE_CHECKING:
    from penstock.adapters.memory.records import Run

FlowKey = tuple[str, str, str, int]
"""``(release, tenant, customer, priority)``."""
FLOWS_BEFORE_SWEEP = 256
HOLDS, BEHIND = 1, 2
"""What a run's ``turn`` says of its session; 0 = it is in none, or has given it up."""
CONTINUED = "continued"
"""The parent path of a run in which another goes on."""


def customer_of(new: NewRun) -> str:
    """The customer whose share a run takes; "" = the tenant itself."""
    return new.tags.get("customer", "")


@dataclass(slots=True)
class Lane:
    """How far the claims of one release have come."""

    tag: int = 0
    bucket: int = 0
    start_tag: int = 0
    before_tag: int = 0
    taken: int = 0
    before_taken: int = 0
    since: int = 0
    waited: int = 0

    def note(self, tags: list[int], newest: int, now: int) -> None:
        """Runs with these start tags were taken for the first time; the newest was submitted then."""
        bucket = now // (BUCKET_SECONDS * 1_000_000)
        passed = bucket - self.bucket
        if passed:
            self.before_tag = self.start_tag if passed == 1 else self.tag
            self.before_taken = self.taken if passed == 1 else 0
            self.start_tag, self.taken, self.bucket = self.tag, 0, bucket
            self.since = self.since if passed == 1 else now
        self.taken += len(tags)
        self.tag = max(self.tag, *tags)
        self.waited = now - newest

    def pace(self, now: int) -> tuple[float, float, int]:
        """How far it comes in a second, runs taken in a second, and the wait of the last, microseconds; of late."""
        bucket = now // (BUCKET_SECONDS * 1_000_000)
        if bucket - self.bucket > 1:
            return 0.0, 0.0, 0
        past, taken = self.start_tag, self.taken
        if bucket == self.bucket:
            past, taken = self.before_tag, self.taken + self.before_taken
        start = max((bucket - 1) * BUCKET_SECONDS * 1_000_000, self.since)
        seconds = max(1.0, (now - start) / 1e6)
        return (self.tag - past) / seconds, taken / seconds, self.waited


@dataclass(slots=True)
class Line:
    """All that orders the queue."""

    lanes: dict[str, Lane] = field(default_factory=dict)
    flows: dict[FlowKey, int] = field(default_factory=dict)
    weights: dict[tuple[str, str], float] = field(default_factory=dict)
    sessions: dict[tuple[str, str], list[UUID]] = field(default_factory=dict)  # the holder, and those behind it

    def tag(self, release: str) -> int:
        """The release's virtual time."""
        lane = self.lanes.get(release)
        return 0 if lane is None else lane.tag

    def weight(self, tenant: str, customer: str) -> float:
        """A customer's shares."""
        return self.weights.get((tenant, customer), 1.0)

    def rank(self, key: FlowKey) -> int:
        """The rank of the flow's next run, which is charged."""
        release, tenant, customer, priority = key
        tag = self.tag(release)
        if key not in self.flows and len(self.flows) % FLOWS_BEFORE_SWEEP == FLOWS_BEFORE_SWEEP - 1:
            self.sweep()
        start = max(tag, self.flows.get(key, 0))
        levels = 1 + sum(
            finish > tag for other, finish in self.flows.items() if other[:3] == key[:3] and other[3] != priority
        )
        self.flows[key] = start + max(1, round(UNIT * levels / self.weight(tenant, customer)))
        return start - priority * PRIORITY_UNIT

    def sweep(self) -> None:
        """Forget what says nothing any more."""
        self.flows = {key: finish for key, finish in self.flows.items() if finish > self.tag(key[0])}

    def enter(self, run: "Run") -> None:
        """A run was created: give it its place, and its rank unless it has one or waits behind its session."""
        new = run.new
        run.turn = 0
        if new.session:
            waiting = self.sessions.setdefault((new.tenant, new.session), [])
            if new.parent_path == CONTINUED and waiting[:1] == [new.parent]:
                waiting.insert(1, new.id)  # one in which another run goes on stands where that one stood
            else:
                waiting.append(new.id)
            run.turn = HOLDS if len(waiting) == 1 else BEHIND
        run.ranked_in = run.release
        if run.turn != BEHIND:
            run.rank = self.rank(flow_of(run)) if new.rank is None else new.rank

    def hand_over(self, runs: "dict[RunKey, Run]") -> None:
        """Sessions whose run has ended go to the next in line."""
        for (tenant, session), waiting in list(self.sessions.items()):
            holder = runs.get((tenant, waiting[0]))
            if holder is not None and holder.status is not Status.ENDED:
                continue
            if holder is not None:
                holder.turn = 0
            behind = [run for run in waiting[1:] if runs[tenant, run].status is not Status.ENDED]
            if not behind:
                del self.sessions[tenant, session]
                continue
            self.sessions[tenant, session] = behind
            following = runs[tenant, behind[0]]
            following.turn, following.rank = HOLDS, self.rank(flow_of(following))
            following.ranked_in = following.release

    def in_order(self, due: "Iterable[Run]") -> "list[Run]":
        """Those whose turn it is, the first to be taken first."""
        allowed = [run for run in due if run.turn != BEHIND or run.stop in (Stop.CANCEL, Stop.KILL)]
        for run in allowed:
            if run.ranked_in != run.release:  # it goes before what is new in its new release
                run.ranked_in, run.rank = run.release, self.tag(run.release) - run.new.priority * PRIORITY_UNIT
        return sorted(allowed, key=lambda run: (run.rank - self.tag(run.release), run.new.id))

    def note(self, taken: "Iterable[Run]", now: int) -> None:
        """These were claimed; the first claims among them move the virtual times."""
        by_release: dict[str, list[Run]] = {}
        for run in taken:
            if run.epoch == 1:
                by_release.setdefault(run.release, []).append(run)
        for release, runs in by_release.items():
            tags = [run.rank + run.new.priority * PRIORITY_UNIT for run in runs]
            lane = self.lanes.get(release)
            if lane is None:
                lane = self.lanes[release] = Lane(start_tag=min(tags), since=now)
            lane.note(tags, max(run.created_at for run in runs), now)


def flow_of(run: "Run") -> FlowKey:
    """The flow that a run is charged to."""
    return run.release, run.new.tenant, customer_of(run.new), run.new.priority
