"""Circuit breakers: what they watch, how each stands, and the store that all workers share them through.

A breaker watches calls by agent, task type, customer, tool or model; with the value ``*`` each value has a circuit of
its own. A circuit is *closed* (calls pass), *open* (none does) or *half-open* (its time is over: single probes pass).

Reached as ``journal.breakers``. Two stores answer, PostgreSQL and memory; both pass `tests/contract/breakers_suite.py`.
All times are microseconds of the store's clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol
from uuid import UUID

import msgspec

ScopeKind = Literal["agent", "task_type", "customer", "tool", "model"]
ConditionKind = Literal["cost_mean", "failures", "cost_rate", "error_rate", "latency", "drift"]
Meanwhile = Literal["fail", "fallback", "queue"]

EACH: Final = "*"
"""The value of a breaker that has a circuit for each value."""
OTHER: Final = "(other)"
"""The circuit of the values beyond `VALUES_MAX`, together, and of calls that have no value."""
VALUES_MAX: Final = 100
BREAKERS_MAX: Final = 500
"""Of all tenants."""
CONDITIONS_MAX: Final = 6
WINDOW_MAX_SECONDS: Final = 600.0
CALLS_MAX: Final = 1000
RUNS_SHOWN: Final = 20
"""Calls, and so at most as many runs, that a trip's evidence names."""
ALARM_CALLS: Final = 10_000_000
"""On traffic whose mean stays where it was expected, the evidence reaches the threshold less than once in so many
calls, whatever their distribution; see `penstock.gates.breakers.detector`."""
PAGE_MAX: Final = 200
HISTORY_DAYS: Final = 90

