"""Counting what ended runs spent: one process at a time goes through them, in the order of their ends, step by step.

A run's own spending is read from its tape, see `penstock.journal.calls`. The sums are a view: `Counting.again` makes
them anew.
"""

import logging
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from penstock.events import Amount
from penstock.gates.run.services import Services
from penstock.journal.calls import APART, CallReader, PaidCall
from penstock.kernel.errors import EventUnreadable, UsageBusy
from penstock.kernel.groups import in_groups
from penstock.kernel.ids import new_id
from penstock.ports.journal import Journal
from penstock.ports.records import CONTINUED, Row
from penstock.ports.usage import (
    CLASSES,
    HOUR,
    MINUTE,
    MINUTES_KEPT,
    OTHER,
    SUMMED,
    TAG,
    EndedRun,
    HourSum,
    MinuteSum,
    Place,
    Step,
    merged_minute,
    slot_of,
)
from penstock.runs.duties import keep_looking

DAY = 24 * HOUR
LEASE_SECONDS = 60.0
"""How long the turn stays taken without a sign of life; one step takes a fraction of it."""
TENANTS_AT_ONCE = 100
"""Tenants that one look counts for."""
TAPE_EVENTS = 2_000
"""Events that are read at a time, of several short runs together, of a long one page by page: some milliseconds of a
worker's event loop."""
DROPPED_AT_ONCE = 1_000
NEVER = -1  # no look is full: the turn has its own pace

_logger = logging.getLogger("penstock.runs")

CHILD_FAILED = "child_failed"
SPENT_ON = ("customer", "feature", "task_type", "user")
"""Tags by which everything is summed up."""
_BOUNDED = (*SPENT_ON, "agent", "release", "model")
"""Dimensions whose values come from outside, and are summed up as one beyond the bound."""
_ADDED = (*SUMMED, *CLASSES)
_added = operator.attrgetter(*_ADDED)


@dataclass(slots=True)
class Spent:
    """What was spent on one model, or ('') on none, for one kind of call."""

    model_calls: int = 0
    nano_at_maximum: int = 0
    used: Amount = Amount()

    def add(self, call: PaidCall) -> None:
        self.used = self.used.plus(call.used)
        self.model_calls += bool(call.model)
        self.nano_at_maximum += call.used.nano if call.at_maximum else 0


@dataclass(slots=True)
class RunSpending:
    """One run's own spending by model and kind, from its events in order."""

    parts: dict[tuple[str, str], Spent] = field(default_factory=dict)
    is_damaged: bool = False
    reader: CallReader = field(default_factory=lambda: CallReader(free_tools=False))

    def take(self, rows: Iterable[Row]) -> None:
        """Further events.

        Raises:
            EventUnreadable: one cannot be read.
        """
        for call in self.reader.take(rows):
            if call.kind == "tool" and call.used == Amount():
                continue
            self.parts.setdefault((call.model, call.kind), Spent()).add(call)

    def of_row(self, run: EndedRun) -> None:
        """What the run's row says, when its record is gone: which models it called is not known any more."""
        used = Amount(max(0, run.tokens - run.tokens_below), 0, max(0, run.nano - run.nano_below))
        self.parts = {("", ""): Spent(run.model_calls, 0, used)}


def hour_sums(run: EndedRun, spending: RunSpending, own_tags: Sequence[str] = ()) -> list[HourSum]:
    """What the run adds to the sums: a row that counts it, and one for each model that it called and kind of call.

    Args:
        own_tags: names of tags by which it is summed up besides `SPENT_ON`.
    """
    names = {name: run.tags.get(name, "") for name in SPENT_ON}
    tags = {name: run.tags[name] for name in sorted(own_tags) if run.tags.get(name)}
    apart = run.tags.get("kind", "") if run.tags.get("kind") in APART else ""
    total = sum(spent.used.nano for spent in spending.parts.values())
    totals: dict[tuple[str, str], Spent] = {("", ""): Spent()}
    for (model, kind), spent in spending.parts.items():
        known = totals.setdefault((model, apart or kind), Spent())
        known.used = known.used.plus(spent.used)
        known.model_calls += spent.model_calls
        known.nano_at_maximum += spent.nano_at_maximum
    sums, models, kinds = [], {""}, {""}
    for (model, kind), spent in totals.items():
        used = spent.used
        sums.append(
            HourSum(
                hour=run.ended_at - run.ended_at % HOUR,
                slot=UUID(int=0),
                customer=names["customer"],
                feature=names["feature"],
                agent=run.agent,
                task_type=names["task_type"],
                release=run.release,
                user=names["user"],
                model=model,
                runs=int(not (model or kind)),
                used_by=int(model not in models),
                model_calls=spent.model_calls,
                tokens_in=used.tokens_in,
                tokens_out=used.tokens_out,
                nano=used.nano,
                nano_at_maximum=spent.nano_at_maximum,
                dearest=run.id,
                # Of all rows with one value the greatest counts: by customer that is the run's whole spending.
                dearest_nano=used.nano if model or kind else total,
                kind=kind,
                tags=tags,
                kind_runs=int(kind not in kinds),
                used_in=int(bool(model or kind)),
                cached=used.cached,
                written=used.written,
                written_hour=used.written_hour,
                reasoning=used.reasoning,
                audio_in=used.audio_in,
                audio_out=used.audio_out,
                image_in=used.image_in,
                image_out=used.image_out,
            )
        )
        models.add(model)
        kinds.add(kind)
    return sums


