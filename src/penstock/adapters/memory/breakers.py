"""Circuit breakers for one process: the decisions of the functions of migration 0023, step for step."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import msgspec

from penstock.adapters.memory.records import Store
from penstock.kernel.clock import Clock
from penstock.kernel.errors import InputInvalid
from penstock.ports.breakers import (
    BREAKERS_MAX,
    HISTORY_DAYS,
    OTHER,
    PAGE_MAX,
    VALUES_MAX,
    WINDOW_MAX_SECONDS,
    Breaker,
    Circuit,
    Key,
    Report,
    Shared,
    Tally,
    Trip,
    View,
)
from penstock.ports.records import Status

REPORTS_KEPT = 10_000
TRIPS_KEPT = 10_000
DAY_US = 86_400 * 1_000_000


@dataclass(slots=True)
class _Place:
    """Who has the one probe of a half-open circuit."""

    holder: UUID
    until: int


@dataclass(slots=True, frozen=True)
class _Reported:
    number: int
    holder: UUID
    at: int
    key: Key
    generation: int
    tally: Tally


class MemoryBreakers:
    """Implements `penstock.ports.breakers.Breakers`; see there.

    ``tell`` tells the webhooks of a tenant: topic, what it is of, facts.
    """

    def __init__(
        self, store: Store, clock: Clock, tell: Callable[[str, str, str | None, str, dict[str, Any]], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell
        self._breakers: dict[tuple[str, str], Breaker] = {}
        self._circuits: dict[Key, Circuit] = {}
        self._places: dict[Key, _Place] = {}
        self._reported: deque[_Reported] = deque(maxlen=REPORTS_KEPT)
        self._number = 0
        self._trips: dict[UUID, Trip] = {}
        self._listeners: list[Callable[[], None]] = []

    async def put(self, breaker: Breaker, actor: str) -> None:
        key = breaker.tenant, breaker.name
        if key not in self._breakers and len(self._breakers) >= BREAKERS_MAX:
            raise InputInvalid(f"there are {BREAKERS_MAX} breakers already", hint="remove some, or use the value *")
        self._breakers[key] = breaker
        self._changed()

    async def remove(self, tenant: str, name: str) -> bool:
        known = self._breakers.pop((tenant, name), None)
        for key in [key for key in self._circuits if key[:2] == (tenant, name)]:
            del self._circuits[key]
            self._places.pop(key, None)
        if known is not None:
            self._changed()
        self._wake(tenant)
        return known is not None

    async def view(self) -> View:
        breakers = tuple(self._breakers[key] for key in sorted(self._breakers))
        circuits = tuple(self._circuits[key] for key in sorted(self._circuits))
        return View(self._store.breaker_version, self._clock.now_us(), breakers, circuits)

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    async def version(self) -> int:
        return self._store.breaker_version

    async def share(self, holder: UUID, cursor: int, reports: Sequence[Report]) -> Shared:
        now = self._clock.now_us()
        bases = []
        for report in reports:
            key = self._place_of(report.key)
            known = self._circuits.get(key) if key is not None else None
            if known is None or known.generation != report.generation:
                continue
            if known.base_samples < report.learn:
                known = replace(
                    known,
                    base_samples=known.base_samples + report.tally.samples,
                    base_nano=known.base_nano + report.tally.sampled,
                )
                self._circuits[known.key] = known
            bases.append((known.key, known.base_samples, known.base_nano))
            self._number += 1
            self._reported.append(
                _Reported(
                    self._number, holder, now, known.key, report.generation, msgspec.structs.replace(report.tally)
                )
            )
        since = now - int(WINDOW_MAX_SECONDS * 1e6)
        others = [
            (item.key, item.generation, item.at, msgspec.structs.replace(item.tally))
            for item in self._reported
            if item.number > cursor and item.holder != holder and item.at > since
        ]
        return Shared(self._store.breaker_version, now, self._number, others, bases)

    async def learn(self, key: Key, reference: bytes) -> bytes:
        place = self._place_of(key)
        if place is None:
            return reference
        known = self._circuits[place]
        if not known.reference:
            known = self._circuits[place] = replace(known, reference=reference)
            self._changed()
        return known.reference

    async def trip(
        self, key: Key, generation: int | None, trip: UUID, seconds: float, by: str, evidence: bytes
    ) -> bool:
        if trip in self._trips:
            return True
        place = self._place_of(key)
        if place is None:
            return False
        known, now = self._circuits[place], self._clock.now_us()
        until = now + int(seconds * 1e6)
        if generation is not None and (known.generation != generation or known.is_open):
            return False
        if known.is_open:
            until = max(until, known.until)
        self._close(place, by, now)
        self._circuits[place] = replace(
            known, is_open=True, generation=known.generation + 1, opened_at=now, until=until, probes_ok=0, trip=trip
        )
        self._places.pop(place, None)
        self._trips = {
            id_: old for id_, old in list(self._trips.items())[-TRIPS_KEPT:] if old.at > now - HISTORY_DAYS * DAY_US
        }
        self._trips[trip] = Trip(*place, trip, now, by, evidence)
        facts = {"breaker": place[1], "value": place[2], "trip": str(trip), "by": by, "until": until}
        self._tell(place[0], "breaker.opened", self._agent(place), str(trip), facts)
        self._changed()
        return True

    async def probe(self, key: Key, generation: int, holder: UUID, lease_seconds: float) -> bool:
        known, now = self._circuits.get(key), self._clock.now_us()
        if known is None or known.generation != generation or known.state(now) != "half_open":
            return False
        place = self._places.get(key)
        if place is not None and place.until > now:
            return False
        self._places[key] = _Place(holder, now + int(lease_seconds * 1e6))
        return True

    async def probed(
        self, key: Key, generation: int, holder: UUID, ok: bool | None, wanted: int, seconds: float
    ) -> None:
        known, now, place = self._circuits.get(key), self._clock.now_us(), self._places.get(key)
        if known is None or known.generation != generation or not known.is_open:
            return
        if place is None or place.holder != holder:
            return
        del self._places[key]
        if ok is None:
            return
        if not ok:
            self._circuits[key] = replace(known, generation=generation + 1, probes_ok=0, until=now + int(seconds * 1e6))
            self._changed()
        elif known.probes_ok + 1 < wanted:
            self._circuits[key] = replace(known, probes_ok=known.probes_ok + 1)
        else:
            self._close(key, "probes", now)

    async def reset(self, tenant: str, name: str, value: str | None, actor: str, *, relearn: bool = False) -> int:
        keys = [key for key in self._circuits if key[:2] == (tenant, name) and value in (None, key[2])]
        was_open, now = 0, self._clock.now_us()
        for key in keys:
            was_open += self._circuits[key].is_open
            self._close(key, actor, now)
            known = self._circuits[key]
            if relearn:
                known = replace(known, base_samples=0, base_nano=0, reference=b"")
            self._circuits[key] = replace(known, generation=known.generation + 1)
        if keys:
            self._changed()
        self._wake(tenant)
        return was_open

    def _wake(self, tenant: str) -> None:
        now = self._clock.now_us()
        for run in self._store.runs.values():
            if run.new.tenant == tenant and run.waits_for("breaker"):
                run.wake(now, only=Status.PARKED)

    async def trips(self, tenant: str, name: str | None, before: tuple[int, UUID] | None, limit: int) -> list[Trip]:
        found = [
            trip
            for trip in self._trips.values()
            if trip.tenant == tenant
            and name in (None, trip.name)
            and (before is None or (trip.at, trip.id.bytes) < (before[0], before[1].bytes))
        ]
        return sorted(found, key=lambda trip: (trip.at, trip.id.bytes), reverse=True)[: min(limit, PAGE_MAX)]

    def _place_of(self, key: Key) -> Key | None:
        """Where a circuit is kept, made when it is not there; None when the breaker is gone."""
        tenant, name, value = key
        if (tenant, name) not in self._breakers:
            return None
        if key not in self._circuits:
            kept = sum(known[:2] == (tenant, name) and known[2] != OTHER for known in self._circuits)
            if kept >= VALUES_MAX and value != OTHER:
                key = tenant, name, OTHER
            self._circuits.setdefault(key, Circuit(*key))
        return key

    def _close(self, key: Key, by: str, now: int) -> None:
        """Close one that is open, and its trip."""
        known = self._circuits[key]
        if not known.is_open:
            return
        self._circuits[key] = replace(known, is_open=False, generation=known.generation + 1, until=0, probes_ok=0)
        self._places.pop(key, None)
        trip = self._trips.get(known.trip) if known.trip else None
        if trip is not None:
            self._trips[trip.id] = replace(trip, closed_at=now, closed_by=by)
            facts = {"breaker": key[1], "value": key[2], "trip": str(trip.id), "by": by}
            self._tell(key[0], "breaker.closed", self._agent(key), str(trip.id), facts)
        self._changed()

    def _agent(self, key: Key) -> str | None:
        """Whom it concerns; None = not one agent."""
        breaker = self._breakers.get(key[:2])
        return key[2] if breaker is not None and breaker.scope == "agent" and key[2] != OTHER else None

    def _changed(self) -> None:
        self._store.breaker_version += 1
        for listener in self._listeners:
            listener()
