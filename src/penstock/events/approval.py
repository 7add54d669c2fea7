"""Approvals: a person decides on exact arguments, once."""

from typing import ClassVar

import msgspec

from penstock.events.envelope import Event, RuleVerdict
from penstock.events.filtered import Filtered


class Change(msgspec.Struct, frozen=True):
    """One thing that a call would change, in words for a person: what, its state now, and its state afterwards."""

    what: str
    before: str
    after: str


class Preview(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tool says that a call would change, as it was read just before a person was asked.

    A payload, for it is content: it can be erased. ``unknown``: why the state before could not be read; '' = it was.
    """

    changes: list[Change] = []
    unknown: str = ""


class ApprovalTerms(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who must allow a held call, beyond what holds for every approval.

    Attributes:
        roles: one of them is needed; empty = whoever may decide.
        count: how many different people must allow it; 2 = four eyes.
        seconds: how long there is to decide; 0 = the tool's own time, or the setting.
        escalate_to: roles that are told as well when nobody has answered after ``escalate_after_seconds``.
    """

    roles: list[str] = []
    count: int = 1
    seconds: float = 0
    escalate_to: list[str] = []
    escalate_after_seconds: float = 0


class Signed(msgspec.Struct, frozen=True):
    """By whom a decision was recorded: Ed25519 (RFC 8032) over ``penstock decision 1``, a line feed, and the statement.

    Attributes:
        key: the first 16 hex digits of SHA-256 of the raw public key.
        signature: base64.
        statement: of a `penstock.journal.decisions.DecisionStatement`, RFC 8785.
    """

    key: str
    signature: str
    statement: str


class ApprovalRequested(Event, tag="approval.requested"):
    """A call waits for a person. ``payloads.args`` are the arguments; ``digest`` is SHA-256 of their RFC 8785 form.
    ``payloads.preview``, where the tool has one, is what the person is told that it will change."""

    approval: str
    tool: str
    digest: str
    call_digest: str = ""  # the stored form's digest, what replay compares
    call_id: str = ""
    risk: str = "high"
    question: str = "may_run"  # may_run | did_it_happen | help
    policy: str = ""  # policy version it was asked under
    expires: int = 0  # microseconds since the epoch
    verdicts: list[RuleVerdict] = []
    terms: ApprovalTerms | None = None  # who must allow it; None = anybody who may decide
    again: str = ""  # why it is asked anew: the decision before was none


class ApprovalVoted(Event, tag="approval.voted"):
    """One of the people whom a question needs has allowed it: ``actor``, for ``behalf`` where that right was handed to
    them. ``payloads.reason`` are their words."""

    since: ClassVar[int] = 2

    approval: str
    digest: str = ""
    roles: list[str] = []  # what they held when they decided
    key: str = ""  # id of the key they came by
    delegation: str = ""  # by which ``behalf`` handed the right on
    signed: Signed | None = None
    problem: str = ""  # why it does not count


class ApprovalEdited(Event, tag="approval.edited"):
    """``actor`` let another call go ahead in place of the one that was asked about: the same tool with the arguments
    ``payloads.args``, whose digest is ``edited``. Rules judge it anew. ``payloads.reason`` are their words."""

    since: ClassVar[int] = 2

    approval: str
    digest: str  # of what was asked
    edited: str
    roles: list[str] = []
    signed: Signed | None = None


class ApprovalDecided(Event, tag="approval.decided"):
    """``actor`` is who decided; ``payloads.reason`` their words, ``payloads.answer`` what they answered.

    After ``stale`` (given under a policy that is no longer in force) and ``void`` (by somebody who may no longer
    decide) the question is asked anew.
    """

    approval: str
    decision: str  # approve | deny | expired | withdrawn | happened | did_not_happen | mismatch | answer | stale | void
    digest: str = ""
    people: list[str] = []  # whose allowing counted, where more than one was needed
    signed: Signed | None = None
    problem: str = ""  # with ``void``: why what was delivered is no decision
    filtered: list[Filtered] = []  # what was found in their words before they were released