def slotted(item: HourSum) -> HourSum:
    """The sum with its slot: what has the same names is one."""
    names = [item.customer, item.feature, item.agent, item.task_type, item.release, item.model, item.user, item.kind]
    item.slot = slot_of(*names, *(part for pair in sorted(item.tags.items()) for part in pair))
    names[6] = ""
    item.coarse = slot_of(*names)
    return item


def minute_sum(run: EndedRun, spending: RunSpending) -> MinuteSum:
    """How the run ended."""
    minute = run.ended_at - run.ended_at % MINUTE
    child_code = spending.reader.child_code
    code = child_code if run.code == CHILD_FAILED and child_code else run.code
    slot = slot_of(run.agent, run.outcome, code)
    return MinuteSum(minute, slot, run.agent, run.outcome, code, 1, int(run.is_root), run.id)


def merged_hours(sums: Iterable[HourSum]) -> list[HourSum]:
    """One row for each hour and slot."""
    merged: dict[tuple[int, UUID], HourSum] = {}
    for item in sums:
        known = merged.setdefault((item.hour, item.slot), item)
        if known is item:
            continue
        for name, more in zip(_ADDED, _added(item), strict=True):
            if more:
                setattr(known, name, getattr(known, name) + more)
        if item.dearest_nano > known.dearest_nano:
            known.dearest, known.dearest_nano = item.dearest, item.dearest_nano
    return list(merged.values())


def merged_minutes(sums: Iterable[MinuteSum]) -> list[MinuteSum]:
    """One row for each minute and slot."""
    merged: dict[tuple[int, UUID], MinuteSum] = {}
    for item in sums:
        key = item.minute, item.slot
        merged[key] = merged_minute(merged[key], item) if key in merged else item
    return list(merged.values())


