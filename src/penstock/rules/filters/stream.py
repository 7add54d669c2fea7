"""Filters on a text that comes in pieces: what is released of it so far, and never a part of what would be removed.

A tail is held back until it is certain that nothing begins in it: mostly the last two words, and for as long as figures
follow each other the figures. What is held has a bound; whatever grows beyond that is treated as found.
"""

import re

from penstock.ports.classifiers import Finding
from penstock.rules.filters import secrets
from penstock.rules.filters.filters import Place
from penstock.rules.filters.sift import Sifted, Tokens, find, replaced

BEFORE = 96
"""Characters of the released text that are kept to be read again: a word in them may say what follows."""
HELD_MAX = 2048
"""Characters that are held back, at most."""
EAGER = 256
"""Characters up to which what is held is read again with each piece that comes."""
MARGIN = 300
"""Of those, what is still held back when there are more: longer than any finding that is no secret."""
_SETTLED = re.compile(r"(?<!\S)[^\W\d_]{3,}[,;:.!?]{0,2}\s+[^\W\d_]{3,}[,;:.!?]{0,2}\s")
"""Two words of letters: nothing that is looked for goes on beyond them."""
_WORD = re.compile(r"[\w.+/=~-]*")


class StreamSifter:
    """The filters of one stream. ``sifted`` counts what was found; ``blocked``: nothing more is released."""

    def __init__(self, place: Place, tokens: Tokens | None, widest: int = 0) -> None:
        """``widest``: characters that a pattern of the agent's own may have, at most; 0 = it has none."""
        self.sifted = Sifted()
        self.blocked = False
        self._place = place
        self._tokens = tokens
        self._widest = widest
        self._before = self._held = self._inside = ""
        self._unread = 0

    def feed(self, piece: str) -> str:
        """What may be released now that this has come."""
        self._held += piece
        self._unread += len(piece)
        if self._inside:
            self._leave()
        if self.blocked or self._inside or not self._held:
            return ""
        if len(self._held) > EAGER and self._unread < len(self._held) // 4:
            return ""  # what is held long is not read again for each letter
        self._unread = 0
        text = self._before + self._held
        found = [one for one in find(self._place, text) if one.end > len(self._before)]
        cut = self._cut(text, found)
        if cut <= len(self._before):
            return self._too_long(text, found) if len(self._held) > HELD_MAX else ""
        return self._release(text, found, cut)

    def end(self) -> str:
        """The rest."""
        if self._inside or self.blocked:
            return ""
        text = self._before + self._held
        found = [one for one in find(self._place, text) if one.end > len(self._before)]
        return self._release(text, found, len(text))

    def _cut(self, text: str, found: list[Finding]) -> int:
        """Up to where nothing can change any more."""
        cut = 0
        for settled in _SETTLED.finditer(text, max(0, len(self._before) - MARGIN)):
            cut = settled.end()
        if self._widest:
            cut = min(cut, len(text) - self._widest)
        opened = secrets.open_from(text) if "secret" in self._place.actions else None
        if opened is not None:
            cut = min(cut, opened)
        for one in found:
            if one.start < cut < one.end or one.end == len(text):
                cut = min(cut, one.start)
        return cut

    def _release(self, text: str, found: list[Finding], cut: int) -> str:
        start = len(self._before)
        taken = [
            Finding(max(one.start, start) - start, one.end - start, one.kind, one.score)
            for one in found
            if one.end <= cut
        ]
        released = replaced(text[start:cut], taken, self._place.actions, self._tokens, self.sifted)
        self._before, self._held = text[max(0, cut - BEFORE) : cut], text[cut:]
        if self.sifted.blocked:
            self.blocked, self._held = True, ""
            return ""
        return released

    def _too_long(self, text: str, found: list[Finding]) -> str:
        """More is held than may be: release what comes before the last of it, or before what has not ended yet."""
        cut = len(text) - MARGIN
        opened = secrets.open_from(text) if "secret" in self._place.actions else None
        endless = next((one for one in found if one.end == len(text)), None)
        if opened is not None and opened < cut:
            endless = endless or Finding(opened, len(text), "secret")
        for one in found:
            if one.start < cut < one.end:
                cut = one.start
        if endless is None or endless.start > cut:
            return self._release(text, found, cut)
        released = self._release(text, found, endless.start) if endless.start > len(self._before) else ""
        action = self._place.actions[endless.kind]
        self.sifted.count(endless.kind, action)
        if action == "block":
            self.blocked = True
        self._inside = "key" if opened is not None else "word"
        self._held = self._held[-MARGIN:]
        return released if self.blocked else f"{released}[{endless.kind}]"

    def _leave(self) -> None:
        """Drop what belongs to something that is longer than what may be held."""
        if self._inside == "key":
            end = secrets.end_of_key(self._held)
            if end is None:
                self._held = self._held[-MARGIN:]
                return
        else:
            match = _WORD.match(self._held)
            end = match.end() if match else 0
            if end == len(self._held):
                self._held = ""
                return
        self._held, self._before, self._inside = self._held[end:], "", ""
