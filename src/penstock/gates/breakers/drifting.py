"""How far off an answer is, measured against the first ones: the evidence that answers have drifted.

The first answers of a circuit are its reference: a quarter of them give a centre, the distances of the others from it
say what is usual. A later answer's p-value is at least the share of all answers that are as far off as it, whatever the
distances' distribution; then ``0.5 / sqrt(p)`` is an e-value, which goes into the same kind of detector as costs do.

The reference is the same for all workers, and stays. So the share among its few hundred answers will not do for a
p-value: it is right on the average of references, and of each single one a little wrong for ever (measured on shuffled
text: ten times as many false alarms as the threshold is meant for). The p-value is an upper bound of the true share,
one that holds for all distances at once but for one reference in `WRONG_ONE_IN`: the share of answers beyond the k-th
largest distance has a beta distribution, whose tail is a binomial's, which Chernoff's bound limits. The probability
that one of these bounds fails is dealt out to them as 1/(k (k+1)), which adds up to one: the furthest matter most.

Sources: the bound, S. Boucheron, G. Lugosi, P. Massart, "Concentration Inequalities", 2013, §2.2; why it is needed,
V. Vovk, "Conditional validity of inductive conformal predictors", ACML 2012; the calibrator, V. Vovk, R. Wang,
"E-values: calibration, combination and applications", Annals of Statistics 49(3), 2021, §2 (kappa = 1/2).
"""

import bisect

import msgspec
import numpy as np

from penstock.ports.embeddings import Embedder, Vectors

WRONG_ONE_IN = 1000
"""References whose bound does not hold."""
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
        self._evidence: list[float] = []
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
        self._evidence = [] if self._reference is None else _evidence(len(read.distances))

    def vector(self, text: str) -> Vectors:
        """The point of an answer; it blocks for some tens of microseconds a sentence."""
        point: Vectors = self._embedder.embed([text[:TEXT_MAX_CHARS]])[0]
        return point

    def learn(self, point: Vectors) -> bytes | None:
        """One of the first answers; the reference when there are enough of them."""
        self._first.append(point)
        if len(self._first) < self._size:
            return None
        quarter = self._size // 4
        centre = np.mean(np.stack(self._first[:quarter]), axis=0)
        centre /= max(float(np.linalg.norm(centre)), 1e-9)
        distances = sorted(_distance(point, centre) for point in self._first[quarter:])
        self._first = []
        reference = Reference(self._embedder.name, [float(value) for value in centre], distances)
        return msgspec.json.encode(reference)

    def e_value(self, point: Vectors) -> float:
        """The evidence that one answer gives; below 1 it is evidence of no change."""
        reference = self._reference
        assert reference is not None
        distance = _distance(point, np.asarray(reference.centre, dtype=np.float32))
        known = reference.distances
        return self._evidence[len(known) - bisect.bisect_left(known, distance)]


def _evidence(size: int) -> list[float]:
    """The e-value of an answer that so many (0 to ``size``) of the reference's distances are not nearer than: from the
    least p for which ``size * KL(k / size, p)`` is ``log((k + 1) (k + 2) WRONG_ONE_IN)``."""
    count = np.arange(size)
    share, needed = count / size, np.log((count + 1.0) * (count + 2) * WRONG_ONE_IN)
    low, high = share.copy(), np.ones(size)
    for _ in range(60):
        p = (low + high) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            near = np.where(share > 0, share * np.log(share / p), 0.0)
            far = (1 - share) * np.log((1 - share) / (1 - p))
        enough = size * (near + far) >= needed
        low, high = np.where(enough, low, p), np.where(enough, p, high)
    return [*(0.5 / np.sqrt(high)).tolist(), 0.5]


def _distance(point: Vectors, centre: Vectors) -> float:
    """One less the cosine of the angle between two points of the unit sphere."""
    return 1.0 - float(np.dot(point, centre))
