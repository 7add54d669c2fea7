"""The labelled questions that the simulated model knows, and the search for the nearest ones."""

import csv
import gzip
import hashlib
import io
import threading
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from penstock.ports.embeddings import Embedder, Vectors

Part = Literal["examples", "tickets"]

# Chosen by leave-one-out accuracy on the examples alone, never on the tickets.
NEIGHBOURS = 8
SHARPNESS = 10.0
_REMEMBERED = 65_536  # classified texts kept in memory: about 10 MB


@dataclass(frozen=True, slots=True)
class Question:
    """A customer's question and the intent it is labelled with."""

    text: str
    category: str


@dataclass(frozen=True, slots=True)
class Guess:
    """What the nearest examples say. ``confidence`` in [0, 1] is the best intent's share of the neighbours' votes;
    ``margin`` in [0, 1] is its lead over ``runner_up``."""

    category: str
    confidence: float
    margin: float
    runner_up: str


def part_of(text: str) -> Part:
    """Which part of Banking77 a question belongs to: a stable hash of its words, blind to case and white space."""
    words = " ".join(text.split()).lower()
    return "examples" if int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") % 10 < 7 else "tickets"


def banking77(part: Part) -> list[Question]:
    """The questions of one part, in the order of the published file."""
    packed = (files("penstock") / "data" / "banking77" / f"{part}.csv.gz").read_bytes()
    rows = csv.DictReader(io.StringIO(gzip.decompress(packed).decode(), newline=""))
    return [Question(row["text"], row["category"]) for row in rows]


class NearestExamples:
    """A k-nearest-neighbour classifier over the ``examples`` part; loads at the first question (under a second)."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._lock = threading.Lock()
        self._vectors: Vectors | None = None
        self._centre: Vectors = np.zeros(0, np.float32)
        self._intents: list[str] = []
        self._labels: NDArray[np.int64] = np.zeros(0, np.int64)
        self._guesses: dict[str, Guess] = {}

    @property
    def ready(self) -> bool:
        """Whether `load` has been done: a classification then takes well under a millisecond."""
        return self._vectors is not None

    def load(self) -> None:
        """Embed the examples; blocks. Safe to call from several threads and again."""
        with self._lock:
            if self._vectors is not None:
                return
            examples = banking77("examples")
            self._intents = sorted({example.category for example in examples})
            number = {intent: index for index, intent in enumerate(self._intents)}
            self._labels = np.array([number[example.category] for example in examples], np.int64)
            vectors = self._embedder.embed([_plain(example.text) for example in examples])
            # All questions share a direction ("a customer asks a bank"); without it the differences stand out.
            self._centre = vectors.mean(axis=0)
            self._vectors = _unit(vectors - self._centre)

    def classify(self, text: str) -> Guess:
        """The intent of a question. A text without a known word gets a guess of confidence 0."""
        known = self._guesses.get(text)
        if known is not None:
            return known
        self.load()
        assert self._vectors is not None
        point = self._embedder.embed([_plain(text)])[0]
        guess = self._vote(point) if point.any() else Guess(self._intents[0], 0.0, 0.0, self._intents[1])
        if len(self._guesses) >= _REMEMBERED:
            self._guesses.clear()
        self._guesses[text] = guess
        return guess

    def _vote(self, point: Vectors) -> Guess:
        assert self._vectors is not None
        similarity = self._vectors @ _unit(point - self._centre)
        nearest = np.argpartition(similarity, -NEIGHBOURS)[-NEIGHBOURS:]
        return self._count(nearest, similarity[nearest])

    def _count(self, nearest: NDArray[np.int64], similarity: Vectors) -> Guess:
        weights = np.exp(SHARPNESS * (similarity.astype(np.float64) - 1))
        votes = np.bincount(self._labels[nearest], weights, len(self._intents))
        first, second = np.argsort(votes, kind="stable")[::-1][:2]
        total = float(votes.sum())
        return Guess(
            self._intents[first],
            float(votes[first]) / total,
            float(votes[first] - votes[second]) / total,
            self._intents[second],
        )


def _plain(text: str) -> str:
    return " ".join(text.split())


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Vectors = vectors / np.maximum(lengths, 1e-12)
    return result
