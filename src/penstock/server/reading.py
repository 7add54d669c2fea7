"""What one server has read for all its callers: kept where it does not change, or for a moment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from penstock.runs.client import Penstock
from penstock.runs.usage import Counting
from penstock.server.schemas.overview import Cause, Minute, Need, Overview, WorkerShown
from penstock.server.shapes import amounts
from penstock.views.overview import Overviews
from penstock.views.skeleton_reading import Skeletons


@dataclass(slots=True)
class Reading:
    """Skeletons of runs, and overviews, of all tenants: a key names its tenant, and what is kept is kept by tenant."""

    platform: Penstock
    skeletons: Skeletons
    overviews: Overviews

    @classmethod
    def of(cls, platform: Penstock) -> "Reading":
        """For an open platform."""
        journal = platform.journal
        return cls(platform, Skeletons(journal), Overviews(journal, platform.services.clock))

    async def overview(self, tenant: str) -> Overview:
        """A tenant's overview as the API shows it."""
        found = await self.overviews.get(tenant)
        return Overview(
            as_of=found.as_of,
            environment=self.platform.services.settings.environment,
            tenant=tenant,
            running=found.running,
            queued=found.queued,
            oldest_wait=found.oldest_wait,
            parked=found.parked,
            quarantined=found.quarantined,
            failed_last_hour=found.failed_last_hour,
            ended_last_hour=found.ended_last_hour,
            spent_today=amounts(found.spent_today),
            budget_today=found.budget_today,
            per_minute=[Minute(at=minute.at, counts=minute.counts) for minute in found.per_minute],
            causes=[
                Cause(code=item.code, words=item.words, count=item.count, agents=item.agents, example=item.example)
                for item in found.causes
            ],
            needs=[
                Need(kind=need.kind, words=need.words, count=need.count, since=need.since, link=need.link)
                for need in found.needs
            ],
            quiet_since=found.quiet_since,
            workers=[
                WorkerShown(name=item.name, since=item.since, lease_until=item.lease_until, running=item.running)
                for item in found.workers
            ],
        )

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """While the block runs, this process counts what ended runs spent when it is its turn, as workers do."""
        if self.platform.worker is not None:
            yield
            return
        counting = asyncio.create_task(Counting(self.platform.services).run())
        try:
            yield
        finally:
            counting.cancel()
            await asyncio.wait({counting})
