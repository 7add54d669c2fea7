"""Where an answer comes from that was not made for the call it is given to."""

from uuid import UUID

import msgspec


class CacheSource(msgspec.Struct, frozen=True, omit_defaults=True):
    """The call that had been made: its run and path, and when (microseconds since the epoch, the store's clock)."""

    run: UUID
    path: str
    at: int = 0
