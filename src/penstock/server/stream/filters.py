"""What a model's words pass before they leave the process.

A filter sees the text of one attempt in pieces, and may hold back the end of what it has seen: what it looks for may be
cut in two by the border between two pieces.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from penstock.kernel.errors import PenstockError


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
        return self._through(text, 0)

    def end(self) -> str:
        """What was held back."""
        rest = ""
        for number, each in enumerate(self._chain):
            try:
                held = "" if self.closed else each.end()
            except (PenstockError, ArithmeticError, LookupError, TypeError, ValueError, RuntimeError):
                self.closed = True
                return ""
            rest += self._through(held, number + 1)
        return rest

    def _through(self, text: str, first: int) -> str:
        for each in self._chain[first:]:
            if self.closed:
                return ""
            try:
                text = each.feed(text) if text else text
            except (PenstockError, ArithmeticError, LookupError, TypeError, ValueError, RuntimeError):
                self.closed = True
                return ""
        return "" if self.closed else text