Key = tuple[str, str, str]
"""Of a circuit: tenant, breaker's name, value."""


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a breaker trips. What the numbers mean is by ``kind``:

    ``cost_mean``: the mean cost of the last ``calls`` calls (or runs) is over ``limit`` times ``expected`` nano-dollars
    (0: the mean of the first ``baseline`` ones), and the evidence says that this is no accident. ``failures``: so many,
    ``limit``, in a row. ``cost_rate``: over ``limit`` nano-dollars within ``seconds``. ``error_rate``: a share over
    ``limit`` of at least ``calls`` calls within ``seconds`` failed. ``latency``: likewise took over ``slow_seconds``;
    0.05 of them means that their P95 is over it. ``drift``: answers are further from the first ``baseline`` ones than
    those were from each other, by the same kind of evidence.
    """

    kind: ConditionKind
    limit: float = 0.0
    calls: int = 0
    seconds: float = 0.0
    expected: int = 0
    of: Literal["call", "run"] = "call"
    slow_seconds: float = 0.0
    baseline: int = 0


class Breaker(msgspec.Struct, frozen=True, omit_defaults=True):
    """One breaker. It trips when any of its conditions is met.

    Attributes:
        value: a name, or `EACH`.
        open_seconds: until probes are let through.
        probes: that must succeed, one after the other, for it to close.
        meanwhile: what happens to a call: ``fail`` = it is denied; ``fallback`` = another model is asked (``fallback``,
            or the call's own), and where there is none it is denied; ``queue`` = it waits, and its run parks.
        cancel_in_flight: model calls and reads under way are cut off when it trips; writes never.
    """

    tenant: str
    name: str
    scope: ScopeKind
    value: str
    conditions: tuple[Condition, ...]
    open_seconds: float = 60.0
    probes: int = 3
    meanwhile: Meanwhile = "fail"
    fallback: str = ""
    cancel_in_flight: bool = True


class Tally(msgspec.Struct):
    """What calls came to, one after the other; two of them add up to that of both in their order.

    Attributes:
        tail: failures at the end, in a row.
        nano: spent by the calls. ``samples`` and ``sampled``: how many costs the mean is of, and their sum.
        gain, start: the evidence ``M`` of a mean that has risen becomes ``gain * M + start``; ``far_gain`` and
            ``far_start`` likewise for answers that are far off.
    """

    calls: int = 0
    errors: int = 0
    slow: int = 0
    tail: int = 0
    nano: int = 0
    samples: int = 0
    sampled: int = 0
    gain: float = 1.0
    start: float = 0.0
    far_gain: float = 1.0
    far_start: float = 0.0


def add_tally(one: Tally, other: Tally) -> None:
    """``one`` becomes what both are together, ``other`` being the later."""
    one.tail = one.tail + other.tail if other.errors == other.calls else other.tail
    one.calls += other.calls
    one.errors += other.errors
    one.slow += other.slow
    one.nano += other.nano
    one.samples += other.samples
    one.sampled += other.sampled
    one.gain, one.start = one.gain * other.gain, one.start * other.gain + other.start
    one.far_gain, one.far_start = one.far_gain * other.far_gain, one.far_start * other.far_gain + other.far_start


@dataclass(slots=True, frozen=True)
class Circuit:
    """How one circuit stands. One that was never tripped and has learned nothing need not be in the store.

    Attributes:
        generation: rises whenever it trips or closes; what is counted belongs to one.
        until: open: when it becomes half-open.
        base_samples, base_nano: the costs that the expected mean is learned from.
        reference: what answers are compared to, as a worker wrote it; empty = not learned.
    """

    tenant: str
    name: str
    value: str
    is_open: bool = False
    generation: int = 0
    opened_at: int = 0
    until: int = 0
    probes_ok: int = 0
    base_samples: int = 0
    base_nano: int = 0
    reference: bytes = b""
    trip: UUID | None = None

    @property
    def key(self) -> Key:
        return self.tenant, self.name, self.value

    def expected(self, breaker: Breaker) -> int | None:
        """The mean cost that is expected, nano-dollars; None = it is still being learned, or nothing is."""
        mean = next((condition for condition in breaker.conditions if condition.kind == "cost_mean"), None)
        if mean is None or (not mean.expected and self.base_samples < max(1, mean.baseline)):
            return None
        return mean.expected or max(1, self.base_nano // self.base_samples)

    def state(self, now: int) -> Literal["closed", "open", "half_open"]:
        """In one word, as of now."""
        if not self.is_open:
            return "closed"
        return "open" if now < self.until else "half_open"


@dataclass(slots=True, frozen=True)
class View:
    """All breakers of all tenants and their circuits, as of one moment. ``version`` rises with every change."""

    version: int
    now: int
    breakers: tuple[Breaker, ...] = ()
    circuits: tuple[Circuit, ...] = ()


@dataclass(slots=True, frozen=True)
class Report:
    """What a worker saw since its last report, of one circuit in one generation. ``learn``: costs that the baseline
    takes, until it has so many."""

    key: Key
    generation: int
    tally: Tally
    learn: int = 0


@dataclass(slots=True, frozen=True)
class Shared:
    """What others saw: of each circuit, in order, with the time of its report, and the baselines reported to."""

    version: int
    now: int
    cursor: int
    others: list[tuple[Key, int, int, Tally]] = field(default_factory=list)
    """Key, generation, time, tally."""
    bases: list[tuple[Key, int, int]] = field(default_factory=list)
    """Key, samples, nano-dollars."""


@dataclass(slots=True, frozen=True)
class Trip:
    """One time that a circuit was opened.

    Attributes:
        by: who: a worker's name or a person.
        evidence: JSON: the condition, its figures, and the calls that led to it.
        sealed: no append that missed it can commit any more; False = one session held its lock for too long.
        closed_by: who closed it: a person, or ``probes``.
    """

    tenant: str
    name: str
    value: str
    id: UUID
    at: int
    by: str
    evidence: bytes
    sealed: bool = True
    closed_at: int | None = None
    closed_by: str = ""


class Breakers(Protocol):
    """Breakers and their circuits. Every change that makes one stricter is seen by every append that begins after it:
    a batch whose intents were checked against an older version is answered ``STALE`` and nothing of it is written."""

    async def put(self, breaker: Breaker, actor: str) -> None:
        """Make or replace a breaker. Its circuits keep their state, not what their conditions had counted.

        Raises:
            InputInvalid: there are `BREAKERS_MAX`.
        """
        ...

    async def remove(self, tenant: str, name: str) -> bool:
        """Take it away with its circuits; its trips stay for `HISTORY_DAYS`. False when there was none. Parked runs of
        the tenant that wait for a breaker are woken to look again."""
        ...

    async def view(self) -> View:
        """Everything, as of now."""
        ...

    def listen(self, listener: Callable[[], None]) -> None:
        """Call it, on the loop, when something has changed, here or in another process. Calls may be missing: whoever
        must know looks at the version, too."""
        ...

    async def version(self) -> int:
        """The version of what `view` would give."""
        ...

    async def share(self, holder: UUID, cursor: int, reports: Sequence[Report]) -> Shared:
        """Report, and hear what others reported after ``cursor`` (0: those of the last `WINDOW_MAX_SECONDS`).

        Reports of another generation than the circuit's own count for nothing. A value beyond `VALUES_MAX` counts as
        `OTHER`.
        """
        ...

    async def learn(self, key: Key, reference: bytes) -> bytes:
        """The reference of a circuit: the stored one, or this, which is stored then."""
        ...

    async def trip(
        self, key: Key, generation: int | None, trip: UUID, seconds: float, by: str, evidence: bytes
    ) -> bool:
        """Open a circuit for so long. True when this did it; False when somebody else had tripped or closed it since
        ``generation`` (None: whatever it is; one that is open stays so for longer), or the breaker is gone.

        When this returns True no intent commits any more that was checked before.
        """
        ...

    async def probe(self, key: Key, generation: int, holder: UUID, lease_seconds: float) -> bool:
        """Take the only place of a half-open circuit, for so long; False when it is taken, or it is not half-open."""
        ...

    async def probed(
        self, key: Key, generation: int, holder: UUID, ok: bool | None, wanted: int, seconds: float
    ) -> None:
        """How the probe went. After ``wanted`` good ones the circuit is closed; after a bad one it is open for another
        ``seconds``; None: it was not made, and its place is free again."""
        ...

    async def reset(self, tenant: str, name: str, value: str | None, actor: str, *, relearn: bool = False) -> int:
        """Close a circuit, or all of a breaker; how many were open. With ``relearn`` also forget what is expected.
        Parked runs of the tenant that wait for a breaker are woken to look again."""
        ...

    async def trips(self, tenant: str, name: str | None, before: tuple[int, UUID] | None, limit: int) -> list[Trip]:
        """Those before the one of that time and id, newest first, at most ``limit``."""
        ...
