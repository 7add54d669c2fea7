"""What the journal in memory holds, and how it looks from outside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from penstock.adapters.memory.intents import intents_of
from penstock.adapters.memory.line import Line, customer_of
from penstock.ports.budgets import Charge
from penstock.ports.controls import HELD_BY_TOOL_STOPS, Scope
from penstock.ports.controls import Control as ControlRecord
from penstock.ports.questions import Decided
from penstock.ports.records import Letter, NewRun, OpenIntent, Payload, Row, RunKey, RunRow, Status, Stop, Summary
from penstock.ports.snapshots import Snapshot


@dataclass(slots=True)
class Run:
    """A run's row, its tape and its inbox."""

    new: NewRun
    release: str
    created_at: int
    subject_key: bytes | None  # of a run that is its own subject
    tape: list[Row]
    status: Status = Status.QUEUED
    stop: Stop | None = None
    outcome: str | None = None
    code: str = ""
    epoch: int = 0
    worker: UUID | None = None
    claims: int = 0
    rank: int = 0
    ranked_in: str = ""  # the release whose virtual time the rank is of
    turn: int = 0  # 1: holds its session; 2: waits behind it
    wake_at: int | None = None
    ended_at: int | None = None
    summary: Summary = field(default_factory=Summary)
    waiting: bytes = b"[]"
    inbox: dict[str, Letter] = field(default_factory=dict)
    consumed: set[str] = field(default_factory=set)
    pruned_at: int | None = None
    swept: tuple[int, bytes] | None = None  # number of events and head of a tape that is gone

    @property
    def key(self) -> RunKey:
        return self.new.tenant, self.new.id

    @property
    def root(self) -> UUID:
        return self.new.root or self.new.id

    @property
    def last_seq(self) -> int:
        return len(self.tape) if self.swept is None else self.swept[0]

    @property
    def head(self) -> bytes:
        return self.tape[-1].hash if self.swept is None else self.swept[1]

    def letters(self) -> list[Letter]:
        """Those not yet consumed, oldest first."""
        return [letter for dedup, letter in self.inbox.items() if dedup not in self.consumed]

    def receive(self, letter: Letter) -> bool:
        """Take a letter in and wake up; False when it was there already."""
        if letter.dedup in self.inbox:
            return False
        self.inbox[letter.dedup] = letter
        self.wake(letter.at, only=Status.PARKED)
        return True

    def wake(self, now: int, only: Status) -> None:
        """Become due now when the status is ``only``."""
        if self.status is only:
            self.status, self.wake_at = Status.QUEUED, now

    def row(self) -> RunRow:
        """As `Journal.get_run` shows it."""
        new = self.new
        return RunRow(
            tenant=new.tenant,
            id=new.id,
            agent=new.agent,
            release=self.release,
            env=new.env,
            status=self.status,
            outcome=self.outcome,
            code=self.code,
            stop=self.stop,
            epoch=self.epoch,
            last_seq=self.last_seq,
            head=self.head,
            subject=new.subject,
            key=new.key,
            session=new.session,
            priority=new.priority,
            parent=new.parent,
            parent_path=new.parent_path,
            root=self.root,
            worker=self.worker,
            claims=self.claims,
            wake_at=self.wake_at,
            created_at=self.created_at,
            ended_at=self.ended_at,
            deadline=new.deadline,
            summary=self.summary,
            waiting=self.waiting,
            tags=dict(new.tags),
            pruned_at=self.pruned_at,
        )

    def waits_for_tool(self, name: str) -> bool:
        """Whether it may wait for the stop of that tool to be lifted."""
        waits = msgspec.json.decode(self.waiting)
        return any(item.get("kind") in HELD_BY_TOOL_STOPS and item.get("name") == name for item in waits)

    def open_intents(self) -> list[OpenIntent]:
        """Intents without an outcome; none when it has ended."""
        if self.status is Status.ENDED or self.summary.open_intents <= 0:
            return []
        return intents_of(*self.key, self.tape)

    def waits_for(self, kind: str) -> bool:
        """Whether it waits for something of that kind."""
        if self.status is Status.ENDED:
            return False
        return any(item.get("kind") == kind for item in msgspec.json.decode(self.waiting))


@dataclass(slots=True)
class Worker:
    """A worker, the end of its lease in microseconds, and whose runs it gets; None = those of any environment."""

    name: str
    lease_until: int
    environment: str | None = None


@dataclass(slots=True, frozen=True)
class Control:
    """A stop of a scope wider than a run that is in force."""

    id: UUID
    scope: Scope
    stop: Stop

    def covers(self, run: "Run") -> bool:
        """Whether it holds for a run."""
        new = run.new
        return self.scope.covers(new.tenant, new.agent, run.release, new.session, customer_of(new), new.env)

    @property
    def shuts(self) -> bool:
        """Whether nothing at all is given out."""
        return self.scope.kind == "everything" or (self.scope.kind == "tenant" and self.stop is Stop.KILL)


