"""Releases: what they are, how they stand, and what is decided about them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from penstock.ports.rollouts import MANIFEST_MAX_BYTES
from penstock.server.schemas.base import Given, Taken, Words

StateName = Literal["draft", "review", "approved", "canary", "live", "retired", "rejected", "rolled_back"]
Text = Annotated[str, Field(max_length=MANIFEST_MAX_BYTES)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]


class ReleaseBudget(Taken):
    """Limits of one run; 0 = none of that kind."""

    tokens: Count = 0
    nano: Count = Field(default=0, description="nano-dollars")
    steps: Count = 0
    calls: Count = 0
    attempts: Count = 0
    seconds: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] = 0
    depth: Count = 0
    fanout: Count = 0
    retries: Annotated[int, Field(ge=-1, le=2**53 - 1)] = Field(default=0, description="0 = the setting, -1 = none")


class ReleaseDraft(Taken):
    """What to draft: an agent as the server offers it, with these changes. What is left out is as it is offered."""

    agent: Name
    prompts: dict[str, Text] = Field(default={}, max_length=20, description="texts by name, such as instructions")
    models: list[Name] = Field(default=[], max_length=10, description="the first choice first")
    settings: dict[str, Any] = Field(default={}, max_length=20)
    budget: ReleaseBudget | None = None
    policy: dict[str, Text] = Field(default={}, max_length=200, description="sources by file name")
    filters: dict[str, Any] | None = Field(
        default=None, max_length=20, description="in their plain form; {} = none at all, null = as the code has them"
    )
    version: str = Field(default="", max_length=200, description="of the code, such as a commit")
    reason: Words = ""


class ReleasePreview(ReleaseDraft):
    """A draft that is only looked at."""

    base: str = Field(default="", max_length=64, description="what it is held against: a release; empty = the code")


class ReleaseLine(Given):
    """One release."""

    id: str = Field(description="SHA-256 of its canonical content, 64 hex digits; the release of its runs")
    agent: str
    state: StateName
    percent: float = Field(description="of a canary: its share of new runs")
    author: str
    approved_by: str
    key: str = Field(description="the id of the key that signed it")
    drafted_at: int
    at: int = Field(description="when it came into its state")
    objection: str = Field(description="why its signature does not count here; empty = it does")


class ReleaseRoute(Given):
    """Which releases new runs of an agent get; empty = its code as it is offered."""

    agent: str
    live: str
    canary: str
    percent: float


class ReleaseOffered(Given):
    """An agent as its code has it, and which releases its new runs get."""

    manifest: dict[str, Any]
    route: ReleaseRoute


class ReleasePage(Given):
    """Releases, newest first."""

    items: list[ReleaseLine]
    next: str | None


class ReleaseStep(Given):
    """One step of its life."""

    number: int
    at: int
    state: StateName
    percent: float
    actor: str
    reason: str


class ReleaseRefusal(Given):
    """A live worker that cannot run it."""

    worker: str
    why: str
    at: int


class ReleaseShown(ReleaseLine):
    """A release with all that is known of it."""

    manifest: dict[str, Any] | None = Field(description="its content; null without the permission payloads:read")
    steps: list[ReleaseStep]
    refusals: list[ReleaseRefusal]
    route: ReleaseRoute
    problem: str = Field(default="", description="why what was decided about its agent's releases does not count here")
    keys: list[str] = Field(default=[], description="ids of the keys that signed what counts of those decisions")


class ReleaseReason(Taken):
    """Why, for the record."""

    reason: Words = ""


class ReleaseCanary(Taken):
    """Which share of new runs it gets."""

    percent: Annotated[float, Field(ge=0.01, le=99.99, allow_inf_nan=False)]
    reason: Words = ""


class ReleaseRollback(Taken):
    """What to take back."""

    agent: Name
    to: str | None = Field(
        default=None,
        max_length=64,
        description="a release, or 'offered' for the code; null = away from the canary, else to what was live before",
    )
    runs: Literal["go-on", "pause", "kill"] = Field(default="go-on", description="those under way")
    sessions: bool = Field(default=False, description="take what sessions hold back to before it wrote to them")
    reason: Words = ""


class ReleaseNotBack(Given):
    """What a session holds that could not be taken back."""

    kind: str
    name: str
    why: str


class ReleaseRolledBack(Given):
    """What a rollback did. It is in effect for every run that is submitted a second after this."""

    agent: str
    bad: list[str] = Field(description="releases that new runs get no more")
    live: str = Field(description="what they get now; empty = the code as it is offered")
    sealed: bool | None = Field(description="whether the runs under way were stopped; null = they go on")
    open_intents: int = Field(description="calls of them that were under way then")
    documents: int = Field(description="of sessions, that were taken back")
    versions: int = Field(description="of them, that no longer count")
    others: int = Field(description="of these, by other releases or people")
    failed: list[ReleaseNotBack] = Field(description="at most 1,000")


class ReleaseDifference(Given):
    """What of a release differs, and how, in words."""

    what: str
    lines: list[str]


class ReleaseDiff(Given):
    """What the second release has otherwise than the first."""

    old: str
    new: str
    differences: list[ReleaseDifference]


class ReleaseNumbers(Given):
    """How runs of one release went."""

    release: str
    state: str = Field(description="code = no managed release")
    runs: int
    ended: int
    failed: int
    escalated: int
    refused: int
    cancelled: int
    nano: int
    tokens: int
    steps: int
    tool_calls: int
    median_us: int = Field(description="of those that succeeded, from submission to end")


class ReleaseComparison(Given):
    """Releases of an agent side by side: the canary, what is live, others."""

    agent: str
    since: int
    items: list[ReleaseNumbers]


class ReleaseTool(Taken):
    """A changed tool of a server that is accepted as it is now."""

    tool: Name = Field(description="the server's name and the tool's, with a slash between")
    digest: str = Field(max_length=80, description="of its definition, as the refusal said it")
    reason: Words = ""


class ReleaseToolDone(Given):
    """It is accepted."""

    tool: str
    digest: str


class ReleaseInQuestionLine(Given):
    """A release that is in use, or that runs may need."""

    id: str
    state: StateName
    author: str
    approved_by: str
    objection: str = Field(description="why its content is not what was signed; empty = it is")


class ReleaseInQuestion(Given):
    """What is in use of an agent, by its rows."""

    agent: str
    problem: str = Field(description="why what was decided about it does not count here; empty = it does")
    items: list[ReleaseInQuestionLine]


class ReleaseConfirm(Taken):
    """What is approved anew of what is in use; the rest is rolled back."""

    agent: Name
    releases: list[Annotated[str, Field(min_length=4, max_length=64)]] = Field(max_length=100, description="ids")
    reason: Words = ""
