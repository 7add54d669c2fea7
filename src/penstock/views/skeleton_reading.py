"""Reading skeletons: a page of the tape at a time, off the event loop, and those of ended runs once.

Building is CPU work in Python, a second of it for 50,000 spans. It is done in a thread, a page at a time, so that
requests beside it go on; each takes turns with it at the interpreter's switch interval. On two busy cores a loop's
timer was then late by 11 ms at the median and 93 ms at the 99th percentile.
"""

import asyncio
import zlib
from collections import OrderedDict
from uuid import UUID

import msgspec

from penstock.events import RunEnded
from penstock.ports.journal import Journal
from penstock.ports.records import Row, RunFilter, RunRow, Status
from penstock.views.rows import find_row
from penstock.views.sentences import run_sentence
from penstock.views.skeleton import Child, Skeleton
from penstock.views.skeleton_builder import SkeletonBuilder

PAGE = 5_000
"""Events read at a time."""
FAMILY_MAX = 1_000
"""Runs of one family that are looked at for the tree of agents."""
CACHE_BYTES = 64 * 1024 * 1024
"""Compressed skeletons of ended runs that are kept, at most."""
_LEVEL = 1  # of zlib: 50,000 spans in 30 ms instead of 150 ms, a sixth larger

SkeletonKey = tuple[str, UUID, int]
"""``(tenant, run, last_seq)``."""


class SpanIndex(msgspec.Struct):
    """Where a run's spans stand on its tape, and which are alike: read back from an encoded skeleton."""

    path: list[str]
    seq: list[int]
    end_seq: list[int]
    same: list[int]


class _Encoded(msgspec.Struct):
    spans: SpanIndex


async def take_tape(journal: Journal, row: RunRow) -> SkeletonBuilder:
    """A builder that has taken all events that the run's row knows of.

    Raises:
        EventUnreadable: an event cannot be read.
    """
    builder = SkeletonBuilder()

    async def read(after: int) -> list[Row]:
        if after >= row.last_seq:
            return []
        return await journal.tape(row.tenant, row.id, after=after, limit=min(PAGE, row.last_seq - after))

    rows = await read(0)
    while rows:
        # The next page comes while this one is taken: the database works beside us.
        _, rows = await asyncio.gather(asyncio.to_thread(builder.add, rows), read(rows[-1].seq))
    return builder


async def read_skeleton(journal: Journal, tenant: str, run: UUID) -> Skeleton:
    """The skeleton of a run, with the runs below it.

    Raises:
        RunUnknown, RunPruned: as `penstock.views.rows.find_row`.
        EventUnreadable: an event cannot be read.
    """
    row = await find_row(journal, tenant, run)
    builder = await take_tape(journal, row)
    skeleton = await asyncio.to_thread(builder.build, run, row.agent, await journal.now())
    end = builder.last
    ended = (end.outcome, end.reason) if isinstance(end, RunEnded) else ("", "")
    skeleton.sentence = run_sentence(skeleton, *ended, status=row.status.value)
    skeleton.children = await _family(journal, row) if skeleton.spans.child else []
    return skeleton


async def _family(journal: Journal, row: RunRow) -> list[Child]:
    """The runs below a run, parents first; what came first among those that failed is marked when the run failed."""
    rows = await journal.list_runs(row.tenant, RunFilter(root=row.root), FAMILY_MAX)
    below: list[RunRow] = []
    known = {row.id}
    for other in sorted(rows, key=lambda item: item.id):
        if other.parent in known and other.id != row.id:
            known.add(other.id)
            below.append(other)
    failed = [item for item in below if item.outcome not in (None, "succeeded") and item.ended_at is not None]
    first = None
    if failed and row.outcome not in (None, "succeeded"):
        first = min(failed, key=lambda item: (item.ended_at or 0, -item.id.int)).id
    return [
        Child(
            run=item.id,
            parent=item.parent or row.id,
            agent=item.agent,
            path=item.parent_path,
            status=item.status.value,
            outcome=item.outcome,
            nano=item.summary.nano,
            first_failed=item.id == first,
        )
        for item in below
    ]


class Skeletons:
    """Encoded skeletons, compressed with zlib's gzip form. One that is asked for twice at a time is built once."""

    def __init__(self, journal: Journal, capacity: int = CACHE_BYTES) -> None:
        self._journal = journal
        self._capacity = capacity
        self._kept: OrderedDict[SkeletonKey, bytes] = OrderedDict()
        self._size = 0
        self._building: dict[SkeletonKey, asyncio.Task[bytes]] = {}

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._size

    async def packed(self, tenant: str, run: UUID) -> bytes:
        """The gzipped JSON of a run's skeleton.

        Raises:
            RunUnknown, RunPruned, EventUnreadable: as `read_skeleton`.
        """
        row = await find_row(self._journal, tenant, run)
        key = tenant, run, row.last_seq
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        task = self._building.get(key)
        if task is None:
            task = self._building[key] = asyncio.create_task(self._build(key))
            task.add_done_callback(lambda done: self._built(key, done, keep=row.status is Status.ENDED))
        return await asyncio.shield(task)

    async def index(self, tenant: str, run: UUID) -> SpanIndex:
        """Where the spans of a run stand.

        Raises:
            RunUnknown, RunPruned, EventUnreadable: as `read_skeleton`.
        """
        packed = await self.packed(tenant, run)
        return await asyncio.to_thread(_index, packed)

    async def _build(self, key: SkeletonKey) -> bytes:
        skeleton = await read_skeleton(self._journal, key[0], key[1])
        return await asyncio.to_thread(pack_skeleton, skeleton)

    def _built(self, key: SkeletonKey, task: "asyncio.Task[bytes]", *, keep: bool) -> None:
        del self._building[key]
        if task.cancelled() or task.exception() is not None or not keep:
            return
        packed = task.result()
        if len(packed) > self._capacity:
            return
        self._kept[key] = packed
        self._size += len(packed)
        while self._size > self._capacity:
            _, dropped = self._kept.popitem(last=False)
            self._size -= len(dropped)


def unpack_skeleton(packed: bytes) -> bytes:
    """The JSON of a packed skeleton."""
    return zlib.decompress(packed, wbits=31)


def pack_skeleton(skeleton: Skeleton) -> bytes:
    """The compressed JSON of a skeleton."""
    packer = zlib.compressobj(_LEVEL, wbits=31)
    return packer.compress(msgspec.json.encode(skeleton)) + packer.flush()


def _index(packed: bytes) -> SpanIndex:
    return msgspec.json.decode(unpack_skeleton(packed), type=_Encoded).spans
