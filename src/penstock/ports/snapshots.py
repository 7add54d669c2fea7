"""What the engine asks of a store about long runs: snapshots of them, and their record piece by piece.

Two stores answer: PostgreSQL and memory. Both pass `tests/contract/snapshots_suite.py`.
"""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from penstock.ports.records import Payload, PayloadKey, Row, RunKey


class Snapshot(msgspec.Struct, frozen=True):
    """Where the state of a run after one of its events is kept. A cache: the run's events are the truth.

    ``address`` is that of a payload under the run's subject; it also proves that the state is the one that was kept.
    """

    tenant: str
    run: UUID
    epoch: int  # of the holder who took it
    seq: int  # the last event that the state takes into account
    head: bytes  # the hash of that event: ties the snapshot to one history
    format: int  # of the state
    release: str
    address: bytes


class Snapshots(Protocol):
    """The latest snapshot of each run, and bounded reads of long tapes."""

    async def put(self, snapshot: Snapshot, state: Payload) -> bool:
        """Keep a run's state instead of the one before, whose payload is removed.

        False, and nothing is kept, when the run does not exist, has ended, is held under another epoch, has fewer
        events, or has a later snapshot.
        """
        ...

    async def latest(self, runs: Sequence[RunKey]) -> dict[RunKey, Snapshot]:
        """The snapshots of those runs that have one."""
        ...

    async def drop(self, tenant: str, run: UUID, subject: str) -> bool:
        """Forget a run's snapshot and its payload; False when there was none."""
        ...

    async def weigh(self, runs: Sequence[tuple[str, UUID, int]]) -> dict[RunKey, int]:
        """Bytes of the events of each run after a ``seq``; runs without such events are left out."""
        ...

    async def rows(self, tenant: str, run: UUID, seqs: Sequence[int]) -> list[Row]:
        """Those events of a run that exist, in order."""
        ...

    async def page(self, tenant: str, run: UUID, after: int, most: int, most_bytes: int) -> list[Row]:
        """Events with ``seq > after``, in order: as many as ``most``, or as fill ``most_bytes``, but at least one."""
        ...

    async def payloads(self, wanted: Sequence[PayloadKey], most_bytes: int) -> dict[PayloadKey, Payload]:
        """Those that exist, in the order they are asked for, until ``most_bytes`` of raw data are reached.

        An answer with fewer bytes than that is complete; else ask again for the rest.
        """
        ...
