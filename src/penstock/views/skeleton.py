"""The skeleton of a run: all its spans in columns, without content, and what a waterfall draws beside them.

These are the values of the HTTP API's ``Trace``, encoded by msgspec. `penstock.views.skeleton_builder` makes them.
"""

from uuid import UUID

import msgspec

from penstock.views.budget_line import Point, Threshold
from penstock.views.critical_path import Stretch
from penstock.views.loops import Loop


class Columns(msgspec.Struct):
    """One list a column, the same index is the same span; ``kind``, ``name`` and ``status`` index lists of words.

    ``parent``: the index of the span that it is in, -1 = the run. ``verdict``: the worst of its gates, allow 0, flag 1,
    hold 2, deny 3. ``start``: microseconds after the submission; ``duration`` -1 = it has not ended. ``same``: number
    of the group of equal calls, 0 = alone.
    """

    path: list[str] = []
    parent: list[int] = []
    kind: list[int] = []
    name: list[int] = []
    status: list[int] = []
    verdict: list[int] = []
    seq: list[int] = []
    end_seq: list[int] = []
    start: list[int] = []
    duration: list[int] = []
    tokens: list[int] = []
    nano: list[int] = []
    attempts: list[int] = []
    same: list[int] = []
    child: dict[int, UUID] = {}


class Mark(msgspec.Struct, frozen=True):
    """Something that happened to the run between its calls."""

    kind: str
    seq: int
    at: int
    words: str


class Child(msgspec.Struct, frozen=True):
    """A run below this one. ``first_failed``: what the failure of this family began with."""

    run: UUID
    parent: UUID
    agent: str
    path: str
    status: str
    outcome: str | None = None
    nano: int = 0
    first_failed: bool = False


class Skeleton(msgspec.Struct):
    """A run without content. ``total`` and all times are microseconds after the submission, money is nano-dollars."""

    run: UUID
    agent: str
    as_of_seq: int
    submitted_at: int
    ended: bool
    total: int
    kinds: list[str]
    names: list[str]
    statuses: list[str]
    spans: Columns
    critical: list[Stretch]
    critical_share: dict[str, float]
    budget: list[Point]
    marks: list[Threshold]
    loops: list[Loop]
    events: list[Mark]
    children: list[Child] = []
    sentence: str = ""  # what happened, for a stranger