class Counting:
    """Counts for all tenants, in turns with other processes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._holder = new_id(services.clock)
        self._own_tags = [name.strip() for name in services.settings.costs_tags.split(",") if name.strip()]

    @property
    def _journal(self) -> Journal:
        return self._services.journal

    async def run(self) -> None:
        """Look, wait, look again, until cancelled."""
        services = self._services
        await keep_looking(self.look, NEVER, services.clock, services.settings.usage_every_seconds, "usage")

    async def look(self) -> int:
        """Count what has ended, if it is this process's turn; how many runs that were.

        Raises:
            JournalError: the store cannot be reached.
        """
        usage, settings = self._journal.usage, self._services.settings
        if not await usage.take_turn(self._holder, LEASE_SECONDS, when_due=True):
            return 0
        counted = 0
        for tenant in await usage.behind(TENANTS_AT_ONCE):
            place = await usage.place(tenant)
            if place is not None:
                counted += await self._go_on(place)
        now = await self._journal.now()
        keep = int(settings.usage_keep_seconds * 1e6)
        await usage.drop_old(now - MINUTES_KEPT, now - keep, DROPPED_AT_ONCE)
        await usage.end_turn(self._holder, settings.usage_every_seconds)
        return counted

    async def again(self, tenant: str) -> int:
        """Make a tenant's sums anew from the journal; how many runs were counted.

        What ended in hours of which records are gone stays as it was counted.

        Raises:
            UsageBusy: another process counts, for longer than it should take.
        """
        usage, clock = self._journal.usage, self._services.clock
        until = await self._journal.now() + int(2 * LEASE_SECONDS * 1e6)
        while not await usage.take_turn(self._holder, LEASE_SECONDS, when_due=False):
            if await self._journal.now() > until:
                raise UsageBusy("another process counts what runs have spent, and does not let go")
            await clock.sleep(0.2)
        kept = await usage.kept_until(tenant)
        generation = await usage.begin_again(tenant)
        counted = 0
        try:
            while True:
                place = await usage.place(tenant, generation)
                if place is None:
                    raise UsageBusy("another process began to make the sums anew")
                counted += await self._go_on(place, kept)
                if await usage.finish_again(tenant, generation):
                    return counted
                await clock.sleep(0.05)
        finally:
            await usage.end_turn(self._holder, 0)

    async def _go_on(self, place: Place, kept: dict[str, int] | None = None) -> int:
        """Count step by step until there is nothing more."""
        usage, counted = self._journal.usage, 0
        while await usage.take_turn(self._holder, LEASE_SECONDS, when_due=False):
            step = await usage.next_step(place)
            if step is None or step.ends == place:
                break
            runs = [run for run in step.runs if run.ended_at >= (kept or {}).get(run.agent, 0)]
            if not await self._count(step, runs):
                break
            counted += len(runs)
            if not step.more:
                break
            place = step.ends
        return counted

    async def _count(self, step: Step, runs: Sequence[EndedRun]) -> bool:
        hours: list[HourSum] = []
        minutes: list[MinuteSum] = []
        recent = await self._journal.now() - MINUTES_KEPT
        # Short tapes are read together; a long one is alone.
        for batch in in_groups(runs, lambda run: run.last_seq, TAPE_EVENTS):
            for run, spending in zip(batch, await self._read(step.begins.tenant, batch), strict=True):
                hours += hour_sums(run, spending, self._own_tags)
                if run.ended_at >= recent and run.code != CONTINUED:
                    minutes.append(minute_sum(run, spending))
        sums = merged_hours(map(slotted, hours))
        if await self._bound(step.begins.tenant, sums):
            sums = merged_hours(map(slotted, sums))
        return await self._journal.usage.count(step, sums, merged_minutes(minutes))

    async def _bound(self, tenant: str, hours: Sequence[HourSum]) -> bool:
        """Values beyond the bound of a day become `OTHER`: a tag with a million values stays a handful of sums.

        Whether any did.
        """
        days: dict[int, dict[str, dict[str, None]]] = {}
        for item in hours:
            named = days.setdefault(item.hour - item.hour % DAY, {})
            for name in _BOUNDED:
                if value := getattr(item, name):
                    named.setdefault(name, {})[value] = None
            for name, value in item.tags.items():
                named.setdefault(TAG + name, {})[value] = None
        most, is_other = self._services.settings.costs_values_max, False
        for day, named in days.items():
            admitted = await self._journal.usage.admit(tenant, day, named, most)
            for item in hours:
                if item.hour - item.hour % DAY != day:
                    continue
                for name in _BOUNDED:
                    value = getattr(item, name)
                    if value and value not in admitted[name]:
                        setattr(item, name, OTHER)
                        is_other = True
                tags = {name: value if value in admitted[TAG + name] else OTHER for name, value in item.tags.items()}
                is_other = is_other or tags != item.tags
                item.tags = tags
        return is_other

    async def _read(self, tenant: str, runs: Sequence[EndedRun]) -> list[RunSpending]:
        """What each of some runs spent; a run whose tape cannot be read counts by its row."""
        spendings = {run.id: RunSpending() for run in runs}
        if len(runs) > 1:
            tapes = await self._journal.tapes([(tenant, run.id) for run in runs])
            for (_, run_id), rows in tapes.items():
                self._take(spendings[run_id], rows, run_id)
        else:
            for run in runs:
                after = 0
                while rows := await self._journal.tape(tenant, run.id, after=after, limit=TAPE_EVENTS):
                    self._take(spendings[run.id], rows, run.id)
                    after = rows[-1].seq
        for run in runs:
            if not spendings[run.id].reader.is_whole or spendings[run.id].is_damaged:
                spendings[run.id].of_row(run)
        return [spendings[run.id] for run in runs]

    @staticmethod
    def _take(spending: RunSpending, rows: Sequence[Row], run: UUID) -> None:
        try:
            spending.take(rows)
        except EventUnreadable as error:
            _logger.warning("what run %s spent is counted by its row: %s", run, error.what)
            spending.is_damaged = True
