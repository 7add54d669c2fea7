"""Two runs, call by call: what is the same, where they part, and what that cost.

Calls are paired by their place in the run (path, kind and name) as far as the runs go alike, and by kind and name from
there on. Arguments are compared by digest, what a call gave by content, which is read in pieces and kept as digests
only: runs of different data subjects hold the same content under different addresses. What a model was told is not
compared by itself: it follows from what came before.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from uuid import UUID

from penstock.journal.payloads import ref_address, unpack
from penstock.kernel.errors import EventUnreadable
from penstock.ports.journal import Journal
from penstock.ports.records import Payload, RunRow
from penstock.views.rows import find_row
from penstock.views.skeleton_reading import take_tape

KEPT_BEFORE = 5
"""Equal rows before the first difference that are shown."""
FETCH = 500
"""Payloads read at a time."""
ROWS_MAX = 20_000
"""Rows of one comparison that are given, at most; the totals are of all."""
ALIGNED_MAX = 2_000
"""Calls of a run up to which those at different places are paired by what they are; beyond, by place alone."""
NOT_KNOWN = b""

_Key = tuple[str, str, str]


@dataclass(slots=True, frozen=True)
class DiffRow:
    """A pair of calls, or one that the other run has not. ``left``, ``right``: index in each run's skeleton."""

    place: str  # same | changed | only_left | only_right
    left: int | None = None
    right: int | None = None
    differs: list[str] = field(default_factory=list)  # input | output | status


@dataclass(slots=True, frozen=True)
class RunDiff:
    """``first``: index in ``rows`` of the first that differs; None = there is none. ``skipped``: equal rows left out at
    the beginning, ``more``: rows left out at the end. ``nano``, ``duration`` (microseconds) and ``steps``: of the right
    run less those of the left.
    """

    left: UUID
    right: UUID
    first: int | None
    rows: list[DiffRow]
    skipped: int
    more: int
    nano: int
    duration: int
    steps: int


async def compare_runs(journal: Journal, tenant: str, left: UUID, right: UUID) -> RunDiff:
    """The two runs side by side.

    Raises:
        RunUnknown, RunPruned: as `penstock.views.rows.find_row`, of either.
        EventUnreadable: an event cannot be read.
    """
    rows = await find_row(journal, tenant, left), await find_row(journal, tenant, right)
    sides = [await _Side.read(journal, row) for row in rows]
    pairs = await asyncio.to_thread(_pairs, sides[0], sides[1])
    compared = [_row(pair, sides[0], sides[1]) for pair in pairs]
    first = next((index for index, row in enumerate(compared) if row.place != "same"), None)
    start = max(0, (len(compared) if first is None else first) - KEPT_BEFORE)
    shown = compared[start : start + ROWS_MAX]
    one, other = rows[0].summary, rows[1].summary
    return RunDiff(
        left=left,
        right=right,
        first=None if first is None else first - start,
        rows=shown,
        skipped=start,
        more=len(compared) - start - len(shown),
        nano=other.nano - one.nano,
        duration=sides[1].total - sides[0].total,
        steps=other.steps - one.steps,
    )


@dataclass(slots=True)
class _Side:
    """One run's calls: what each is, was asked, and gave."""

    paths: list[str]
    keys: list[_Key]  # kind, name, what was asked
    status: list[str]
    outputs: list[bytes]  # digest of what it gave; `NOT_KNOWN` when it cannot be read
    total: int

    @classmethod
    async def read(cls, journal: Journal, row: RunRow) -> "_Side":
        """All of a run's calls."""
        builder = await take_tape(journal, row)
        total = 0
        if builder.first is not None and builder.last is not None:
            total = max(0, builder.last.at - builder.first.at)
        outputs = await _digests(journal, row, builder.results)
        keys = [
            (kind, name, "" if kind == "model" else asked)
            for (kind, name, _), asked in zip(builder.standing, builder.digests, strict=True)
        ]
        return cls(list(builder.columns.path), keys, [status for _, _, status in builder.standing], outputs, total)


async def _digests(journal: Journal, row: RunRow, refs: Sequence[str]) -> list[bytes]:
    """A short digest of each payload's content, '' for those that there are not."""
    known: dict[str, bytes] = {"": NOT_KNOWN}
    wanted = [ref for ref in dict.fromkeys(refs) if ref]
    for start in range(0, len(wanted), FETCH):
        part = {ref: ref_address(ref) for ref in wanted[start : start + FETCH]}
        stored = await journal.get_payloads(row.tenant, row.subject, list(part.values()))
        known |= await asyncio.to_thread(_digest_all, part, stored)
    return [known[ref] for ref in refs]


def _digest_all(part: dict[str, bytes], stored: dict[bytes, Payload]) -> dict[str, bytes]:
    return {ref: _digest(stored.get(where)) for ref, where in part.items()}


def _digest(payload: Payload | None) -> bytes:
    if payload is None:
        return NOT_KNOWN
    try:
        return hashlib.sha256(unpack(payload)).digest()[:16]
    except EventUnreadable:
        return NOT_KNOWN


_Pair = tuple[int | None, int | None]


def _pairs(left: _Side, right: _Side) -> list[_Pair]:
    """Calls side by side, in the order of the runs: the common beginning by place, the rest as it fits best."""
    common = 0
    most = min(len(left.paths), len(right.paths))
    while common < most and _place(left, common) == _place(right, common):
        common += 1
    pairs: list[_Pair] = [(index, index) for index in range(common)]
    rest_left, rest_right = range(common, len(left.paths)), range(common, len(right.paths))
    if max(len(rest_left), len(rest_right)) <= ALIGNED_MAX:
        return pairs + _aligned(left, right, rest_left, rest_right)
    return pairs + _by_place(left, right, rest_left, rest_right)


def _place(side: _Side, index: int) -> tuple[str, str, str]:
    kind, name, _ = side.keys[index]
    return side.paths[index], kind, name


def _aligned(left: _Side, right: _Side, rest_left: range, rest_right: range) -> list[_Pair]:
    """The longest common runs of calls (Ratcliff and Obershelp, as in `difflib`), whatever their paths."""
    one = [left.keys[index][:2] for index in rest_left]
    other = [right.keys[index][:2] for index in rest_right]
    pairs: list[_Pair] = []
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    for tag, low, high, begin, end in matcher.get_opcodes():
        if tag == "equal":
            pairs += [(rest_left[low + step], rest_right[begin + step]) for step in range(high - low)]
        else:
            pairs += [(rest_left[index], None) for index in range(low, high)]
            pairs += [(None, rest_right[index]) for index in range(begin, end)]
    return pairs


def _by_place(left: _Side, right: _Side, rest_left: range, rest_right: range) -> list[_Pair]:
    places = {_place(right, index): index for index in rest_right}
    pairs: list[_Pair] = []
    taken: set[int] = set()
    for index in rest_left:
        other = places.get(_place(left, index))
        pairs.append((index, other))
        if other is not None:
            taken.add(other)
    return pairs + [(None, index) for index in rest_right if index not in taken]


def _row(pair: _Pair, left: _Side, right: _Side) -> DiffRow:
    one, other = pair
    if one is None:
        return DiffRow("only_right", right=other)
    if other is None:
        return DiffRow("only_left", left=one)
    differs = []
    if left.keys[one][2] != right.keys[other][2]:
        differs.append("input")
    known = NOT_KNOWN not in (left.outputs[one], right.outputs[other])
    if known and left.outputs[one] != right.outputs[other]:
        differs.append("output")
    if left.status[one] != right.status[other]:
        differs.append("status")
    return DiffRow("changed" if differs else "same", one, other, differs)
