"""How far off an answer is, measured against the first ones: the evidence that answers have drifted.

The first answers of a circuit are its reference: half of them give a centre, the distances of the other half from it
say what is usual. A later answer's p-value is the share of those that are as far off as it; under no change it is
uniform, whatever the distances' distribution, and ``0.5 / sqrt(p)`` is an e-value, which goes into the same kind of
detector as costs do. The reference is the same for all workers, and stays: it is fixed data of some hundred answers,
so the p-values are as good as that sample is.

Source: split conformal prediction, V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", 2nd ed.
2022, ch. 2 and 8 (testing exchangeability); the calibrator: V. Vovk, R. Wang, "E-values: calibration, combination and
applications", Annals of Statistics 49(3), 2021, §2 (kappa = 1/2).
"""

import bisect

import msgspec
import numpy as np

from penstock.ports.embeddings import Embedder, Vectors

TEXT_MAX_CHARS = 4000
"""Of an answer that are looked at."""


class Reference(msgspec.Struct, frozen=True):
    """What later answers are compared to. ``embedder``: of which the vectors are; ``distances``: in rising order."""

    embedder: str
    centre: list[float]
    distances: list[float]


class Drift:
    """The reference of one circuit, or what is there of it so far."""

    def __init__(self, embedder: Embedder, size: int, reference: bytes) -> None:
        """``size``: answers that are learned from; ``reference``: what was learned before, if anything."""
        self._embedder = embedder
        self._size = size
        self._first: list[Vectors] = []
        self._reference: Reference | None = None
        if reference:
            self.adopt(reference)

    @property
    def has_learned(self) -> bool:
        """Whether there is something to compare with."""
        return self._reference is not None

    def adopt(self, reference: bytes) -> None:
        """Compare with this; one that another embedder made is not understood, and is learned anew here."""
        read = msgspec.json.decode(reference, type=Reference)
        self._reference = read if read.embedder == self._embedder.name and read.distances else None

    def vector(self, text: str) -> Vectors:
        """The point of an answer; it blocks for some tens of microseconds a sentence."""
        point: Vectors = self._embedder.embed([text[:TEXT_MAX_CHARS]])[0]
        return point

    def learn(self, point: Vectors) -> bytes | None:
        """One of the first answers; the reference when there are enough of them."""
        self._first.append(point)
        if len(self._first) < self._size:
            return None
        half = self._size // 2
        centre = np.mean(np.stack(self._first[:half]), axis=0)
        centre /= max(float(np.linalg.norm(centre)), 1e-9)
        distances = sorted(_distance(point, centre) for point in self._first[half:])
        self._first = []
        reference = Reference(self._embedder.name, [float(value) for value in centre], distances)
        return msgspec.json.encode(reference)

    def e_value(self, point: Vectors) -> float:
        """The evidence that one answer gives; below 1 it is evidence of no change."""
        reference = self._reference
        assert reference is not None
        distance = _distance(point, np.asarray(reference.centre, dtype=np.float32))
        known = reference.distances
        further = len(known) - bisect.bisect_left(known, distance)
        p_value = (1 + further) / (len(known) + 1)
        return float(0.5 / np.sqrt(p_value))


def _distance(point: Vectors, centre: Vectors) -> float:
    """One less the cosine of the angle between two points of the unit sphere."""
    return 1.0 - float(np.dot(point, centre))