def _unheard(*said: object) -> None:
    """Nobody listens."""


def _not_told(*_: str) -> bool:
    """Nobody has been told of it."""
    return False


@dataclass(slots=True)
class Store:
    """All of it. Every key begins with the tenant."""

    runs: dict[RunKey, Run] = field(default_factory=dict)
    keys: dict[tuple[str, str], UUID] = field(default_factory=dict)
    payloads: dict[tuple[str, str], dict[bytes, Payload]] = field(default_factory=dict)
    subjects: dict[tuple[str, str], bytes | None] = field(default_factory=dict)  # None: erased
    workers: dict[UUID, Worker] = field(default_factory=dict)
    controls: list[Control] = field(default_factory=list)
    ends: list[Run] = field(default_factory=list)  # in the order in which they ended
    line: Line = field(default_factory=Line)
    snapshots: dict[RunKey, Snapshot] = field(default_factory=dict)
    breaker_version: int = 0  # of breakers and of stops of tools: what intents are checked against
    # Told in the same step: a run's row was written (its status and waits before that); a decision; a seal.
    when_moved: Callable[[Run, Status, bytes], None] = _unheard
    when_waiting: Callable[[Run, bytes], None] = _unheard
    when_decided: Callable[[Decided], None] = _unheard
    tell: Callable[[str, str, UUID | None, str | None, str, dict[str, Any]], None] = _unheard
    """Tell webhooks: tenant, topic, run, agent, what tells it apart, facts."""
    is_told: Callable[[str, str], bool] = _not_told
    """Whether some webhook of a tenant hears of a topic."""
    when_sealed: Callable[[ControlRecord], None] = _unheard
    charge: Callable[[str, Sequence[Charge]], None] = _unheard
    """Charges an accepted batch to its budgets; raises ShareLost when they do not hold it."""

    def held_back(self, tenant: str, agent: str) -> bool:
        """Whether a control holds back whatever falls due for an agent."""
        return any(control.scope.covers(tenant, agent) for control in self.controls)

    def is_at_home(self, run: Run, worker: UUID) -> bool:
        """Whether a run is of the environment that a worker works in."""
        known = self.workers.get(worker)
        return known is None or known.environment in (None, run.new.env)

    def claimable(self, run: Run, worker: UUID) -> bool:
        """Whether no control keeps a run from being given out, and it is of the worker's environment.

        One that was killed or cancelled itself has to be ended, whatever scope is stopped; but nothing is given out of
        a tenant that was killed.
        """
        if not self.is_at_home(run, worker):
            return False
        holding = [control for control in self.controls if control.covers(run)]
        if run.stop in (Stop.CANCEL, Stop.KILL):
            return not any(control.shuts for control in holding)
        return not holding

    def stop_of(self, run: Run) -> Stop | None:
        """The strongest of the run's own stop and those of its scopes."""
        if run.stop is Stop.KILL or not self.controls:
            return run.stop
        scoped = {control.stop for control in self.controls if control.covers(run)}
        if Stop.KILL in scoped:
            return Stop.KILL
        return run.stop or (Stop.PAUSE if scoped else None)

    def within(self, scope: Scope) -> list[Run]:
        """The runs of a scope; of a run with its descendants, of a tool those that are in a call of it."""
        if scope.kind == "tool":
            held = (run for run in self.runs.values() if run.new.tenant == scope.tenant and run.summary.open_intents)
            return [run for run in held if any(item.name == scope.name for item in run.open_intents())]
        if scope.run is None:
            meant = Control(UUID(int=0), scope, Stop.KILL)
            return [run for run in self.runs.values() if meant.covers(run)]
        tenant = scope.tenant or ""
        known = self.runs.get((tenant, scope.run))
        return [*([known] if known else []), *self.descendants(tenant, scope.run)]

    def create(self, new: NewRun, now: int) -> None:
        """Make a run, unless its id or key is taken."""
        if (new.tenant, new.id) in self.runs or (new.key is not None and (new.tenant, new.key) in self.keys):
            return
        own = new.subject == str(new.id)
        if not own and self.subjects.get((new.tenant, new.subject)) is None:
            self.subjects[new.tenant, new.subject] = new.subject_key
        first = Row(1, new.event.body, new.event.hash, now)
        run = self.runs[new.tenant, new.id] = Run(
            new, new.release, now, new.subject_key if own else None, [first], wake_at=now
        )
        if new.key is not None:
            self.keys[new.tenant, new.key] = new.id
        self.line.enter(run)

    def descendants(self, tenant: str, run: UUID) -> list[Run]:
        """The run's children, theirs, and so on; without the run itself."""
        family = [item for item in self.runs.values() if item.new.tenant == tenant]
        found: list[Run] = []
        generation = {run}
        while generation:
            children = [item for item in family if item.new.parent in generation]
            found += children
            generation = {item.new.id for item in children}
        return found
