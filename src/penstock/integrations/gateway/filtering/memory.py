"""What came of texts that were filtered before: a conversation is sent anew with each of its calls and grows little."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from penstock.rules.filters.sift import Sifted

BYTES_MAX = 16 * 1024 * 1024
"""Of what is remembered; the texts themselves are not, only what may go on of them."""
TEXT_MIN_CHARS = 64
"""Shorter texts are filtered as quickly as they are found again."""
_ENTRY_BYTES = 256
"""What an entry takes beside its texts, about."""
_Released = tuple[str | None, Sifted]


class Memory:
    """Of one agent's filters. Bounded: what was not used for longest is forgotten first."""

    def __init__(self, most: int = BYTES_MAX) -> None:
        self._most = most
        self._size = 0
        self._known: OrderedDict[bytes, _Released] = OrderedDict()

    def released(self, kind: bytes, key: bytes, text: str, sift: Callable[[str, Sifted], str], into: Sifted) -> str:
        """What may go on of a text. ``key``: of its tokens; ``kind``: how it is looked at."""
        if len(text) < TEXT_MIN_CHARS:
            return sift(text, into)
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=key, person=kind, digest_size=32).digest()
        known = self._known.get(digest)
        if known is None:
            found = Sifted()
            released = sift(text, found)
            known = None if released == text else released, found
            self._keep(digest, known)
        else:
            self._known.move_to_end(digest)
        released_text, found = known
        into.add(found)
        return text if released_text is None else released_text

    def _keep(self, digest: bytes, entry: _Released) -> None:
        self._known[digest] = entry
        self._size += _size(entry)
        while self._size > self._most:
            self._size -= _size(self._known.popitem(last=False)[1])


def _size(entry: _Released) -> int:
    released, found = entry
    values = sum(len(name) + 4 * len(value) for name, value in found.tokens.items())
    return _ENTRY_BYTES + 4 * len(released or "") + values
