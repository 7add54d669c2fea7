"""Counting what ended runs spent: one process at a time goes through them, in the order of their ends, step by step.

A run's own spending is read from its tape: its model calls by model, its tool calls; what runs below it spent counts
with them. An attempt that has no outcome when the run ends is charged at its reservation, as the run itself charges it.
The sums are a view: `Counting.again` makes them anew.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from penstock.events import Amount, ChildOutcome, ModelIntent, ModelOutcome, RunEnded, ToolIntent, ToolOutcome, decode
from penstock.gates.run.services import Services
from penstock.kernel.errors import EventUnreadable, UsageBusy
from penstock.kernel.groups import in_groups
from penstock.kernel.ids import new_id
from penstock.ports.journal import Journal
from penstock.ports.records import CONTINUED, Row
from penstock.ports.usage import HOUR, MINUTE, MINUTES_KEPT, EndedRun, HourSum, MinuteSum, Place, Step, merged_minute
from penstock.runs.duties import keep_looking

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
_SPENDING = (b'"kind":"model.', b'"kind":"tool.', b'"kind":"run.ended"', b'"kind":"child.outcome"')
"""What the stored form of an event holds that says something of spending; of the others most are not decoded."""


@dataclass(slots=True)
class Spent:
    """What was spent on one model, or ('') on none."""

    model_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    nano: int = 0
    nano_at_maximum: int = 0

    def add(self, amount: Amount, *, at_maximum: bool = False) -> None:
        self.tokens_in += amount.tokens_in
        self.tokens_out += amount.tokens_out
        self.nano += amount.nano
        self.nano_at_maximum += amount.nano if at_maximum else 0


@dataclass(slots=True)
class RunSpending:
    """One run's own spending by model, from its events in order."""

    models: dict[str, Spent] = field(default_factory=dict)
    is_whole: bool = False  # the end was among them
    is_damaged: bool = False
    child_code: str = ""  # of the last child that did not succeed
    _open: dict[tuple[str, int], tuple[str, Amount]] = field(default_factory=dict)

    def take(self, rows: Iterable[Row]) -> None:
        """Further events.

        Raises:
            EventUnreadable: one cannot be read.
        """
        for row in rows:
            if not any(kind in row.body for kind in _SPENDING):
                continue
            match decode(row.body):
                case ModelIntent() as event:
                    self._of(event.model).model_calls += 1
                    self._open[event.path, event.attempt] = event.model, event.reserved
                case ToolIntent() as event:
                    self._open[event.path, event.attempt] = "", event.reserved
                case ModelOutcome() as event:
                    model, _ = self._open.pop((event.path, event.attempt), ("", Amount()))
                    self._of(model).add(event.used, at_maximum=event.at_maximum)
                case ToolOutcome() as event:
                    self._open.pop((event.path, event.attempt), None)
                    self._of("").add(event.used)
                case ChildOutcome(outcome=outcome, code=code) if outcome != "succeeded":
                    self.child_code = code
                case RunEnded():
                    self.is_whole = True
                    for model, reserved in self._open.values():
                        self._of(model).add(reserved, at_maximum=True)
                    self._open.clear()
                case _:
                    pass

    def of_row(self, run: EndedRun) -> None:
        """What the run's row says, when its record is gone: which models it called is not known any more."""
        self.models = {
            "": Spent(run.model_calls, max(0, run.tokens - run.tokens_below), 0, max(0, run.nano - run.nano_below))
        }

    def _of(self, model: str) -> Spent:
        spent = self.models.get(model)
        if spent is None:
            spent = self.models[model] = Spent()
        return spent


def hour_sums(run: EndedRun, spending: RunSpending) -> list[HourSum]:
    """What the run adds to the sums: a row that counts it, and one for each model that it called."""
    names = {
        "customer": run.tags.get("customer", ""),
        "feature": run.tags.get("feature", ""),
        "agent": run.agent,
        "task_type": run.tags.get("task_type", ""),
        "release": run.release,
    }
    total = sum(spent.nano for spent in spending.models.values())
    sums = []
    for model, spent in {"": Spent(), **spending.models}.items():
        sums.append(
            HourSum(
                hour=run.ended_at - run.ended_at % HOUR,
                slot=_slot(*names.values(), model),
                **names,
                model=model,
                runs=int(not model),
                used_by=1 if model or spent.nano or spent.model_calls else 0,
                model_calls=spent.model_calls,
                tokens_in=spent.tokens_in,
                tokens_out=spent.tokens_out,
                nano=spent.nano,
                nano_at_maximum=spent.nano_at_maximum,
                dearest=run.id,
                # Of all rows with one value the greatest counts: by customer that is the run's whole spending.
                dearest_nano=spent.nano if model else total,
            )
        )
    return sums


def minute_sum(run: EndedRun, spending: RunSpending) -> MinuteSum:
    """How the run ended."""
    minute = run.ended_at - run.ended_at % MINUTE
    code = spending.child_code if run.code == CHILD_FAILED and spending.child_code else run.code
    slot = _slot(run.agent, run.outcome, code)
    return MinuteSum(minute, slot, run.agent, run.outcome, code, 1, int(run.is_root), run.id)


def merged_hours(sums: Iterable[HourSum]) -> list[HourSum]:
    """One row for each hour and slot."""
    merged: dict[tuple[int, UUID], HourSum] = {}
    for item in sums:
        known = merged.setdefault((item.hour, item.slot), item)
        if known is item:
            continue
        for name in ("runs", "used_by", "model_calls", "tokens_in", "tokens_out", "nano", "nano_at_maximum"):
            setattr(known, name, getattr(known, name) + getattr(item, name))
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


def _slot(*names: str) -> UUID:
    """128 bits of SHA-256 of the names: they may be too long for an index."""
    return UUID(bytes=hashlib.sha256(msgspec.json.encode(names)).digest()[:16])


class Counting:
    """Counts for all tenants, in turns with other processes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._holder = new_id(services.clock)

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
                hours += hour_sums(run, spending)
                if run.ended_at >= recent and run.code != CONTINUED:
                    minutes.append(minute_sum(run, spending))
        return await self._journal.usage.count(step, merged_hours(hours), merged_minutes(minutes))

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
            if not spendings[run.id].is_whole or spendings[run.id].is_damaged:
                spendings[run.id].of_row(run)
        return [spendings[run.id] for run in runs]

    @staticmethod
    def _take(spending: RunSpending, rows: Sequence[Row], run: UUID) -> None:
        try:
            spending.take(rows)
        except EventUnreadable as error:
            _logger.warning("what run %s spent is counted by its row: %s", run, error.what)
            spending.is_damaged = True
