"""Messages between runs, and from outside."""

from uuid import UUID

from penstock.events.envelope import Event


class MessageSent(Event, tag="message.sent"):
    """``payloads.body`` was sent to another run."""

    to_run: UUID
    topic: str
    dedup: str = ""


class MessageReceived(Event, tag="message.received"):
    """The holder took ``payloads.body`` from its inbox."""

    topic: str
    sender: str = ""
    dedup: str = ""
