"""`penstock.ports.usage.Usage` for one process."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from penstock.adapters.memory.records import Run, Store
from penstock.kernel.clock import Clock
from penstock.ports.records import CONTINUED, Status
from penstock.ports.retention import MonthTotals
from penstock.ports.usage import (
    CLASSES,
    COUNTS,
    DIMENSIONS,
    HOUR,
    LIVE_MAX,
    MINUTE,
    OF_CALLS,
    STEP_MAX,
    SUMMED,
    TAG,
    By,
    EndedRun,
    Group,
    HourRow,
    HourSum,
    Live,
    MinuteSum,
    Place,
    Step,
    bounded_by,
    bounded_where,
    counter_of,
    merged_minute,
)

_SUMMED = (*SUMMED, *CLASSES)


class MemoryUsage:
    """See the port. ``forgotten``: the sums over runs whose rows are gone, by tenant, month, agent and outcome."""

    def __init__(self, store: Store, clock: Clock, forgotten: Mapping[tuple[str, str, str, str], MonthTotals]) -> None:
        self._store = store
        self._clock = clock
        self._forgotten = forgotten
        self._holder: UUID | None = None
        self._lease_until = 0
        self._due_at = 0
        self._places: dict[str, dict[int, Place]] = {}
        self._current: dict[str, int] = {}
        self._hours: dict[tuple[str, int], dict[tuple[int, UUID], HourSum]] = {}
        self._minutes: dict[tuple[str, int], dict[tuple[int, UUID], MinuteSum]] = {}
        self._admitted: dict[tuple[str, int, str], set[str]] = {}
        self._rerates: dict[str, dict[UUID, bytes]] = {}

    async def take_turn(self, holder: UUID, lease_seconds: float, *, when_due: bool) -> bool:
        now = self._clock.now_us()
        mine = self._holder == holder and self._lease_until > now
        free = self._lease_until <= now and (not when_due or self._due_at <= now)
        if not mine and not free:
            return False
        self._holder, self._lease_until = holder, now + int(lease_seconds * 1e6)
        return True

    async def end_turn(self, holder: UUID, next_seconds: float) -> None:
        if self._holder == holder:
            now = self._clock.now_us()
            self._lease_until, self._due_at = now, now + int(next_seconds * 1e6)

    async def behind(self, limit: int) -> list[str]:
        numbers: dict[str, int] = {}
        for number, run in enumerate(self._store.ends, 1):
            numbers[run.new.tenant] = number
        return [tenant for tenant in sorted(numbers) if numbers[tenant] > self._place(tenant).number][:limit]

    async def place(self, tenant: str, generation: int | None = None) -> Place | None:
        if generation is None:
            return self._place(tenant)
        return self._places.get(tenant, {}).get(generation)

    async def next_step(self, place: Place, limit: int = STEP_MAX) -> Step | None:
        limit = min(limit, STEP_MAX)
        ends = self._store.ends
        theirs = [number for number in range(place.number + 1, len(ends) + 1) if self._is_of(place, ends[number - 1])]
        more, theirs = len(theirs) > limit, theirs[:limit]
        runs = [self._ended(ends[number - 1]) for number in theirs]
        number = theirs[-1] if more else max(place.number, len(ends))
        until = runs[-1].ended_at if more else self._clock.now_us()
        then = Place(place.tenant, place.generation, number, place.unnumbered, False, max(place.until, until))
        return Step(place, then, runs, more)

    async def count(self, step: Step, hours: Sequence[HourSum], minutes: Sequence[MinuteSum]) -> bool:
        begins = step.begins
        places = self._places.get(begins.tenant, {})
        known = places.get(begins.generation)
        if known is None or (known.number, known.is_old) != (begins.number, begins.is_old):
            return False
        places[begins.generation] = step.ends
        key = begins.tenant, begins.generation
        known_hours, known_minutes = self._hours.setdefault(key, {}), self._minutes.setdefault(key, {})
        for item in hours:
            before = known_hours.setdefault((item.hour, item.slot), _empty(item))
            _add(before, item)
        for other in minutes:
            earlier = known_minutes.get((other.minute, other.slot))
            known_minutes[other.minute, other.slot] = other if earlier is None else merged_minute(earlier, other)
        return True

    async def drop_old(self, before_minute: int, before_hour: int, limit: int) -> int:
        dropped = 0
        for hours in self._hours.values():
            for place in [place for place in hours if place[0] < before_hour][:limit]:
                del hours[place]
                dropped += 1
        for minutes in self._minutes.values():
            for place in [place for place in minutes if place[0] < before_minute][:limit]:
                del minutes[place]
                dropped += 1
        return dropped

    async def kept_until(self, tenant: str) -> dict[str, int]:
        kept: dict[str, int] = {}
        for owner, month, agent, _ in self._forgotten:
            if owner == tenant:
                kept[agent] = max(kept.get(agent, 0), month_end(month))
        for run in self._store.runs.values():
            if run.new.tenant == tenant and run.pruned_at is not None:
                ended_at = run.ended_at or 0
                kept[run.new.agent] = max(kept.get(run.new.agent, 0), ended_at - ended_at % HOUR + HOUR)
        return kept

    async def begin_again(self, tenant: str) -> int:
        current = self._place(tenant).generation
        kept = await self.kept_until(tenant)
        for generation in [item for item in self._places[tenant] if item != current]:
            self._forget(tenant, generation)
        after = current + 1
        self._places[tenant][after] = Place(tenant, after, is_old=False)
        self._hours[tenant, after] = {
            place: msgspec.structs.replace(item)
            for place, item in self._hours.get((tenant, current), {}).items()
            if item.hour < kept.get(item.agent, 0)
        }
        self._minutes[tenant, after] = {
            place: item
            for place, item in self._minutes.get((tenant, current), {}).items()
            if item.minute < kept.get(item.agent, 0)
        }
        return after

    async def finish_again(self, tenant: str, generation: int) -> bool:
        place, current = self._places.get(tenant, {}).get(generation), self._place(tenant)
        if place is None or place.is_old or place.number < current.number:
            return False
        self._current[tenant] = generation
        for old in [item for item in self._places[tenant] if item < generation]:
            self._forget(tenant, old)
        return True

    async def admit(
        self, tenant: str, day: int, values: Mapping[str, Collection[str]], most: int
    ) -> dict[str, set[str]]:
        admitted: dict[str, set[str]] = {}
        for name, those in values.items():
            known = self._admitted.setdefault((tenant, day, name), set())
            for value in those:
                if len(known) < most:
                    known.add(value)
            admitted[name] = known & set(those)
        return admitted

    async def sums(
        self, tenant: str, by: str | Sequence[str], since: int, until: int, where: Mapping[str, str]
    ) -> list[Group]:
        names, groups = bounded_by(by), dict[tuple[str, ...], Group]()
        counter = counter_of(names, where)
        for item in self._read(tenant, since, until, where):
            values = tuple(_told(item, name) for name in names)
            group = groups.setdefault(values, Group(values))
            group.runs += getattr(item, counter)
            for name in COUNTS:
                setattr(group, name, getattr(group, name) + getattr(item, name))
            for name in CLASSES:
                if count := getattr(item, name):
                    group.classes[name] = group.classes.get(name, 0) + count
            if len(names) == 1 and (item.dearest_nano, item.dearest) > (
                group.dearest_nano,
                group.dearest or UUID(int=0),
            ):
                group.dearest_nano = max(0, item.dearest_nano)
                group.dearest = item.dearest if item.dearest_nano > 0 else None
        return sorted(groups.values(), key=lambda group: (-group.nano, group.values))

    async def hours(
        self, tenant: str, since: int, until: int, where: Mapping[str, str], after: tuple[int, UUID] | None, limit: int
    ) -> list[HourRow]:
        found = [
            item for item in self._read(tenant, since, until, where) if after is None or (item.hour, item.slot) > after
        ]
        return [
            HourRow(
                item.hour,
                item.slot,
                tuple(getattr(item, name) for name in DIMENSIONS),
                dict(item.tags),
                item.runs,
                item.model_calls,
                item.tokens_in,
                item.tokens_out,
                item.nano,
                item.nano_at_maximum,
                {name: getattr(item, name) for name in CLASSES},
            )
            for item in sorted(found, key=lambda item: (item.hour, item.slot))[:limit]
        ]

    async def series(
        self, tenant: str, by: By, since: int, until: int, width: int, values: Sequence[str], where: Mapping[str, str]
    ) -> list[tuple[int, str | None, int]]:
        start = since - since % HOUR
        bins: dict[tuple[int, str | None], int] = {}
        for item in self._read(tenant, since, until, where):
            value = _told(item, bounded_by(by)[0])
            key = item.hour - (item.hour - start) % width, value if value in values else None
            bins[key] = bins.get(key, 0) + item.nano
        ordered = sorted(bins, key=lambda key: (key[0], key[1] is None, key[1] or ""))
        return [(at, value, bins[at, value]) for at, value in ordered]

    async def live(self, tenant: str, by: str | Sequence[str], where: Mapping[str, str]) -> Live:
        wanted, names = bounded_where(where), bounded_by(by)
        known = {name: value for name, value in wanted.items() if name not in OF_CALLS}
        if known != wanted:
            others = await self.live(tenant, "agent", known)
            return Live([], any(group.nano for group in others.groups))
        place = self._place(tenant)
        uncounted = {run.key for run in self._store.ends[place.number :]}
        found = [
            run
            for run in self._store.runs.values()
            if run.new.tenant == tenant
            and (run.status is not Status.ENDED or run.key in uncounted)
            and (run.summary.nano or run.summary.tokens)
            and all(_value(run, name) == value for name, value in wanted.items())
        ]
        found.sort(key=lambda run: run.new.id, reverse=True)
        groups: dict[tuple[str, ...], Group] = {}
        for run in found[:LIVE_MAX]:
            nano, tokens = self._below(run)
            values = tuple(_value(run, name) for name in names)
            group = groups.setdefault(values, Group(values))
            group.runs += 1
            group.model_calls += run.summary.model_calls
            group.tokens_in += max(0, run.summary.tokens - tokens)
            group.nano += max(0, run.summary.nano - nano)
        return Live(list(groups.values()), len(found) >= LIVE_MAX)

    async def put_rerate(self, tenant: str, key: UUID, at: int, body: bytes) -> None:
        self._rerates.setdefault(tenant, {}).setdefault(key, body)

    async def rerates(self, tenant: str, limit: int) -> list[bytes]:
        known = self._rerates.get(tenant, {})
        return [known[key] for key in sorted(known, reverse=True)[:limit]]

    async def minutes(self, tenant: str, since: int) -> list[MinuteSum]:
        low, place = since - since % MINUTE, self._place(tenant)
        known = self._minutes.get((tenant, place.generation), {}).values()
        found = [item for item in known if item.minute >= low]
        sums: dict[tuple[int, str, str, str], MinuteSum] = {}
        for run in self._store.ends[place.number :][-LIVE_MAX:]:
            ended_at = run.ended_at or 0
            if run.new.tenant != tenant or ended_at < low or run.code == CONTINUED:
                continue
            minute, roots = ended_at - ended_at % MINUTE, int(_is_root(run))
            one = MinuteSum(minute, UUID(int=0), run.new.agent, run.outcome or "", run.code, 1, roots, run.new.id)
            key = minute, run.new.agent, one.outcome, run.code
            sums[key] = merged_minute(sums[key], one) if key in sums else one
        return sorted([*found, *sums.values()], key=lambda item: item.minute)

    def _is_of(self, place: Place, run: Run) -> bool:
        return run.new.tenant == place.tenant and run.key in self._store.runs

    def _place(self, tenant: str) -> Place:
        generation = self._current.setdefault(tenant, 1)
        return self._places.setdefault(tenant, {}).setdefault(generation, Place(tenant, generation, is_old=False))

    def _forget(self, tenant: str, generation: int) -> None:
        self._places[tenant].pop(generation, None)
        self._hours.pop((tenant, generation), None)
        self._minutes.pop((tenant, generation), None)

    def _read(self, tenant: str, since: int, until: int, where: Mapping[str, str]) -> list[HourSum]:
        wanted = bounded_where(where)
        known = self._hours.get((tenant, self._place(tenant).generation), {}).values()
        return [
            item
            for item in sorted(known, key=lambda item: item.hour)
            if since - since % HOUR <= item.hour < until
            and all(_told(item, name) == value for name, value in wanted.items())
        ]

    def _below(self, run: Run) -> tuple[int, int]:
        """Money and tokens that the run's row holds of the runs below it."""
        children = [
            other.summary
            for other in self._store.runs.values()
            if other.new.tenant == run.new.tenant
            and other.new.parent == run.new.id
            and other.new.parent_path != CONTINUED
        ]
        return sum(child.nano for child in children), sum(child.tokens for child in children)

    def _ended(self, run: Run) -> EndedRun:
        nano, tokens = self._below(run) if run.pruned_at is not None else (0, 0)
        return EndedRun(
            id=run.new.id,
            agent=run.new.agent,
            release=run.release,
            tags=dict(run.new.tags),
            outcome=run.outcome or "",
            code=run.code,
            ended_at=run.ended_at or 0,
            last_seq=run.last_seq,
            model_calls=run.summary.model_calls,
            tokens=run.summary.tokens,
            nano=run.summary.nano,
            nano_below=nano,
            tokens_below=tokens,
            is_root=_is_root(run),
            is_pruned=run.pruned_at is not None,
        )


def month_end(month: str) -> int:
    """The end of a month such as ``2026-11``, UTC, in microseconds since the epoch."""
    year, number = (int(part) for part in month.split("-"))
    after = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return int(after.timestamp()) * 1_000_000


def _is_root(run: Run) -> bool:
    return run.new.parent is None or run.new.parent_path == CONTINUED


def _value(run: Run, by: str) -> str:
    if by == "agent":
        return run.new.agent
    if by == "release":
        return run.release
    return "" if by in OF_CALLS else run.new.tags.get(by.removeprefix(TAG), "")


def _told(item: HourSum, by: str) -> str:
    value: str = item.tags.get(by.removeprefix(TAG), "") if by.startswith(TAG) else getattr(item, by)
    return value


def _empty(item: HourSum) -> HourSum:
    return msgspec.structs.replace(item, **dict.fromkeys(_SUMMED, 0), dearest=UUID(int=0), dearest_nano=-1)


def _add(one: HourSum, other: HourSum) -> None:
    for name in _SUMMED:
        setattr(one, name, getattr(one, name) + getattr(other, name))
    if other.dearest_nano > one.dearest_nano:
        one.dearest, one.dearest_nano = other.dearest, other.dearest_nano
