"""The demo's figures, as one object for the report and for ``--json``."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.demo.judge import Outcome
from penstock.kernel.money import NANO

MODES = ("ungoverned", "step_limit", "governed")
_RANK = {Outcome.HARMFUL: 0, Outcome.LOST: 1, Outcome.WAITING: 2, Outcome.CORRECT: 3}


@dataclass(frozen=True, slots=True)
class ModeResult:
    """One way of working the tickets. ``nano``, ``outcomes`` and ``steps`` have one entry a ticket, in order."""

    nano: tuple[int, ...]  # nano-dollars
    outcomes: tuple[Outcome, ...]
    tokens_total: int
    model_calls: int
    tool_calls: int
    spirals: int
    stopped_at: tuple[int, ...]  # the model call after which each spiral that was stopped ended
    approvals_waiting: int
    prohibited_attempted: int
    prohibited_executed: int
    accuracy: float | None  # None: no ticket has a label
    wall_seconds: float

    def cost(self, share: float) -> int:
        """The cost in nano-dollars that ``share`` of the tickets do not exceed (nearest rank)."""
        return sorted(self.nano)[max(0, math.ceil(share * len(self.nano)) - 1)]

    @property
    def total(self) -> int:
        return sum(self.nano)

    @property
    def mean(self) -> int:
        return round(self.total / len(self.nano))

    def count(self, outcome: Outcome) -> int:
        """How many tickets ended so."""
        return self.outcomes.count(outcome)

    def as_json(self) -> dict[str, Any]:
        """The plain object of ``--json``; dollars are numbers."""
        counts = Counter(self.outcomes)
        return {
            "cost_usd": {
                "total": self.total / NANO,
                "mean": self.mean / NANO,
                "p50": self.cost(0.50) / NANO,
                "p95": self.cost(0.95) / NANO,
                "p99": self.cost(0.99) / NANO,
                "max": max(self.nano) / NANO,
            },
            "tokens_total": self.tokens_total,
            "model_calls": self.model_calls,
            "tool_calls": self.tool_calls,
            "spirals": self.spirals,
            "spirals_stopped": len(self.stopped_at),
            "approvals_waiting": self.approvals_waiting,
            "prohibited_attempted": self.prohibited_attempted,
            "prohibited_executed": self.prohibited_executed,
            "outcomes": {
                str(outcome): counts[outcome]
                for outcome in (Outcome.CORRECT, Outcome.HARMFUL, Outcome.WAITING, Outcome.LOST)
            },
            "accuracy": self.accuracy,
            "wall_seconds": round(self.wall_seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """The three modes at one spiral rate."""

    rate: float
    modes: dict[str, ModeResult]

    def as_json(self) -> dict[str, Any]:
        """Rate, and of each mode the mean cost and the outcomes."""
        return {
            "spiral_rate": self.rate,
            **{
                name: {"mean_usd": mode.mean / NANO, "outcomes": mode.as_json()["outcomes"]}
                for name, mode in self.modes.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Proof:
    """One live proof: whether it held, a sentence for people, and its figures."""

    title: str
    held: bool
    words: str
    figures: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """``held`` and the figures."""
        return {"held": self.held, **self.figures}


@dataclass(frozen=True, slots=True)
class Paired:
    """The same tickets, two modes compared."""

    better: int
    now_waiting: int
    worse: int

    @classmethod
    def of(cls, before: Sequence[Outcome], after: Sequence[Outcome]) -> "Paired":
        """Tickets that ended better, that now wait for a person instead of being done, and that ended worse."""
        better = waiting = worse = 0
        for old, new in zip(before, after, strict=True):
            if _RANK[new] > _RANK[old]:
                better += 1
            elif new is Outcome.WAITING and old is Outcome.CORRECT:
                waiting += 1
            elif _RANK[new] < _RANK[old]:
                worse += 1
        return cls(better, waiting, worse)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Everything that a demo found."""

    simulated: bool
    model: str
    tickets: int
    seed: int
    spiral_rate: float
    modes: dict[str, ModeResult]
    sweep: tuple[SweepPoint, ...] = ()
    proofs: dict[str, Proof] = field(default_factory=dict)

    @property
    def paired(self) -> Paired:
        """Without limits against Penstock, ticket by ticket."""
        return Paired.of(self.modes["ungoverned"].outcomes, self.modes["governed"].outcomes)

    def as_json(self) -> dict[str, Any]:
        """The object that ``penstock demo --json`` prints; the sweep stands among the proofs."""
        proofs: dict[str, Any] = {name: proof.as_json() for name, proof in self.proofs.items()}
        if self.sweep:
            proofs["sweep"] = [point.as_json() for point in self.sweep]
        return {
            "simulated": self.simulated,
            "tickets": self.tickets,
            "seed": self.seed,
            "modes": {name: self.modes[name].as_json() for name in MODES},
            "proofs": proofs,
        }
