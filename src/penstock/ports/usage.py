"""What runs have spent and how they ended, summed up: kept beside the journal, and made anew from it at any time.

Reached as ``journal.usage``. Two stores answer, PostgreSQL and memory; both pass `tests/contract/usage_suite.py`.

Sums are of ended runs, by the hour of their end. What runs have spent that have not ended, or that are not counted yet,
is added when the sums are read, from their rows. A run's own spending is counted, not that of runs below it, which
count by themselves.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, Protocol, get_args
from uuid import UUID

import msgspec

By = str
"""One of `DIMENSIONS`, or ``tag.`` and the name of a tag of one's own that is counted by (`Settings.costs_tags`)."""
DIMENSIONS: tuple[str, ...] = ("customer", "feature", "agent", "task_type", "model", "release", "user", "kind")
TAG = "tag."
BY_MAX = 4
"""Dimensions that one question is asked by, at most."""
OF_CALLS = ("model", "kind")
"""Dimensions that a run's row does not know: only its calls do."""

Kind = Literal[
    "work",
    "retry",
    "fallback",
    "hedge",
    "failed",
    "cancelled",
    "lost",
    "cached",
    "judge",
    "shadow",
    "embedding",
    "tool",
]
"""What a call was: the answer that counted (``work``), or that came by a further try (``retry``) or from another model
(``fallback``); what was paid beside it; or for what else it was made. ``lost``: its real figure is not known."""
KINDS: tuple[Kind, ...] = get_args(Kind)
OTHER = "*"
"""Stands in the sums for all values of a day beyond the bound on them."""

MINUTE = 60_000_000
HOUR = 60 * MINUTE
MINUTES_KEPT = 48 * HOUR
"""How long it is kept how runs ended, by minute."""

GROUPS_MAX = 200
LIVE_MAX = 20_000
"""Runs that have not ended, or are not counted yet, that one read adds up: the newest."""
STEP_MAX = 500
"""Runs of one step, at most."""


@dataclass(slots=True, frozen=True)
class Place:
    """How far a tenant's sums go. ``number``: of the last end counted; ``unnumbered``: of runs that had ended before
    ends were numbered, the last id; ``is_old``: there may be more of these. ``until``: what ended before is counted."""

    tenant: str
    generation: int
    number: int = 0
    unnumbered: UUID = UUID(int=0)
    is_old: bool = True
    until: int = 0


@dataclass(slots=True, frozen=True)
class EndedRun:
    """A run to be counted. ``nano_below`` and ``tokens_below``: what its row holds of the runs below it."""

    id: UUID
    agent: str
    release: str
    tags: dict[str, str]
    outcome: str
    code: str
    ended_at: int
    last_seq: int
    model_calls: int
    tokens: int
    nano: int
    nano_below: int = 0
    tokens_below: int = 0
    is_root: bool = True
    is_pruned: bool = False


@dataclass(slots=True, frozen=True)
class Step:
    """The next runs to be counted, and where the place is then. ``at``: the store's clock before it was looked."""

    begins: Place
    ends: Place
    runs: list[EndedRun]
    more: bool  # there are further ones


class HourSum(msgspec.Struct):
    """What runs with the same names spent that ended in the same hour; see ``usage_hourly`` in the migration."""

    hour: int
    slot: UUID
    customer: str
    feature: str
    agent: str
    task_type: str
    release: str
    model: str
    runs: int = 0
    used_by: int = 0
    model_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    nano: int = 0
    nano_at_maximum: int = 0
    dearest: UUID = UUID(int=0)
    dearest_nano: int = -1
    user: str = ""
    kind: str = ""
    tags: dict[str, str] = {}
    coarse: UUID | None = None  # the slot without user and tags; None = it has none of its own
    kind_runs: int = 0  # like used_by, by kind
    used_in: int = 0  # by model and kind
    cached: int = 0
    written: int = 0
    written_hour: int = 0
    reasoning: int = 0
    audio_in: int = 0
    audio_out: int = 0
    image_in: int = 0
    image_out: int = 0


