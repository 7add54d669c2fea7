"""Classifiers of content: models and services that say what a text is, besides what patterns find in it."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Finding(msgspec.Struct, frozen=True, order=True):
    """Something that was found: ``text[start:end]``. ``score``: 0 to 1, how sure its detector is."""

    start: int
    end: int
    kind: str
    score: float = 1.0


class ContentClassifier(Protocol):
    """Asked about whole texts, before they are released. Called from several runs side by side."""

    @property
    def name(self) -> str:
        """What it is called in records, with its version: another name makes another release of an agent."""
        ...

    async def classify(self, text: str) -> Sequence[Finding]:
        """What it finds. A finding of the whole text has ``start`` 0 and ``end`` ``len(text)``.

        It may take as long as it was given (`penstock.Classified`), then it is cancelled; what it raises counts as a
        failure. Work that computes belongs into a thread.
        """
        ...
