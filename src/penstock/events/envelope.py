"""What every event carries. A hashed journal cannot be widened later, so the envelope is whole from the first day."""

import operator
from typing import ClassVar
from uuid import UUID

import msgspec


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Base of all events; one stored event is one struct in sorted-key JSON.

    ``payloads`` names what the event talks about by commitment, never by content: each commitment is
    base64url(HMAC-SHA256(subject key, bytes)), at once the payload's address and a hiding commitment to it.
    """

    since: ClassVar[int] = 1
    """The first format of runs that may hold this kind: workers of older ones could not read it."""

    tenant: str
    run: UUID
    agent: str
    at: int = 0  # microseconds since the epoch, the writing worker's clock
    seq: int = 0  # position in the run, from 1, without gaps
    epoch: int = 0  # which claim of the run wrote it; 0 = the submitter
    v: int = 1  # version of this kind's fields
    env: str = "development"
    path: str = ""  # the call's place in the run: counters and branch indices, "3" or "4.0.1"
    parent: UUID | None = None  # the run that started this one
    release: str = ""  # digest of prompt, model, tools, settings and code
    actor: str = ""  # who did it: agent, person or program (a pseudonym)
    behalf: str = ""  # for whom
    tags: dict[str, str] = {}  # customer, feature, task_type, and the user's own
    payloads: dict[str, list[str]] = {}


class RuleVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one rule said of one call. Rules that allow without a remark are only named, in ``passed``."""

    rule: str
    version: int
    verdict: str  # allow | flag | hold | deny
    reason: str = ""
    code: str = ""  # stable word for programs: over_limit, repeated_call, ...
    policy: str = ""  # version of the policy that it speaks for: SHA-256 of its rules
    clause: str = ""  # the policy's rule that decided
    owner: str = ""  # whose rule it is


TOKENS_MAX = 100_000_000
"""More than any call can use: some ten times the longest prompt that a model takes. A figure above it is nonsense."""


class Amount(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a call may use (a reservation) or has used (a settlement).

    ``tokens_in`` and ``tokens_out`` are whole; the classes after ``nano`` say what of them is charged in another way.
    """

    tokens_in: int = 0
    tokens_out: int = 0
    nano: int = 0  # nano-dollars
    cached: int = 0  # of tokens_in: read from the provider's prompt cache
    written: int = 0  # of tokens_in: written to it
    reasoning: int = 0  # of tokens_out
    written_hour: int = 0  # of written: kept for an hour, not for minutes
    audio_in: int = 0  # of tokens_in
    audio_cached: int = 0  # of audio_in and of cached
    audio_out: int = 0  # of tokens_out
    image_in: int = 0  # of tokens_in
    image_out: int = 0  # of tokens_out

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    def plus(self, other: "Amount") -> "Amount":
        """Both together, class by class."""
        return Amount(*map(operator.add, msgspec.structs.astuple(self), msgspec.structs.astuple(other)))

    @property
    def is_sound(self) -> bool:
        """Whether it can be: nothing negative, no part larger than its whole, nothing beyond `TOKENS_MAX`."""
        return (
            min(msgspec.structs.astuple(self)) >= 0
            and self.tokens_in <= TOKENS_MAX
            and self.tokens_out <= TOKENS_MAX
            and self.cached + self.written <= self.tokens_in
            and self.written_hour <= self.written
            and self.audio_in + self.image_in <= self.tokens_in
            and self.audio_cached <= self.audio_in
            and self.audio_cached <= self.cached
            and self.reasoning <= self.tokens_out
            and self.audio_out + self.image_out <= self.tokens_out
        )


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a call failed: a stable code and class, and words that carry no user content."""

    code: str
    cause: str = ""  # transient | rate_limited | permanent | unknown
    words: str = ""
    retry_after_us: int = 0


class BudgetRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The limits a run was given; 0 means no limit of that kind."""

    tokens: int = 0
    nano: int = 0
    steps: int = 0
    calls: int = 0
    attempts: int = 0
    seconds: float = 0
    depth: int = 0
    fanout: int = 0
    retries: int = 0  # tries again, of the whole family, beyond one in ten calls; 0 = the setting, -1 = none


class Totals(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run has used so far, children included."""

    steps: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    attempts: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    nano: int = 0
    nano_at_maximum: int = 0  # of nano: charged at the maximum because the real figure was lost
    retries: int = 0  # tries again that drew on the family's budget of them

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


class Waiting(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing a parked run waits for."""

    kind: str  # approval | child | timer | doubt | message | retry
    path: str
    name: str = ""  # the tool, child agent or message topic
    id: str = ""  # approval or child id
    until: int = 0  # microseconds since the epoch; 0 = no end
