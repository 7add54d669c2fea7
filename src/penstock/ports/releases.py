"""What a store knows of deploys: who offers which release, the format of new runs, adoption, restored databases.

Both stores pass `tests/contract/releases_suite.py`. Times are microseconds since the epoch, by the store's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

STRANDED_MAX = 1000
"""Runs that one list of stranded ones holds at most."""

RESTORED_EPOCHS = 1_000_000
"""By how much the epochs are raised in a restored database: more claims of one run than happen after any backup."""


class Adopted(StrEnum):
    """What came of an adoption."""

    ADOPTED = "adopted"
    HELD = "held"  # a live worker holds the run
    CHANGED = "changed"  # the run is no longer as the adopter saw it
    ENDED = "ended"
    ABSENT = "absent"  # no such run for this tenant


@dataclass(slots=True, frozen=True)
class Adoption:
    """A run to be put under another release, as it was when its tape was looked at."""

    tenant: str
    run: UUID
    epoch: int
    last_seq: int
    release: str
    format: int  # what the run's events may be from here on
    body: bytes  # of the `RunAdopted` event, seq ``last_seq + 1``, epoch ``epoch + 1``
    hash: bytes


@dataclass(slots=True, frozen=True)
class StrandedRun:
    """A run whose release no live worker of its environment says it offers."""

    run: UUID
    agent: str
    release: str
    status: str
    since: int  # when the last worker that offered it was gone, or the run was made


@dataclass(slots=True, frozen=True)
class LiveWorker:
    """A worker whose lease has not ended. ``format`` 1: of the first release, which does not say what it offers."""

    name: str
    format: int
    releases: list[str]


@dataclass(slots=True, frozen=True)
class Restored:
    """What marking a database as restored did: runs fenced, runs held, leases ended."""

    fenced: int
    held: int
    workers: int


class Releases(Protocol):
    """Reached as ``journal.releases``."""

    async def offer(self, worker: UUID, releases: Sequence[str], reads: int) -> None:
        """Record what an enlisted worker offers from now on; ``reads`` is the newest format it reads."""
        ...

    async def offered(self, release: str, environment: str | None = None) -> bool:
        """Whether a live worker offers it, or may: one of the first release does not say. To runs of that environment;
        None = of any."""
        ...

    async def workers(self) -> list[LiveWorker]:
        """All live workers, by name."""
        ...

    async def stranded(self, tenant: str, limit: int, after: UUID | None = None) -> list[StrandedRun]:
        """Unended runs whose release no live worker says it offers, oldest first, at most ``limit`` (bounded)."""
        ...

    async def write_format(self) -> int:
        """The format of new runs: the newest that is finalized and that this installation writes."""
        ...

    async def finalize(self, to: int, actor: str) -> list[str]:
        """Raise the format of new runs to ``to``; [] when done, else the names of live workers too old to read it."""
        ...

    async def adopt(self, adoption: Adoption) -> Adopted:
        """Write the event of an adoption and change the run's release, if it is as the adopter saw it."""
        ...

    async def mark_restored(self, *, hold: bool, actor: str) -> Restored:
        """Fence everybody out who held a claim before: raise all epochs, end all leases. ``hold``: pause all runs."""
        ...

    async def resume_restored(self, actor: str) -> int:
        """Take the pauses off that `mark_restored` put on; how many."""
        ...
