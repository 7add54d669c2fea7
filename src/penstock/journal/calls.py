"""What a run's tape says was paid, call by call: from its events in order, and pure.

An attempt that has no outcome when the run ends is charged at its reservation, as the run itself charges it. What runs
below it spent counts with them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from penstock.events import (
    Amount,
    ChildOutcome,
    ModelIntent,
    ModelOutcome,
    RunEnded,
    ToolIntent,
    ToolOutcome,
    decode,
)
from penstock.ports.records import Row
from penstock.ports.usage import KINDS, Kind

_MODEL, _TOOL, _ENDED, _CHILD = b'"kind":"model.', b'"kind":"tool.', b'"kind":"run.ended"', b'"kind":"child.outcome"'
"""What the stored form of an event holds that says something of spending; of the others most are not decoded."""
_USED, _RESERVED = b'"used":{', b'"reserved":{'
"""What the stored form of a tool's event lacks when it costs nothing. (In a text the quotes would be escaped.)"""
APART = ("judge", "shadow")
"""Made beside the work itself, whatever came of them."""


class PaidCall(msgspec.Struct, frozen=True):
    """One attempt that was settled. ``at``: when, microseconds since the epoch; ``model`` is '' for a tool's."""

    path: str
    attempt: int
    name: str
    model: str
    kind: Kind
    used: Amount
    at_maximum: bool
    at: int
    price: str = ""
    failure: str = ""


@dataclass(slots=True)
class CallReader:
    """Fed with a run's events, page by page. ``free_tools``: tell also of calls of tools that cost nothing, as nearly
    all do. ``is_whole``: the end was among them; ``child_code``: of the last child that did not succeed."""

    free_tools: bool = True
    is_whole: bool = False
    child_code: str = ""
    _open: dict[tuple[str, int], ModelIntent | ToolIntent] = field(default_factory=dict)
    _hedged: set[str] = field(default_factory=set)

    def take(self, rows: Iterable[Row]) -> list[PaidCall]:
        """The calls that were settled in further events.

        Raises:
            EventUnreadable: one cannot be read.
        """
        paid: list[PaidCall] = []
        for row in rows:
            body = row.body
            if not (_MODEL in body or _ENDED in body or _CHILD in body or (_TOOL in body and self._counts(body))):
                continue
            match decode(body):
                case ModelIntent() | ToolIntent() as event:
                    self._open[event.path, event.attempt] = event
                    if event.because == "hedge":
                        self._hedged.add(event.path)
                case ModelOutcome() | ToolOutcome() as event:
                    intent = self._open.pop((event.path, event.attempt), None)
                    paid.append(_settled(intent, event, hedged=event.path in self._hedged))
                case ChildOutcome(outcome=outcome, code=code) if outcome != "succeeded":
                    self.child_code = code
                case RunEnded() as event:
                    self.is_whole = True
                    paid += [_lost(intent, event.at) for intent in self._open.values()]
                    self._open.clear()
                case _:
                    pass
        return paid

    def _counts(self, body: bytes) -> bool:
        """Whether the event of a tool's call, in its stored form, is one to tell of."""
        return self.free_tools or _USED in body or _RESERVED in body


def _settled(intent: ModelIntent | ToolIntent | None, outcome: ModelOutcome | ToolOutcome, *, hedged: bool) -> PaidCall:
    failure = outcome.failure.code if outcome.failure else ""
    if isinstance(outcome, ToolOutcome):
        name = intent.tool if isinstance(intent, ToolIntent) else ""
        return PaidCall(
            outcome.path, outcome.attempt, name, "", "tool", outcome.used, False, outcome.at, failure=failure
        )
    model = intent.model if isinstance(intent, ModelIntent) else ""
    kind = _kind(intent if isinstance(intent, ModelIntent) else None, outcome, failure, hedged=hedged)
    at_maximum = outcome.at_maximum
    return PaidCall(
        outcome.path, outcome.attempt, model, model, kind, outcome.used, at_maximum, outcome.at, outcome.price, failure
    )


def _lost(intent: ModelIntent | ToolIntent, at: int) -> PaidCall:
    """An attempt that the run's end left open."""
    if isinstance(intent, ToolIntent):
        return PaidCall(intent.path, intent.attempt, intent.tool, "", "tool", intent.reserved, True, at)
    kind: Kind = KINDS[KINDS.index(intent.purpose)] if intent.purpose in APART else "lost"
    return PaidCall(intent.path, intent.attempt, intent.model, intent.model, kind, intent.reserved, True, at)


def _kind(intent: ModelIntent | None, outcome: ModelOutcome, failure: str, *, hedged: bool) -> Kind:
    purpose = intent.purpose if intent else ""
    if purpose in APART:
        return KINDS[KINDS.index(purpose)]
    if outcome.status == "cached":
        return "cached"
    if outcome.status == "lost":
        return "lost"
    if outcome.status != "ok":
        # Of two attempts that raced, the one that was not waited for is what the haste cost.
        if failure == "hedge_lost" or (hedged and failure == "cancelled" and outcome.again):
            return "hedge"
        return "cancelled" if failure == "cancelled" else "failed"
    if purpose == "embedding":
        return "embedding"
    because = intent.because if intent else ""
    return {"retry": "retry", "in_doubt": "retry", "fallback": "fallback"}.get(because, "work")  # type: ignore[return-value]
