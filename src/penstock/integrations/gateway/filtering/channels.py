"""A text that comes in pieces: what may be passed on of it so far."""

import json
import re
from collections.abc import Callable
from typing import Protocol

from penstock.rules.filters.filters import Place
from penstock.rules.filters.sift import Sifted
from penstock.rules.filters.stream import StreamSifter

_BEGUN = re.compile(r"(?:t|to|tok|tok_[a-z0-9_]{0,49})\Z")
"""What may become a token, whose kind has 32 characters at most and whose hash has 16."""


class Channel(Protocol):
    """One text of a stream."""

    whole: str
    """All that was passed on."""

    @property
    def changed(self) -> bool:
        """Whether that is another text than came in; known at the end."""
        ...

    def feed(self, piece: str) -> str:
        """What may be passed on now that this has come."""
        ...

    def end(self) -> str:
        """The rest; "" when asked again."""
        ...


class SiftedText:
    """See `Channel`: without what filters take out of it."""

    def __init__(self, place: Place, into: Sifted) -> None:
        self._sifter = StreamSifter(place, None, place.widest)
        self._sifter.sifted = into
        self._came: list[str] = []
        self._ended = False
        self.whole = ""

    @property
    def changed(self) -> bool:
        return self.whole != "".join(self._came)

    def feed(self, piece: str) -> str:
        self._came.append(piece)
        return self._passed(self._sifter.feed(piece))

    def end(self) -> str:
        if self._ended:
            return ""
        self._ended = True
        return self._passed(self._sifter.end())

    def _passed(self, text: str) -> str:
        self.whole += text
        return text


class SiftedArguments:
    """See `Channel`: the arguments of a call, held until they are whole. Pieces of JSON cannot be filtered one by one:
    a number that is taken out becomes a text."""

    def __init__(self, release: Callable[[str], str]) -> None:
        self._release = release
        self._came: list[str] = []
        self.whole = ""
        self.changed = False

    def feed(self, piece: str) -> str:
        self._came.append(piece)
        return ""

    def end(self) -> str:
        came = "".join(self._came)
        self._came.clear()
        if not came:
            return ""
        self.whole = self._release(came)
        self.changed = self.whole != came
        return self.whole


class RestoredText:
    """See `Channel`: with values in the place of tokens, also of those that come in two pieces."""

    changed = False

    def __init__(self, restore: Callable[[str], str]) -> None:
        self._restore = restore
        self._held = ""
        self.whole = ""

    def feed(self, piece: str) -> str:
        text = self._held + piece
        begun = _BEGUN.search(text)
        cut = begun.start() if begun is not None else len(text)
        self._held = text[cut:]
        return self._passed(text[:cut])

    def end(self) -> str:
        held, self._held = self._held, ""
        return self._passed(held)

    def _passed(self, text: str) -> str:
        restored = self._restore(text)
        self.whole += restored
        return restored


def json_escaped(text: str) -> str:
    """As it stands inside a JSON text."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
