"""What a store knows of questions to people: which wait, who decided, and how people decided on the like before.

Reached as ``journal.questions``. Two stores answer, PostgreSQL and memory; both pass
`tests/contract/questions_suite.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import msgspec

from penstock.events import Signed
from penstock.ports.cases import Cases
from penstock.ports.notices import Notices
from penstock.ports.people import People
from penstock.ports.records import Post, RunRow

NEVER = 2**63 - 1
"""When a question ends that has no end."""
PAGE_MAX = 500
EXPIRED = "expired"
"""What is remembered in place of a decision that nobody made in time."""
DECISIONS_KEPT = 1000
"""Of the decisions on one tool of one agent, the newest."""


@dataclass(slots=True, frozen=True)
class Asking:
    """A run that waits for a person. ``ends``: when the first of its questions does, microseconds, or `NEVER`."""

    ends: int
    row: RunRow


@dataclass(slots=True, frozen=True)
class Decided:
    """A person's decision, or that nobody made one in time.

    It holds no content: ``args`` and ``reason`` are addresses of payloads of the subject.

    Attributes:
        question: may_run | did_it_happen | help.
        decision: approve | deny | edit | answer | happened | did_not_happen | `EXPIRED`.
        asked_at, at: microseconds; when it was asked, and when the decision was delivered.
        seen_seconds: how long it was on the screen.
        reason: None = no words were given.
    """

    tenant: str
    approval: str
    run: UUID
    agent: str
    tool: str
    question: str
    decision: str
    actor: str
    subject: str
    args: bytes
    reason: bytes | None = None
    asked_at: int = 0
    seen_seconds: float = 0.0
    at: int = 0


@dataclass(slots=True, frozen=True)
class Verdict:
    """Whether a decision counts. When it does not: the one that does, as far as it is known."""

    counts: bool
    decision: str = ""
    actor: str = ""
    at: int = 0


class Voter(msgspec.Struct, frozen=True, omit_defaults=True):
    """By which right somebody decides.

    Attributes:
        roles: what they held then.
        key: id of the key they came by; '' = another way.
        behalf: whose right was handed to them; '' = their own. ``delegation``: its id.
        signed: by which key their decision was signed; None = it was not.
    """

    actor: str
    roles: tuple[str, ...] = ()
    key: str = ""
    behalf: str = ""
    delegation: str = ""
    signed: Signed | None = None


@dataclass(slots=True, frozen=True)
class Vote:
    """One of the people that a question needs allows it. ``people``: the names under the actor, and under whom they
    decide for."""

    tenant: str
    approval: str
    run: UUID
    voter: Voter
    people: tuple[str, ...]
    at: int = 0


@dataclass(slots=True, frozen=True)
class Ballot:
    """What became of a vote.

    Attributes:
        answer: ``counts`` = it was the last that was needed, and decides; ``kept`` = others are needed yet; ``twice`` =
            one of its people has voted; ``held`` = somebody else holds the case; ``late`` = it was decided before.
        votes: all that count now, this one included where it does.
        before: with ``late``: the decision that counts, as far as it is known.
        holder: with ``held``.
    """

    answer: str
    votes: tuple[Vote, ...] = ()
    before: Verdict | None = None
    holder: str = ""


class Questions(Protocol):
    """Questions and decisions of one tenant."""

    @property
    def people(self) -> People:
        """Who they are that decide."""
        ...

    @property
    def cases(self) -> Cases:
        """Who has taken a run into their own hands."""
        ...

    @property
    def notices(self) -> Notices:
        """What people are to be told."""
        ...

    async def vote(
        self, post: Post, decided: Decided, vote: Vote, letter: Post, needed: int, void: Sequence[str] = ()
    ) -> Ballot:
        """Allow, deny or answer, in one transaction with what waits on it.

        With ``needed`` > 1 the vote is kept, and ``letter`` tells the run of it; with the last that is needed ``post``
        is delivered as by `decide`. With 1 it is delivered at once. ``void``: actors whose earlier votes do not count
        any more; they are struck.

        Raises:
            RunUnknown: no such run, or it has ended, and no decision on the question is known.
        """
        ...

    async def tidy(self, keep_seconds: float, limit: int) -> int:
        """Forget votes and cases of runs that have ended (of those given up, the cases that were put aside), and
        delegations that were over longer ago than this, at most ``limit`` of each; how many."""
        ...

    async def votes(self, tenant: str, approvals: Sequence[str]) -> dict[str, list[Vote]]:
        """The votes that were kept, oldest first."""
        ...

    async def asking(self, tenant: str, after: tuple[int, UUID] | None, limit: int) -> list[Asking]:
        """Runs that wait for people, those whose question ends first before the others, at most ``limit``.

        ``after``: the ``ends`` and id of the last one seen.
        """
        ...

    async def asked_by(self, tenant: str, approval: str) -> RunRow | None:
        """The run that waits for that question's answer; None when none does."""
        ...

    async def decide(self, post: Post, decided: Decided) -> Verdict:
        """Deliver a decision and wake the run, and remember it, in one transaction. Exactly one counts.

        Raises:
            RunUnknown: no such run, or it has ended, and no decision on the question is known.
        """
        ...

    async def expired(self, decided: Decided) -> None:
        """Remember that nobody decided in time: ``decision`` is `EXPIRED`. What is remembered of the question already
        stays."""
        ...

    async def decided(self, tenant: str, approval: str) -> Decided | None:
        """What was decided; None when it was not, or is not remembered."""
        ...

    async def like(self, tenant: str, agent: str, tool: str, question: str, limit: int) -> list[Decided]:
        """Decisions on the same tool of the same agent, newest first, at most ``limit``."""
        ...
