"""Microsoft Presidio's analyzer as a classifier. Presidio is not installed with Penstock: the analyzer is yours.

from presidio_analyzer import AnalyzerEngine

names = PresidioClassifier(AnalyzerEngine(), entities=["PERSON", "LOCATION"])
filters = Filters(classifiers=[Classified(names, {"person": "redact", "location": "redact"})])
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from penstock.ports.classifiers import Finding


class Analyzer(Protocol):
    """What is used of ``presidio_analyzer.AnalyzerEngine``."""

    def analyze(self, text: str, language: str, entities: list[str] | None = None) -> Sequence[Any]:
        """Results with ``entity_type``, ``start``, ``end`` and ``score``."""
        ...


class PresidioClassifier:
    """Kinds are Presidio's entities in lower case. It computes in a thread of the event loop's own pool."""

    def __init__(
        self, analyzer: Analyzer, *, language: str = "en", entities: Sequence[str] | None = None, name: str = "presidio"
    ) -> None:
        """``entities``: those that are looked for, by Presidio's names; None = all that the analyzer knows. ``name``:
        with the model's version in it, so that another model makes another release of an agent."""
        self._analyzer = analyzer
        self._language = language
        self._entities = list(entities) if entities is not None else None
        self._name = name

    @property
    def name(self) -> str:
        """What it is called in records."""
        return self._name

    async def classify(self, text: str) -> list[Finding]:
        """What the analyzer finds."""
        found = await asyncio.to_thread(self._analyzer.analyze, text, self._language, self._entities)
        return [
            Finding(one.start, one.end, one.entity_type.lower(), float(one.score))
            for one in found
            if one.start < one.end
        ]
