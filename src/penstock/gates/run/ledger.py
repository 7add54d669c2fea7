"""What a run has used and holds reserved. Rebuilt from the tape, then kept in step by the gates."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penstock.events import (
    Amount,
    ChildIntent,
    ChildOutcome,
    Event,
    ModelIntent,
    ModelOutcome,
    ToolIntent,
    ToolOutcome,
    Totals,
)
from penstock.gates.filters.taint import TAINTING
from penstock.gates.filters.taint import take as take_taint
from penstock.gates.order.tape import Tape
from penstock.ports.records import Summary
from penstock.rules.retries import drawn
from penstock.rules.spiral_tape import READ, TapeReader
from penstock.rules.verdict import RunFacts

if TYPE_CHECKING:
    from penstock.gates.budgets.charging import Charging

COUNTED = ("retry", "hedge")
"""Why an attempt is made that counts against the retry budget: repeating what is in doubt does not."""


SEEN = frozenset((ModelOutcome, ToolIntent, ToolOutcome, ChildOutcome))
"""Kinds of events that move what the agent may see of its time and use, besides the time."""


def is_write(event: Event) -> bool:
    """Whether it is the intent of a call that changes something."""
    return isinstance(event, ToolIntent) and event.effect == "write"


@dataclass(slots=True)
class Seen:
    """Time and use as the agent may see them. They move only when an outcome is released, so they replay."""

    at: int  # microseconds since the epoch: the time of the latest released outcome
    tokens: int = 0
    nano: int = 0
    steps: int = 0
    tool_calls: int = 0
    writes: dict[str, list[Event]] = field(default_factory=dict)
    """The events of each write that was called, by path."""

    def release(self, events: Iterable[Event]) -> None:
        """All events of a call whose outcome reaches the agent now."""
        for event in events:
            self.at = max(self.at, event.at)
            if type(event) not in SEEN:
                continue
            if isinstance(event, ModelOutcome):
                self.tokens += event.used.tokens
                self.nano += event.used.nano
                self.steps += not event.again
            elif isinstance(event, ToolIntent):
                if event.effect == "write":
                    self.writes[event.path] = list(events)
            elif isinstance(event, ToolOutcome):
                self.tool_calls += not event.again
            elif isinstance(event, ChildOutcome):
                self.tokens += event.totals.tokens
                self.nano += event.totals.nano


class Ledger:
    """The accounts of one run. Every attempt is its own reservation; a lost one is charged at its maximum."""

    def __init__(self, facts: RunFacts, tape: Tape) -> None:
        self.facts = facts
        self.tokens_in = 0
        self.tokens_out = 0
        self.at_maximum = 0
        self.open_intents = 0
        self.charging: Charging | None = None  # what it charges to budgets above the task; None = nothing ever
        self._reserved: dict[tuple[str, int], Amount] = {}
        self._children: dict[str, ChildIntent] = {}
        self._reader = TapeReader(facts.past, facts.spoken)
        for event in tape.events:
            self._replay(event)
            self._reader.take(event)
            take_taint(facts, event)
        facts.past, facts.spoken = self._reader.detector.past, self._reader.spoken
        facts.stretch = self._reader.detector.stretch

    def reserve(self, amount: Amount) -> None:
        """Hold the most a call can use. The budget rule has said that it fits."""
        self.facts.held_tokens += amount.tokens
        self.facts.held_nano += amount.nano
        self.open_intents += 1

    def settle(self, reserved: Amount, used: Amount, *, at_maximum: bool = False) -> None:
        """Replace a reservation by what was really used."""
        facts = self.facts
        facts.held_tokens -= reserved.tokens
        facts.held_nano -= reserved.nano
        facts.tokens += used.tokens
        facts.nano += used.nano
        self.tokens_in += used.tokens_in
        self.tokens_out += used.tokens_out
        self.open_intents -= 1
        if at_maximum:
            self.at_maximum += used.nano

    def give_back(self, intent: Event) -> None:
        """A stop refused an intent, and nothing of it was written: what was held for it is not charged."""
        if isinstance(intent, ModelIntent | ToolIntent | ChildIntent):
            self.settle(intent.reserved, Amount())

    def start_child(self, intent: ChildIntent) -> None:
        """Set aside the child's share of the retry budget; one that failed before is itself a try again."""
        self._children[intent.path] = intent
        self.facts.retries += intent.because in COUNTED
        self.facts.retries_held += max(0, intent.budget.retries)

    def end_child(self, outcome: ChildOutcome) -> None:
        """Take back what the child has not used of its share, and remember it if it failed."""
        intent = self._children.pop(outcome.path, None)
        if intent is None:
            return
        share = max(0, intent.budget.retries)
        self.facts.retries_held -= share
        self.facts.retries_below += min(share, outcome.totals.retries)
        if outcome.outcome != "succeeded":
            self.facts.failed_children.add((intent.child_agent, intent.digest))

    def has_children(self) -> bool:
        """Whether children go on whose ends have not come."""
        return bool(self._children)

    def close(self) -> None:
        """The run ends: what is still reserved, by calls whose outcome nobody waits for, is charged at its maximum."""
        facts = self.facts
        held = Amount(tokens_in=facts.held_tokens, nano=facts.held_nano)
        self.settle(held, held, at_maximum=True)
        self.open_intents = 0

    def witness(self, event: Event) -> None:
        """A live event: calls that are over are kept in view of the rules against loops, the latest of them."""
        if type(event) in READ:
            reader = self._reader
            reader.take(event)
            if type(event) in TAINTING:
                take_taint(self.facts, event)
            self.facts.past, self.facts.stretch = reader.detector.past, reader.detector.stretch

    def summary(self) -> Summary:
        """The columns of the run's row."""
        facts = self.facts
        return Summary(
            steps=facts.steps,
            model_calls=facts.model_calls,
            tool_calls=facts.tool_calls,
            tokens=facts.tokens,
            nano=facts.nano,
            reserved_nano=facts.held_nano,
            open_intents=self.open_intents,
        )

    def totals(self) -> Totals:
        """For the run's last event."""
        facts = self.facts
        return Totals(
            steps=facts.steps,
            model_calls=facts.model_calls,
            tool_calls=facts.tool_calls,
            attempts=facts.attempts,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            nano=facts.nano,
            nano_at_maximum=self.at_maximum,
            retries=drawn(facts),
        )

    def _replay(self, event: Event) -> None:
        facts = self.facts
        match event:
            case ModelIntent():
                self._reserve_again(event, event.reserved)
                facts.model_calls += 1
                facts.attempts += 1
                facts.retries += event.because in COUNTED
                facts.steps += event.attempt == 1
            case ToolIntent():
                self._reserve_again(event, event.reserved)
                facts.attempts += 1
                facts.retries += event.because in COUNTED
                facts.tool_calls += event.attempt == 1
            case ChildIntent():
                self._reserve_again(event, event.reserved)
                self.start_child(event)
                facts.children += 1
                facts.tool_calls += 1
            case ModelOutcome() | ToolOutcome():
                self._replay_outcome(event)
            case ChildOutcome():
                self.settle(self._reserved.pop((event.path, 1), Amount()), child_used(event))
                self.end_child(event)
            case _:
                pass

    def _reserve_again(self, event: ModelIntent | ToolIntent | ChildIntent, amount: Amount) -> None:
        self.reserve(amount)
        self._reserved[event.path, getattr(event, "attempt", 1)] = amount

    def _replay_outcome(self, event: ModelOutcome | ToolOutcome) -> None:
        at_maximum = isinstance(event, ModelOutcome) and event.at_maximum
        self.settle(self._reserved.pop((event.path, event.attempt), Amount()), event.used, at_maximum=at_maximum)


def first_ref(event: Event, name: str) -> str:
    """The commitment of the payload of that name, or ''."""
    refs = event.payloads.get(name)
    return refs[0] if refs else ""


def child_used(event: ChildOutcome) -> Amount:
    """What a child's end charges to its parent."""
    totals = event.totals
    return Amount(tokens_in=totals.tokens_in, tokens_out=totals.tokens_out, nano=totals.nano)
