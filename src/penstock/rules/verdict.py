"""What rules are asked, what they answer, and how answers combine: the strictest wins, and a broken rule denies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

import msgspec

from penstock.events import Amount, ApprovalTerms, BudgetRecord, RuleVerdict
from penstock.ports.model import Price
from penstock.ports.tools import ToolDef
from penstock.rules.case import Case
from penstock.rules.filters.filters import Filters
from penstock.rules.past import PastCall, Spoken
from penstock.rules.policy.measures import RunUses
from penstock.rules.spiral_detector import Stretch
from penstock.rules.spirals import Spirals

__all__ = [
    "CallFacts",
    "Decision",
    "Gate",
    "PastCall",
    "Rule",
    "RuleSet",
    "Ruling",
    "RunFacts",
    "Verdict",
]

Gate = Literal["model", "tool", "child"]


class Verdict(IntEnum):
    """Ordered by strictness."""

    ALLOW = 0
    FLAG = 1  # goes ahead, marked
    HOLD = 2  # waits for a person
    DENY = 3


@dataclass(slots=True, frozen=True)
class Decision:
    """One rule's answer. ``reason`` is for people and holds no customer data; ``code`` is stable, for programs.

    ``ends_run`` makes a denial final for the whole run, not only for the call: a limit is reached. ``terms`` of a hold
    say who must allow it. ``policy`` is the version of the policy that it speaks for, ``clause`` its rule's name,
    ``owner`` whose rule it is.
    """

    verdict: Verdict
    reason: str
    code: str = ""
    ends_run: bool = False
    terms: ApprovalTerms | None = None
    policy: str = ""
    clause: str = ""
    owner: str = ""


class CallFacts(msgspec.Struct):
    """The call that is asked about."""

    gate: Gate
    name: str
    digest: str
    args: Any = None  # plain JSON value
    tool: ToolDef | None = None
    problem: Decision | None = None  # the arguments could not be read, or the tool does not exist
    reserved: Amount = Amount()  # the most the call can use
    price: Price | None = None
    final: bool = False  # the last answer of a budget: may use what was set aside
    depth: int = 0  # of the child run that would start
    attempt: int = 1
    approved: bool = False
    seconds_left: float | None = None  # until the deadline; None = there is none
    stopped: Decision | None = None  # somebody has stopped the tool
    unbound: Decision | None = None  # why the tool is not called in this environment
    conflict: Decision | None = None  # another run has what the tool is to change
    path: str = ""  # of the call in its run
    breaker: Decision | None = None  # what an open circuit breaker says
    changed: Decision | None = None  # why the tool is not the one that was approved
    shared: Decision | None = None  # why a budget above the task does not hold the call
    policy: Callable[[], Decision] | None = None  # asks the policy in force; None = there is none
    told: int = 0  # the level of the note about a spiral that is added with this call: 50 | 91


@dataclass(slots=True)
class RunFacts:
    """The run so far, as the gates count it. Reservations of calls in flight are in ``held``."""

    budget: BudgetRecord
    depth: int = 0
    steps: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    children: int = 0
    attempts: int = 0
    tokens: int = 0
    nano: int = 0
    held_tokens: int = 0
    held_nano: int = 0
    aside_tokens: int = 0  # set aside for the final answer
    aside_nano: int = 0
    seconds: float = 0.0
    stop: str = ""  # pause | cancel | kill
    environment: str = "development"
    depth_max: int = 5
    fanout_max: int = 1000
    retry_base: int = 10  # tries again that this run and its children may make beyond their share of calls
    retry_percent: float = 10.0  # tries again allowed for each hundred first attempts of this run
    retries: int = 0  # made by this run itself
    retries_below: int = 0  # drawn from the base by children that have ended
    retries_held: int = 0  # set aside for children that go on
    failed_children: set[tuple[str, str]] = field(default_factory=set)  # (agent, digest of the input)
    past: list[PastCall] = field(default_factory=list)  # the latest tool calls, bounded by the detector of spirals
    spoken: Spoken = field(default_factory=Spoken)
    stretch: Stretch | None = None  # the calls since the last new fact
    spirals: Spirals | None = None  # when to step in; None = never
    policy: str = ""  # version of the policy in force at the latest call; "" = there is none
    uses: RunUses | None = None  # the calls that count in the policy's sums; None = there is no policy
    case: Case | None = None  # what was called and seen so far; None = no check has asked for it
    taint: dict[str, str] = field(default_factory=dict)  # what was read from outside: source (a tool's name) → its kind
    filters: Filters | None = None  # what is looked for in what goes in and out; None = nothing
    asked: str = ""  # the words of whoever asked, where they count as trusted


@dataclass(slots=True, frozen=True)
class Rule:
    """A named, versioned decision. ``decide`` answers None for an allow that needs no remark."""

    name: str
    version: int
    gates: frozenset[Gate]
    decide: Callable[[CallFacts, RunFacts], Decision | None]

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"


class Ruling(msgspec.Struct, frozen=True):
    """The combined answer for one call: what the journal keeps of it."""

    verdict: Verdict
    passed: list[str]
    verdicts: list[RuleVerdict]
    ends_run: bool = False
    terms: ApprovalTerms | None = None
    """Of a hold: who must allow it. Of the rules only the policy has any, and it merges those of its own."""

    @property
    def reason(self) -> str:
        """The reason of the strictest rule, the first of equals."""
        strictest = self.strictest
        return strictest.reason if strictest else ""

    @property
    def code(self) -> str:
        strictest = self.strictest
        return strictest.code if strictest else ""

    @property
    def strictest(self) -> RuleVerdict | None:
        name = self.verdict.name.lower()
        return next((verdict for verdict in self.verdicts if verdict.verdict == name), None)


class RuleSet:
    """The rules of one gate, in order."""

    def __init__(self, gate: Gate, rules: Sequence[Rule]) -> None:
        self.rules = [rule for rule in rules if gate in rule.gates]
        self.labels = [rule.label for rule in self.rules]
        self._all_passed = Ruling(Verdict.ALLOW, self.labels, [])

    def decide(self, call: CallFacts, run: RunFacts) -> Ruling:
        """Ask each rule in order. A denial ends the asking; a hold does not, for a later denial is stricter.

        A rule that raises or answers nonsense counts as a denial.
        """
        remarks: list[tuple[Rule, Decision]] = []
        for rule in self.rules:
            try:
                decision = rule.decide(call, run)
            except Exception as error:
                decision = Decision(Verdict.DENY, f"the rule failed: {type(error).__name__}", "rule_failed")
            if decision is None:
                continue
            if not isinstance(decision, Decision) or not isinstance(decision.verdict, Verdict):
                decision = Decision(Verdict.DENY, "the rule gave no verdict", "rule_failed")
            remarks.append((rule, decision))
            if decision.verdict is Verdict.DENY:
                break
        if not remarks:
            return self._all_passed
        return self._combine(remarks)

    def _combine(self, remarks: list[tuple[Rule, Decision]]) -> Ruling:
        worst = max(decision.verdict for _, decision in remarks)
        remarked = {rule.name for rule, _ in remarks}
        asked = self.rules[: self.rules.index(remarks[-1][0]) + 1] if worst is Verdict.DENY else self.rules
        return Ruling(
            verdict=worst,
            passed=[rule.label for rule in asked if rule.name not in remarked],
            verdicts=[
                RuleVerdict(
                    rule.name,
                    rule.version,
                    decision.verdict.name.lower(),
                    decision.reason[:500],
                    decision.code,
                    decision.policy,
                    decision.clause,
                    decision.owner,
                )
                for rule, decision in remarks
            ],
            ends_run=any(decision.ends_run and decision.verdict is Verdict.DENY for _, decision in remarks),
            terms=next((decision.terms for _, decision in remarks if decision.terms and worst is Verdict.HOLD), None),
        )
