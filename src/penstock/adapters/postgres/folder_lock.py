"""Locks that end with the process that holds them, however it ends: ``flock`` on a file."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

_POLL_SECONDS = 0.01


class FolderLock:
    """An open lock file. A process that inherits ``fd`` holds the lock too, until the last of them closes it."""

    def __init__(self, path: Path) -> None:
        # No O_TRUNC and no unlink, ever: all must lock the same inode.
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def try_exclusive(self) -> bool:
        """Whether the lock is now held by this file alone."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Whether the lock is now held, perhaps along with others that share it."""
        return self._try(fcntl.LOCK_SH)

    def close(self) -> None:
        """Let go of the lock in this process."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _try(self, mode: int) -> bool:
        try:
            fcntl.flock(self.fd, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextlib.asynccontextmanager
async def exclusive(lock: FolderLock) -> AsyncIterator[None]:
    """Hold ``lock`` alone and close it at the end; waits for it without end, so put a time-out around it."""
    try:
        # Polled, because a blocking flock could be neither timed out nor cancelled.
        while not lock.try_exclusive():  # noqa: ASYNC110 - nothing in this process could set an event
            await asyncio.sleep(_POLL_SECONDS)
        yield
    finally:
        lock.close()
