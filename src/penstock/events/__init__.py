"""Everything that can happen to a run: one family a file, and their union.

The stored form is sorted-key JSON with ``kind`` as the tag. Fields are only ever added, with defaults; a change of
meaning raises ``v``. Golden files in ``tests/contract/golden`` hold every kind as it was first written.
"""

import hashlib
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from penstock.events.approval import (
    ApprovalDecided,
    ApprovalEdited,
    ApprovalRequested,
    ApprovalTerms,
    ApprovalVoted,
    Change,
    Preview,
    Signed,
)
from penstock.events.cache import CacheSource
from penstock.events.child import ChildIntent, ChildOutcome
from penstock.events.control import ControlApplied
from penstock.events.decision import DecisionRecorded, Fact
from penstock.events.document import DocumentIntent, DocumentRead, DocumentWritten
from penstock.events.envelope import (
    Amount,
    BudgetRecord,
    Event,
    Failure,
    RuleVerdict,
    Totals,
    Waiting,
)
from penstock.events.filtered import Filtered
from penstock.events.limit import LimitReached
from penstock.events.message import MessageDelivered, MessageReceived, MessageSent
from penstock.events.model import ANSWERED, ModelIntent, ModelOutcome
from penstock.events.note import NoteRecorded
from penstock.events.run import (
    RunAdopted,
    RunClaimed,
    RunContinued,
    RunEnded,
    RunHandedBack,
    RunParked,
    RunPatched,
    RunSubmitted,
)
from penstock.events.stage import StageEnded, StageEntered
from penstock.events.timer import TimerFired, TimerSet
from penstock.events.tool import ToolDoubted, ToolIntent, ToolOutcome
from penstock.events.verdict import VerdictRecorded
from penstock.events.wait import WaitBegun, WaitEnded
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import EventUnreadable

KINDS: tuple[type[Event], ...] = (
    RunSubmitted,
    RunClaimed,
    RunParked,
    RunHandedBack,
    RunAdopted,
    RunPatched,
    RunContinued,
    RunEnded,
    ModelIntent,
    ModelOutcome,
    ToolIntent,
    ToolDoubted,
    ToolOutcome,
    DecisionRecorded,
    VerdictRecorded,
    ApprovalRequested,
    ApprovalVoted,
    ApprovalEdited,
    ApprovalDecided,
    ChildIntent,
    ChildOutcome,
    MessageSent,
    MessageReceived,
    MessageDelivered,
    WaitBegun,
    WaitEnded,
    TimerSet,
    TimerFired,
    LimitReached,
    ControlApplied,
    NoteRecorded,
    StageEntered,
    StageEnded,
    DocumentRead,
    DocumentIntent,
    DocumentWritten,
)
"""Every kind of event, in the order the documentation lists them."""

FORMAT = 2
"""Version of the stored form as a whole; a worker claims only runs whose format it reads."""

_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(reduce(or_, KINDS))


def kind_of(event: Event) -> str:
    """The event's tag, such as ``"tool.intent"``."""
    tag = event.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def encode(event: Event) -> bytes:
    """The stored form."""
    return stable_json(event)


def decode(body: bytes) -> Event:
    """The event of a stored form.

    Raises:
        EventUnreadable: unknown kind or version, or damaged.
    """
    try:
        event: Event = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EventUnreadable(f"a stored event cannot be read: {error}") from error
    if event.v > 1:
        raise EventUnreadable(f"a stored {kind_of(event)} has version {event.v}; this installation reads 1")
    return event


def schema_digest() -> str:
    """Digest of all kinds, their fields and what these are made of: changes when, and only when, the format does."""
    _, components = msgspec.json.schema_components(KINDS, ref_template="{name}")
    return hashlib.sha256(stable_json(_without_words(components))).hexdigest()


def _without_words(schema: Any) -> Any:
    """The schema without what is only said for people."""
    if isinstance(schema, dict):
        kept = (key for key, item in schema.items() if not (key == "description" and isinstance(item, str)))
        return {key: _without_words(schema[key]) for key in kept}
    return [_without_words(item) for item in schema] if isinstance(schema, list) else schema


__all__ = [
    "ANSWERED",
    "FORMAT",
    "KINDS",
    "Amount",
    "ApprovalDecided",
    "ApprovalEdited",
    "ApprovalRequested",
    "ApprovalTerms",
    "ApprovalVoted",
    "BudgetRecord",
    "CacheSource",
    "Change",
    "ChildIntent",
    "ChildOutcome",
    "ControlApplied",
    "DecisionRecorded",
    "DocumentIntent",
    "DocumentRead",
    "DocumentWritten",
    "Event",
    "Fact",
    "Failure",
    "Filtered",
    "LimitReached",
    "MessageDelivered",
    "MessageReceived",
    "MessageSent",
    "ModelIntent",
    "ModelOutcome",
    "NoteRecorded",
    "Preview",
    "RuleVerdict",
    "RunAdopted",
    "RunClaimed",
    "RunContinued",
    "RunEnded",
    "RunHandedBack",
    "RunParked",
    "RunPatched",
    "RunSubmitted",
    "Signed",
    "StageEnded",
    "StageEntered",
    "TimerFired",
    "TimerSet",
    "ToolDoubted",
    "ToolIntent",
    "ToolOutcome",
    "Totals",
    "VerdictRecorded",
    "WaitBegun",
    "WaitEnded",
    "Waiting",
    "decode",
    "encode",
    "kind_of",
    "schema_digest",
]
