"""The cache in memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from penstock.adapters.memory.records import Store
from penstock.events import CacheSource
from penstock.kernel.clock import Clock
from penstock.kernel.randomness import token_bytes
from penstock.ports.cache import (
    COUNTS_KEPT_DAYS,
    FIGURES,
    HOUR,
    Bounds,
    Count,
    Entry,
    Held,
    Seat,
    Taken,
    Which,
)
from penstock.ports.records import Status

_Key = tuple[str, bytes]


@dataclass(slots=True)
class _Kept:
    entry: Entry
    seat: Seat
    expires_at: int
    used_at: int


@dataclass(slots=True)
class _Flight:
    seat: Seat
    until: int
    alone: bool = False


class MemoryCache:
    """Implements `penstock.ports.cache.CacheEntries` on the journal's own store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._secrets: dict[str, bytes] = {}
        self._kept: dict[_Key, _Kept] = {}
        self._flights: dict[_Key, _Flight] = {}
        self._drops: dict[tuple[str, str], int] = {}
        self._counts: dict[tuple[str, int, str, str, str], Count] = {}

    async def secret(self, tenant: str) -> bytes:
        return self._secrets.setdefault(tenant, token_bytes(32))

    async def take(self, tenant: str, key: bytes, seat: Seat, lease_seconds: float) -> Taken:
        now = self._clock.now_us()
        self._erase(tenant)
        kept = self._kept.get((tenant, key))
        if kept is not None and kept.expires_at > now:
            kept.used_at = now
            return Taken("hit", now, kept.entry)
        flight = self._flights.get((tenant, key))
        if flight is not None and flight.until > now and (flight.alone or flight.seat != seat):
            if flight.alone:
                return Taken("alone", now)
            if self._seated(tenant, flight.seat):
                return Taken("busy", now)
        self._flights[tenant, key] = _Flight(seat, now + int(lease_seconds * 1e6))
        return Taken("lead", now)

    async def put(self, entry: Entry, seat: Seat, began: int, life_seconds: float, bounds: Bounds) -> bool:
        now = self._clock.now_us()
        self._end(entry.tenant, entry.key, seat)
        dropped = max(self._drops.get((entry.tenant, tag), 0) for tag in (*entry.tags, ""))
        if self._is_erased(entry.tenant, entry.subject, seat) or dropped >= began or len(entry.data) > bounds.bytes:
            return False
        self._kept.pop((entry.tenant, entry.key), None)
        self._make_room(entry, bounds)
        placed = replace(entry, source=CacheSource(seat.run, seat.path, now))
        self._kept[entry.tenant, entry.key] = _Kept(placed, seat, now + int(life_seconds * 1e6), now)
        return True

    async def let_go(self, tenant: str, key: bytes, seat: Seat, alone_seconds: float) -> None:
        flight = self._flights.get((tenant, key))
        if flight is None or flight.seat != seat or flight.alone:
            return
        if alone_seconds > 0:
            flight.alone, flight.until = True, self._clock.now_us() + int(alone_seconds * 1e6)
        else:
            del self._flights[tenant, key]

    async def drop(self, tenant: str, tags: Sequence[str]) -> int:
        now = self._clock.now_us()
        for tag in tags:
            self._drops[tenant, tag] = now
        return self._remove(
            key for key, kept in self._kept.items() if key[0] == tenant and not set(tags).isdisjoint(kept.entry.tags)
        )

    async def clear(self, tenant: str, which: Which) -> int:
        self._drops[tenant, ""] = self._clock.now_us()
        return self._remove(
            key for key, kept in self._kept.items() if key[0] == tenant and _is_meant(kept.entry, which)
        )

    async def held(self, tenant: str) -> Held:
        self._erase(tenant)
        entries = [kept.entry for key, kept in self._kept.items() if key[0] == tenant]
        return Held(len(entries), sum(len(entry.data) for entry in entries))

    async def count(self, counts: Sequence[Count]) -> None:
        for item in counts:
            key = item.tenant, item.hour, item.gate, item.agent, item.name
            known = self._counts.setdefault(key, Count(item.tenant, item.hour, item.gate, item.agent, item.name))
            _add(known, item)

    async def counts(self, tenant: str, since: int, until: int) -> list[Count]:
        sums: dict[tuple[str, str, str], Count] = {}
        for item in self._counts.values():
            if item.tenant == tenant and since <= item.hour < until:
                key = item.gate, item.agent, item.name
                _add(sums.setdefault(key, Count(tenant, 0, item.gate, item.agent, item.name)), item)
        return [sums[key] for key in sorted(sums)]

    async def sweep(self, limit: int) -> int:
        now = self._clock.now_us()
        over = sorted((kept.expires_at, key) for key, kept in self._kept.items() if kept.expires_at <= now)
        gone = self._remove(key for _, key in over[:limit])
        for key in [key for key, flight in self._flights.items() if flight.until < now - 60_000_000]:
            del self._flights[key]
        oldest = now - COUNTS_KEPT_DAYS * 24 * HOUR
        for counted in [counted for counted, item in self._counts.items() if item.hour < oldest]:
            del self._counts[counted]
        return gone

    def _erase(self, tenant: str) -> None:
        """What was erased of a person, or of a run, is erased here before anybody can see it."""
        self._remove(
            key
            for key, kept in self._kept.items()
            if key[0] == tenant and self._is_erased(tenant, kept.entry.subject, kept.seat)
        )

    def _is_erased(self, tenant: str, subject: str, seat: Seat) -> bool:
        if (tenant, subject) in self._store.subjects:
            return self._store.subjects[tenant, subject] is None
        run = self._store.runs.get((tenant, seat.run))
        return subject == str(seat.run) and run is not None and run.subject_key is None

    def _seated(self, tenant: str, seat: Seat) -> bool:
        run = self._store.runs.get((tenant, seat.run))
        if run is None or run.epoch != seat.epoch or run.status is not Status.RUNNING or run.worker is None:
            return False
        worker = self._store.workers.get(run.worker)
        return worker is not None and worker.lease_until > self._clock.now_us()

    def _end(self, tenant: str, key: bytes, seat: Seat) -> None:
        flight = self._flights.get((tenant, key))
        if flight is not None and flight.seat == seat and not flight.alone:
            del self._flights[tenant, key]

    def _make_room(self, entry: Entry, bounds: Bounds) -> None:
        oldest_first = sorted(
            (kept.used_at, key, len(kept.entry.data)) for key, kept in self._kept.items() if key[0] == entry.tenant
        )
        entries, size = len(oldest_first), sum(item[2] for item in oldest_first)
        for _, key, stored in oldest_first:
            if entries < bounds.entries and size + len(entry.data) <= bounds.bytes:
                return
            del self._kept[key]
            entries, size = entries - 1, size - stored

    def _remove(self, keys: Iterable[_Key]) -> int:
        meant = list(keys)
        for key in meant:
            del self._kept[key]
        return len(meant)


def _is_meant(entry: Entry, which: Which) -> bool:
    return (
        which.gate in (None, entry.gate)
        and (which.scope is None or (which.scope, which.scope_name) == (entry.scope, entry.scope_name))
        and which.agent in ("", entry.agent)
        and which.name in ("", entry.name)
        and (not which.tag or which.tag in entry.tags)
    )


def _add(known: Count, item: Count) -> None:
    for figure in FIGURES:
        setattr(known, figure, getattr(known, figure) + getattr(item, figure))
