"""Documents: what outlives a run. A session's state, its memory, and documents that agents share.

A document is a row of versions; each says who wrote it and when. A new version is written only over the one that its
writer has read. Both stores pass `tests/contract/documents_suite.py`.
"""

from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

Kind = Literal["session", "memory", "shared"]
"""A session's state; what an agent remembers of its conversation in a session; a document by a name of its own."""

MAX_LIST = 1000
PRUNE_AT_ONCE = 20
"""Old versions that one write takes away, at most: more than it adds, so that what was left over goes too."""

State = Literal["ok", "quarantined"]


@dataclass(slots=True, frozen=True)
class Content:
    """A version's content as stored: JSON, perhaps compressed. ``digest``: SHA-256 of the JSON, 32 bytes.

    ``size``: bytes of the JSON. ``subject``: the data subject with whom it is erased; "" = none.
    """

    data: bytes
    codec: str  # "raw" | "zstd"
    size: int
    digest: bytes
    subject: str = ""


@dataclass(slots=True, frozen=True)
class Version:
    """One version of a document.

    ``content`` is None when it was erased, when it was pruned, or (damage) when it is missing; ``erased`` and
    ``pruned`` tell these apart. ``run`` None: a person wrote it, named in ``by``. ``at``: microseconds, the store's.
    """

    tenant: str
    kind: Kind
    name: str
    version: int
    at: int
    content: Content | None
    run: UUID | None = None
    path: str = ""
    by: str = ""
    erased: bool = False
    pruned: bool = False


@dataclass(slots=True, frozen=True)
class Document:
    """A document and its latest version. ``reason``, ``reason_run``: why and by which run it was quarantined."""

    latest: Version
    state: State = "ok"
    reason: str = ""
    reason_run: UUID | None = None

    @property
    def name(self) -> str:
        return self.latest.name


@dataclass(slots=True, frozen=True)
class Write:
    """A new version over ``expected`` (0: there is none yet), written by the call at ``path`` of a run.

    The run and the path name the write: made again it is the same version. ``epoch`` is that of the run's holder.
    """

    tenant: str
    kind: Kind
    name: str
    expected: int
    content: Content
    run: UUID
    path: str
    epoch: int
    by: str = ""


Answer = Literal["written", "conflict", "quarantined", "stopped", "fenced"]
"""``conflict``: the latest version is another. ``stopped``: a kill or cancel covers the run. ``fenced``: another worker
holds it. In all cases but the first nothing was written."""


@dataclass(slots=True, frozen=True)
class Written:
    """What became of a write: the version it made, or the latest one.

    ``reason``: why the document is quarantined; of a stopped run, the stop: kill or cancel.
    """

    answer: Answer
    version: int
    reason: str = ""


class Documents(Protocol):
    """Documents of all tenants."""

    async def get(self, tenant: str, kind: Kind, name: str) -> Document | None:
        """A document with the content of its latest version; None when nothing was ever written."""
        ...

    async def put(self, write: Write, keep: int) -> Written:
        """Write a version, in one transaction with the checks that the run is held in this epoch and nothing stops it.

        ``keep``: versions whose content is kept. Of older ones that a run which has not ended made, who made them is
        kept until it has.
        """
        ...

    async def quarantine(self, tenant: str, kind: Kind, name: str, version: int, reason: str, run: UUID | None) -> bool:
        """Set a document aside: nobody can write it until a person has seen to it. False when ``version`` is no longer
        the latest one, or it is aside already; then nothing is changed."""
        ...

    async def release(self, tenant: str, kind: Kind, name: str) -> bool:
        """Let a quarantined document be used as it is now; False when it is not quarantined."""
        ...

    async def restore(self, tenant: str, kind: Kind, name: str, version: int, by: str, keep: int) -> int | None:
        """Make a new version with the content of an older one, and take a quarantine off; its number.

        None when the version or its content is not there. The content is not looked at.
        """
        ...

    async def erase(self, tenant: str, kind: Kind, name: str) -> int:
        """Erase the content of all versions; how many had one. What was written when, and by whom, stays."""
        ...

    async def version(self, tenant: str, kind: Kind, name: str, version: int) -> Version | None:
        """One version with its content."""
        ...

    async def history(self, tenant: str, kind: Kind, name: str, before: int, limit: int) -> list[Version]:
        """Versions below ``before`` (0: all), newest first, without the bytes of their content."""
        ...

    async def list_documents(
        self, tenant: str, kind: Kind, after: str, limit: int, state: State | None = None
    ) -> list[Document]:
        """Documents by name from after ``after``, without the bytes of their content."""
        ...
