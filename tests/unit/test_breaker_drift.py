"""What the distance of an answer is worth as evidence."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from penstock.gates.breakers import drifting
from penstock.gates.breakers.drifting import Drift
from penstock.ports.embeddings import Vectors

REFERENCES = 400


def mean_evidence(evidence: list[float], distances: list[float]) -> float:
    """Of an answer whose distance is uniform, as all of the reference's were: what must not be over one."""
    points = np.array([0.0, *distances, 1.0])
    # Between the j-th smallest and the next, size - j of the distances are not nearer.
    return float(np.dot(np.diff(points), evidence[::-1]))


@pytest.mark.parametrize("size", [37, 375])
def test_evidence_of_no_change_is_none_for_nearly_every_reference(size: int) -> None:
    """By the share among the reference's own answers alone, it is for a good part of them."""
    chance = random.Random(f"references of {size}")
    bounded = drifting._evidence(size)
    plain = [0.5 / np.sqrt((further + 1) / (size + 1)) for further in range(size + 1)]
    found = [sorted(chance.random() for _ in range(size)) for _ in range(REFERENCES)]
    assert sum(mean_evidence(bounded, distances) > 1 for distances in found) <= 2
    assert sum(mean_evidence(plain, distances) > 1 for distances in found) > REFERENCES / 10


@pytest.mark.parametrize("size", [37, 75, 375, 3750])
def test_a_further_answer_is_more_evidence_and_a_larger_reference_allows_more(size: int) -> None:
    evidence = drifting._evidence(size)
    assert len(evidence) == size + 1
    assert evidence == sorted(evidence, reverse=True)
    assert 1 < evidence[0] < drifting._evidence(2 * size)[0]
    assert evidence[-1] == 0.5


class Line:
    """Texts are numbers, and points of the circle."""

    name = "line"

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.array([[np.cos(float(text)), np.sin(float(text))] for text in texts], dtype=np.float32)


def test_answers_are_compared_to_the_first_ones() -> None:
    drift = Drift(Line(), 100, b"")
    chance = random.Random("line")
    reference = None
    while reference is None:
        reference = drift.learn(drift.vector(str(chance.uniform(-0.1, 0.1))))
    drift.adopt(reference)
    assert drift.e_value(drift.vector("0")) < 1
    assert drift.e_value(drift.vector("2")) == drifting._evidence(75)[0] > 1
    other = Drift(Line(), 100, reference)
    assert other.has_learned