CLASSES = ("cached", "written", "written_hour", "reasoning", "audio_in", "audio_out", "image_in", "image_out")
"""Of the tokens: those that are charged in another way; see `penstock.events.Amount`."""
COUNTS = ("model_calls", "tokens_in", "tokens_out", "nano", "nano_at_maximum")
SUMMED = ("runs", "used_by", "kind_runs", "used_in", *COUNTS)
"""What is added up besides the classes."""


class MinuteSum(msgspec.Struct):
    """How runs of an agent ended in one minute. ``code`` is that of the first cause: a run that failed by a child has
    the child's. ``roots``: how many of the runs no run had started."""

    minute: int
    slot: UUID
    agent: str
    outcome: str
    code: str
    runs: int
    roots: int
    example: UUID


@dataclass(slots=True)
class Group:
    """What one value of a dimension, or one combination of values of several, has spent."""

    values: tuple[str, ...]
    runs: int = 0
    model_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    nano: int = 0
    nano_at_maximum: int = 0
    dearest: UUID | None = None
    dearest_nano: int = -1
    classes: dict[str, int] = field(default_factory=dict)  # tokens by `CLASSES`; what is 0 may be left out

    @property
    def value(self) -> str:
        """The value of the first dimension."""
        return self.values[0]


@dataclass(slots=True, frozen=True)
class HourRow:
    """Sums of an hour, as they are given away. ``values``: by `DIMENSIONS`, in that order."""

    hour: int
    slot: UUID
    values: tuple[str, ...]
    tags: dict[str, str]
    runs: int
    model_calls: int
    tokens_in: int
    tokens_out: int
    nano: int
    nano_at_maximum: int
    classes: dict[str, int]


@dataclass(slots=True, frozen=True)
class Live:
    """What runs have spent that are not in the sums, by value of a dimension; of tokens only their sum is known.

    ``partial``: there are more such runs than were added up, or the filter is by what only their calls know.
    """

    groups: list[Group] = field(default_factory=list)
    partial: bool = False


