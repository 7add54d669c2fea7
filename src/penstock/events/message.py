"""Messages between runs, and from outside."""

from typing import ClassVar
from uuid import UUID

from penstock.events.envelope import Event


class MessageSent(Event, tag="message.sent"):
    """``payloads.body`` is about to be sent to another run."""

    to_run: UUID
    topic: str
    dedup: str = ""
    digest: str = ""  # of all that is sent: what replay compares


class MessageDelivered(Event, tag="message.delivered"):
    """What came of sending it."""

    since: ClassVar[int] = 2

    status: str  # delivered | known | absent | full


class MessageReceived(Event, tag="message.received"):
    """The holder took ``payloads.body`` from its inbox."""

    topic: str
    sender: str = ""
    dedup: str = ""
