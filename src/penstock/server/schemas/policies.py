"""The policy in force: its rules, its tests, and what another text would change."""

from typing import Any

from pydantic import Field

from penstock.server.schemas.base import Given, Taken


class PolicyRuleShown(Given):
    """One rule, as it was written."""

    name: str
    owner: str
    reviewed: str = Field(description="YYYY-MM-DD")
    reason: str
    when: dict[str, Any]
    unless: dict[str, Any]
    then: str
    approvers: dict[str, Any] | None
    file: str
    line: int


class PolicyTestShown(Given):
    """One test beside the policy."""

    name: str
    file: str
    line: int
    passed: bool
    words: str = Field(description="empty when it passed")


class PolicyTests(Given):
    """All of them."""

    run: int
    failed: int
    items: list[PolicyTestShown]
    untested: list[str] = Field(description="rules that decide no test")
    problem: str = Field(description="why the tests cannot be read; empty when they can")


class PolicyShown(Given):
    """The policy that this process holds calls to."""

    version: str | None = Field(description="SHA-256 of the rules; null = there is no policy")
    source: str
    files: list[str]
    rules: list[PolicyRuleShown]
    tests: PolicyTests | None
    problem: str = Field(description="why the files as they are now are not in force; empty when they are")


class PolicyText(Taken):
    """Files of a policy by name, to be looked at. Nothing of it comes into force."""

    files: dict[str, str] = Field(min_length=1, max_length=50, description="name → text; *.test.yaml are tests")
    prove: bool = Field(default=True, description="ask the solver, where it is installed")
    replay_days: float = Field(default=0, ge=0, le=90, description="read so much of the journal under it; 0 = none")
    replay_runs: int = Field(default=200, ge=1, le=1000)


class PolicyProblem(Given):
    """What is wrong where, and what to do."""

    file: str
    line: int
    column: int
    what: str
    fix: str


class PolicyFinding(Given):
    """What the solver found out."""

    kind: str
    words: str
    rules: list[str]
    place: str
    example: dict[str, Any] | None


class PolicyChange(Given):
    """One rule that differs from the policy in force."""

    rule: str
    how: str
    lines: list[str]


class PolicyReplay(Given):
    """What it would have changed of calls that were made."""

    policy: str
    since: int
    runs: int
    calls: int
    changed: int
    unread: int
    whole: bool
    changes: list[dict[str, Any]]
    examples: list[dict[str, Any]]


class PolicyChecked(Given):
    """A text that was looked at."""

    version: str | None = Field(description="null when it cannot be read")
    problems: list[PolicyProblem]
    tests: PolicyTests | None
    changes: list[PolicyChange] = Field(description="beside the policy in force")
    findings: list[PolicyFinding] = Field(description="of the text itself")
    calls: list[PolicyFinding] = Field(description="calls that would fare otherwise than under the policy in force")
    unproved: str = Field(description="why nothing was proved; empty when it was")
    replay: PolicyReplay | None
