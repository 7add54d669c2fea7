"""A worker's lease, renewed by a thread of its own: a blocked event loop must not look like a living worker."""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from uuid import UUID

from penstock.kernel.clock import wall_seconds
from penstock.ports.journal import Journal

BLOCKED_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h


class LeaseKeeper:
    """Renews every third of the lease. When the main loop has not moved for ``block_max_seconds`` it ends the process.

    ``on_lost`` is called in the main loop when the lease had run out before it could be renewed.
    """

    def __init__(
        self,
        worker: UUID,
        lease_seconds: float,
        block_max_seconds: float,
        open_journal: Callable[[], Awaitable[Journal]],
        on_lost: Callable[[], None],
    ) -> None:
        self.worker = worker
        self.lease_seconds = lease_seconds
        self.block_max_seconds = block_max_seconds
        self.open_journal = open_journal
        self.on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._beat = wall_seconds()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="penstock-lease", daemon=True)
        self._beating = self._loop.create_task(self._keep_beating())

    def start(self) -> None:
        """Begin renewing."""
        self._thread.start()

    async def stop(self) -> None:
        """Stop renewing and wait for the thread."""
        self._stop.set()
        self._beating.cancel()
        await asyncio.to_thread(self._thread.join, 5.0)

    async def _keep_beating(self) -> None:
        while True:
            self._beat = wall_seconds()
            await asyncio.sleep(min(0.5, self.block_max_seconds / 4))

    def _main(self) -> None:
        asyncio.run(self._renew_for_ever())

    async def _renew_for_ever(self) -> None:
        journal: Journal | None = None
        renewed = wall_seconds()
        while not self._stop.wait(min(0.5, self.lease_seconds / 6)):
            blocked = wall_seconds() - self._beat
            if blocked > self.block_max_seconds:
                self._die(f"the event loop has been blocked for {blocked:.1f} s")
            if wall_seconds() - renewed < self.lease_seconds / 3:
                continue
            try:
                journal = journal or await self.open_journal()
                alive = await journal.renew(self.worker, self.lease_seconds)
            except Exception:  # noqa: BLE001 - a thread that ended here would let the lease run out unnoticed
                # The database is away: nothing can be appended either, and expiry is judged by its clock alone.
                await self._discard(journal)
                journal = None
                continue
            renewed = wall_seconds()
            if not alive:
                self._loop.call_soon_threadsafe(self.on_lost)
                break
        await self._discard(journal)

    @staticmethod
    async def _discard(journal: Journal | None) -> None:
        if journal is not None:
            with contextlib.suppress(Exception):
                await journal.close()

    def _die(self, why: str) -> None:
        sys.stderr.write(f"penstock: {why}; ending this worker so that its runs can go on elsewhere [loop_blocked]\n")
        sys.stderr.flush()
        os._exit(BLOCKED_EXIT_CODE)
