"""Identifiers: 128 bits in the text form of a UUID, time-ordered so that indexes stay dense.

Layout of RFC 9562, UUID version 7: 48 bits of Unix milliseconds, version, 74 bits of randomness.
"""

import hashlib
from uuid import UUID

from penstock.kernel.clock import Clock
from penstock.kernel.randomness import token_bytes

_VERSION_AND_VARIANT = (7 << 76) | (2 << 62)
_RANDOM_MASK = (0xFFF << 64) | ((1 << 62) - 1)


def new_id(clock: Clock) -> UUID:
    """A new identifier; later ones sort after earlier ones to the millisecond."""
    return _build(clock.now_us() // 1000, int.from_bytes(token_bytes(10), "big"))


def derived_id(parent: UUID, path: str) -> UUID:
    """The identifier of what ``parent`` makes at call ``path``: the same each time it is asked for.

    It keeps the parent's time, so that a family stays together in an index.
    """
    digest = hashlib.sha256(parent.bytes + path.encode()).digest()
    return _build(parent.int >> 80, int.from_bytes(digest[:10], "big"))


def first_id_at(moment_us: int) -> UUID:
    """The least identifier of those made at that moment (microseconds since the epoch, rounded up to the millisecond)
    or later: identifiers made in a stretch of time are those between two of these."""
    return UUID(int=min(max(0, -(-moment_us // 1000)), (1 << 48) - 1) << 80)


def id_time_us(identifier: UUID) -> int:
    """When the identifier was made, in microseconds since the epoch (to the millisecond)."""
    return (identifier.int >> 80) * 1000


def _build(milliseconds: int, noise: int) -> UUID:
    return UUID(int=((milliseconds & (1 << 48) - 1) << 80) | _VERSION_AND_VARIANT | (noise & _RANDOM_MASK))
