"""Questions to people, and their decisions."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from penstock.server.schemas.base import Given, RuleSaid, Taken, Words


class ApprovalLine(Given):
    """One question that waits for a person."""

    id: str
    run: UUID
    agent: str
    tool: str
    path: str
    question: Literal["may_run", "did_it_happen", "help"]
    risk: str
    summary: str = Field(description="what will be done, in one line: refund order 1182, 49.00")
    customer: str = ""
    digest: str
    version: int = Field(description="raised by whatever changes the question; a decision names the one it saw")
    asked_at: int
    expires: int = Field(description="0 = never")
    mine: bool = Field(description="the caller may decide it")
    why_not: str = Field(default="", description="why the caller may not")
    seen_by: list[str] = Field(default_factory=list, description="who else looks at it now; a hint, no lock")
    terms: "TermsShown | None" = Field(default=None, description="who must allow it, beyond whoever may decide")
    votes: list["VoteShown"] = Field(default_factory=list, description="who has allowed it, of several who are needed")
    holder: str = Field(default="", description="who has taken the case over; nobody else decides then")
    again: str = Field(
        default="", description="why it is asked anew: what was delivered before is no decision; empty: it is not"
    )
    group: str = Field(
        default="",
        description="the same for questions of one tool and agent that the same rules hold; empty: none has it",
    )


class TermsShown(Given):
    """Who must allow a call, as the policy says."""

    roles: list[str] = Field(description="one of them is needed; empty: whoever may decide")
    count: int = Field(description="different people who must allow it")
    escalate_to: list[str] = Field(default_factory=list, description="roles that are told when nobody answers")
    escalate_after_seconds: float = 0


class VoteShown(Given):
    """One of the people who have allowed it."""

    actor: str
    behalf: str = Field(default="", description="whose right was handed to them")
    at: int
    problem: str = Field(default="", description="why it does not count here; empty: it does")


class ApprovalAlike(ApprovalLine):
    """One question among those that the same rules hold."""

    args: str = Field(description="the canonical arguments as text, whole: what the digest is of")
    hidden: str = Field(default="", description="why there are no arguments: forbidden")


class AlikePage(Given):
    """Questions of one tool and agent that the same rules hold, under the same terms."""

    items: list[ApprovalAlike]
    why: list[RuleSaid] = Field(description="the rules that hold them")
    policy: str = ""
    more: bool = Field(description="there may be others")


class ApprovalPage(Given):
    """Questions, those that end first before the others."""

    items: list[ApprovalLine]
    mine: int
    next: str | None = None


class Change(Given):
    """One thing that the call would change, in the tool's words."""

    what: str
    before: str
    after: str


class LikeDecisions(Given):
    """How people decided on the same tool of the same agent before."""

    approved: int = 0
    denied: int = 0
    expired: int = Field(default=0, description="nobody decided in time")
    edited: int = Field(default=0, description="allowed with other arguments")
    median_seconds: float | None = None
    recent: list["PastDecision"] = Field(default_factory=list)
    numbers: dict[str, "NumberAmong"] = Field(default_factory=dict, description="numeric arguments among earlier ones")


class PastDecision(Given):
    """One of them."""

    run: UUID
    at: int
    decision: str
    actor: str
    reason: str = ""
    summary: str = ""


class NumberAmong(Given):
    """A numeric argument among those approved before."""

    value: float
    median: float
    percentile: float = Field(description="share of earlier ones at or below it, 0 to 100")
    count: int


class ApprovalShown(ApprovalLine):
    """One question with what a person needs in order to answer it."""

    args: str = Field(description="the canonical arguments as text, whole: what the digest is of")
    hidden: str = Field(default="", description="why there are no arguments: forbidden")
    effect: str = ""
    reversible: str = Field(default="", description="by what it can be undone, as the tool declares; empty: it cannot")
    takes: dict[str, Any] | None = Field(
        default=None, description="JSON Schema of the tool's arguments, for an edit; null: the tool is not known here"
    )
    policy: str = ""
    why: list[RuleSaid] = Field(description="the rules that ask")
    previewed: bool = Field(default=False, description="the tool was asked what the call would change")
    changes: list[Change] = Field(default_factory=list, description="what it said, as it was when this was asked")
    changes_unknown: str = Field(default="", description="why the state before is not known; empty: it is")
    agent_says: str = Field(default="", description="the agent's own words before the call: unverified")
    goal: str = ""
    so_far: list[str] = Field(default_factory=list, description="the run until now, a line a step")
    spent_nano: int = 0
    budget_nano: int = 0
    like: LikeDecisions = LikeDecisions()
    conflicts: list[UUID] = Field(default_factory=list, description="other unended runs with the same arguments")


class DecisionGiven(Taken):
    """A person's answer. ``digest`` and ``version`` are those of what was on the screen."""

    decision: Literal["approve", "deny", "edit", "answer", "happened", "did_not_happen"]
    digest: str = Field(min_length=1, max_length=128)
    version: int
    reason: Words = ""
    seen_seconds: float = Field(default=0, ge=0, le=86_400 * 366, description="how long it was on the screen")
    args: dict[str, Any] | None = Field(default=None, description="with edit: all arguments to call it with")
    behalf: str = Field(default="", max_length=200, description="decide by the right that they handed to the caller")
    together: int = Field(
        default=0, ge=0, le=200, description="among how many it was chosen that one rule holds; goes on the record"
    )


class DecisionTaken(Given):
    """A decision that is in the run's inbox, durable."""

    id: str
    run: UUID
    decision: str
    actor: str
    at: int
    counts: bool = Field(default=True, description="false: it is kept, and others are needed")
    missing: int = Field(default=0, description="how many more")
    allowed: list[str] = Field(default_factory=list, description="who has allowed it, where several are needed")


class BatchAsked(Taken):
    """One rule for many questions."""

    tool: str = Field(min_length=1, max_length=200)
    rule: str = Field(default="", max_length=200, description="the rule, or the clause of the policy, that holds it")
    agent: str = Field(default="", max_length=200)
    where: list[Annotated[str, Field(max_length=500)]] = Field(
        default_factory=list, max_length=20, description="bounds on arguments, such as amount_cents<=5000"
    )
    most: int = Field(default=50, ge=1, le=200)
    decision: Literal["approve", "deny"]
    ids: list[Annotated[str, Field(max_length=100)]] | None = Field(
        default=None, max_length=200, description="those that were shown, and still match; without: show them"
    )
    reason: Words = ""


class BatchItem(Given):
    """One of the questions, and what became of it."""

    id: str
    run: UUID
    digest: str
    decided: bool = False
    counts: bool = False
    code: str = Field(default="", description="why it was not decided")
    words: str = ""


class BatchDone(Given):
    """The questions that the rule matches."""

    items: list[BatchItem]
