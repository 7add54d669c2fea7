"""What the cache is worth: how many calls it served, what that saved, and how much of prompts providers had read."""

from dataclasses import dataclass

from penstock.ports.cache import FIGURES, HOUR, Count, Held
from penstock.ports.journal import Journal

DAY = 24 * HOUR
LONGEST = 92 * DAY
"""Counts are not kept for longer."""
ROWS_MAX = 500


@dataclass(slots=True, frozen=True)
class CacheReport:
    """Times in microseconds since the epoch. ``rows``: by agent and model or tool, those that saved most first, at most
    `ROWS_MAX`; ``total`` is of all. ``left_out``: how many rows are not shown."""

    since: int
    until: int
    as_of: int
    held: Held
    rows: list[Count]
    total: Count
    left_out: int = 0


async def read_cache(journal: Journal, tenant: str, since: int | None = None, until: int | None = None) -> CacheReport:
    """What was counted in the hours that begin between two times; by default in the last seven days.

    Raises:
        ValueError: the times are the wrong way round.
    """
    now = await journal.now()
    end = now if until is None else min(until, now)
    begin = end - 7 * DAY if since is None else max(since, now - LONGEST)
    begin = max(0, begin // HOUR * HOUR)
    if since is not None and until is not None and since > until:
        raise ValueError("since is after until")
    counts = await journal.cache.counts(tenant, begin, end)
    total = Count(tenant, 0, "model", "", "")
    for item in counts:
        for figure in FIGURES:
            setattr(total, figure, getattr(total, figure) + getattr(item, figure))
    counts.sort(key=lambda item: (-item.saved_nano, -item.hits, -item.calls, item.gate, item.agent, item.name))
    held = await journal.cache.held(tenant)
    return CacheReport(begin, end, now, held, counts[:ROWS_MAX], total, max(0, len(counts) - ROWS_MAX))


def hit_rate(count: Count) -> float | None:
    """Of the calls that the cache was asked for, the part that it served; None when it was asked for none."""
    asked = count.hits + count.misses
    return count.hits / asked if asked else None


def prompt_cache_rate(count: Count) -> float | None:
    """Of the prompts' tokens the part that providers read from caches of their own; None when no prompt was sent."""
    return count.tokens_cached / count.tokens_in if count.tokens_in else None
