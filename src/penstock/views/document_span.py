"""Reads and writes of documents as spans and as lines."""

from typing import TYPE_CHECKING

from penstock.events import DocumentIntent, DocumentRead, DocumentWritten
from penstock.views.contents import Contents

if TYPE_CHECKING:
    from penstock.views.spans import Span

DocumentEvent = DocumentRead | DocumentIntent | DocumentWritten


def take_document(span: "Span", event: DocumentEvent, contents: Contents) -> None:
    """Add what the event says to the span of its call."""
    if isinstance(event, DocumentIntent):
        span.input = contents.one(event, "value")
        span.about["expected_version"] = str(event.expected)
        return
    span.error = event.reason or (f"version {event.version} stood there" if event.status == "conflict" else "")
    span.about["version"] = str(event.version)
    if isinstance(event, DocumentRead):
        span.output = contents.one(event, "value")


def document_line(event: DocumentEvent) -> str:
    """The event in a few words."""
    what = f"{event.of} document {event.name}"
    if isinstance(event, DocumentIntent):
        return f"writes {what} over " + (f"version {event.expected}" if event.expected else "nothing")
    if event.status == "unreadable":
        return f"{what} cannot be used: {event.reason}"
    if isinstance(event, DocumentRead):
        return f"reads {what}: " + (f"version {event.version}" if event.status == "ok" else event.status)
    if event.status == "conflict":
        return f"{what} not written: version {event.version} stands there"
    return f"{what} written: version {event.version}"
