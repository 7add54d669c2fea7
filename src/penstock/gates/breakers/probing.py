"""A call that tries whether half-open circuits may close."""

from dataclasses import dataclass, field

from penstock.gates.breakers.circuit import LiveCircuit
from penstock.ports.breakers import Breaker

PROBE_SECONDS_LEAST = 30.0
PROBE_SECONDS_MOST = 300.0


@dataclass(slots=True)
class Probe:
    """The circuits whose probe a call is, and the generation of each when it was taken."""

    circuits: list[LiveCircuit] = field(default_factory=list)
    generations: list[int] = field(default_factory=list)

    def is_for(self, circuit: LiveCircuit) -> bool:
        """Whether the call may pass this one; not when that has changed since."""
        return any(
            known is circuit and known.stands.generation == generation and not known.is_tripping
            for known, generation in zip(self.circuits, self.generations, strict=True)
        )


def probe_lease(breaker: Breaker) -> float:
    """How long a probe's place is kept for a worker that does not say how it went, seconds."""
    return max(PROBE_SECONDS_LEAST, min(PROBE_SECONDS_MOST, breaker.open_seconds * 2))
