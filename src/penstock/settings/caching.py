"""The settings of the cache of answers."""

import dataclasses

from penstock.settings.line import DAY, KIB, MIB, setting


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CachingSettings:
    """How much the cache keeps, and for how long at most."""

    cache_entries_max: int = setting(
        100_000, "Answers that one tenant's cache keeps; the least recently used make room.", low=1, high=100_000_000
    )
    cache_bytes_max: int = setting(
        256 * MIB,
        "Bytes that one tenant's cache keeps, as stored; the least recently used make room.",
        unit="bytes",
        low=KIB,
        high=1024 * 1024 * MIB,
    )
    cache_entry_max_bytes: int = setting(
        MIB, "Bytes of an answer that is cached, at most; a larger one is not.", unit="bytes", low=KIB, high=256 * MIB
    )
    cache_seconds_max: float = setting(
        7 * DAY,
        "How long an answer is cached at most, whatever an agent or tool says.",
        unit="s",
        low=1,
        high=365 * DAY,
    )
