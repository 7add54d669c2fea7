"""What a store knows of questions to people: which wait, who decided, and how people decided on the like before.

Reached as ``journal.questions``. Two stores answer, PostgreSQL and memory; both pass
`tests/contract/questions_suite.py`.
"""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

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
        question: may_run | did_it_happen.
        decision: approve | deny | happened | did_not_happen | `EXPIRED`.
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


class Questions(Protocol):
    """Questions and decisions of one tenant."""

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
