"""What a model's words pass before they leave the process.

A filter sees the text of one attempt in pieces, and may hold back the end of what it has seen: what it looks for may be
cut in two by the border between two pieces.
"""

from collections.abc import Callable, Sequence
from typing import Protocol


class StreamFilter(Protocol):
    """A filter of one text. Made anew for each attempt at a call."""

    def feed(self, text: str) -> str:
        """Take more of the text; give what may leave now."""
        ...

    def end(self) -> str:
        """The text has ended: give what was held back."""
        ...


MakeFilter = Callable[[], StreamFilter]


class Filters:
    """A chain of filters for one text. One that raises lets nothing more of it through: it fails closed."""

    def __init__(self, makers: Sequence[MakeFilter]) -> None:
        self._chain = [make() for make in makers]
        self.closed = False

    def feed(self, text: str) -> str:
        """What may leave of the text so far and has not left before."""
        return self._closing(lambda: self._through(text, 0))

    def end(self) -> str:
        """What was held back."""
        return self._closing(lambda: "".join(self._through(each.end(), n) for n, each in enumerate(self._chain, 1)))

    def _through(self, text: str, first: int) -> str:
        for each in self._chain[first:]:
            text = each.feed(text) if text else text
        return text

    def _closing(self, ask: Callable[[], str]) -> str:
        if not self.closed:
            try:
                return ask()
            except Exception:  # noqa: BLE001 - a filter is anybody's code, and whoever speaks must not hear of it
                self.closed = True
        return ""
