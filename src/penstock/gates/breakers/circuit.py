"""One circuit in this process: how it stands, what was counted here, and the calls in flight that it covers."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from penstock.gates.breakers.detector import Detector, Met
from penstock.ports.breakers import EACH, OTHER, RUNS_SHOWN, Breaker, Circuit, Key

if TYPE_CHECKING:
    from penstock.gates.breakers.cutting import Cut
    from penstock.gates.breakers.drifting import Drift
    from penstock.ports.embeddings import Embedder


class Seen(msgspec.Struct, frozen=True):
    """One of the latest calls, for the evidence."""

    run: UUID
    nano: int
    latency_us: int
    failure: str
    name: str


class LiveCircuit:
    """A circuit as this process knows it.

    Attributes:
        is_tripping: a condition was met here and the store is being told: nothing passes already.
        cuts: model calls and reads under way that may be cut off.
    """

    __slots__ = ("breaker", "cuts", "detector", "drift", "is_tripping", "key", "latest", "stands")

    def __init__(self, breaker: Breaker, key: Key, stands: Circuit | None = None) -> None:
        self.breaker = breaker
        self.key = key
        self.stands = stands or Circuit(*key)
        self.is_tripping = False
        self.cuts: set[Cut] = set()
        self.latest: deque[Seen] = deque(maxlen=RUNS_SHOWN)
        self.drift: Drift | None = None
        self.detector = self._new_detector()

    @property
    def is_shut(self) -> bool:
        """Whether calls do not simply pass."""
        return self.stands.is_open or self.is_tripping

    def lets_through(self, kind: str, name: str) -> bool:
        """Whether it is open for everything but this: the model that a breaker of something else falls back to."""
        breaker = self.breaker
        return (
            kind == "model"
            and breaker.meanwhile == "fallback"
            and breaker.scope != "model"
            and name == breaker.fallback
        )

    def change(self, breaker: Breaker, stands: Circuit | None) -> None:
        """What the store says now. What was counted belongs to a generation, and to the conditions."""
        stands = stands or Circuit(*self.key)
        anew = breaker.conditions != self.breaker.conditions or stands.generation != self.stands.generation
        was_shut = self.is_shut
        self.breaker, self.stands = breaker, stands
        if anew:
            self.is_tripping = False
            self.detector = self._new_detector()
            self.drift = None
        if self.stands.is_open and (anew or not was_shut):
            self.cut_off()

    def drifting(self, embedder: "Embedder") -> "Drift":
        """What answers are compared to."""
        from penstock.gates.breakers.drifting import Drift  # needs numpy, which most processes do not

        condition = self.detector.drift
        assert condition is not None
        if self.drift is None:
            self.drift = Drift(embedder, condition.baseline, self.stands.reference)
        return self.drift

    def cut_off(self) -> None:
        """Give up on the calls in flight that may be."""
        if self.breaker.cancel_in_flight:
            for cut in list(self.cuts):
                cut.ring()

    def evidence(self, met: Met, worker: str) -> bytes:
        """What a person should know who asks why it tripped."""
        said: dict[str, Any] = {
            "condition": met.condition.kind,
            "words": met.words,
            "figures": met.figures,
            "worker": worker,
            "calls": [
                {
                    "run": str(seen.run),
                    "name": seen.name,
                    "nano": seen.nano,
                    "latency_us": seen.latency_us,
                    "failure": seen.failure,
                }
                for seen in self.latest
            ],
        }
        return msgspec.json.encode(said, order="deterministic")

    def _new_detector(self) -> Detector:
        stands = self.stands
        return Detector(self.breaker.conditions, stands.base_samples, stands.base_nano)


def values_of(breaker: Breaker, agent: str, tags: dict[str, str], kind: str, name: str) -> list[str]:
    """The values of a call that a breaker watches by; none = it does not concern the call.

    Starting a child concerns the breakers of both agents.
    """
    match breaker.scope:
        case "agent":
            found = [agent, name] if kind == "child" else [agent]
        case "task_type" | "customer":
            found = [tags.get(breaker.scope, "")]
        case scope:
            found = [name] if kind == scope else []
    if breaker.value == EACH:
        return [value or OTHER for value in dict.fromkeys(found)]
    return [value for value in dict.fromkeys(found) if value == breaker.value]


def noted(task: "asyncio.Task[Any]", tasks: "set[asyncio.Task[Any]]") -> None:
    """Keep a task that nobody waits for until it is done."""
    tasks.add(task)
    task.add_done_callback(tasks.discard)
