"""The outbox of e-mails about questions to people.

Reached as ``journal.questions.notices``. Two stores answer, PostgreSQL and memory; both pass
`tests/contract/approvals_suite.py`. A question that begins to wait is noted by the very transaction that makes the run
wait: no crash loses one. All times are microseconds since the epoch, UTC, by the store's clock.
"""

from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

Kind = Literal["asked", "escalated"]
State = Literal["waiting", "sent", "dead", "moot"]


@dataclass(slots=True, frozen=True)
class Notice:
    """People are to be told of a question. It holds no content.

    Attributes:
        kind: ``asked`` = it begins to wait; ``escalated`` = nobody has answered it in time.
        question: may_run | did_it_happen | help.
        expires: when the question ends; 0 = never.
        attempts: with this one; more than one means that an earlier mail may have arrived all the same.
        state: ``moot`` = nobody is to be told, or there was nothing to decide any more.
        token: of this taking; a later one makes it worthless.
    """

    tenant: str
    approval: str
    kind: Kind
    run: UUID
    agent: str
    tool: str
    question: str
    expires: int
    created_at: int
    due: int
    state: State = "waiting"
    attempts: int = 0
    last_status: str = ""
    token: int = 0


class Notices(Protocol):
    """The outbox of all tenants."""

    async def take(self, limit: int, lease_seconds: float) -> list[Notice]:
        """Take what is due, the longest due first. Others leave it alone until the lease is over."""
        ...

    async def settle(self, notice: Notice, state: State, status: str, again_seconds: float = 0.0) -> bool:
        """Write down what became of it: ``waiting`` = again after ``again_seconds``. False, and nothing done, when it
        was taken by another."""
        ...

    async def add(self, notice: Notice, seconds: float) -> bool:
        """Note one that is due in ``seconds``; False when there is one of that question and kind."""
        ...

    async def tell_escalated(self, notice: Notice, facts: bytes) -> None:
        """Tell webhooks that nobody has answered in time; of one question once, however often this is called.
        ``facts``: JSON of what is told."""
        ...

    async def of(self, tenant: str, approval: str) -> list[Notice]:
        """What was noted of a question."""
        ...

    async def forget(self, keep_seconds: float, limit: int) -> int:
        """Forget those of questions older than this, at most ``limit``; how many."""
        ...
