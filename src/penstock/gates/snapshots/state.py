"""The state of a run of the standard loop between two of its steps, in the form that a snapshot keeps.

``Engine`` is what the engine counts: it follows from the run's events alone, so that a snapshot can be checked against
them without the agent's code (`fold`). ``Loop`` is where the loop stands: its conversation, as commitments.
"""

from collections.abc import Sequence
from copy import copy

import msgspec

from penstock.events import Event, MessageReceived, RunClaimed, RunPatched, StageEntered, TimerSet, WaitEnded
from penstock.gates.filters.taint import lasting
from penstock.gates.order.tape import Tape
from penstock.gates.run.ledger import Ledger, Seen
from penstock.kernel.canonical import stable_json
from penstock.kernel.errors import EventUnreadable
from penstock.ports.records import Row
from penstock.rules.past import PastCall, Spoken
from penstock.rules.verdict import RunFacts

FORMAT = 2
"""Of the state. Another one is not read: the run is replayed from its tape instead."""

COUNTERS = (
    "steps",
    "model_calls",
    "tool_calls",
    "children",
    "attempts",
    "tokens",
    "nano",
    "retries",
    "retries_below",
)
"""Figures of `RunFacts` that only grow. What is held is nothing: no call is in flight."""


class Engine(msgspec.Struct):
    """What the engine knows of a run after ``seq`` events.

    Attributes:
        claimed: the event with which its holder of that time began.
        active_us: microseconds in which some worker was busy with it, before that.
        size: bytes of its events.
        kept: events that are needed besides those that come after: the first, ``claimed``, stages, unclaimed letters.
        seen: time, tokens, nano-dollars, steps and tool calls, as the agent saw them.
        spent: tokens in, tokens out, nano-dollars charged at the maximum.
        past: the latest tool calls; ``spoken`` is what the next of them takes along.
        failed: children that failed: agent and digest of the input.
    """

    seq: int
    claimed: int
    active_us: int
    size: int
    tape_format: int
    kept: list[int]
    seen: tuple[int, int, int, int, int]
    counters: dict[str, int]
    spent: tuple[int, int, int]
    past: list[PastCall]
    spoken: Spoken
    failed: list[tuple[str, str]]
    patches: list[str]
    simulated: bool
    taint: dict[str, str] = {}  # what it has read from outside


class Loop(msgspec.Struct):
    """Where the standard loop stands.

    Attributes:
        counter: how many calls the root branch has made.
        repairs: how often an answer was sent back.
        partial: JSON of what to hand over if the run is stopped; empty when there is nothing.
        refs: commitments of the conversation's messages.
        level: the highest budget note that was added.
        sent: the call that sent the conversation last, and how many messages it had then.
        latest_model: whose answer was the last.
        authors: which answers are whose: places in ``refs`` by model.
        counted: the provider's own count: messages, tokens, model; None when there is none that holds.
    """

    counter: int
    repairs: int
    partial: msgspec.Raw
    refs: list[str]
    level: int
    sent: tuple[str, int]
    latest_model: str
    authors: dict[str, list[int]]
    counted: tuple[int, int, str] | None


class State(msgspec.Struct):
    """A snapshot's content."""

    format: int
    run: str
    release: str
    engine: Engine
    loop: Loop


_decoder = msgspec.json.Decoder(State)


class _Format(msgspec.Struct):
    """Of a state only which format it has."""

    format: int


_formats = msgspec.json.Decoder(_Format)


def encode_state(state: State | Engine | Loop) -> bytes:
    """The stored form: the same bytes for the same state."""
    return stable_json(state)


def decode_state(data: bytes) -> State | None:
    """The state of a stored form; None when it is of another format.

    Raises:
        EventUnreadable: damaged.
    """
    try:
        if _formats.decode(data).format != FORMAT:
            return None
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EventUnreadable(f"a snapshot cannot be read: {error}") from error


def engine_of(
    ledger: Ledger, seen: Seen, patches: dict[str, bool], *, simulated: bool, kept: Sequence[int], **fields: int
) -> Engine:
    """The figures as they stand."""
    facts = ledger.facts
    return Engine(
        kept=sorted(kept),
        seen=(seen.at, seen.tokens, seen.nano, seen.steps, seen.tool_calls),
        counters={name: getattr(facts, name) for name in COUNTERS},
        spent=(ledger.tokens_in, ledger.tokens_out, ledger.at_maximum),
        past=list(facts.past),
        spoken=copy(facts.spoken),
        failed=sorted(facts.failed_children),
        patches=sorted(patch for patch, taken in patches.items() if taken),
        simulated=simulated,
        taint=lasting(facts.taint),
        **fields,
    )


def fold(rows: Sequence[Row]) -> Engine:
    """The same from a run's events alone.

    Raises:
        EventUnreadable: one of them cannot be read.
    """
    tape = Tape(rows)
    ledger = Ledger(RunFacts(tape.submitted.budget), tape)
    seen = Seen(at=tape.submitted.at)
    for path in tape.order:
        seen.release(tape.calls[path])
    claimed = max((event.seq for event in tape.events if isinstance(event, RunClaimed)), default=0)
    kept = {1, claimed, *unclaimed_letters(tape.events)}
    for path, events in tape.calls.items():
        if "." not in path and isinstance(events[0], StageEntered):
            kept.update(event.seq for event in events)
    return engine_of(
        ledger,
        seen,
        {event.patch: event.taken for event in tape.events if isinstance(event, RunPatched)},
        simulated=any(getattr(event, "simulated", False) for event in tape.events),
        kept=list(kept),
        seq=rows[-1].seq,
        claimed=claimed,
        active_us=Tape(rows[: claimed - 1]).active_us() if claimed > 1 else 0,
        size=tape.size,
        tape_format=tape.format,
    )


def is_foldable(events: Sequence[Event]) -> bool:
    """Whether what the agent saw follows from the order of the events alone: a time-out may have hidden something."""
    return not any(isinstance(event, TimerSet) and event.name == "timeout" for event in events)


def unclaimed_letters(events: Sequence[Event]) -> set[int]:
    """Letters that were journalled because no call waited for them, and that none has taken since."""
    taken = {event.dedup for event in events if isinstance(event, WaitEnded)}
    letters = (event for event in events if isinstance(event, MessageReceived) and event.dedup not in taken)
    return {event.seq for event in letters if event.topic.startswith("unclaimed ")}


def restore_facts(facts: RunFacts, engine: Engine) -> None:
    """Go on counting from there."""
    for name, value in engine.counters.items():
        setattr(facts, name, value)
    facts.past, facts.spoken = list(engine.past), copy(engine.spoken)
    facts.failed_children = set(engine.failed)
    facts.taint.update(engine.taint)
