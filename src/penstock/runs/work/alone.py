"""The worker of a process that executes one run and nothing else; see `penstock.runs.work.poison`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from penstock.gates.run.services import Services
from penstock.journal.writer import GroupWriter
from penstock.kernel.backoff import until_answered
from penstock.ports.journal import Journal
from penstock.ports.records import RunKey
from penstock.runs.work.worker import Worker


@dataclass(slots=True, frozen=True)
class Assignment:
    """The run to take over, from whom, and the id to do it under."""

    tenant: str
    run: UUID
    holder: UUID
    epoch: int
    worker: UUID


class LoneWorker(Worker):
    """Takes one run over from another worker, executes it until it is put away, and ends.

    ``put_away`` is called when that has been written. A run that is not the holder's any more is nobody's business
    here: the worker ends at once.
    """

    def __init__(
        self,
        services: Services,
        writer: GroupWriter,
        name: str,
        open_lease: Callable[[], Awaitable[Journal]] | None,
        assignment: Assignment,
        put_away: Callable[[], None],
    ) -> None:
        super().__init__(services, writer, name, list, open_lease)
        self.id = assignment.worker
        self._assignment = assignment
        self._put_away = put_away

    async def _claim_until_drained(self) -> None:
        task, routing = self._assignment, self.services.rollouts
        if routing is not None:
            await until_answered(routing.look, self.services.clock.sleep)
        claim = await self.services.journal.take_over(self.id, task.tenant, task.run, task.holder, task.epoch)
        if claim is None or self._draining.is_set():
            return
        execution = self._execution(await self.loader.alone(claim))
        execution.condemned = ""
        self._start(claim, execution)
        while self._tasks and not self._draining.is_set() and not self._lease_lost:
            self._woken.clear()
            woken = asyncio.create_task(self._woken.wait())
            try:
                await asyncio.wait({woken, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                woken.cancel()

    def drain(self) -> None:
        """Let the run go on for the grace time; what has not come to an end by then is lost, without a trace.

        A run that was handed back would count as sound again, and cost the next workers.
        """
        if not self._draining.is_set():
            self._leave_by_ns = self.services.clock.boot_ns() + int(self.services.settings.drain_seconds * 1e9)
            self._draining.set()
            self.wake()

    async def _finish_running(self) -> None:
        await self._settle_for(max(0, self._leave_by_ns - self.services.clock.boot_ns()) / 1e9)

    def _lose_lease(self) -> None:
        super()._lose_lease()
        self._draining.set()  # whoever has the run now has it for good

    def _has_put_away(self, key: RunKey, how: str) -> None:
        super()._has_put_away(key, how)
        if how != "lost":
            self._put_away()
