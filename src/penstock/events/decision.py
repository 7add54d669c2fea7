"""Decisions an agent states: what it chose, from what, and why."""

import msgspec

from penstock.events.envelope import Event


class Fact(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something a decision relied on."""

    source: str  # a call path of this run, or a name
    age: int = 0  # microseconds at the time of the decision


class DecisionRecorded(Event, tag="decision.recorded"):
    """``payloads.decision`` holds the options, the chosen one and the reason in words."""

    name: str
    chosen: int = 0  # index among the options
    options: int = 0
    confidence: float | None = None  # 0 to 1, as the agent states it
    facts: list[Fact] = []
