"""The audit log of each tenant: a Merkle tree (RFC 6962) over the heads of its chains, its checkpoints, and the keys
that sign them. Both stores pass `tests/contract/audit_suite.py`.

A log only grows. Its leaves are small: a run's leaf has the hash that its chain has come to, and so commits to all of
the run's events. Times are microseconds since the epoch, by the store's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from penstock.ports.records import RunKey

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
"""Nodes are kept in tiles as in c2sp.org/tlog-tiles: tile (t, i) holds nodes (8t, 256i) to (8t, 256i + 255)."""

MAX_LIST = 1000
LEAVES_MAX = 10_000
"""Leaves of one request, at most."""


@dataclass(slots=True, frozen=True)
class Leaf:
    """One leaf as it is stored.

    Attributes:
        data: JSON of `penstock.journal.leaves.LeafData`; its hash is `penstock.journal.merkle.leaf_hash`.
        kind: run | actions | key, as the data say too.
        run: of a run's leaf.
        seq: the last event, or action, that it covers; 0 for a key.
    """

    index: int
    data: bytes
    kind: str
    run: UUID | None = None
    seq: int = 0


@dataclass(slots=True, frozen=True)
class Tile:
    """A tile that is full, with the root of the subtree that it covers."""

    level: int  # of tiles: its nodes have 8 times that level
    index: int
    nodes: bytes  # 256 hashes, joined
    root: bytes


@dataclass(slots=True, frozen=True)
class LogHead:
    """How far a tenant's log is. ``key``: number of the last key that it has a leaf of; ``at``: of the last leaves,
    which never goes back, whatever the clock does."""

    size: int = 0
    frontier: bytes = b""
    actions: int = 0
    key: int = 0
    at: int = 0


@dataclass(slots=True, frozen=True)
class StoredCheckpoint:
    """A checkpoint that was given out. ``witnesses`` are signature lines."""

    size: int
    note: str
    at: int
    witnesses: Sequence[str] = ()

    @property
    def whole(self) -> str:
        """The signed note with the signatures of witnesses."""
        return self.note + "".join(self.witnesses)


@dataclass(slots=True, frozen=True)
class Growth:
    """What is added to one tenant's log, all or nothing, when it still has the head that it had."""

    tenant: str
    was: LogHead
    now: LogHead
    leaves: Sequence[Leaf]
    tiles: Sequence[Tile]
    checkpoint: str


@dataclass(slots=True, frozen=True)
class Ahead:
    """A chain that has gone on since its last leaf. ``run`` None: the list of actions."""

    tenant: str
    run: UUID | None
    seq: int
    head: bytes


@dataclass(slots=True, frozen=True)
class Found:
    """What a look for chains that have gone on has found.

    Attributes:
        ahead: at most as many as were asked for, and some.
        running: all runs that are executed now, whether they are ahead or not.
        place: to be handed to `Audit.looked` when what was found is in the logs.
        more: there was no room for all.
    """

    ahead: Sequence[Ahead]
    running: Sequence[RunKey] = ()
    place: bytes = b""
    more: bool = False


@dataclass(slots=True, frozen=True)
class LogKey:
    """A public key that signs, or once signed, the logs. ``statement`` is the note by which it came to do so."""

    number: int  # from 1
    public: bytes
    statement: str
    at: int = 0


@dataclass(slots=True, frozen=True)
class SealingState:
    """How sealing stands. ``problem`` is '' when nothing is in its way."""

    problem: str = ""
    problem_at: int = 0
    sealed_at: int = 0
    logs: int = 0
    leaves: int = 0
    oldest: int | None = None  # when the oldest run that is executed and has no leaf was made; None = there is none


@dataclass(slots=True, frozen=True)
class Turn:
    """Whose turn sealing is. ``now`` is the store's time; ``mine`` whether the one who asked may seal."""

    mine: bool
    now: int = field(default=0)


class Audit(Protocol):
    """Reached as ``journal.audit``. Only what a sealer asks crosses tenants."""

    async def take_turn(self, holder: UUID, lease_seconds: float) -> Turn:
        """Ask for the turn to seal, or renew it: one process seals at a time."""
        ...

    async def end_turn(self, holder: UUID) -> None:
        """Give the turn up."""
        ...

    async def report(self, problem: str) -> None:
        """Say what is in the way of sealing; '' = nothing."""
        ...

    async def state(self) -> SealingState:
        """How sealing stands."""
        ...

    async def ahead(self, seen: Sequence[RunKey], limit: int) -> Found:
        """Look for chains that have gone on since their last leaf.

        Each look sees the runs that are executed, those that were ``seen`` so and are not any more, those that have
        ended since, and all lists of actions; besides it goes on through all other runs, some at a time.
        """
        ...

    async def looked(self, place: bytes) -> None:
        """The next look goes on from there."""
        ...

    async def ahead_of(self, tenant: str, runs: Sequence[UUID]) -> list[Ahead]:
        """Those of some runs that have gone on since their last leaf."""
        ...

    async def heads(self, tenants: Sequence[str]) -> dict[str, LogHead]:
        """The heads of those logs that have leaves."""
        ...

    async def grow(self, growths: Sequence[Growth], keep_checkpoints: int) -> list[bool]:
        """Append to logs, durably; False where the log had another head by then, and nothing was appended.

        Of a log's checkpoints the newest ones are kept, and all that a witness has signed.
        """
        ...

    async def leaves(self, tenant: str, begin: int, end: int) -> list[Leaf]:
        """Leaves ``begin`` to ``end``, exclusive; at most `LEAVES_MAX`."""
        ...

    async def leaves_of(self, tenant: str, runs: Sequence[UUID]) -> list[Leaf]:
        """The leaves of some runs, by index."""
        ...

    async def leaf_since(self, tenant: str, at: int) -> int:
        """The index of the first leaf that was appended at that time or later; the size, when there is none."""
        ...

    async def tiles(self, tenant: str, level: int, indexes: Sequence[int]) -> dict[int, bytes]:
        """The nodes of those tiles that are full, by index."""
        ...

    async def tile_roots(self, tenant: str, level: int, begin: int, end: int) -> list[bytes]:
        """The roots of the full tiles ``begin`` to ``end``, exclusive."""
        ...

    async def checkpoint(self, tenant: str, size: int | None = None) -> StoredCheckpoint | None:
        """The newest checkpoint, or the one of that size when it is kept."""
        ...

    async def checkpoints(self, tenant: str, before: int | None = None, limit: int = 100) -> list[StoredCheckpoint]:
        """Those of sizes below ``before``, newest first, at most ``limit`` (bounded at `MAX_LIST`)."""
        ...

    async def cosign(self, tenant: str, size: int, lines: Sequence[str]) -> bool:
        """Keep signature lines of witnesses with a checkpoint; False when it is not kept any more."""
        ...

    async def keys(self) -> list[LogKey]:
        """All keys, in order."""
        ...

    async def add_key(self, key: LogKey) -> bool:
        """Make it the key that signs from now on; False when its number is taken, or not the next."""
        ...
