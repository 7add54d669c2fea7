"""A model's words for whoever listens, as they come, without what filters take out."""

from typing import TYPE_CHECKING

from penstock.gates.filters.vault import tokens_of
from penstock.rules.filters.stream import StreamSifter

if TYPE_CHECKING:
    from penstock.gates.run.context import RunContext


class Voice:
    """What listeners hear of one attempt. Where classifiers are asked, that is nothing until the answer is whole."""

    def __init__(self, ctx: "RunContext") -> None:
        filters = ctx.facts.filters
        place = filters.places["output"] if filters is not None else None
        self._sifter = None if place is None or place.is_idle else StreamSifter(place, tokens_of(ctx), place.widest)
        self._waits = place is not None and bool(place.classifiers)

    def hear(self, piece: str) -> str:
        """What may be said now that this has come."""
        if self._waits:
            return ""
        return piece if self._sifter is None else self._sifter.feed(piece)

    def rest(self) -> str:
        """What remains when the answer is whole."""
        return "" if self._waits or self._sifter is None else self._sifter.end()
