"""One rule for many questions: each that it matches is decided by itself, and recorded by itself."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.journal.decisions import DecisionKeys
from penstock.journal.payloads import PayloadReader
from penstock.kernel.canonical import digest
from penstock.kernel.errors import AnswerInvalid, PenstockError
from penstock.ports.journal import Journal
from penstock.ports.questions import Voter
from penstock.runs.approvals import Approval, page
from penstock.runs.approving.deciding import Taken, decide

BATCH_MAX = 200
"""Questions that one call decides at most."""
RUNS_READ = 2_000
"""Runs that wait for people that are looked through at most."""
PAGE = 200
BOUNDS_MAX = 20
_BOUND = re.compile(r"([A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*)\s*(<=|>=|=|<|>)\s*(.*)", re.DOTALL)
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}


@dataclass(slots=True, frozen=True)
class Bound:
    """What an argument must be: ``amount_cents<=5000``, ``customer.country=NO``. A missing one, or one of another type,
    does not fulfil it."""

    path: tuple[str, ...]
    compared: str
    value: Any

    def holds(self, args: Any) -> bool:
        """Whether these arguments fulfil it."""
        for name in self.path:
            if not isinstance(args, dict) or name not in args:
                return False
            args = args[name]
        numbers = _is_number(args) and _is_number(self.value)
        if self.compared != "=" and not numbers:
            return False
        if not numbers and type(args) is not type(self.value):
            return False
        return _COMPARED[self.compared](args, self.value)


@dataclass(slots=True, frozen=True)
class Rule:
    """Which questions are meant: of this tool, held by this rule, of this agent ('' = of any), within these bounds."""

    tool: str
    rule: str = ""
    agent: str = ""
    bounds: tuple[Bound, ...] = ()

    def matches(self, approval: Approval) -> bool:
        """Whether a question is one of them."""
        held = {
            name for item in approval.verdicts if item.verdict == "hold" for name in (item.rule, item.clause) if name
        }
        return (
            approval.question == "may_run"
            and approval.tool == self.tool
            and self.agent in ("", approval.agent)
            and (not self.rule or self.rule in held)
            and all(bound.holds(approval.args) for bound in self.bounds)
        )


@dataclass(slots=True, frozen=True)
class Done:
    """What became of one question. ``code``: of the error; '' = it was taken."""

    approval: Approval
    taken: Taken | None
    code: str = ""
    words: str = ""


def parse_bound(text: str) -> Bound:
    """A bound as a person writes it; its value is JSON, or else text.

    Raises:
        AnswerInvalid: it cannot be read.
    """
    found = _BOUND.fullmatch(text.strip())
    if found is None:
        raise AnswerInvalid(f"{text[:100]!r} is no bound", hint="write amount_cents<=5000 or country=NO")
    path, compared, value = found.groups()
    try:
        meant = msgspec.json.decode(value)
    except msgspec.DecodeError:
        meant = value
    if compared != "=" and not _is_number(meant):
        raise AnswerInvalid(f"{text[:100]!r}: only numbers can be more or less", hint="write amount_cents<=5000")
    return Bound(tuple(path.split(".")), compared, meant)


async def matching(
    journal: Journal, reader: PayloadReader, tenant: str, rule: Rule, most: int = BATCH_MAX
) -> list[Approval]:
    """The questions that a rule matches, those that end first before the others, at most ``most``."""
    return await _found(journal, reader, tenant, rule.matches, most)


def group_of(approval: Approval) -> str:
    """Names what questions have in common that may be decided on together: tool, agent, the rules that hold them, and
    who must allow them, under one version of the policy. '' = this one is decided by itself."""
    held = sorted(
        [item.rule, item.version, item.clause, item.policy] for item in approval.verdicts if item.verdict == "hold"
    )
    if approval.question != "may_run" or not held:
        return ""
    terms = msgspec.to_builtins(approval.terms)
    return digest([approval.tool, approval.agent, approval.risk, held, terms, approval.policy])


async def alike(
    journal: Journal, reader: PayloadReader, tenant: str, group: str, most: int = BATCH_MAX
) -> list[Approval]:
    """The questions of one group (`group_of`) that wait, those that end first before the others, at most ``most``."""
    return await _found(journal, reader, tenant, lambda item: group_of(item) == group, most)


async def _found(
    journal: Journal, reader: PayloadReader, tenant: str, meant: Callable[[Approval], bool], most: int
) -> list[Approval]:
    found: list[Approval] = []
    after, left = None, RUNS_READ
    while len(found) < most and left > 0:
        held = await page(journal, reader, tenant, after, min(PAGE, left))
        found += [item for item in held.items if meant(item)]
        if held.next is None:
            break
        after, left = held.next, left - PAGE
    return found[:most]


async def decide_all(
    journal: Journal,
    questions: Sequence[Approval],
    answer: str,
    voter: Voter,
    *,
    reason: str,
    own: bool = False,
    keys: DecisionKeys | None = None,
) -> list[Done]:
    """Decide on each, one after the other; what one is refused for does not keep the others from being decided.

    Raises:
        AnswerInvalid: an answer that is not given to many, or too many questions.
    """
    if answer not in ("approve", "deny"):
        raise AnswerInvalid(f"{answer!r} is not given to many questions", hint="approve or deny")
    if len(questions) > BATCH_MAX:
        raise AnswerInvalid(f"{len(questions)} questions; one call decides on {BATCH_MAX} at most")
    done: list[Done] = []
    for approval in questions:
        try:
            taken = await decide(
                journal,
                approval,
                answer,
                voter,
                reason=reason,
                digest=approval.digest,
                version=approval.version,
                own=own,
                keys=keys,
            )
        except PenstockError as error:
            done.append(Done(approval, None, error.code, error.what))
        else:
            done.append(Done(approval, taken))
    return done


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
