"""Firing schedules: each due time becomes one run, whichever worker sees it and however often it is interrupted.

A worker takes what is due under a lease, submits, and writes down how far it came. The run of a time has an idempotency
key made of the schedule's id and that time, so what is done twice, by two workers or by one after a crash, is one run.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from penstock.gates.run.services import Services
from penstock.kernel.errors import (
    IdempotencyConflict,
    JournalError,
    PayloadMissing,
    PenstockError,
    RunUnknown,
)
from penstock.ports.records import Stop
from penstock.ports.schedules import Due, Fired, Schedule
from penstock.runs.duties import keep_looking
from penstock.runs.schedules.firing_times import jitter_of, next_time, times_until
from penstock.runs.submit import ERROR_MAX_CHARS, NEVER_FIT, Request, submit

TAKEN_AT_ONCE = 100
SIDE_BY_SIDE = 8

_logger = logging.getLogger("penstock.runs")
_PASSED_OVER = (*NEVER_FIT, PayloadMissing)
"""What the same submission would meet again: the time is passed over, and the schedule says why."""


@dataclass(slots=True, frozen=True)
class Moves:
    """What is to be done about one due schedule. Times are those of its plan."""

    fire: list[int]
    cancel_last: bool
    queued_at: int
    skipped: int
    next_at: int
    due_at: int
    last_at: int


def moves_of(due: Due, grace_us: int) -> Moves:
    """Which times are fired for, which are passed over, and when to look again. Pure.

    Args:
        due: as it was taken.
        grace_us: how late a time may be without counting as missed, in microseconds.
    """
    schedule = due.schedule
    plan = schedule.plan
    times = [] if schedule.paused else _due_times(schedule, due.now)
    next_at = next_time(plan, times[-1]) if times else schedule.next_at
    last_at = times[-1] if times else 0
    kept = _not_missed(schedule, times, due.now, grace_us)
    skipped = len(times) - len(kept)
    candidates = ([schedule.queued_at] if schedule.queued_at and not schedule.paused else []) + kept
    fire, queued, cancel = _not_overlapping(schedule, candidates, due.open)
    skipped += len(candidates) - len(fire) - bool(queued)
    if plan.max_runs:
        left = max(0, plan.max_runs - schedule.fired)
        fire, queued = fire[:left], queued if len(fire) < left else 0
        if len(fire) >= left:
            next_at = 0
    due_at = next_at + jitter_of(schedule.id, next_at, plan.jitter) if next_at else 0
    return Moves(fire, cancel and bool(fire), queued, skipped, next_at, due_at, last_at)


def _due_times(schedule: Schedule, now: int) -> list[int]:
    """The times that have come, jitter included; the latest ones when there are many."""
    if not schedule.next_at:
        return []
    plan = schedule.plan
    times = times_until(plan, schedule.next_at, now, plan.catch_up)
    while times and times[-1] + jitter_of(schedule.id, times[-1], plan.jitter) > now:
        times.pop()
    return times


def _not_missed(schedule: Schedule, times: Sequence[int], now: int, grace_us: int) -> list[int]:
    """Those to be fired for. A single time within its grace is never missed."""
    plan = schedule.plan
    if plan.missed == "all":
        return list(times)
    latest = list(times[-1:])
    if plan.missed == "skip" and latest:
        put_off = jitter_of(schedule.id, latest[0], plan.jitter)
        return latest if now - latest[0] - put_off <= grace_us else []
    return latest


def _not_overlapping(schedule: Schedule, times: list[int], still_open: bool) -> tuple[list[int], int, bool]:
    """Those to be fired for now, one that waits (0 = none), and whether the last run is to be cancelled."""
    overlap = schedule.plan.overlap
    if overlap == "allow" or not times:
        return times, 0, False
    if overlap == "cancel_previous":
        return times[-1:], 0, still_open
    if overlap == "skip":
        return [] if still_open else times[-1:], 0, False
    if still_open:
        return [], times[0], False
    return times[:1], times[1] if len(times) > 1 else 0, False


class Firing:
    """Fires what is due, for as long as its worker works. ``offered`` gives the names of the agents that it offers.

    A schedule names an agent, not a release: a run is of the release that the firing worker offers, and an agent that
    no worker offers is fired for when one does, by the rule for missed times.
    """

    def __init__(self, services: Services, offered: Callable[[], Sequence[str]]) -> None:
        self._services = services
        self._offered = offered

    async def run(self) -> None:
        """Look, wait, look again, until cancelled."""
        services = self._services
        await keep_looking(
            self.look, TAKEN_AT_ONCE, services.clock, services.settings.schedule_poll_seconds, "schedules"
        )

    async def look(self) -> int:
        """Fire what is due now; how many schedules that were."""
        settings = self._services.settings
        taken = await self._services.journal.schedules.take_due(
            self._offered(), settings.lease_seconds, TAKEN_AT_ONCE, settings.environment
        )
        places = asyncio.Semaphore(SIDE_BY_SIDE)

        async def one(due: Due) -> None:
            async with places:
                await self._fire(due)

        if len(taken) == 1:
            await self._fire(taken[0])
        elif taken:
            await asyncio.gather(*(one(due) for due in taken))
        return len(taken)

    async def _fire(self, due: Due) -> None:
        """Fire one schedule. What fails for now is left to whoever takes it when the lease is over."""
        schedule = due.schedule
        try:
            fired = await self._submit(due, moves_of(due, int(self._services.settings.schedule_grace_seconds * 1e6)))
            if not await self._services.journal.schedules.settle(due, fired):
                _logger.info("schedule %s of %s was changed or taken meanwhile", schedule.name, schedule.tenant)
        except PenstockError as error:
            _logger.warning("schedule %s of %s could not be fired: %s", schedule.name, schedule.tenant, error.what)
        except Exception:  # such as a zone that this machine does not know: it must not hold up the others
            _logger.exception("schedule %s of %s could not be fired", schedule.name, schedule.tenant)

    async def _submit(self, due: Due, moves: Moves) -> Fired:
        schedule = due.schedule
        last: UUID | None = None
        error, submitted = "", 0
        try:
            if schedule.requested_at:
                run = await self._submit_one(schedule, f"asked:{schedule.requested_at}")
                last = None if due.open else run
            if moves.cancel_last and schedule.last_run is not None:
                await self._cancel(schedule, schedule.last_run)
            for time in moves.fire:
                last = await self._submit_one(schedule, str(time))
                submitted += 1
        except _PASSED_OVER as refused:
            error = refused.what[:ERROR_MAX_CHARS]
        return Fired(
            moves.next_at,
            moves.due_at,
            queued_at=moves.queued_at,
            requested_at=schedule.requested_at,
            fired=submitted,
            skipped=moves.skipped + len(moves.fire) - submitted,
            last_at=moves.last_at,
            last_run=last,
            error=error,
        )

    async def _submit_one(self, schedule: Schedule, time: str) -> UUID:
        """The run of that time, made now or by somebody who was interrupted."""
        services = self._services
        agent = services.agents.find(schedule.agent)
        if agent is None:
            raise JournalError(f"no agent {schedule.agent} is offered here any more")
        data = await services.reader.read(schedule.tenant, schedule.subject, schedule.address)
        plan = schedule.plan
        request = Request(
            agent,
            msgspec.json.decode(data),
            key=f"schedule:{schedule.id}:{time}",
            tags=plan.tags,
            tenant=schedule.tenant,
            session=plan.session,
            priority=plan.priority,
            actor=f"schedule:{schedule.name}",
        )
        try:
            [run] = await submit(services.journal, services.clock, services.settings, [request], services.rollouts)
        except IdempotencyConflict as known:  # submitted before the schedule's input was changed
            made: UUID = known.fields["run"]
            return made
        return run

    async def _cancel(self, schedule: Schedule, run: UUID) -> None:
        try:
            await self._services.journal.stop_run(
                schedule.tenant, run, Stop.CANCEL, f"schedule:{schedule.name}", "the next one is due"
            )
        except RunUnknown:
            return  # pruned by now
