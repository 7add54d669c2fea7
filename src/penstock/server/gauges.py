"""How the platform stands, read from the journal when metrics are asked for: of all tenants, whoever works on them."""

import asyncio

from prometheus_client import Gauge

from penstock.kernel.clock import Clock
from penstock.kernel.errors import JournalError
from penstock.ports.queue import LIST_MAX, Depth
from penstock.ports.records import RunFilter
from penstock.runs.client import Penstock
from penstock.server.metrics import Metrics

KEPT_SECONDS = 5.0
"""How often the journal is read, at most: it takes a row of each unended run."""
READ_SECONDS = 10.0
TENANTS_MAX = 100
"""Tenants whose waiting runs are counted, each up to a thousand."""


class Gauges:
    """The figures that are not counted here."""

    def __init__(self, metrics: Metrics, platform: Penstock) -> None:
        self._platform = platform
        self._clock: Clock = platform.services.clock
        self.kept_seconds = KEPT_SECONDS
        self._read_ns = 0
        self._reading = asyncio.Lock()
        registry = metrics.registry
        self._up = Gauge("penstock_journal_up", "1: the journal answered the last look.", registry=registry)
        self._runs = Gauge("penstock_runs", "Unended runs of all tenants.", ("status",), registry=registry)
        self._oldest = Gauge(
            "penstock_queue_oldest_wait_seconds", "How long the oldest queued run has waited.", registry=registry
        )
        self._approvals = Gauge("penstock_runs_waiting_for_approval", "Runs that wait for a person.", registry=registry)
        self._here = Gauge("penstock_worker_runs", "Runs in hand in this process.", registry=registry)
        self._queued = Gauge("penstock_writer_events_queued", "Events not yet durable here.", registry=registry)

    async def refresh(self) -> None:
        """Bring them up to date, unless they just were."""
        worker = self._platform.worker
        self._here.set(len(worker.running) if worker else 0)
        self._queued.set(self._platform.writer.queued_events)
        async with self._reading:
            if self._read_ns and self._clock.boot_ns() - self._read_ns < self.kept_seconds * 1e9:
                return
            try:
                async with asyncio.timeout(READ_SECONDS):
                    await self._read()
                self._up.set(1)
            except (JournalError, TimeoutError):
                self._up.set(0)
            self._read_ns = self._clock.boot_ns()

    async def _read(self) -> None:
        journal = self._platform.journal
        now = await journal.now()
        depths = await journal.queue.depths(limit=LIST_MAX)
        for status in ("queued", "running", "parked", "quarantined"):
            self._runs.labels(status).set(sum(getattr(depth, status) for depth in depths))
        self._oldest.set(max((_waited(depth, now) for depth in depths), default=0.0))
        waiting = 0
        for tenant in sorted({depth.tenant for depth in depths if depth.parked})[:TENANTS_MAX]:
            waiting += len(await journal.list_runs(tenant, RunFilter(waiting_for="approval"), LIST_MAX))
        self._approvals.set(waiting)


def _waited(depth: Depth, now: int) -> float:
    return 0.0 if depth.oldest is None else max(0, now - depth.oldest) / 1e6
