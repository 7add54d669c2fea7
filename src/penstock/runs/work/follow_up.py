"""What is left to do when a run has ended, whoever ended it and whatever became of that worker.

Runs that waited for its end are told, events that it was given and did not take are free again, and its children that
nobody waits for any more are cancelled. Runs that wait for each other for ever, and runs that sleep although their wait
is over, are looked for besides. Each step may be done twice; so any worker does it, for all.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from penstock.gates.breakers.admission import observe_end
from penstock.gates.run.context import RunContext
from penstock.gates.run.services import Services
from penstock.gates.snapshots.snapshot import forget
from penstock.kernel.errors import JournalError, JournalFull, JournalUnavailable, RunUnknown
from penstock.ports.records import Claim, Stop
from penstock.runs.work.late_circles import break_late_circles
from penstock.runs.work.overslept import wake_overslept

ORPHANED = "the parent has ended"
"""Why such children are cancelled, for the record."""
SOON_SECONDS = 0.02
"""How long after a run has ended here the others that end with it are waited for."""
EXPIRE_EVERY = 60
"""Rounds between two looks for events whose time is over."""

_logger = logging.getLogger("penstock.runs")


async def follow_up(services: Services) -> tuple[int, bool]:
    """Put one batch of ended runs in order; how many they were, and whether some run waits for the end of another.

    Raises:
        JournalError: the store cannot be reached; the next round goes on.
    """
    journal = services.journal
    found = await journal.waits.follow_up(services.settings.follow_up_batch)
    for ended in found.ended:
        for child in ended.children:
            with contextlib.suppress(RunUnknown):
                await journal.stop_run(ended.tenant, child, Stop.CANCEL, ended.agent, ORPHANED)
        await journal.waits.followed_up(ended.tenant, ended.run)
    return len(found.ended), found.expecting


async def leave_duties(
    services: Services, claim: Claim, children: Sequence[UUID], given_up: Callable[[], bool]
) -> None:
    """Note, before a run's end is written, which children are to be cancelled after it: a worker that dies right after
    the end leaves none behind. Waits while the store cannot be reached: the end could not be written either."""
    while not given_up():
        try:
            await services.journal.waits.leave_duties(claim.tenant, claim.run, children)
        except (JournalUnavailable, JournalFull):
            await services.clock.sleep(services.settings.poll_seconds)
        else:
            return


async def after_end(ctx: RunContext, children: Sequence[UUID], nano: int) -> None:
    """A run's end is durable: its snapshot is of no use any more, the breakers learn what it cost in all, and the
    children that nobody waits for are cancelled, at once; what fails here is done by `follow_up`."""
    await forget(ctx)
    observe_end(ctx, nano)
    services, claim = ctx.services, ctx.claim
    for child in children:
        with contextlib.suppress(JournalError, RunUnknown):
            await services.journal.stop_run(claim.tenant, child, Stop.CANCEL, claim.agent, ORPHANED)


class Follower:
    """Does it again and again, each ``poll_seconds``; soon after a run has ended here if somebody waits for runs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._ended = asyncio.Event()
        self._expecting = True

    def has_ended(self) -> None:
        """A run has ended in this process."""
        if self._expecting:
            self._ended.set()

    async def run(self) -> None:
        """Until cancelled."""
        settings, clock = self._services.settings, self._services.clock
        rounds = 0
        looked_ns = clock.boot_ns()
        while True:
            self._ended.clear()
            done = 0
            try:
                done, self._expecting = await follow_up(self._services)
                if self._expecting:
                    await break_late_circles(self._services)
                if clock.boot_ns() - looked_ns >= settings.wakeup_look_seconds * 1e9:
                    looked_ns = clock.boot_ns()
                    await wake_overslept(self._services)
                if rounds % EXPIRE_EVERY == 0:
                    await self._services.journal.waits.expire(settings.follow_up_batch)
                    await self._services.journal.triggers.expire(settings.follow_up_batch)
            except JournalError as error:
                _logger.debug("ended runs could not be put in order: %s", error)
            rounds += 1
            if done < settings.follow_up_batch:
                await self._pause(settings.poll_seconds)

    async def _pause(self, seconds: float) -> None:
        clock = self._services.clock
        waits = {asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(self._ended.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._ended.is_set():
            await clock.sleep(min(SOON_SECONDS, seconds))
