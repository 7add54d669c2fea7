"""Documents that outlive the run: read and written through a gate."""

from typing import ClassVar

from penstock.events.envelope import Event


class DocumentRead(Event, tag="document.read"):
    """The run read a document. ``payloads.value`` is what it held, kept with the run's own record."""

    since: ClassVar[int] = 2

    of: str  # session | memory | shared
    name: str
    version: int = 0  # 0 = it was never written
    status: str = ""  # ok | absent | erased | unreadable
    reason: str = ""  # why it is unreadable; it is quarantined then, and the run escalated


class DocumentIntent(Event, tag="document.intent"):
    """The run is about to write a document, over the version it knows. ``payloads.value`` is what it writes."""

    since: ClassVar[int] = 2

    of: str
    name: str
    expected: int = 0  # the version it is written over; 0 = there is none yet
    digest: str = ""  # of that version and the value: what replay compares


class DocumentWritten(Event, tag="document.written"):
    """What became of it: the new version, or the one that stood there instead of the expected."""

    since: ClassVar[int] = 2

    of: str
    name: str
    version: int = 0
    status: str = ""  # written | conflict | unreadable
    reason: str = ""