class Usage(Protocol):
    """The sums of all tenants."""

    async def take_turn(self, holder: UUID, lease_seconds: float, *, when_due: bool) -> bool:
        """Be the one who counts, or go on being it; ``when_due``: only if the time between two rounds is over."""
        ...

    async def end_turn(self, holder: UUID, next_seconds: float) -> None:
        """Let somebody else count, after that time."""
        ...

    async def behind(self, limit: int) -> list[str]:
        """Tenants with ended runs that are not counted, at most ``limit``."""
        ...

    async def place(self, tenant: str, generation: int | None = None) -> Place | None:
        """How far a generation of sums goes; None = the current one, which is made when there is none."""
        ...

    async def next_step(self, place: Place, limit: int = STEP_MAX) -> Step | None:
        """What comes after a place: ends that are settled, so that none can come before them. None: not known now."""
        ...

    async def count(self, step: Step, hours: Sequence[HourSum], minutes: Sequence[MinuteSum]) -> bool:
        """Add a step's sums and move the place; False, and nothing done, when it has been moved before."""
        ...

    async def drop_old(self, before_minute: int, before_hour: int, limit: int) -> int:
        """Forget sums of hours and minutes before these; how many rows, at most ``limit`` of each.

        Done at each look: a store that has sums of an older version to put in order does a step of it here, too.
        """
        ...

    async def kept_until(self, tenant: str) -> dict[str, int]:
        """By agent: sums of hours before this cannot be made anew, for records of its runs are gone."""
        ...

    async def begin_again(self, tenant: str) -> int:
        """A generation of sums beside the current one, from the beginning; what cannot be made anew is taken over."""
        ...

    async def finish_again(self, tenant: str, generation: int) -> bool:
        """Let that generation be the current one; False when it does not go as far yet."""
        ...

    async def admit(
        self, tenant: str, day: int, values: Mapping[str, Collection[str]], most: int
    ) -> dict[str, set[str]]:
        """Of these values by dimension: those that sums of that day may be told by. The first ``most`` of a dimension
        that were ever asked for are."""
        ...

    async def sums(
        self, tenant: str, by: str | Sequence[str], since: int, until: int, where: Mapping[str, str]
    ) -> list[Group]:
        """By value, or by combination of values (which have no dearest run), dearest first, all of them. ``where``: by
        dimension the only value that counts."""
        ...

    async def hours(
        self, tenant: str, since: int, until: int, where: Mapping[str, str], after: tuple[int, UUID] | None, limit: int
    ) -> list[HourRow]:
        """Sums of hours in this stretch, in the order of hour and slot, from the first one after ``after``."""
        ...

    async def series(
        self, tenant: str, by: By, since: int, until: int, width: int, values: Sequence[str], where: Mapping[str, str]
    ) -> list[tuple[int, str | None, int]]:
        """Money in bins of ``width``: start, value (None: those not among ``values``), nano-dollars; in order."""
        ...

    async def live(self, tenant: str, by: str | Sequence[str], where: Mapping[str, str]) -> Live:
        """What is not in the sums yet. By model and by kind it has no value: which calls were made only a tape says."""
        ...

    async def put_rerate(self, tenant: str, key: UUID, at: int, body: bytes) -> None:
        """Keep what calls would have cost at other prices; ``at``: the store's clock when it was read."""
        ...

    async def rerates(self, tenant: str, limit: int) -> list[bytes]:
        """What was kept of that, the newest first."""
        ...

    async def minutes(self, tenant: str, since: int) -> list[MinuteSum]:
        """How runs ended since then, by minute; those not counted yet, up to `LIVE_MAX`, included."""
        ...


@lru_cache(4096)
def slot_of(*names: str) -> UUID:
    """128 bits of SHA-256 of names: they may be too long for an index."""
    return UUID(bytes=hashlib.sha256(msgspec.json.encode(names)).digest()[:16])


def merged_minute(one: MinuteSum, other: MinuteSum) -> MinuteSum:
    """Both together; the example is one that no run had started, when there is such a one."""
    example = other.example if other.roots or not one.roots else one.example
    return msgspec.structs.replace(one, runs=one.runs + other.runs, roots=one.roots + other.roots, example=example)


def is_dimension(name: str) -> bool:
    """Whether sums may be told by it."""
    return name in DIMENSIONS or (name.startswith(TAG) and len(name) > len(TAG))


def bounded_by(by: str | Sequence[str]) -> tuple[str, ...]:
    """The dimensions, checked.

    Raises:
        ValueError: one is none, stands there twice, or there are more than `BY_MAX`.
    """
    names = (by,) if isinstance(by, str) else tuple(by)
    strange = [name for name in names if not is_dimension(name)]
    if strange:
        raise ValueError(f"costs cannot be told by {', '.join(strange)}")
    if not 1 <= len(names) <= BY_MAX or len(set(names)) != len(names):
        raise ValueError(f"costs are told by one to {BY_MAX} different dimensions")
    return names


def bounded_where(where: Mapping[str, str]) -> dict[str, str]:
    """The filter, checked.

    Raises:
        ValueError: a name that is no dimension.
    """
    strange = {name for name in where if not is_dimension(name)}
    if strange:
        raise ValueError(f"no dimension: {', '.join(sorted(strange))}")
    return dict(where)


def counter_of(by: Iterable[str], where: Iterable[str]) -> str:
    """Which of a sum's counts of runs holds when it is told by these: a run that called two models is one run."""
    wanted = {*by, *where} & {*OF_CALLS}
    if len(wanted) == len(OF_CALLS):
        return "used_in"
    return {"model": "used_by", "kind": "kind_runs"}[wanted.pop()] if wanted else "runs"
